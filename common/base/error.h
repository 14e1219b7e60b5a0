/* error.h: the error codes of every Tandem room, and one line of text for each.
 *
 * Functions return 0 or one of these. The public header tandem.h defines the same names with the
 * same numbers for applications; tests/unit/test_error.c compares them. Numbers only grow, none is
 * reused. A file that needs both includes tandem.h first; this header then leaves the enum to it.
 * Thread-safe: there is no state. */
#ifndef TANDEM_BASE_ERROR_H
#define TANDEM_BASE_ERROR_H

#ifndef TANDEM_H
enum tandem_error {
    TANDEM_OK = 0,
    TANDEM_EINVAL = -1,       /* a caller's argument is wrong */
    TANDEM_ENOMEM = -2,       /* no memory, or a stated budget is used up */
    TANDEM_EIO = -3,          /* the operating system refused a read, write or open */
    TANDEM_EFORMAT = -4,      /* a file or message does not have the form it must have */
    TANDEM_EUNSUPPORTED = -5, /* well-formed, but not something this version does */
    TANDEM_ETOOBIG = -6,      /* over one of the bounds of limits.h */
    TANDEM_ENOTASK = -7,      /* no task of this name here */
    TANDEM_EBUSY = -8,        /* bounded queue full: try again later */
    TANDEM_ELATE = -9,        /* the deadline passed before an answer was there */
    TANDEM_ECANCELED = -10,   /* the caller cancelled */
    TANDEM_EGONE = -11,       /* the daemon or peer that held the request died */
    TANDEM_ENOROUTE = -12,    /* no allowed route can serve this request now */
    TANDEM_EPROTO = -13,      /* the peer broke the protocol, or speaks no common version */
    TANDEM_EAUTH = -14,       /* not allowed: certificate, token or peer credentials */
    TANDEM_ETIMEDOUT = -15,   /* no word from the peer within its time-out */
    TANDEM_ESUPERSEDED = -16, /* a newer frame of the same stream replaced this one */
    TANDEM_ECONFIG = -17,     /* a configuration file is wrong (the text names file, line, key) */
    TANDEM_EINTERNAL = -18,   /* our bug, stated rather than hidden */
    TANDEM_EDRAINING = -19,   /* the daemon is stopping and takes no new work */
    TANDEM_ENOTFOUND = -20,   /* nothing of this name or id */
    TANDEM_EPREFIX = -21,     /* the edge lacks the known prefix of this session: send it whole */
};
#endif

/* One short lower-case English line for `code`, never NULL; unknown codes give "unknown error".
 * Static storage. */
const char *tandem_error_text(int code);

/* The name of the code, "TANDEM_ELATE"; "TANDEM_E?" for an unknown one. Static storage. */
const char *tandem_error_name(int code);

#endif
