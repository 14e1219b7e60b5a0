#include "common/base/error.h"
#include "tests/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRUTH_BINS 20
#define PATH_BYTES 4096

/* A camera's picture is some thirty times as large as the 32x32 thumbnail that was recorded. */
const struct task_kind task_kinds[SIM_TASKS] = {
    {"objects", 4.0, 250 * NS_PER_MS, 32},
    {"commands", 0.5, 2000 * NS_PER_MS, 1},
};

static int double_compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static int pair_compare(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;

    return a->task != b->task ? a->task - b->task
                              : (a->confidence > b->confidence) - (a->confidence < b->confidence);
}

/* The middle of a task's times per step: what the machine that recorded did besides is no part of
 * it. */
static double middle_ms(const struct pairs *pairs, int task, bool edge, double *scratch)
{
    size_t count = 0;

    for (size_t i = pairs->first[task]; i < pairs->first[task + 1]; i++) {
        const struct pair *pair = &pairs->items[i];

        scratch[count++] = (edge ? pair->edge_ms : pair->local_ms) / pair->steps;
    }
    qsort(scratch, count, sizeof(*scratch), double_compare);
    return count ? scratch[count / 2] : 0;
}

/* How often the answers of items `from` to `to` are right. */
static void truth_of(struct pair *items, size_t from, size_t to)
{
    double local = 0, edge = 0;

    for (size_t i = from; i < to; i++) {
        local += items[i].local_right;
        edge += items[i].edge_right;
    }
    for (size_t i = from; i < to; i++) {
        items[i].local_true = local / (double)(to - from);
        items[i].edge_true = edge / (double)(to - from);
    }
}

/* Over equally many neighbours in confidence. */
static void truth_fill(struct pairs *pairs, int task)
{
    const size_t first = pairs->first[task], count = pairs->first[task + 1] - first;

    for (size_t bin = 0; bin < TRUTH_BINS; bin++) {
        truth_of(pairs->items, first + bin * count / TRUTH_BINS,
                 first + (bin + 1) * count / TRUTH_BINS);
    }
}

/* How much seldomer the edge is right where it is sent each form, over all pictures. Not by
 * confidence: of ten forms the best in each small bin would owe more to luck than to the form. */
static void losses_fill(struct pairs *pairs)
{
    const size_t first = pairs->first[0], count = pairs->first[1] - first;

    for (size_t form = 0; form < SIM_FORMS; form++) {
        double lost = 0;

        for (size_t i = first; i < first + count; i++) {
            lost += pairs->items[i].edge_right - pairs->items[i].forms[form].right;
        }
        pairs->forms[form].loss = count > 0 ? lost / (double)count : 0;
    }
}

static int pairs_finish(struct pairs *pairs)
{
    double *scratch = malloc(sizeof(*scratch) * (pairs->count ? pairs->count : 1));

    if (!scratch) {
        return TANDEM_ENOMEM;
    }
    qsort(pairs->items, pairs->count, sizeof(*pairs->items), pair_compare);
    for (int task = 0; task <= SIM_TASKS; task++) {
        pairs->first[task] = 0;
        while (pairs->first[task] < pairs->count && pairs->items[pairs->first[task]].task < task) {
            pairs->first[task]++;
        }
    }
    for (int task = 0; task < SIM_TASKS; task++) {
        const double local_ms = middle_ms(pairs, task, false, scratch);
        const double edge_ms = middle_ms(pairs, task, true, scratch);

        for (size_t i = pairs->first[task]; i < pairs->first[task + 1]; i++) {
            pairs->items[i].local_ms = DEVICE_SLOWER * local_ms * pairs->items[i].steps;
            pairs->items[i].edge_ms = edge_ms * pairs->items[i].steps;
        }
        truth_fill(pairs, task);
    }
    losses_fill(pairs);
    free(scratch);
    return 0;
}

/* "0.998 0.97 0.9": one for each step but the last. */
static bool sure_parse(const char *at, struct pair *pair)
{
    unsigned count = 0;

    for (char *end; *at != '\0' && *at != '\n'; at = end) {
        if (count + 1 >= pair->steps) {
            return false;
        }
        pair->sure[count++] = strtof(at, &end);
        if (end == at) {
            return false;
        }
    }
    return count + 1 == pair->steps;
}

static bool pair_parse(const char *line, struct pair *pair)
{
    char task[32];
    int local_right, edge_right, agree;
    unsigned long long bytes;
    double local_us, edge_us;
    unsigned tokens;
    int sure_at = 0;

    memset(pair, 0, sizeof(*pair));
    if (sscanf(line, "%31[a-z],%lf,%d,%d,%d,%llu,%lf,%lf,%u,%u,%n", task, &pair->confidence,
               &local_right, &edge_right, &agree, &bytes, &local_us, &edge_us, &tokens, &pair->same,
               &sure_at) != 10 ||
        sure_at == 0 || tokens > SIM_TOKENS_MAX) {
        return false;
    }
    for (pair->task = 0; pair->task < SIM_TASKS; pair->task++) {
        if (strcmp(task_kinds[pair->task].name, task) == 0) {
            pair->local_right = local_right != 0;
            pair->edge_right = edge_right != 0;
            pair->agree = agree != 0;
            pair->bytes = (uint64_t)((double)bytes * task_kinds[pair->task].bytes_factor);
            pair->local_ms = local_us / 1000;
            pair->edge_ms = edge_us / 1000;
            pair->steps = tokens > 0 ? tokens : 1;
            return sure_parse(line + sure_at, pair);
        }
    }
    return false;
}

static int forms_beside(const char *path, struct pairs *pairs)
{
    const char *slash = strrchr(path, '/');
    char forms[PATH_BYTES];

    if (snprintf(forms, sizeof(forms), "%.*sforms.csv", slash ? (int)(slash + 1 - path) : 0,
                 path) >= (int)sizeof(forms)) {
        return TANDEM_ETOOBIG;
    }
    return forms_load(forms, pairs);
}

int pairs_load(const char *path, struct pairs *ret_pairs)
{
    FILE *file = fopen(path, "re");
    char line[512];
    struct pairs pairs = {0};
    size_t room = 0;
    int result = file ? 0 : TANDEM_EIO;

    if (!file || !fgets(line, sizeof(line), file)) {
        fprintf(stderr, "%s cannot be read\n", path);
        result = TANDEM_EIO;
    }
    while (result == 0 && fgets(line, sizeof(line), file)) {
        if (pairs.count == room) {
            struct pair *grown = realloc(pairs.items, sizeof(*grown) * (room = room * 2 + 1024));

            if (!grown) {
                result = TANDEM_ENOMEM;
                break;
            }
            pairs.items = grown;
        }
        if (!pair_parse(line, &pairs.items[pairs.count++])) {
            fprintf(stderr, "%s: no pair: %s", path, line);
            result = TANDEM_EFORMAT;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    if (result == 0) {
        result = forms_beside(path, &pairs);
    }
    if (result == 0) {
        result = pairs_finish(&pairs);
    }
    if (result != 0) {
        pairs_fini(&pairs);
        return result;
    }
    *ret_pairs = pairs;
    return 0;
}

void pairs_fini(struct pairs *pairs)
{
    free(pairs->items);
    memset(pairs, 0, sizeof(*pairs));
}
