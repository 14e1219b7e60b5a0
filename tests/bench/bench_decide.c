/* bench_decide.c: the time of one decision with 16 edges and 32 insured runs. */
#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/stats.h"

#include <stdio.h>

#define ROUNDS 20000

int main(void)
{
    static double us[ROUNDS];
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_insured insured[32];
    struct confidence confidence;
    struct choice choice;
    struct decide_input input = {.weights = {1000, 20, 200},
                                 .forced = FORCED_AUTO,
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {5, 6},
                                 .local_bound_ms = 10,
                                 .edges = edges,
                                 .edge_count = LIMIT_EDGES,
                                 .up_bytes = 1000,
                                 .threshold = 0.8,
                                 .confidence = &confidence,
                                 .edge_error = 0.1,
                                 .now_ns = NS_PER_S,
                                 .deadline_ns = 3 * NS_PER_S,
                                 .insured = insured,
                                 .insured_count = 32};

    confidence_init(&confidence);
    for (int i = 0; i < LIMIT_EDGES; i++) {
        edges[i] = (struct decide_edge){
            .name = "edge", .latency_known = true, .latency = {20 + i, 30 + i}};
    }
    for (int i = 0; i < 32; i++) {
        insured[i] = (struct decide_insured){.start_ns = NS_PER_S + i * 20 * NS_PER_MS,
                                             .deadline_ns = NS_PER_S + (i * 20 + 40) * NS_PER_MS,
                                             .run_ns = 10 * NS_PER_MS};
    }
    for (int i = 0; i < ROUNDS; i++) {
        const int64_t start_ns = clock_now_ns();

        (void)decide(&input, &choice);
        us[i] = (double)(clock_now_ns() - start_ns) / 1000.0;
    }
    printf("decide, %d edges, %zu insured: p50 %.2f us, p99 %.2f us\n", LIMIT_EDGES,
           input.insured_count, quantile_of(us, ROUNDS, 0.5), quantile_of(us, ROUNDS, 0.99));
    return 0;
}
