/* top_sums.h: what the last decisions came to, for all tasks and for each. Pure. */
#ifndef TANDEM_CTL_TOP_SUMS_H
#define TANDEM_CTL_TOP_SUMS_H

#include <cjson/cJSON.h>
#include <stddef.h>

/* Rates and shares are of at most so long, and of at most so many decisions. */
#define TOP_WINDOW_S  60
#define TOP_DECISIONS 300

struct top_sum {
    const char *task; /* NULL: all of them */
    size_t asked;     /* requests that began in the window */
    size_t ended;     /* those of them that have ended, neither cancelled nor at fault themselves */
    size_t in_time, failed, local, edge, cache; /* of those that ended; the last three: by whom */
    double p50_ms, p95_ms;                      /* NAN: nothing was answered */
};
struct top_sums {
    double window_s;       /* that `asked` came in */
    struct top_sum *items; /* the first: all tasks */
    size_t count;
};

/* `status` is a client's; of `decisions`, an array with the newest last, those count that began
 * within the window before `now_unix_ns`. Where more came than an array holds, the window is as
 * long as these took; where the daemon is younger, as long as it is up. *returns owned* in
 * *ret_sums, with names borrowed from `status`: 0, or TANDEM_ENOMEM. */
int top_sums_make(const cJSON *status, const cJSON *decisions, double now_unix_ns,
                  struct top_sums *ret_sums);
void top_sums_fini(struct top_sums *sums); /* a zeroed one is fine */
/* `part` of `whole`; NAN: of nothing. */
double top_share(size_t part, size_t whole);
/* {"window_s":,"all":{},"tasks":[{"name":}]} with requests_per_s, in_time, local, edge, cache and
 * failed (shares), p50_ms and p95_ms in each; what is not known is null. *returns owned*; NULL: no
 * memory. */
cJSON *top_sums_json(const struct top_sums *sums);

#endif
