#include "common/base/error.h"

struct error_entry {
    int code;
    const char *name;
    const char *text;
};

static const struct error_entry errors[] = {
    {TANDEM_OK, "TANDEM_OK", "no error"},
    {TANDEM_EINVAL, "TANDEM_EINVAL", "invalid argument"},
    {TANDEM_ENOMEM, "TANDEM_ENOMEM", "out of memory or budget"},
    {TANDEM_EIO, "TANDEM_EIO", "input or output failed"},
    {TANDEM_EFORMAT, "TANDEM_EFORMAT", "malformed input"},
    {TANDEM_EUNSUPPORTED, "TANDEM_EUNSUPPORTED", "not supported"},
    {TANDEM_ETOOBIG, "TANDEM_ETOOBIG", "over a size limit"},
    {TANDEM_ENOTASK, "TANDEM_ENOTASK", "no such task"},
    {TANDEM_EBUSY, "TANDEM_EBUSY", "queue full, try again later"},
    {TANDEM_ELATE, "TANDEM_ELATE", "deadline passed"},
    {TANDEM_ECANCELED, "TANDEM_ECANCELED", "canceled"},
    {TANDEM_EGONE, "TANDEM_EGONE", "daemon or peer went away"},
    {TANDEM_ENOROUTE, "TANDEM_ENOROUTE", "no allowed route can serve the request now"},
    {TANDEM_EPROTO, "TANDEM_EPROTO", "protocol error"},
    {TANDEM_EAUTH, "TANDEM_EAUTH", "not allowed"},
    {TANDEM_ETIMEDOUT, "TANDEM_ETIMEDOUT", "no word from the peer in time"},
    {TANDEM_ESUPERSEDED, "TANDEM_ESUPERSEDED", "replaced by a newer frame"},
    {TANDEM_ECONFIG, "TANDEM_ECONFIG", "configuration error"},
    {TANDEM_EINTERNAL, "TANDEM_EINTERNAL", "internal error"},
    {TANDEM_EDRAINING, "TANDEM_EDRAINING", "daemon is stopping"},
    {TANDEM_ENOTFOUND, "TANDEM_ENOTFOUND", "not found"},
    {TANDEM_EPREFIX, "TANDEM_EPREFIX", "session prefix not known here"},
};

/* The table is ordered so that the code's magnitude is its index; test_error.c checks it. */
static const struct error_entry *error_find(int code)
{
    const int count = (int)(sizeof(errors) / sizeof(errors[0]));

    if (code > 0 || code <= -count) {
        return 0;
    }
    return &errors[-code];
}

const char *tandem_error_text(int code)
{
    const struct error_entry *entry = error_find(code);

    return entry ? entry->text : "unknown error";
}

const char *tandem_error_name(int code)
{
    const struct error_entry *entry = error_find(code);

    return entry ? entry->name : "TANDEM_E?";
}
