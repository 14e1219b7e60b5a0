#include "tests/sim/measure.h"

#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What is to be reached. */
#define HINDSIGHT_SLACK    1.03
#define GAP_GOAL           0.85
#define LATENCY_ERROR_GOAL 0.10 /* on links that stay the same */
#define COVERAGE_LEAST     0.93
#define COVERAGE_MOST      0.97

int report_csv(const char *path, const struct measures *rows, size_t count)
{
    FILE *file = fopen(path, "we");

    if (!file) {
        fprintf(stderr, "%s cannot be written\n", path);
        return TANDEM_EIO;
    }
    fprintf(file, "link,policy,clients,seed,requests,total_cost,regret,miss_rate,network_miss_rate,"
                  "in_time_accuracy,p50_ms,p95_ms,p99_ms,p999_ms,bytes_up,bytes_down,energy_j,"
                  "wasted_ms,offload_rate\n");
    for (size_t i = 0; i < count; i++) {
        const struct measures *row = &rows[i];

        fprintf(file,
                "%s,%s,%zu,%llu,%zu,%.3f,%.3f,%.6f,%.6f,%.6f,%.3f,%.3f,%.3f,%.3f,%.0f,%.0f,%.4f,"
                "%.3f,%.6f\n",
                row->scene->name, row->policy, row->clients, (unsigned long long)row->seed,
                row->requests, row->total_cost, row->regret, row->miss_rate, row->network_miss_rate,
                row->in_time_accuracy, row->p50_ms, row->p95_ms, row->p99_ms, row->p999_ms,
                row->bytes_up, row->bytes_down, row->energy_j, row->wasted_ms, row->offload_rate);
    }
    return fclose(file) == 0 ? 0 : TANDEM_EIO;
}

/* Rows of one link and one number of clients: `seeds` worlds of `per_world` policies. */
struct group {
    const struct measures *rows;
    size_t seeds, per_world;
};

static const struct measures *row_of(const struct group *group, size_t seed, size_t policy)
{
    return &group->rows[seed * group->per_world + policy];
}

static size_t policy_index(const struct group *group, const char *name)
{
    size_t at = 0;

    while (at < group->per_world && strcmp(group->rows[at].policy, name) != 0) {
        at++;
    }
    return at;
}

static double mean_of(const struct group *group, size_t policy, size_t offset)
{
    double sum = 0;

    for (size_t seed = 0; seed < group->seeds; seed++) {
        double value;

        memcpy(&value, (const char *)row_of(group, seed, policy) + offset, sizeof(value));
        sum += value;
    }
    return sum / (double)group->seeds;
}
#define MEAN(group, policy, member) mean_of(group, policy, offsetof(struct measures, member))

/* Student's 97.5 % points for 1 to 9 degrees of freedom, and the first terms of their expansion
 * around the normal's behind them. */
static double student(size_t freedom)
{
    static const double points[] = {12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26};
    const double z = 1.95996, n = (double)freedom;

    if (freedom == 0) {
        return NAN;
    }
    return freedom <= 9 ? points[freedom - 1]
                        : z + (pow(z, 3) + z) / (4 * n) +
                              (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * n * n);
}

/* Half of the 95 % interval of the mean of `count` values whose sums these are; of one: NAN. */
static double half_width(double sum, double squares, size_t count)
{
    const double n = (double)count;

    return count > 1 ? student(count - 1) * sqrt(fmax(squares - sum * sum / n, 0) / (n - 1) / n)
                     : NAN;
}

/* Of what this policy costs more than tandem in the same worlds. */
static double more_half_width(const struct group *group, size_t policy)
{
    const size_t tandem = policy_index(group, "tandem");
    double sum = 0, squares = 0;

    for (size_t seed = 0; seed < group->seeds; seed++) {
        const double more =
            row_of(group, seed, policy)->total_cost - row_of(group, seed, tandem)->total_cost;

        sum += more;
        squares += more * more;
    }
    return half_width(sum, squares, group->seeds);
}

static double cost_half_width(const struct group *group, size_t policy)
{
    double sum = 0, squares = 0;

    for (size_t seed = 0; seed < group->seeds; seed++) {
        const double cost = row_of(group, seed, policy)->total_cost;

        sum += cost;
        squares += cost * cost;
    }
    return half_width(sum, squares, group->seeds);
}

/* From the better of local and edge (0) to a cost of `to` (1). */
static double gap_part(const struct group *group, size_t policy, double to)
{
    const double local = MEAN(group, policy_index(group, "local"), total_cost);
    const double edge = MEAN(group, policy_index(group, "edge"), total_cost);
    const double from = fmin(local, edge);

    return from > to ? (from - MEAN(group, policy, total_cost)) / (from - to) : NAN;
}

static double gap_closed(const struct group *group, size_t policy, const char *best)
{
    return gap_part(group, policy, MEAN(group, policy_index(group, best), total_cost));
}

static void group_print(const struct group *group)
{
    const size_t tandem = policy_index(group, "tandem");
    const double requests = (double)group->rows->requests;

    printf("\n%s, %zu client%s, %.0f requests, %zu seed%s (costs a request, in ms)\n",
           group->rows->scene->name, group->rows->clients, group->rows->clients == 1 ? "" : "s",
           requests, group->seeds, group->seeds == 1 ? "" : "s");
    printf("  %-12s %7s %6s %7s %6s %7s %6s %7s %7s %6s %7s %7s %7s %7s %8s %7s %7s %6s %6s\n",
           "policy", "cost", "+-95%", "more", "+-95%", "regret", "gap", "miss%", "net%", "acc%",
           "p50", "p95", "p99", "p99.9", "KB up", "joule", "wasted", "off%", "edge%");
    for (size_t at = 0; at < group->per_world; at++) {
        printf("  %-12s %7.2f %6.2f %7.2f %6.2f %7.2f %6.2f %7.3f %7.3f %6.2f %7.1f %7.1f %7.1f "
               "%7.1f %8.1f %7.4f %7.2f %6.1f %6.1f\n",
               group->rows[at].policy, MEAN(group, at, total_cost) / requests,
               cost_half_width(group, at) / requests,
               (MEAN(group, at, total_cost) - MEAN(group, tandem, total_cost)) / requests,
               more_half_width(group, at) / requests, MEAN(group, at, regret) / requests,
               gap_closed(group, at, "informed"), 100 * MEAN(group, at, miss_rate),
               100 * MEAN(group, at, network_miss_rate), 100 * MEAN(group, at, in_time_accuracy),
               MEAN(group, at, p50_ms), MEAN(group, at, p95_ms), MEAN(group, at, p99_ms),
               MEAN(group, at, p999_ms), MEAN(group, at, bytes_up) / requests / 1000,
               MEAN(group, at, energy_j) / requests, MEAN(group, at, wasted_ms) / requests,
               100 * MEAN(group, at, offload_rate), 100 * MEAN(group, at, edge_rate));
    }
}

struct summary {
    size_t groups, beaten, within;
    double gap, plain_gap, oracle_gap, gap_groups, worst_hindsight;
    double network_misses, lost;
    size_t foreseen, covered;   /* groups with edge answers, those whose coverage is held */
    size_t steady, steady_near; /* of links that stay the same, and their latency's error */
    size_t outages, recovered;
};

/* tandem against each baseline on this link: who was cheaper, and against hindsight. */
static void group_judge(const struct group *group, struct summary *summary)
{
    const size_t tandem = policy_index(group, "tandem");
    const double own = MEAN(group, tandem, total_cost);
    const double gap = gap_closed(group, tandem, "informed");
    const double ratio = own / MEAN(group, policy_index(group, "hindsight"), total_cost);
    bool best = true;

    for (size_t at = 0; at < group->per_world; at++) {
        const char *name = group->rows[at].policy;

        if (at != tandem && strcmp(name, "hindsight") != 0 && strcmp(name, "informed") != 0 &&
            strcmp(name, "oracle") != 0 && MEAN(group, at, total_cost) < own) {
            best = false;
            printf("  dearer than %s: %s, %zu clients: by %.2f %%\n", name,
                   group->rows->scene->name, group->rows->clients,
                   100 * (own / MEAN(group, at, total_cost) - 1));
        }
    }
    printf("  %-32s %2zu clients: %6.1f %% of the gap to informed, %.3f of hindsight\n",
           group->rows->scene->name, group->rows->clients, 100 * gap, ratio);
    summary->groups++;
    summary->beaten += best;
    summary->within += ratio <= HINDSIGHT_SLACK;
    summary->worst_hindsight = fmax(summary->worst_hindsight, ratio);
    summary->network_misses +=
        MEAN(group, tandem, network_miss_rate) * (double)(group->rows->requests * group->seeds);
    for (size_t i = 0; i < group->seeds * group->per_world; i++) {
        summary->lost += (double)group->rows[i].lost;
    }
    if (!isnan(gap)) {
        summary->gap += gap;
        summary->plain_gap += gap_part(
            group, tandem, MEAN(group, policy_index(group, "informed"), as_they_came_cost));
        summary->oracle_gap += gap_closed(group, tandem, "oracle");
        summary->gap_groups++;
    }
}

static double worse_of(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

/* Whether the capacity of every way hardly changes, a tenth up or down, and its delay not at all.
 */
static bool is_stationary(const struct scene *scene)
{
    for (size_t edge = 0; edge < scene->edges; edge++) {
        const struct trace *trace = &scene->up[edge];
        const double mean = trace->bytes / (double)trace->length_ns;

        for (size_t i = 0; i < trace->count; i++) {
            const struct bin *bin = &trace->bins[i];

            if (fabs(bin->bytes_per_ns - mean) > 0.1 * mean || bin->loss > 0 ||
                bin->delay_ns != trace->bins[0].delay_ns) {
                return false;
            }
        }
    }
    return true;
}

/* Over all seeds: the error in the middle, coverage of all requests alike, the longest recovery. */
static void predictions_print(const struct group *group, struct summary *summary)
{
    const size_t tandem = policy_index(group, "tandem");
    double covered = 0, recovery_ms = NAN, asked_ms = NAN, usable_ms = NAN, error = 0;
    size_t count = 0, known = 0;

    for (size_t seed = 0; seed < group->seeds; seed++) {
        const struct measures *row = row_of(group, seed, tandem);

        if (row->p95_count > 0) {
            covered += row->p95_coverage * (double)row->p95_count;
            count += row->p95_count;
        }
        error += isnan(row->latency_error) ? 0 : row->latency_error;
        known += isnan(row->latency_error) ? 0 : 1;
        recovery_ms = worse_of(recovery_ms, row->recovery_ms);
        asked_ms = worse_of(asked_ms, row->asked_ms);
        usable_ms = worse_of(usable_ms, row->usable_ms);
        summary->outages += row->outages;
        summary->recovered += row->recovered;
    }
    if (count > 0) {
        const double coverage = covered / (double)count;

        summary->foreseen++;
        summary->covered += coverage >= COVERAGE_LEAST && coverage <= COVERAGE_MOST;
    }
    if (is_stationary(group->rows->scene) && known > 0) {
        summary->steady++;
        summary->steady_near += error / (double)known <= LATENCY_ERROR_GOAL;
    }
    printf("  %-32s %7zu  %6.1f  %8.1f  %6zu  %9.0f  %9.0f  %9.0f\n", group->rows->scene->name,
           group->rows->clients, 100 * error / (double)known, 100 * covered / (double)count, count,
           usable_ms, asked_ms, recovery_ms);
}

static void predictions_head(void)
{
    printf(
        "\ntandem's predictions of an edge's time: median relative error, share within the "
        "predicted 95 %% point, of how many answers\n"
        "and the longest time after an outage's end: usable, until the edge may be chosen again; "
        "asked, from the first request\nthat informed would send there to the end of the first "
        "that is sent and not given up; answer, to the first edge answer in time\n"
        "  %-32s %7s  %6s  %8s  %6s  %9s  %9s  %9s\n",
        "link", "clients", "error%", "covered%", "of", "usable_ms", "asked_ms", "answer_ms");
}

/* The group that begins at row `*first`, which moves behind it. */
static struct group group_next(const struct measures *rows, size_t count, size_t per_world,
                               size_t *first)
{
    struct group group = {.rows = &rows[*first], .seeds = 0, .per_world = per_world};

    while (*first < count && rows[*first].scene == group.rows->scene &&
           rows[*first].clients == group.rows->clients) {
        group.seeds++;
        *first += per_world;
    }
    return group;
}

/* The mean share of the gap to informed with its interval over seeds. */
static void gap_print(const struct measures *rows, size_t count, size_t per_world)
{
    const size_t seeds = group_next(rows, count, per_world, &(size_t){0}).seeds;
    double sum = 0, squares = 0;

    for (size_t seed = 0; seed < seeds; seed++) {
        double gap = 0, groups = 0;

        for (size_t first = 0; first < count;) {
            struct group one = group_next(rows, count, per_world, &first);
            const struct group of_seed = {row_of(&one, seed, 0), 1, per_world};
            const double part = gap_closed(&of_seed, policy_index(&of_seed, "tandem"), "informed");

            gap += isnan(part) ? 0 : part;
            groups += !isnan(part);
        }
        sum += gap / groups;
        squares += gap / groups * (gap / groups);
    }
    printf("  to informed, seed by seed: %.1f %% +- %.1f (95 %% interval over %zu seeds)\n",
           100 * sum / (double)seeds, 100 * half_width(sum, squares, seeds), seeds);
}

static const char *verdict(bool held)
{
    return held ? "held" : "NOT HELD";
}

static void goals_print(const struct summary *summary)
{
    const double gap = summary->gap / summary->gap_groups;

    printf("\nmeasures to reach\n");
    printf("  %-8s at most every baseline's cost: %zu of %zu\n",
           verdict(summary->beaten == summary->groups), summary->beaten, summary->groups);
    printf("  %-8s at most %.2f of hindsight: %zu of %zu, worst %.3f\n",
           verdict(summary->within == summary->groups), HINDSIGHT_SLACK, summary->within,
           summary->groups, summary->worst_hindsight);
    printf("  %-8s at least %.0f %% of the gap to informed closed on average: %.1f %%\n",
           verdict(gap >= GAP_GOAL), 100 * GAP_GOAL, 100 * gap);
    printf("  %-8s no miss of the network's, no request without an end: %.0f, %.0f\n",
           verdict(summary->network_misses < 0.5 && summary->lost < 0.5), summary->network_misses,
           summary->lost);
    printf(
        "  %-8s latency predicted within %.0f %% in the middle on stationary links: %zu of %zu\n",
        verdict(summary->steady_near == summary->steady), 100 * LATENCY_ERROR_GOAL,
        summary->steady_near, summary->steady);
    printf("  %-8s %.0f to %.0f %% within the predicted 95 %% point: %zu of %zu\n",
           verdict(summary->covered == summary->foreseen), 100 * COVERAGE_LEAST,
           100 * COVERAGE_MOST, summary->covered, summary->foreseen);
    printf("  %-8s after an outage an edge answer in time within 2 s of the first request that "
           "informed would send: %zu of %zu\n",
           verdict(summary->recovered == summary->outages), summary->recovered, summary->outages);
}

static void summary_print(const struct summary *summary)
{
    printf("  of the gap closed on average: %.1f %% to oracle, %.1f %% to an informed that sends "
           "pictures as they came\n",
           100 * summary->oracle_gap / summary->gap_groups,
           100 * summary->plain_gap / summary->gap_groups);
}

void report_print(const struct measures *rows, size_t count, size_t per_world)
{
    struct summary summary = {0};
    struct group group;

    for (size_t first = 0; first < count;) {
        group = group_next(rows, count, per_world, &first);
        group_print(&group);
    }
    printf("\ntandem against the others\n");
    for (size_t first = 0; first < count;) {
        group = group_next(rows, count, per_world, &first);
        group_judge(&group, &summary);
    }
    summary_print(&summary);
    gap_print(rows, count, per_world);
    predictions_head();
    for (size_t first = 0; first < count;) {
        group = group_next(rows, count, per_world, &first);
        predictions_print(&group, &summary);
    }
    goals_print(&summary);
}
