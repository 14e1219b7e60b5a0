#include "client/daemon/positive.h"

#include <string.h>

/* answer->label_count: it is not there. */
static size_t label_find(const struct answer *answer, const char *label)
{
    size_t at = 0;

    while (at < answer->label_count && strcmp(answer->labels[at].label, label) != 0) {
        at++;
    }
    return at;
}

static double probability(const struct answer *answer, size_t at)
{
    const double likeliest = answer->labels[0].score;

    if (at == answer->label_count) {
        return 0;
    }
    return at == 0 ? answer->confidence
                   : answer->labels[at].score *
                         (likeliest < 1 ? (1 - answer->confidence) / (1 - likeliest) : 0);
}

/* To the first place; the others keep their order. */
static void label_lead(struct answer *answer, size_t at)
{
    const struct answer_label lead = answer->labels[at];

    memmove(&answer->labels[1], &answer->labels[0], at * sizeof(lead));
    answer->labels[0] = lead;
}

void positive_choose(struct answer *answer, const char *label, const struct cascade_costs *costs)
{
    const size_t at = label_find(answer, label);
    double sure;
    bool yes;

    if (!costs || answer->label_count == 0) {
        return;
    }
    sure = probability(answer, at);
    yes = at < answer->label_count && cascade_two_is_yes(costs, sure);
    if (yes) {
        label_lead(answer, at);
    } else if (at == 0 && answer->label_count > 1) {
        label_lead(answer, 1);
    }
    answer->confidence = yes ? sure : 1 - sure;
}

bool positive_is_first(const struct answer *answer, const char *label)
{
    return label[0] && answer->label_count > 0 && strcmp(answer->labels[0].label, label) == 0;
}

double positive_sure(const struct answer *answer, const char *label)
{
    return !label[0] || positive_is_first(answer, label) ? answer->confidence
                                                         : 1 - answer->confidence;
}

bool positive_is_likely(const struct answer *answer, const char *label)
{
    const size_t at = label_find(answer, label);

    for (size_t i = 0; i < answer->label_count; i++) {
        if (at == answer->label_count || answer->labels[i].score > answer->labels[at].score) {
            return false;
        }
    }
    return at < answer->label_count;
}
