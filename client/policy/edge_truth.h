/* edge_truth.h: how often an edge's answers are wrong, as the applications say (tandem_feedback).
 * Before they have said anything it is what the configuration believes, and while they have said
 * little it is a mixture. Pure. */
#ifndef TANDEM_POLICY_EDGE_TRUTH_H
#define TANDEM_POLICY_EDGE_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

struct edge_truth { /* zeroed: nothing was said */
    uint32_t told;  /* answers whose truth was told */
    uint32_t wrong; /* of these */
};
/* What is believed of an edge: its error, and the least part of the local model's errors that it is
 * believed to mend. That part is a belief without any evidence: it goes as evidence comes. */
struct edge_belief {
    double error, mended_min;
};
void edge_truth_tell(struct edge_truth *truth, bool correct);
/* Takes back what was told before. */
void edge_truth_untell(struct edge_truth *truth, bool correct);
/* (w * prior + wrong) / (w + told), w = EDGE_TRUTH_PRIOR_WEIGHT; 0..1 for a prior of 0..1. */
double edge_truth_error(const struct edge_truth *truth, double prior);
struct edge_belief edge_truth_belief(const struct edge_truth *truth, double prior);

#define EDGE_TRUTH_PRIOR_WEIGHT 10.0
#define EDGE_MENDED_MIN         0.3 /* of local errors, before anything was told */

#endif
