#include "client/daemon/result_cache.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u /* a power of two */

struct entry {
    struct entry *bucket_next;
    struct entry *newer, *older; /* by last use */
    struct result_key key, scope;
    struct answer answer;
    struct result_origin origin;
    struct frame_print *print; /* owned; NULL: none was made */
    size_t bytes;
};
struct result_cache {
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest;
    size_t bytes_max;
    struct result_counts counts;
};

static bool key_equal(struct result_key a, struct result_key b)
{
    return a.low == b.low && a.high == b.high;
}

static struct entry **bucket_of(struct result_cache *cache, struct result_key key)
{
    return &cache->buckets[key.low & (BUCKETS - 1)];
}

static void use_unlink(struct result_cache *cache, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
    entry->newer = entry->older = NULL;
}

static void use_link(struct result_cache *cache, struct entry *entry)
{
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void entry_free(struct entry *entry)
{
    if (entry) {
        answer_fini(&entry->answer);
        free(entry->print);
        free(entry);
    }
}

static void entry_drop(struct result_cache *cache, struct entry *entry)
{
    struct entry **at = bucket_of(cache, entry->key);

    while (*at != entry) {
        at = &(*at)->bucket_next;
    }
    *at = entry->bucket_next;
    use_unlink(cache, entry);
    cache->counts.bytes -= entry->bytes;
    cache->counts.entries--;
    entry_free(entry);
}

static size_t answer_bytes(const struct answer *answer)
{
    size_t bytes = answer->text_bytes + 1;

    for (size_t i = 0; i < answer->label_count; i++) {
        bytes += sizeof(answer->labels[i]) + strlen(answer->labels[i].label) + 1;
    }
    for (size_t i = 0; i < answer->box_count; i++) {
        bytes += sizeof(answer->boxes[i]) + strlen(answer->boxes[i].label) + 1;
    }
    return bytes;
}

struct result_cache *result_cache_new(size_t bytes_max)
{
    struct result_cache *cache = calloc(1, sizeof(*cache));

    if (cache) {
        cache->bytes_max = bytes_max;
    }
    return cache;
}

void result_cache_clear(struct result_cache *cache)
{
    while (cache->oldest) {
        entry_drop(cache, cache->oldest);
    }
}

void result_cache_forget(struct result_cache *cache, const char *task, const char *route)
{
    struct entry *newer;

    for (struct entry *at = cache->oldest; at; at = newer) {
        newer = at->newer;
        if (strcmp(at->origin.task, task) == 0 &&
            (!route || strcmp(at->origin.route, route) == 0)) {
            entry_drop(cache, at);
        }
    }
}

void result_cache_forget_decision(struct result_cache *cache, uint64_t decision)
{
    for (struct entry *at = cache->oldest; at; at = at->newer) {
        if (at->origin.decision == decision) {
            entry_drop(cache, at);
            return;
        }
    }
}

void result_cache_free(struct result_cache *cache)
{
    if (cache) {
        result_cache_clear(cache);
        free(cache);
    }
}

static struct entry *entry_find(const struct result_cache *cache, struct result_key key)
{
    struct entry *entry = cache->buckets[key.low & (BUCKETS - 1)];

    while (entry && !key_equal(entry->key, key)) {
        entry = entry->bucket_next;
    }
    return entry;
}

bool result_cache_has(const struct result_cache *cache, struct result_key key)
{
    return entry_find(cache, key) != NULL;
}

static bool is_within(int64_t kept_ns, int64_t age_max_ns, int64_t now_ns)
{
    return now_ns - kept_ns <= age_max_ns;
}

/* The nearest frame of the scope within the bounds. A scope's frames are the newest, so the first
 * LIMIT_RESULT_SIMILAR of them are enough to look at. */
static struct entry *similar_find(const struct result_cache *cache, struct result_key scope,
                                  const struct frame_print *print,
                                  const struct result_bounds *bounds, int64_t now_ns,
                                  double *ret_distance)
{
    struct entry *best = NULL;
    size_t looked = 0;

    *ret_distance = bounds->distance_max;
    for (struct entry *at = cache->newest; at && looked < LIMIT_RESULT_SIMILAR; at = at->older) {
        double distance;

        if (!at->print || !key_equal(at->scope, scope)) {
            continue;
        }
        looked++;
        if (!is_within(at->origin.kept_ns, bounds->similar_age_max_ns, now_ns)) {
            continue;
        }
        distance = frame_print_distance(at->print, print);
        if (distance <= *ret_distance) {
            *ret_distance = distance;
            best = at;
        }
    }
    return best;
}

bool result_cache_find(struct result_cache *cache, struct result_key key, struct result_key scope,
                       const struct frame_print *print, const struct result_bounds *bounds,
                       int64_t now_ns, struct result_hit *ret_hit)
{
    struct entry *entry = entry_find(cache, key);
    double distance = 0;
    bool exact;

    if (entry && bounds->age_max_ns != 0 &&
        !is_within(entry->origin.kept_ns, bounds->age_max_ns, now_ns)) {
        entry_drop(cache, entry);
        entry = NULL;
    }
    exact = entry != NULL;
    if (!entry && print && bounds->distance_max > 0) {
        entry = similar_find(cache, scope, print, bounds, now_ns, &distance);
    }
    cache->counts.exact_hits += exact;
    cache->counts.similar_hits += entry && !exact;
    cache->counts.misses += !entry;
    if (!entry) {
        return false;
    }
    use_unlink(cache, entry);
    use_link(cache, entry);
    *ret_hit = (struct result_hit){&entry->answer, &entry->origin, distance, exact};
    return true;
}

static struct entry *entry_new(const struct frame_print *print, const struct answer *answer)
{
    struct entry *entry = calloc(1, sizeof(*entry));

    if (!entry || answer_copy(answer, &entry->answer) != 0) {
        goto fail;
    }
    if (print) {
        entry->print = malloc(sizeof(*print));
        if (!entry->print) {
            goto fail;
        }
        *entry->print = *print;
    }
    entry->bytes = sizeof(*entry) + answer_bytes(answer) + (print ? sizeof(*print) : 0);
    return entry;

fail:
    entry_free(entry);
    return NULL;
}

int result_cache_put(struct result_cache *cache, struct result_key key, struct result_key scope,
                     const struct frame_print *print, const struct answer *answer,
                     const struct result_origin *origin)
{
    struct entry *entry = entry_new(print, answer), *old;

    if (!entry) {
        return TANDEM_ENOMEM;
    }
    entry->key = key;
    entry->scope = scope;
    entry->origin = *origin;
    if (entry->bytes > cache->bytes_max) {
        entry_free(entry);
        return 0;
    }
    old = entry_find(cache, key);
    if (old && old->origin.error_probability < origin->error_probability) {
        entry_free(entry);
        return 0;
    }
    if (old && old->print && !entry->print) {
        entry->print = old->print;
        entry->bytes += sizeof(*entry->print);
        old->print = NULL; /* its bytes go with it */
    }
    if (old) {
        entry_drop(cache, old);
    }
    while (cache->counts.bytes + entry->bytes > cache->bytes_max ||
           cache->counts.entries >= LIMIT_RESULT_ENTRIES) {
        entry_drop(cache, cache->oldest);
        cache->counts.evictions++;
    }
    entry->bucket_next = *bucket_of(cache, key);
    *bucket_of(cache, key) = entry;
    use_link(cache, entry);
    cache->counts.bytes += entry->bytes;
    cache->counts.entries++;
    return 0;
}

void result_cache_counts(const struct result_cache *cache, struct result_counts *ret_counts)
{
    *ret_counts = cache->counts;
}
