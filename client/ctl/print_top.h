/* print_top.h: one screen of `tandemctl top`. Pure: what the daemon said in, text appended to a
 * buffer, no line wider than the style's width. 0, TANDEM_ENOMEM or TANDEM_ETOOBIG. */
#ifndef TANDEM_CTL_PRINT_TOP_H
#define TANDEM_CTL_PRINT_TOP_H

#include "client/ctl/print.h"
#include "client/ctl/top_sums.h"

#define TOP_ROWS 10 /* decisions, where there is no screen to fill */

/* The client: of `decisions`, an array with the newest last, so many are shown below the rest,
 * the newest first, that `lines` lines are filled (0: TOP_ROWS of them). */
int print_top_client(const cJSON *status, const struct top_sums *sums, const cJSON *decisions,
                     size_t lines, const struct table_style *style, struct buf *out);
/* The server: rates since `before`, an earlier status (NULL: since it started). */
int print_top_server(const cJSON *status, const cJSON *before, double seconds,
                     const struct table_style *style, struct buf *out);
/* The same rates: {"window_s":,"answered_per_s":,...}. *returns owned*; NULL: no memory. */
cJSON *top_server_json(const cJSON *status, const cJSON *before, double seconds);

#endif
