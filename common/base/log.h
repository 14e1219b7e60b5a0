/* log.h: one line per event to stderr, with systemd's "<N>" levels when JOURNAL_STREAM is set, else
 * with a UTC time and a level word. The sink is the one global of the code base. Any thread may
 * call. A write that fails (disk full, closed pipe) is counted, never retried and never fatal; the
 * next line that can be written says how many were lost. No user text, pictures or secrets belong
 * in a line. */
#ifndef TANDEM_BASE_LOG_H
#define TANDEM_BASE_LOG_H

#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* Names the program in each line and sets the least severe level that is written. `fd` is where
 * lines go (2 for stderr); borrowed. */
void log_init(const char *program, enum log_level level, int fd);
void log_set_level(enum log_level level);

/* printf-like; newlines and control bytes in the result are replaced, length is bounded by
 * LIMIT_LOG_LINE_BYTES. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Lines that could not be written since start. */
uint64_t log_lost_lines(void);

#endif
