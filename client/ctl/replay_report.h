/* replay_report.h: what a replay has found, and how it is shown. Pure but for memory. */
#ifndef TANDEM_CTL_REPLAY_REPORT_H
#define TANDEM_CTL_REPLAY_REPORT_H

#include "client/ctl/table.h"
#include "client/policy/replay_totals.h"
#include "common/base/json.h"

#define REPLAY_LARGEST 10 /* differences that are shown with their ids */

struct replay_difference {
    uint64_t id;
    char task[LIMIT_NAME_BYTES + 1];
    struct replay_way before, after;
};
struct replay_report {
    struct replay_options options;
    uint64_t requests; /* replayed */
    uint64_t bad_lines, unfinished, unpriced, forced, impossible;
    uint64_t changed; /* went elsewhere */
    struct replay_totals before, after;
    struct replay_moves moves;                        /* also those that stay where they were */
    struct replay_difference largest[REPLAY_LARGEST]; /* by the difference in cost, largest first */
    size_t largest_count;
};
void replay_report_fini(struct replay_report *report);
/* One decision. 0 or TANDEM_E* of replay_totals_add. */
int replay_report_add(struct replay_report *report, const struct replay_record *record);

/* As tandemctl(1) describes it, one object and a newline. 0 or TANDEM_E*. */
int replay_report_json(struct replay_report *report, struct buf *out);
int replay_report_text(struct replay_report *report, const struct table_style *style,
                       struct buf *out);

#endif
