/* random_input.h: what decide() is told, at random but as the daemon may tell it: any number of
 * edges in any state, any counts that were learned, any promises, any limits. The same source gives
 * the same inputs. */
#ifndef TANDEM_TESTS_RANDOM_INPUT_H
#define TANDEM_TESTS_RANDOM_INPUT_H

#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <math.h>

struct random_input {
    struct decide_input input; /* points into the rest */
    struct decide_edge edges[LIMIT_EDGES + 1];
    struct confidence confidence;
    struct decide_insured insured[INSURED_MAX + 1];
    struct decide_cached cached;
    struct cascade_costs costs;
};

static inline bool random_one_in(struct random_source *random, uint64_t times)
{
    return random_below(random, times) == 0;
}

/* Most are small, some are a thousand times as large. */
static inline double random_ms(struct random_source *random, double least_ms, double most_ms)
{
    return least_ms * pow(most_ms / least_ms, random_unit(random));
}

static inline struct latency random_latency(struct random_source *random)
{
    const double mean_ms = random_ms(random, 0.5, 3000);

    return (struct latency){mean_ms, mean_ms * (1 + 2 * random_unit(random))};
}

static inline void random_confidence(struct random_source *random, struct confidence *confidence)
{
    const uint64_t seen = random_one_in(random, 4) ? 0 : random_below(random, 200);

    confidence_init(confidence);
    for (uint64_t i = 0; i < seen; i++) {
        const double sure = random_unit(random);
        const bool right = random_unit(random) < sure;

        confidence_see(confidence, sure);
        if (random_one_in(random, 2)) {
            confidence_compare(confidence, sure, right);
        }
        if (random_one_in(random, 8)) {
            confidence_tell(confidence, sure, right);
        }
    }
}

static inline struct decide_form random_form(struct random_source *random, bool as_it_came)
{
    const uint32_t side = as_it_came ? 0 : 32 + (uint32_t)random_below(random, 1000);

    return (struct decide_form){.upload = {.width = side,
                                           .height = side,
                                           .quality = as_it_came ? 0 : 50,
                                           .row = (uint32_t)random_below(random, UPLOAD_ROWS),
                                           .bytes = 100 + 1e6 * random_unit(random),
                                           .prepare_ms = as_it_came ? 0 : 5 * random_unit(random),
                                           .error = as_it_came ? 0 : 0.2 * random_unit(random)},
                                .latency_known = !random_one_in(random, 4),
                                .latency = random_latency(random),
                                .best_ms =
                                    random_one_in(random, 3) ? NAN : random_ms(random, 0.5, 300)};
}

static inline struct decide_edge random_edge(struct random_source *random, size_t index)
{
    static const char *const names[] = {"attic", "den", "hall", "yard"};
    static const char *const troubles[] = {"no edge connected", "edge does not have the task",
                                           "edge is draining", "edge has another model"};
    const uint64_t trouble = random_below(random, 8);
    struct decide_edge edge = {
        .name = names[index % 4],
        .unusable = trouble < 4 ? troubles[trouble] : NULL,
        .trouble = trouble < 4 ? (enum edge_trouble)(EDGE_DOWN + trouble) : EDGE_FINE,
        .silent = random_one_in(random, 8),
        .retry_due = random_one_in(random, 3),
        .best_ms = random_one_in(random, 3) ? NAN : random_ms(random, 0.5, 300),
        .failure = random_one_in(random, 2) ? 0 : random_unit(random),
        .truth = {.told = 20, .wrong = (uint32_t)random_below(random, 21)},
        .latency_known = !random_one_in(random, 4),
        .latency = random_latency(random),
        .form_count = random_below(random, LIMIT_UPLOAD_FORMS + 1)};

    for (size_t i = 0; i < edge.form_count; i++) {
        edge.forms[i] = random_form(random, i == 0);
    }
    return edge;
}

static inline struct decide_insured random_insured(struct random_source *random, int64_t now_ns)
{
    const int64_t run_ns = 1 + (int64_t)random_below(random, 50 * (uint64_t)NS_PER_MS);
    const int64_t start_ns =
        random_one_in(random, 2) ? 0 : now_ns + (int64_t)random_below(random, (uint64_t)NS_PER_S);

    return (struct decide_insured){
        .start_ns = start_ns,
        .deadline_ns = random_one_in(random, 5) ? INSURED_NO_DEADLINE
                                                : (start_ns ? start_ns : now_ns) + run_ns +
                                                      (int64_t)random_below(random, NS_PER_S),
        .run_ns = run_ns,
        .step_ns = 1 + (int64_t)random_below(random, (uint64_t)run_ns),
        .margin_ns = (int64_t)random_below(random, 5 * (uint64_t)NS_PER_MS),
        .in_step_ns = start_ns == 0 && random_one_in(random, 3) ? 1000 : 0};
}

static inline void random_limits(struct random_source *random, struct decide_input *input)
{
    static const char *const names[] = {NULL, NULL, NULL, NULL, "attic", "den", "cellar"};

    input->forced =
        random_one_in(random, 3) ? (enum decide_forced)random_below(random, 4) : FORCED_AUTO;
    input->fixed = input->forced != FORCED_AUTO && random_one_in(random, 2);
    input->forced_edge = input->forced == FORCED_EDGE ? names[random_below(random, 7)] : NULL;
    input->only_edge = names[random_below(random, 7)];
    input->never_leaves = random_one_in(random, 8);
    input->too_big = random_one_in(random, 8);
    input->has_local = !random_one_in(random, 5);
    input->local_known = input->has_local && !random_one_in(random, 4);
    input->no_reserve = (enum decide_no_reserve)random_below(random, 3);
    input->deliver_late = random_one_in(random, 2);
}

static inline void random_input_make(struct random_source *random, struct random_input *made)
{
    const int64_t now_ns = NS_PER_S + (int64_t)random_below(random, (uint64_t)NS_PER_S);
    const double bound_ms = random_ms(random, 1, 500);
    struct decide_input *input = &made->input;

    *input = (struct decide_input){
        .weights = {.one_miss_ms = random_ms(random, 1, 10000),
                    .one_megabyte_ms = random_ms(random, 1, 1000),
                    .one_error_ms = random_ms(random, 1, 100000),
                    .one_joule_ms = random_ms(random, 1, 1000)},
        .energy = {.compute_watt = random_one_in(random, 2) ? 0 : 10 * random_unit(random),
                   .joule_per_byte = random_one_in(random, 2) ? 0 : 1e-6 * random_unit(random)},
        .local = random_latency(random),
        .local_run_ms = bound_ms / 2,
        .local_bound_ms = random_one_in(random, 8) ? NAN : bound_ms,
        .local_step_ms = bound_ms * random_unit(random),
        .margin_ms = 5 * random_unit(random),
        .edges = made->edges,
        .edge_count = random_below(random, LIMIT_EDGES + 2),
        .up_bytes = 1 + random_below(random, 2000000),
        .threshold = random_unit(random),
        .confidence = &made->confidence,
        .edge_error = 0.3 * random_unit(random),
        .now_ns = now_ns,
        .insured = made->insured,
        .insured_count = random_one_in(random, 8) ? INSURED_MAX + 1 : random_below(random, 8)};
    if (!random_one_in(random, 4)) {
        input->deadline_ns = now_ns + (int64_t)(random_ms(random, 1, 5000) * (double)NS_PER_MS);
    }
    random_limits(random, input);
    random_confidence(random, &made->confidence);
    for (size_t i = 0; i < input->edge_count; i++) {
        made->edges[i] = random_edge(random, i);
    }
    for (size_t i = 0; i < input->insured_count; i++) {
        made->insured[i] = random_insured(random, now_ns);
    }
    made->costs =
        (struct cascade_costs){random_ms(random, 0.01, 100), random_ms(random, 0.01, 100)};
    if (random_one_in(random, 3)) {
        input->costs = &made->costs;
        made->confidence.odds = cascade_two_odds(&made->costs);
    }
    made->cached = (struct decide_cached){.error_probability = random_unit(random),
                                          .error_weight = random_unit(random),
                                          .by_local = random_one_in(random, 2),
                                          .reason = "the same input was answered before"};
    input->cached = random_one_in(random, 8) ? &made->cached : NULL;
}

#endif
