/* bench_decide.c: the time of one decision: with 8 candidates, and with as many edges and promised
 * local runs as a busy device may have. bench_decide FILE.csv prints a table and writes the same.
 */
#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/stats.h"

#include <stdio.h>

#define ROUNDS       20000
#define INSURED_MOST 32

struct site {
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_insured insured[INSURED_MOST];
    struct confidence confidence;
};

static void site_fill(struct site *site)
{
    confidence_init(&site->confidence);
    for (int i = 0; i < 200; i++) {
        const double sure = (double)(i % 100) / 100.0;

        confidence_see(&site->confidence, sure);
        confidence_compare(&site->confidence, sure, i % 3 != 0);
    }
    for (int i = 0; i < LIMIT_EDGES; i++) {
        site->edges[i] = (struct decide_edge){.name = "edge",
                                              .retry_due = true, /* all is weighed twice */
                                              .best_ms = 4,
                                              .latency_known = true,
                                              .latency = {20 + i, 30 + i}};
    }
    for (int i = 0; i < INSURED_MOST; i++) {
        site->insured[i] =
            (struct decide_insured){.start_ns = NS_PER_S + i * 20 * NS_PER_MS,
                                    .deadline_ns = NS_PER_S + (i * 20 + 40) * NS_PER_MS,
                                    .run_ns = 10 * NS_PER_MS};
    }
}

static void one_case(const struct site *site, size_t edges, size_t insured,
                     const struct decide_cached *cached, FILE *csv)
{
    static double us[ROUNDS];
    const struct decide_input input = {.weights = {1000, 20, 200},
                                       .forced = FORCED_AUTO,
                                       .has_local = true,
                                       .local_known = true,
                                       .local = {5, 6},
                                       .local_bound_ms = 10,
                                       .edges = site->edges,
                                       .edge_count = edges,
                                       .up_bytes = 1000,
                                       .threshold = 0.8,
                                       .confidence = &site->confidence,
                                       .edge_error = 0.1,
                                       .now_ns = NS_PER_S,
                                       .deadline_ns = 3 * NS_PER_S,
                                       .cached = cached,
                                       .insured = site->insured,
                                       .insured_count = insured};
    struct choice choice;
    double p50_us, p99_us;

    for (int i = 0; i < ROUNDS; i++) {
        const int64_t start_ns = clock_now_ns();

        (void)decide(&input, &choice);
        us[i] = (double)(clock_now_ns() - start_ns) / 1000.0;
    }
    p50_us = quantile_of(us, ROUNDS, 0.5);
    p99_us = quantile_of(us, ROUNDS, 0.99);
    printf("decide  %10zu %8zu %8.2f %8.2f\n", choice.count, insured, p50_us, p99_us);
    fprintf(csv, "%zu,%zu,%.2f,%.2f\n", choice.count, insured, p50_us, p99_us);
}

int main(int argc, char **argv)
{
    /* an answer of the edge's that is worse than what may be had: it is a candidate, no more */
    const struct decide_cached cached = {
        .error_probability = 0.9, .error_weight = 0.9, .reason = "the same input"};
    static struct site site;
    FILE *csv = argc == 2 ? fopen(argv[1], "w") : NULL;

    if (!csv) {
        fprintf(stderr, "usage: bench_decide FILE.csv (a file that can be written)\n");
        return 2;
    }
    site_fill(&site);
    fprintf(csv, "candidates,insured,p50_us,p99_us\n");
    printf("decide  candidates  insured   p50 us   p99 us\n");
    one_case(&site, 5, 0, &cached, csv); /* with local, cascade and cache: 8 */
    one_case(&site, 5, 8, &cached, csv);
    one_case(&site, LIMIT_EDGES, INSURED_MOST, NULL, csv);
    return fclose(csv) == 0 ? 0 : 1;
}
