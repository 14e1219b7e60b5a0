/* request_lines.h: the line that either daemon logs for each request it ends: the first
 * LIMIT_REQUEST_LINES_PER_S of a second at level info, the others at level debug, and at the end of
 * that second one line that counts them. So a flood of requests is no flood of lines, and every
 * request's id can still be had, with --verbose. Loop thread. */
#ifndef TANDEM_STREAM_REQUEST_LINES_H
#define TANDEM_STREAM_REQUEST_LINES_H

#include <uv.h>

struct request_lines;

/* *returns owned*; NULL without memory. It does not keep the loop running. */
struct request_lines *request_lines_new(uv_loop_t *loop);
/* printf-like, as log_info. */
void request_lines_say(struct request_lines *lines, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Counts what is not counted yet; the memory goes when the loop has run the close callback. NULL is
 * fine. */
void request_lines_free(struct request_lines *lines);

#endif
