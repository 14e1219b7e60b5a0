/* run_result.h: how a request by hand ended, as text and as JSON. Pure. */
#ifndef TANDEM_CTL_RUN_RESULT_H
#define TANDEM_CTL_RUN_RESULT_H

#include "tandem.h"

#include "client/ctl/table.h"

/* Appends the JSON of `tandemctl run --json`, with a newline. `error_text`: what is said of an
 * `error` that is not 0; `answer`: of a success; else what
 * tandem_last_failure has, or NULL. */
int run_result_json(int error, const char *error_text, const struct tandem_answer *answer,
                    struct buf *out);
/* Appends the answer alone, as text. `clean`: without control bytes, for a terminal. */
int run_result_answer(const struct tandem_answer *answer, const struct table_style *style,
                      bool clean, struct buf *out);
/* Appends which decision, who answered in what time or that it failed, why, on lines of at most
 * `width` characters; 0: one line. */
int run_result_decision(int error, const struct tandem_answer *answer, size_t width,
                        struct buf *out);

#endif
