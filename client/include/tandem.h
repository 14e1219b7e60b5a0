/* tandem.h: ask Tandem for an inference.
 *
 * A robot or camera program links libtandem and talks to the tandem-client daemon on the same
 * machine over a Unix socket. The daemon decides for every request whether the small model on this
 * device answers, or the larger one on an edge node in the building, or the small one first and the
 * larger one if the answer is not sure enough. The library does no inference, opens no network
 * connection, starts no thread, raises no signal and keeps no global state.
 *
 *   struct tandem *t;
 *   struct tandem_answer *a;
 *   if (tandem_open(NULL, &t) == 0 &&
 *       tandem_classify_file(t, "objects", "cup.jpg", 100, &a) == 0) {
 *       printf("%s %.2f by %s\n", tandem_answer_label(a, 0), tandem_answer_score(a, 0),
 *              tandem_answer_outcome_route(a));
 *       tandem_answer_free(a);
 *   }
 *   tandem_close(t);
 *
 * Main types
 *   struct tandem          one connection to the daemon, and the requests that are under way on it.
 *   struct tandem_request  what is asked: filled in by the caller after tandem_request_init.
 *   struct tandem_answer   what came back. Opaque: read it with tandem_answer_*.
 *   struct tandem_stream   one camera: keeps the latest frame or all of them, bounds what is in
 *                          flight and how old an answer may be. This version has the types; the
 *                          functions arrive in a later one.
 *
 * Three ways to call
 *   tandem_call            blocks until the answer is there or the request has failed.
 *   tandem_submit          returns at once; a callback runs later inside tandem_process,
 *                          tandem_wait or a blocking call.
 *   Foreign event loops    wait until tandem_fd is readable, or writable when tandem_wants_write
 *                          says so, or tandem_timeout_ms has passed; then call tandem_process. Ask
 *                          all three again after every call into the library.
 *
 * Errors: 0 or more is success, negative is one of enum tandem_error. tandem_last_error gives one
 * line of text for the last failure on this connection. A request that tandem_submit accepted ends
 * in exactly one callback: an answer, or one error. When the daemon goes away, every request under
 * way ends with TANDEM_EGONE, and the next call connects again; nothing is sent twice.
 *
 * Threads: one connection belongs to one thread at a time; different connections are independent.
 * Callbacks run on the thread that calls into the connection. Inside one, submit, cancel and every
 * question are allowed; the blocking calls, tandem_process and tandem_wait return TANDEM_EINVAL and
 * tandem_close does nothing. After fork() only one of the two processes may use a connection.
 *
 * Ownership: what a call borrows, it is done with when it returns (tandem_submit copies what it
 * still needs, pictures of 64 KiB and more into a sealed memfd). "Returns owned" is freed by the
 * named function; every free function accepts NULL.
 *
 * Time: a deadline is a duration from the moment of the call. Nothing here depends on a wall clock.
 *
 * Truth: a program that learns later whether an answer was right says so with tandem_feedback, and
 * the next decisions are better for it.
 *
 * Versions: structs that the caller fills in carry their size and grow only at the end, so a
 * program built against an older header keeps working with a newer library. Enums only grow. */
#ifndef TANDEM_H
#define TANDEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TANDEM_API_VERSION 1

/* Numbers only grow; none is reused. */
enum tandem_error {
    TANDEM_OK = 0,
    TANDEM_EINVAL = -1,       /* a caller's argument is wrong */
    TANDEM_ENOMEM = -2,       /* no memory */
    TANDEM_EIO = -3,          /* the operating system refused a read, write or open */
    TANDEM_EFORMAT = -4,      /* the input is not what it says, e.g. not a picture */
    TANDEM_EUNSUPPORTED = -5, /* well-formed, but not something this version does */
    TANDEM_ETOOBIG = -6,      /* over a limit */
    TANDEM_ENOTASK = -7,      /* the daemon has no task of this name */
    TANDEM_EBUSY = -8,        /* too much under way: try again later */
    TANDEM_ELATE = -9,        /* the deadline passed before an answer was there */
    TANDEM_ECANCELED = -10,   /* cancelled by tandem_cancel or tandem_close */
    TANDEM_EGONE = -11,       /* the daemon is not running, or went away with the request */
    TANDEM_ENOROUTE = -12,    /* no allowed route can serve this request now */
    TANDEM_EPROTO = -13,      /* library and daemon do not understand each other */
    TANDEM_EAUTH = -14,       /* this user may not use the daemon */
    TANDEM_ETIMEDOUT = -15,   /* a peer said nothing for too long */
    TANDEM_ESUPERSEDED = -16, /* a newer frame of the same stream replaced this one */
    TANDEM_ECONFIG = -17,     /* a configuration is wrong */
    TANDEM_EINTERNAL = -18,   /* a bug, stated */
    TANDEM_EDRAINING = -19,   /* the daemon is stopping */
    TANDEM_ENOTFOUND = -20,   /* nothing of this name or id */
    TANDEM_EPREFIX = -21      /* between daemons only */
};

/* One short English line, never NULL. */
const char *tandem_strerror(int code);
/* Of the library: "0.1.0". */
const char *tandem_version(void);

/* ---- connection ---- */

struct tandem;
struct tandem_answer;

/* Connects to the daemon. `socket_path` NULL: $TANDEM_SOCKET, else /run/tandem-client/app.sock.
 * Blocks at most two seconds. *ret_tandem is always set, and owned (tandem_close): to NULL after
 * TANDEM_ENOMEM or TANDEM_EINVAL (the path is too long), else to a handle, which after another
 * error is good for tandem_last_error and for later calls, each of which tries to connect again. */
int tandem_open(const char *socket_path, struct tandem **ret_tandem);
/* Ends everything under way (the callbacks run, with TANDEM_ECANCELED) and frees the handle. */
void tandem_close(struct tandem *tandem);
/* One line about the last failure on this handle; "" when there was none. Valid until the next
 * call. */
const char *tandem_last_error(const struct tandem *tandem);
/* The decision behind the last failed request, if the daemon had made one: id, route, outcome
 * route, reason and latency, no content. Borrowed until the next call; NULL when there is none. */
const struct tandem_answer *tandem_last_failure(const struct tandem *tandem);
/* The tasks that the daemon offered when it was last connected to. NULL past the end; the names
 * live as long as that connection. */
size_t tandem_task_count(const struct tandem *tandem);
const char *tandem_task_name(const struct tandem *tandem, size_t index);
/* enum tandem_kind: what it takes and answers. 0 past the end, or when the daemon does not say. */
int tandem_task_kind(const struct tandem *tandem, size_t index);

/* ---- request ---- */

enum tandem_pixel_format {
    TANDEM_PIXELS_ENCODED = 0, /* JPEG or PNG, at most 16 MiB */
    TANDEM_PIXELS_RGB = 1,     /* the raw formats: at most 8192 x 8192 pixels and 128 MiB */
    TANDEM_PIXELS_BGR = 2,
    TANDEM_PIXELS_GREY = 3,
    TANDEM_PIXELS_NV12 = 4,
    TANDEM_PIXELS_I420 = 5,
    TANDEM_PIXELS_YUYV = 6
};

/* Part of struct tandem_request, so it never changes its size. */
struct tandem_picture {
    enum tandem_pixel_format format;
    uint32_t width, height; /* pixels; 0 when encoded */
    uint32_t stride_bytes;  /* of the first plane, at most 65536; 0: rows are tight */
    const void *data;       /* borrowed; NULL: the picture is in `memfd` */
    size_t bytes;
    int memfd; /* without `data`: a memfd sealed against write, shrink and grow that holds the
                  picture from its start; borrowed. Goes to the daemon without a copy */
    uint32_t reserved; /* 0 */
};

/* What goes in: a picture or a text, as the task wants. Zero is a good default for all the rest. */
struct tandem_request {
    size_t struct_bytes;           /* set by tandem_request_init */
    const char *task;              /* "objects" */
    struct tandem_picture picture; /* picture tasks; in use when `data` or `memfd` is not 0 */
    const char *text;              /* text tasks; at most 256 KiB */
    size_t text_bytes;             /* 0: up to the NUL */
    uint32_t deadline_ms;          /* 0: the task's default; at most one hour */
    const char *session;           /* NULL: none. Requests of one name continue one conversation: it
                                      remembers what was asked and the answer that was delivered,
                                      whole or partial; a turn that ended in an error is forgotten */
    const char *route;             /* NULL or "auto"; "local", "edge", "edge:NAME", "cascade" */
    int never_leave_device;  /* 1: only tightens the task's privacy rule; nothing loosens it */
    int deliver_late;        /* 1: a late answer still comes, whole and marked, until two minutes
                                after the deadline, then TANDEM_ELATE; 0: at the deadline comes what
                                there is of a text, or TANDEM_ELATE */
    uint32_t max_new_tokens; /* text; 0: the task's default */
    float temperature;       /* text; 0: greedy */
    uint32_t top_k;          /* 0: off */
    float top_p;             /* 0 or 1: off */
    uint64_t seed;
    uint32_t capture_age_ms; /* how old the input already is; counts against the deadline */
    int64_t timestamp_ns;    /* the caller's; comes back untouched */
    uint64_t cookie;         /* the caller's; comes back untouched */
};
/* Zeroes `struct_bytes` bytes and sets size and task; for bindings of other languages. */
void tandem_request_init_bytes(struct tandem_request *request, size_t struct_bytes,
                               const char *task);
/* The size is the caller's header's, which is why this one is not in the library. */
static inline void tandem_request_init(struct tandem_request *request, const char *task)
{
    tandem_request_init_bytes(request, sizeof(*request), task);
}

/* ---- answer ---- */

enum tandem_kind { TANDEM_CLASSIFY = 1, TANDEM_DETECT = 2, TANDEM_GENERATE = 3 };
enum tandem_finish {
    TANDEM_FINISH_NONE = 0,
    TANDEM_FINISH_END = 1,     /* the model ended it */
    TANDEM_FINISH_LENGTH = 2,  /* max_new_tokens */
    TANDEM_FINISH_DEADLINE = 3 /* cut short by the deadline */
};

struct tandem_box {
    const char *label; /* lives as long as the answer */
    double score;
    float x, y, w, h; /* pixels of the caller's frame; x, y is the upper left corner */
};

void tandem_answer_free(struct tandem_answer *answer);
enum tandem_kind tandem_answer_kind(const struct tandem_answer *answer);
/* Classes, best first. Past the end: NULL and 0. */
size_t tandem_answer_label_count(const struct tandem_answer *answer);
const char *tandem_answer_label(const struct tandem_answer *answer, size_t index);
double tandem_answer_score(const struct tandem_answer *answer, size_t index);
/* Boxes; NULL past the end. */
size_t tandem_answer_box_count(const struct tandem_answer *answer);
const struct tandem_box *tandem_answer_box(const struct tandem_answer *answer, size_t index);
/* Text, NUL-terminated, "" when there is none; `ret_bytes` may be NULL. */
const char *tandem_answer_text(const struct tandem_answer *answer, size_t *ret_bytes);
uint32_t tandem_answer_tokens(const struct tandem_answer *answer);
enum tandem_finish tandem_answer_finish(const struct tandem_answer *answer);
/* 0..1: how often answers this sure are right, by the model's calibration; it need not be the best
 * label's score. */
double tandem_answer_confidence(const struct tandem_answer *answer);
/* How it came to be. Routes: "local", "edge:NAME", "cache", and of the decision also "cascade". */
const char *tandem_answer_id(const struct tandem_answer *answer);    /* for `tandemctl explain` */
const char *tandem_answer_route(const struct tandem_answer *answer); /* the decision */
const char *tandem_answer_outcome_route(const struct tandem_answer *answer); /* who computed it */
const char *tandem_answer_reason(const struct tandem_answer *answer);        /* one line */
double tandem_answer_latency_ms(const struct tandem_answer *answer);         /* in the daemon */
double tandem_answer_elapsed_ms(const struct tandem_answer *answer);         /* call to answer */
double tandem_answer_predicted_ms(const struct tandem_answer *answer);       /* negative: unknown */
int tandem_answer_met_deadline(const struct tandem_answer *answer);
/* 1: a text cut short by the deadline, finish TANDEM_FINISH_DEADLINE. It is the beginning of an
 * answer, delivered in time because a whole one would have come too late. */
int tandem_answer_partial(const struct tandem_answer *answer);
int tandem_answer_hedged(
    const struct tandem_answer *answer); /* 1: a local run was started besides the edge */
int64_t tandem_answer_timestamp_ns(const struct tandem_answer *answer); /* the request's */
uint64_t tandem_answer_cookie(const struct tandem_answer *answer);      /* the request's */

/* ---- blocking ---- */

/* Sends `request` (borrows) and waits. Returns owned (tandem_answer_free). Waits at most the
 * deadline and two seconds; without a deadline, or with deliver_late, until the daemon has answered
 * or is gone. */
int tandem_call(struct tandem *tandem, const struct tandem_request *request,
                struct tandem_answer **ret_answer);
/* Reads the picture file (at most 16 MiB) and calls. */
int tandem_classify_file(struct tandem *tandem, const char *task, const char *path,
                         uint32_t deadline_ms, struct tandem_answer **ret_answer);
/* Calls a text task. */
int tandem_generate(struct tandem *tandem, const char *task, const char *text, uint32_t deadline_ms,
                    struct tandem_answer **ret_answer);

/* Says whether the answer of decision `id` (of tandem_answer_id) was right: what Tandem learns best
 * from. Any connection of the user who asked may say it, and root, of any of the last 8192 requests
 * that were answered, also before a restart (of a task with a positive label since the start, for
 * no record says which answer it was). The last word counts; saying the same again changes nothing.
 * Waits until what the daemon learned is on its disk and survives a crash (at most five words a
 * second), at most two seconds. TANDEM_EIO: it counts, but its disk does not take it.
 * TANDEM_EINVAL: not an id, or a decision without an answer. TANDEM_ENOTFOUND: no such decision, or
 * one that is too old. TANDEM_EAUTH: another user's. Said of an answer from the cache it is said of
 * the one that is repeated, and an answer that was wrong is not given again. One content counts
 * once, however often it is asked and judged: the last word of the same model's answer to it.
 * TANDEM_EBUSY: too much was said at a time, or is under way, or this answer's word has changed 16
 * times. TANDEM_ETIMEDOUT: the daemon, maybe an older one, said nothing. */
int tandem_feedback(struct tandem *tandem, const char *id, int correct);

/* ---- asynchronous ---- */

/* The one end of a request. `error` 0: `answer` is yours (tandem_answer_free); else it is NULL and
 * tandem_last_error has a line. */
typedef void (*tandem_done_fn)(struct tandem *tandem, uint64_t request_id, int error,
                               struct tandem_answer *answer, void *user);
/* Generated text as it comes, from this device or from an edge (borrowed, not NUL-terminated; no
 * piece ends inside a UTF-8 character, unless the text itself does). `offset` is where in the text
 * the piece belongs. A piece at offset 0 begins the text, or begins it again: another route has
 * taken over and what came before is void (such a piece may have 0 bytes). When `done` brings an
 * answer, the pieces since the last one at offset 0, joined, are exactly tandem_answer_text. */
typedef void (*tandem_partial_fn)(struct tandem *tandem, uint64_t request_id, size_t offset,
                                  const char *text, size_t bytes, void *user);

/* Queues `request` (borrows). 0 is accepted: `done` will run exactly once, later, at the latest two
 * seconds after the deadline, as for tandem_call. `partial` and `ret_request_id` may be NULL.
 * TANDEM_EBUSY when 64 requests or 64 MiB are under way on this handle: nothing was queued; call
 * tandem_process or tandem_wait until one has ended, then submit again. Never blocks, but for the
 * connect when there is no connection (local, at most two seconds). */
int tandem_submit(struct tandem *tandem, const struct tandem_request *request, tandem_done_fn done,
                  tandem_partial_fn partial, void *user, uint64_t *ret_request_id);
/* Asks to stop it; `done` still runs, with TANDEM_ECANCELED or with an answer that was already on
 * its way. TANDEM_ENOTFOUND when it is not under way. */
int tandem_cancel(struct tandem *tandem, uint64_t request_id);
/* For foreign event loops. The fd changes after a reconnect; -1 while there is none. */
int tandem_fd(const struct tandem *tandem);
int tandem_wants_write(const struct tandem *tandem);
/* Milliseconds until tandem_process should be called even without an event; -1: no need. */
int tandem_timeout_ms(const struct tandem *tandem);
/* Reads, writes and runs callbacks without blocking. Returns the number of `done` callbacks run, or
 * an error of the connection, after which every request has ended. */
int tandem_process(struct tandem *tandem);
/* poll and process once, at most `timeout_ms` (-1: no bound). At once when nothing is under way. */
int tandem_wait(struct tandem *tandem, int timeout_ms);
size_t tandem_in_flight(const struct tandem *tandem);

/* ---- streams: the types; their functions arrive in a later version ---- */

struct tandem_stream;

enum tandem_keep {
    TANDEM_KEEP_LATEST = 0, /* a newer frame replaces a waiting one: TANDEM_ESUPERSEDED */
    TANDEM_KEEP_ALL = 1     /* every frame, in order; TANDEM_EBUSY when too many wait */
};

struct tandem_stream_options {
    size_t struct_bytes;
    const char *name; /* of the camera, in decisions; at most 63 bytes of [A-Za-z0-9._-] */
    const char *task;
    enum tandem_keep keep;
    uint32_t in_flight_max; /* frames with the daemon at one time; 0: 2 */
    uint32_t age_max_ms;    /* an answer to a frame older than this is TANDEM_ELATE; 0: no bound */
};

#ifdef __cplusplus
}
#endif

#endif
