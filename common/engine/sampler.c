/* sampler.c: from a row of logits to an id. Pure: randomness comes from the caller's seed alone, so
 * a request repeated with the same seed and the same logits gives the same text on every machine.
 */
#include "common/engine/engine.h"

#include <assert.h>
#include <math.h>

struct candidate {
    float weight; /* exp((logit - largest) / temperature): 0..1 */
    uint32_t id;
};
_Static_assert(sizeof(struct candidate) == 8, "the scratch contract of engine_sample");

/* SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix, every seed is good. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 <= x < 1, 53 bits. */
static double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

void engine_sampler_init(struct engine_sampler *sampler, const struct engine_sampling *params)
{
    sampler->params = *params;
    sampler->state = params->seed;
}

/* The smallest index of the largest value; NaN is never the largest. */
static size_t index_of_largest(const float *values, size_t n)
{
    size_t best = 0;
    float largest = -INFINITY;

    for (size_t i = 0; i < n; i++) {
        if (values[i] > largest) {
            largest = values[i];
            best = i;
        }
    }
    return best;
}

static float logprob_of(const float *logits, size_t n, size_t best, size_t chosen)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const double term = exp((double)logits[i] - (double)logits[best]);

        sum += isnan(term) ? 0 : term;
    }
    return (float)((double)logits[chosen] - (double)logits[best] - log(sum));
}

/* The more probable first, then the smaller id: an order without ties, so that a cut is the same
 * everywhere. */
static bool candidate_before(const struct candidate *a, const struct candidate *b)
{
    return a->weight > b->weight || (a->weight >= b->weight && a->id < b->id);
}

static void heap_sink(struct candidate *heap, size_t n, size_t at)
{
    const struct candidate moved = heap[at];

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= n) {
            break;
        }
        if (child + 1 < n && candidate_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!candidate_before(&heap[child], &moved)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Takes the best of `n` off the heap; it is left at heap[n - 1]. */
static struct candidate heap_pop(struct candidate *heap, size_t n)
{
    const struct candidate best = heap[0];

    heap[0] = heap[n - 1];
    heap_sink(heap, n - 1, 0);
    heap[n - 1] = best;
    return best;
}

/* Sorts the candidates that top-k and top-p keep to the end of `all`, best last; returns how many.
 * A heap gives them in order without sorting the whole vocabulary. Top-p counts within what top-k
 * left. */
static size_t cut(const struct engine_sampling *params, struct candidate *all, size_t n)
{
    const size_t most = params->top_k > 0 && params->top_k < n ? params->top_k : n;
    double total = 0, kept_weight = 0;
    size_t kept = 0;

    for (size_t i = n / 2; i-- > 0;) {
        heap_sink(all, n, i);
    }
    if (!(params->top_p < 1.0f)) {
        for (; kept < most; kept++) {
            heap_pop(all, n - kept);
        }
        return kept;
    }
    if (most == n) {
        for (size_t i = 0; i < n; i++) {
            total += (double)all[i].weight;
        }
    } else {
        for (size_t i = 0; i < most; i++) {
            total += (double)heap_pop(all, n - i).weight;
        }
    }
    while (kept < most && (kept == 0 || kept_weight < (double)params->top_p * total)) {
        if (most == n) {
            heap_pop(all, n - kept);
        }
        kept++;
        kept_weight += (double)all[n - kept].weight;
    }
    return kept;
}

/* Draws from the last `kept` of `all` (best last) in proportion to their weights. */
static uint32_t draw(const struct candidate *all, size_t n, size_t kept, double unit)
{
    double total = 0, left;
    uint32_t last = all[n - 1].id;

    for (size_t i = 0; i < kept; i++) {
        total += (double)all[n - 1 - i].weight;
    }
    left = unit * total;
    for (size_t i = 0; i < kept && left >= 0; i++) {
        const struct candidate *at = &all[n - 1 - i];

        if (at->weight > 0) { /* never one of no probability, however the sum was rounded */
            left -= (double)at->weight;
            last = at->id;
        }
    }
    return last;
}

bool engine_logits_are_sound(const float *logits, size_t n)
{
    bool sound = true;

    for (size_t i = 0; i < n; i++) {
        sound &= logits[i] < INFINITY; /* false for what is no number */
    }
    return sound;
}

uint32_t engine_sample(struct engine_sampler *sampler, const float *logits, size_t n, void *scratch,
                       float *ret_logprob)
{
    const struct engine_sampling *params = &sampler->params;
    const size_t best = index_of_largest(logits, n);
    struct candidate *all = scratch;
    size_t chosen = best;

    /* Written so that a temperature that is not a number is greedy too, and so are logits that have
     * overflowed. */
    if (params->temperature > 0 && isfinite(logits[best])) {
        size_t kept = n;

        assert(all);
        for (size_t i = 0; i < n; i++) {
            const float weight = expf((logits[i] - logits[best]) / params->temperature);

            all[i] = (struct candidate){isnan(weight) ? 0 : weight, (uint32_t)i};
        }
        if (params->top_k > 0 || params->top_p < 1.0f) {
            kept = cut(params, all, n);
        }
        chosen = draw(all, n, kept, random_unit(&sampler->state));
    }
    if (ret_logprob) {
        *ret_logprob = logprob_of(logits, n, best, chosen);
    }
    return (uint32_t)chosen;
}

size_t engine_softmax(float *logits, size_t n, double temperature)
{
    const size_t best = index_of_largest(logits, n);
    const float largest = n > 0 ? logits[best] : 0;
    double sum = 0;

    if (!isfinite(largest)) { /* one +inf takes all; nothing comparable at all: no answer is better
                                 than another */
        for (size_t i = 0; i < n; i++) {
            logits[i] = largest > 0 ? (float)(i == best) : 1.0f / (float)n;
        }
        return best;
    }
    for (size_t i = 0; i < n; i++) {
        const float term = expf((logits[i] - largest) / (float)temperature);

        logits[i] = isnan(term) ? 0 : term;
        sum += (double)logits[i];
    }
    for (size_t i = 0; i < n; i++) {
        logits[i] = (float)((double)logits[i] / sum);
    }
    return best;
}
