#include "client/policy/edge_truth.h"

#include "common/base/limits.h"

void edge_truth_tell(struct edge_truth *truth, bool correct)
{
    if (truth->told >= LIMIT_LEARNED_COUNT) { /* the share stays, and new words count more */
        truth->told /= 2;
        truth->wrong /= 2;
    }
    truth->told++;
    truth->wrong += !correct;
}

void edge_truth_untell(struct edge_truth *truth, bool correct)
{
    truth->told -= truth->told > 0;
    truth->wrong -= !correct && truth->wrong > 0;
    if (truth->wrong > truth->told) {
        truth->wrong = truth->told;
    }
}

double edge_truth_error(const struct edge_truth *truth, double prior)
{
    return (EDGE_TRUTH_PRIOR_WEIGHT * prior + (double)truth->wrong) /
           (EDGE_TRUTH_PRIOR_WEIGHT + (double)truth->told);
}

struct edge_belief edge_truth_belief(const struct edge_truth *truth, double prior)
{
    return (struct edge_belief){.error = edge_truth_error(truth, prior),
                                .mended_min = EDGE_MENDED_MIN * EDGE_TRUTH_PRIOR_WEIGHT /
                                              (EDGE_TRUTH_PRIOR_WEIGHT + (double)truth->told)};
}
