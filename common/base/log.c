#include "common/base/log.h"

#include "common/base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_PROGRAM_BYTES 32

/* The sink. `program`, `fd` and `journal` are written by log_init, before there are other threads.
 */
static struct {
    char program[LOG_PROGRAM_BYTES];
    int fd;
    bool journal;
    atomic_int level;
    atomic_ullong lost;   /* since start */
    atomic_ullong unsaid; /* lost and not yet told by a later line */
} sink = {.program = "tandem", .fd = 2, .level = LOG_LEVEL_INFO};

void log_init(const char *program, enum log_level level, int fd)
{
    snprintf(sink.program, sizeof(sink.program), "%s", program);
    sink.fd = fd;
    sink.journal = getenv("JOURNAL_STREAM") != NULL;
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    atomic_store(&sink.level, (int)level);
}

uint64_t log_lost_lines(void)
{
    return atomic_load(&sink.lost);
}

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

/* Returns the bytes written to `line`, at most `capacity` - 1. */
static size_t prefix_format(enum log_level level, char *line, size_t capacity)
{
    struct timespec now = {0};
    struct tm utc = {0};
    char date[32];
    int length;

    if (sink.journal) {
        length = snprintf(line, capacity, "<%d>", (int)level);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
        length = snprintf(line, capacity, "%s.%03ldZ %s %s: ", date, now.tv_nsec / 1000000,
                          sink.program, level_word(level));
    }
    return length < 0 ? 0 : (size_t)length;
}

/* One write, so that lines of several threads do not mix. A torn line counts as lost. */
static bool line_write(const char *line, size_t bytes)
{
    ssize_t written;

    do {
        written = write(sink.fd, line, bytes);
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)bytes;
}

static void text_clean(char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char byte = (unsigned char)text[i];

        if (byte < 0x20 || byte == 0x7f) {
            text[i] = byte == '\n' || byte == '\t' ? ' ' : '?';
        }
    }
}

static void lost_say(void)
{
    char line[LIMIT_LOG_LINE_BYTES];
    unsigned long long unsaid = atomic_exchange(&sink.unsaid, 0);
    size_t bytes;

    if (unsaid == 0) {
        return;
    }
    bytes = prefix_format(LOG_LEVEL_WARNING, line, sizeof(line));
    bytes += (size_t)snprintf(line + bytes, sizeof(line) - bytes,
                              "%llu log lines could not be written\n", unsaid);
    if (!line_write(line, bytes)) {
        atomic_fetch_add(&sink.unsaid, unsaid);
    }
}

static void log_write(enum log_level level, const char *format, va_list arguments)
{
    const int saved_errno = errno;
    char line[LIMIT_LOG_LINE_BYTES];
    size_t start;
    size_t room;
    int length;

    if ((int)level > atomic_load(&sink.level)) {
        return;
    }
    start = prefix_format(level, line, sizeof(line));
    room = sizeof(line) - start;
    errno = saved_errno; /* for %m */
    length = vsnprintf(line + start, room, format, arguments);
    if (length < 0) {
        length = 0;
    }
    if ((size_t)length >= room) {
        length = (int)room - 1;
        memcpy(line + sizeof(line) - 4, "...", 3);
    }
    text_clean(line + start, (size_t)length);
    line[start + (size_t)length] = '\n';
    lost_say();
    if (!line_write(line, start + (size_t)length + 1)) {
        atomic_fetch_add(&sink.lost, 1);
        atomic_fetch_add(&sink.unsaid, 1);
    }
    errno = saved_errno;
}

#define LOG_BODY(level)                                                                            \
    do {                                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        log_write(level, format, arguments);                                                       \
        va_end(arguments);                                                                         \
    } while (0)

void log_error(const char *format, ...)
{
    LOG_BODY(LOG_LEVEL_ERROR);
}

void log_warning(const char *format, ...)
{
    LOG_BODY(LOG_LEVEL_WARNING);
}

void log_info(const char *format, ...)
{
    LOG_BODY(LOG_LEVEL_INFO);
}

void log_debug(const char *format, ...)
{
    LOG_BODY(LOG_LEVEL_DEBUG);
}
