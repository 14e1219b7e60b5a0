#include "client/daemon/decision_history.h"

#include "client/policy/amendment.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (256u << 10) /* read, and said, at a time */
#define FILES       2

/* Where one part of the history is read. */
struct place {
    size_t part;   /* FILES: of `recent` */
    off_t at;      /* bytes of it that were read */
    struct buf in; /* of them those that are not looked at yet */
};
struct history {
    struct status_source source; /* first: the listener hands it back */
    uv_loop_t *loop;
    uv_work_t work;
    struct history_query query;
    int fds[FILES]; /* -1: there is none */
    off_t sizes[FILES + 1];
    struct buf recent;
    struct place place;
    const char *nothing;
    uint64_t matches; /* so far */
    uint64_t skip;    /* of them, which come before the wanted ones */
    uint64_t said;
    uint64_t id_low, id_high; /* of those that match, as far as looked at */
    struct amendments amendments;
    bool looked, done, working, gone;
    struct buf piece;
};

/* ---- the question ---- */

/* Takes " NAME=" and milliseconds at `*at`, where they stand there; larger ones are the largest. */
static bool bound_take(const char **at, const char *name, int64_t *ret_ns)
{
    const size_t bytes = strlen(name);
    const char *digits = *at + bytes;
    size_t count;
    uint64_t ms;

    if (strncmp(*at, name, bytes) != 0) {
        return true;
    }
    count = strspn(digits, "0123456789");
    ms = strtoull(digits, NULL, 10);
    *ret_ns = ms < INT64_MAX / NS_PER_MS ? (int64_t)ms * NS_PER_MS : INT64_MAX;
    *at = digits + count;
    return count > 0;
}

bool history_query_parse(const char *line, struct history_query *ret_query)
{
    static const char word[] = "decisions ";
    struct history_query query = {.until_ns = INT64_MAX};
    const char *at = line + sizeof(word) - 1;
    size_t digits;

    if (strncmp(line, word, sizeof(word) - 1) != 0) {
        return false;
    }
    digits = strspn(at, "0123456789");
    query.count = strtoull(at, NULL, 10); /* a larger one is the largest: all */
    at += digits;
    if (digits == 0 || at[0] == '\0' || !bound_take(&at, " since=", &query.since_ns) ||
        !bound_take(&at, " until=", &query.until_ns) || at[0] != '\0') {
        return false;
    }
    *ret_query = query;
    return true;
}

/* Whether a line, NUL after it, is what is asked for. A line that is no decision, but says more of
 * one, has no time. */
static bool line_matches(const struct history_query *query, const char *line, uint64_t id)
{
    static const char time_key[] = "\"time_unix_ns\":";
    const char *time = strstr(line, time_key);
    int64_t time_ns;

    if (!time || id == 0 || (query->id != 0 && id != query->id)) {
        return false;
    }
    time_ns = strtoll(time + sizeof(time_key) - 1, NULL, 10);
    return time_ns >= query->since_ns && time_ns < query->until_ns;
}

/* ---- reading; on a thread of the pool, which has the history while `working` ---- */

/* Reads on in the part that is under way. Bytes that came; 0: this part has no more. */
static size_t part_read(struct history *history, struct place *place)
{
    const off_t left = history->sizes[place->part] - place->at;
    const size_t bytes = left < (off_t)CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    ssize_t got;

    if (place->in.bytes > LIMIT_STATUS_QUEUE_BYTES) {
        buf_clear(&place->in); /* no line of ours is so long */
    }
    if (bytes == 0 || buf_reserve(&place->in, bytes) != 0) {
        return 0;
    }
    if (place->part == FILES) {
        memcpy(place->in.data + place->in.bytes, history->recent.data + place->at, bytes);
        got = (ssize_t)bytes;
    } else {
        got = pread(history->fds[place->part], place->in.data + place->in.bytes, bytes, place->at);
    }
    if (got <= 0) {
        return 0; /* what a disk does not give any more is not there */
    }
    place->in.bytes += (size_t)got;
    place->at += got;
    return (size_t)got;
}

/* The first time over: what matches is counted, and what is told of it later is kept. That stands
 * behind it, so its id is known by then. */
static void line_look(struct history *history, const char *line, uint64_t id, uint64_t *matches)
{
    if (line_matches(&history->query, line, id)) {
        ++*matches;
        history->id_low = id < history->id_low ? id : history->id_low;
        history->id_high = id > history->id_high ? id : history->id_high;
    } else if (id >= history->id_low && id <= history->id_high) {
        (void)amendments_add(&history->amendments, line); /* over the bound it is not told */
    }
}

/* The second time: those that match and are not skipped go to `out`. */
static void line_say(struct history *history, const char *line, uint64_t id, struct buf *out,
                     uint64_t *matches)
{
    const size_t before = out->bytes;

    if (!line_matches(&history->query, line, id) || (*matches)++ < history->skip) {
        return;
    }
    if (amendments_apply(&history->amendments, line, out) == 0 && buf_append_u8(out, '\n') == 0) {
        history->said++;
    } else {
        out->bytes = before;
    }
}

/* Whole lines of place->in; `out` NULL: the first time. */
static void lines_take(struct history *history, struct place *place, struct buf *out,
                       uint64_t *matches)
{
    char *line = (char *)place->in.data, *const end = line + place->in.bytes, *newline;

    while (line < end && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        *newline = '\0';
        if (out) {
            line_say(history, line, amendment_id(line), out, matches);
        } else {
            line_look(history, line, amendment_id(line), matches);
        }
        line = newline + 1;
    }
    buf_consume(&place->in, (size_t)((uint8_t *)line - place->in.data));
}

/* Goes on until there is enough in `out` (NULL: to the end). True: there is no more. */
static bool place_go(struct history *history, struct place *place, struct buf *out,
                     uint64_t *matches)
{
    while (place->part <= FILES) {
        if (out && out->bytes >= CHUNK_BYTES) {
            return false;
        }
        if (part_read(history, place) == 0) {
            place->part++; /* what is left of it is no whole line */
            place->at = 0;
            buf_clear(&place->in);
        } else {
            lines_take(history, place, out, matches);
        }
    }
    return true;
}

/* How many match, as only the last ones may be wanted, and what was told of them. */
static void history_look(struct history *history)
{
    struct place place = {.part = 0};
    uint64_t matches = 0;

    buf_init(&place.in, history->place.in.max_bytes);
    (void)place_go(history, &place, NULL, &matches);
    buf_fini(&place.in);
    history->skip = matches > history->query.count ? matches - history->query.count : 0;
    history->looked = true;
}

static void on_work(uv_work_t *work)
{
    struct history *history = work->data;

    if (!history->looked) {
        history_look(history);
    }
    history->done = place_go(history, &history->place, &history->piece, &history->matches);
}

/* ---- the loop thread ---- */

static void history_free(struct history *history)
{
    for (size_t i = 0; i < FILES; i++) {
        if (history->fds[i] >= 0) {
            (void)close(history->fds[i]);
        }
    }
    amendments_fini(&history->amendments);
    buf_fini(&history->recent);
    buf_fini(&history->place.in);
    buf_fini(&history->piece);
    free(history);
}

static void on_worked(uv_work_t *work, int status)
{
    struct history *history = work->data;

    (void)status; /* nobody cancels it */
    history->working = false;
    if (history->gone) {
        history_free(history);
        return;
    }
    if (history->done && history->said == 0 && history->nothing) {
        (void)buf_append_text(&history->piece, history->nothing);
    }
    status_source_put(&history->source, &history->piece, history->done);
}

static void on_more(struct status_source *source)
{
    struct history *history = (struct history *)source;

    buf_clear(&history->piece);
    history->working = true;
    if (uv_queue_work(history->loop, &history->work, on_work, on_worked) != 0) {
        history->working = false;
        status_source_put(source, &history->piece, true);
    }
}

static void on_gone(struct status_source *source)
{
    struct history *history = (struct history *)source;

    history->gone = true;
    if (!history->working) {
        history_free(history);
    }
}

static int file_open(const char *path, off_t *ret_size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat state;

    if (fd >= 0 && fstat(fd, &state) == 0 && S_ISREG(state.st_mode)) {
        *ret_size = state.st_size;
        return fd;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

struct status_source *history_new(uv_loop_t *loop, const struct decision_file *file,
                                  const struct history_query *query, struct buf *recent,
                                  const char *nothing)
{
    struct history *history = calloc(1, sizeof(*history));
    char *before = NULL;

    if (!history || (file->path && asprintf(&before, "%s.1", file->path) < 0)) {
        free(history);
        return NULL;
    }
    history->source = (struct status_source){.more = on_more, .gone = on_gone};
    history->loop = loop;
    history->work.data = history;
    history->query = *query;
    history->nothing = nothing;
    history->id_low = UINT64_MAX;
    amendments_init(&history->amendments);
    /* This thread is the one that renames them, so the two belong together. */
    history->fds[0] = before ? file_open(before, &history->sizes[0]) : -1;
    history->fds[1] = before ? file_open(file->path, &history->sizes[1]) : -1;
    history->sizes[FILES] = (off_t)recent->bytes;
    history->recent.data = buf_take(recent, &history->recent.bytes);
    buf_init(&history->place.in, LIMIT_STATUS_QUEUE_BYTES + CHUNK_BYTES);
    buf_init(&history->piece, 0);
    free(before);
    return &history->source;
}
