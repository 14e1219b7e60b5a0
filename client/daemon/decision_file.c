#include "client/daemon/decision_file.h"

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME        "decisions.jsonl"
#define SAY_NS      (60 * NS_PER_S)
#define REOPEN_NS   NS_PER_S
#define WRITE_NS    NS_PER_S   /* between two writes */
#define TAIL_BYTES  (64 << 10) /* where the last ids are looked for */
#define PIECE_BYTES 4096

static void trouble_say(struct decision_file *file, const char *what, int error, int64_t now_ns)
{
    if (file->said_ns != 0 && now_ns - file->said_ns < SAY_NS) {
        return;
    }
    log_warning("%s: %s: %s: decisions are lost (%" PRIu64 " so far), requests go on", file->path,
                what, strerror(error), file->lost);
    file->said = true;
    file->said_ns = now_ns;
}

static void lines_lost(struct decision_file *file, const void *lines, size_t bytes,
                       const char *what, int error, int64_t now_ns)
{
    const char *at = lines, *const end = at + bytes;

    for (; at < end; at++) {
        at = memchr(at, '\n', (size_t)(end - at));
        file->lost++;
    }
    trouble_say(file, what, error, now_ns);
}

/* Where the last whole line ends; -1 with errno. */
static off_t lines_end(int fd, off_t bytes)
{
    char piece[PIECE_BYTES];

    while (bytes > 0) {
        const off_t from = bytes > PIECE_BYTES ? bytes - PIECE_BYTES : 0;
        const ssize_t got = pread(fd, piece, (size_t)(bytes - from), from);

        if (got < 0) {
            return -1;
        }
        for (ssize_t i = got; i > 0; i--) {
            if (piece[i - 1] == '\n') {
                return from + i;
            }
        }
        bytes = from;
    }
    return 0;
}

/* Cuts off what a crash has left of a line; 0 or an errno. */
static int file_mend(struct decision_file *file, int fd)
{
    struct stat state;
    off_t end;

    if (fstat(fd, &state) != 0) {
        return errno;
    }
    end = lines_end(fd, state.st_size);
    if (end < 0 || (end < state.st_size && ftruncate(fd, end) != 0)) {
        return errno;
    }
    if (end < state.st_size) {
        log_warning("%s: %lld bytes of a line that was cut short are taken off", file->path,
                    (long long)(state.st_size - end));
    }
    file->bytes = end;
    return 0;
}

static int file_reopen(struct decision_file *file, int64_t now_ns)
{
    const int fd = open(file->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    file->open_ns = now_ns;
    file->open_error = fd < 0 ? errno : file_mend(file, fd);
    if (file->open_error != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return file->open_error;
    }
    file->fd = fd;
    file->torn = false;
    return 0;
}

void decision_file_open(struct decision_file *file, const char *state_dir, int64_t now_ns)
{
    int error;

    memset(file, 0, sizeof(*file));
    file->fd = -1;
    buf_init(&file->pending, LIMIT_DECISION_PENDING_BYTES);
    if (!state_dir[0]) {
        return;
    }
    if (asprintf(&file->path, "%s/" NAME, state_dir) < 0) {
        file->path = NULL;
        log_warning("out of memory: decisions are not kept on disk");
        return;
    }
    error = file_reopen(file, now_ns);
    if (error != 0) {
        trouble_say(file, "open", error, now_ns);
    }
}

void decision_file_close(struct decision_file *file)
{
    decision_file_flush(file, file->written_ns);
    buf_fini(&file->pending);
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    free(file->path);
    file->path = NULL;
    file->fd = -1;
}

/* The full file becomes the old one; 0 or an errno, and then it stays as it is. */
static int file_rotate(struct decision_file *file, int64_t now_ns)
{
    char *old = NULL;
    int error = 0;

    if (asprintf(&old, "%s.1", file->path) < 0) {
        return ENOMEM;
    }
    if (rename(file->path, old) != 0) {
        error = errno;
    }
    free(old);
    if (error != 0) {
        return error;
    }
    (void)close(file->fd);
    file->fd = -1;
    return file_reopen(file, now_ns);
}

/* Makes the file ready for so many bytes more; 0 or an errno, with what was tried. */
static int file_ready(struct decision_file *file, size_t bytes, int64_t now_ns,
                      const char **ret_what)
{
    *ret_what = "open";
    if (file->fd < 0) {
        const int error =
            now_ns - file->open_ns >= REOPEN_NS ? file_reopen(file, now_ns) : file->open_error;

        if (error != 0) {
            return error;
        }
    }
    *ret_what = "truncate";
    if (file->torn && ftruncate(file->fd, file->bytes) != 0) {
        return errno;
    }
    file->torn = false;
    *ret_what = "rename";
    if (file->bytes > 0 && file->bytes + (off_t)bytes > LIMIT_DECISION_FILE_BYTES) {
        return file_rotate(file, now_ns);
    }
    return 0;
}

/* Bytes of the lines that are whole among the first `bytes`. */
static size_t whole_bytes(const char *lines, size_t bytes)
{
    while (bytes > 0 && lines[bytes - 1] != '\n') {
        bytes--;
    }
    return bytes;
}

/* Writes whole lines; of what does not fit the disk, the lines before it stay. */
static void lines_write(struct decision_file *file, const char *lines, size_t bytes, int64_t now_ns)
{
    const char *what;
    int error = file_ready(file, bytes, now_ns, &what);
    ssize_t written;
    size_t kept;

    file->written_ns = now_ns;
    if (error != 0) {
        lines_lost(file, lines, bytes, what, error, now_ns);
        return;
    }
    written = write(file->fd, lines, bytes);
    error = written < 0 ? errno : ENOSPC;
    kept = written > 0 ? whole_bytes(lines, (size_t)written) : 0;
    file->bytes += (off_t)kept;
    if (written != (ssize_t)bytes) {
        file->torn = written > (ssize_t)kept && ftruncate(file->fd, file->bytes) != 0;
        lines_lost(file, lines + kept, bytes - kept, "write", error, now_ns);
        return;
    }
    if (file->said) {
        log_info("%s: written again, %" PRIu64 " decisions were lost", file->path, file->lost);
        file->said = false;
    }
}

void decision_file_flush(struct decision_file *file, int64_t now_ns)
{
    if (file->pending.bytes > 0) {
        lines_write(file, (const char *)file->pending.data, file->pending.bytes, now_ns);
        buf_clear(&file->pending);
    }
}

int64_t decision_file_due_ns(const struct decision_file *file)
{
    return file->pending.bytes > 0 ? file->written_ns + WRITE_NS : 0;
}

void decision_file_write(struct decision_file *file, const void *line, size_t bytes, int64_t now_ns)
{
    if (!file->path) {
        return;
    }
    if (file->pending.bytes + bytes > LIMIT_DECISION_PENDING_BYTES) {
        decision_file_flush(file, now_ns);
    }
    if (buf_append(&file->pending, line, bytes) != 0) {
        lines_lost(file, line, bytes, "keep", ENOMEM, now_ns);
        return;
    }
    if (file->written_ns == 0 || now_ns - file->written_ns >= WRITE_NS) {
        decision_file_flush(file, now_ns);
    }
}

/* ---- the last id ---- */

/* The id that one line gives itself, the first member of this name; 0: none. */
static uint64_t line_id(const char *line)
{
    static const char key[] = "\"id\":\"";
    const char *at = strstr(line, key);
    uint64_t id = 0;

    return at && sscanf(at + sizeof(key) - 1, "%20" SCNu64, &id) == 1 ? id : 0;
}

/* Lines stand in the order in which requests ended, so the last one need not have the largest id.
 */
static uint64_t tail_id(char *tail)
{
    uint64_t largest = 0;

    for (char *line = tail, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        uint64_t id;

        *end = '\0';
        id = line_id(line);
        largest = id > largest ? id : largest;
    }
    return largest;
}

static uint64_t file_last_id(const char *state_dir, const char *suffix)
{
    char *path = NULL, *tail = malloc(TAIL_BYTES + 1);
    uint64_t id = 0;
    ssize_t bytes;
    off_t size;
    int fd = -1;

    if (!tail || asprintf(&path, "%s/" NAME "%s", state_dir, suffix) < 0) {
        path = NULL;
        goto out;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    if (size < 0) {
        goto out; /* none, or it is said when it is opened for writing */
    }
    bytes = pread(fd, tail, TAIL_BYTES, size > TAIL_BYTES ? size - TAIL_BYTES : 0);
    if (bytes > 0) {
        tail[bytes] = '\0';
        id = tail_id(tail);
    }
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    free(tail);
    return id;
}

uint64_t decision_file_last_id(const char *state_dir)
{
    uint64_t now, old;

    if (!state_dir[0]) {
        return 0;
    }
    now = file_last_id(state_dir, "");
    old = file_last_id(state_dir, ".1");
    return now > old ? now : old;
}
