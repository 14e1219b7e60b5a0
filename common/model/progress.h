/* progress.h: how far long work is, on a terminal alone: one line that is written over. One thread.
 */
#ifndef TANDEM_MODEL_PROGRESS_H
#define TANDEM_MODEL_PROGRESS_H

#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *notes;
    const char *unit;
    double scale;
    int64_t next_ns;
};
typedef void (*progress_fn)(uint64_t done, uint64_t total, void *user);

/* What to call with what is done and what there is, and `progress` as user; NULL when `notes` is no
 * terminal. Shown is "12.5 % of 4.2 UNIT", in thousands and so on by `scale`. */
progress_fn progress_begin(struct progress *progress, FILE *notes, const char *unit, double scale);

#endif
