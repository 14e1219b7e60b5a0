/* print_top.h: one screen of `tandemctl top`. Pure: what the daemon said in, text appended to a
 * buffer. 0, TANDEM_ENOMEM or TANDEM_ETOOBIG. */
#ifndef TANDEM_CTL_PRINT_TOP_H
#define TANDEM_CTL_PRINT_TOP_H

#include "client/ctl/print.h"

/* Rates and shares are of at most so long, and of at most so many decisions. */
#define TOP_WINDOW_S  60
#define TOP_DECISIONS 300

/* The client: `decisions` is an array, newest last, and `now_unix_ns` when it was asked for. The
 * newest `rows` of them are shown, newest first. */
int print_top_client(const cJSON *status, const cJSON *decisions, double now_unix_ns, size_t rows,
                     const struct table_style *style, struct buf *out);
/* The server: rates since `before`, an earlier status (NULL: since it started). */
int print_top_server(const cJSON *status, const cJSON *before, double seconds,
                     const struct table_style *style, struct buf *out);

#endif
