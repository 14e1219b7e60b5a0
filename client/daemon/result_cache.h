/* result_cache.h: answers that were given before. An exact repeat (the same task, parameters,
 * models and bytes, from the same user) is found by its key; a frame that shows nearly what an
 * earlier one showed, by the prints of frames of the same scope (the same, without the bytes),
 * within a bound of distance and of age that the task sets.
 *
 * What is kept is bounded in bytes, the least recently used goes first. Nothing is written
 * anywhere. Loop thread. */
#ifndef TANDEM_CLIENT_RESULT_CACHE_H
#define TANDEM_CLIENT_RESULT_CACHE_H

#include "client/policy/frame_print.h"
#include "common/wire/answer.h"

#include <stdbool.h>

struct result_key {
    uint64_t low, high; /* 128-bit digest */
};
/* How the answer came to be: what a decision needs to know about it. */
struct result_origin {
    char route[LIMIT_NAME_BYTES + 8]; /* "local", "edge:NAME" */
    char model_digest[33];            /* of the model that computed it; "" when it is not known */
    double error_probability;         /* believed when it was kept, as is */
    double error_weight;              /* decide.h */
    int64_t kept_ns;
    char task[LIMIT_NAME_BYTES + 1];
    uint64_t decision; /* the id of the one that it was the answer of */
};
/* What was found: valid until the cache is changed. */
struct result_hit {
    const struct answer *answer;
    const struct result_origin *origin;
    double distance; /* of the frames; 0 and `exact` for the same bytes */
    bool exact;
};
struct result_bounds {
    int64_t age_max_ns;         /* of an exact repeat; 0: none */
    double distance_max;        /* of a similar frame; 0: only exact repeats */
    int64_t similar_age_max_ns; /* of a similar frame */
};
struct result_counts {
    uint64_t exact_hits, similar_hits, misses, evictions;
    size_t entries, bytes;
};
struct result_cache;

/* Keeps at most `bytes_max` bytes and LIMIT_RESULT_ENTRIES answers. *returns owned*; NULL: no
 * memory. */
struct result_cache *result_cache_new(size_t bytes_max);
void result_cache_free(struct result_cache *cache); /* NULL is fine */
/* Whether there is an answer to just this, of whatever age; counts as no use. */
bool result_cache_has(const struct result_cache *cache, struct result_key key);
/* Looks for an answer: the exact repeat, else the nearest frame of `scope` (`print` NULL: none is
 * wanted). True with *ret_hit; what is found counts as used. */
bool result_cache_find(struct result_cache *cache, struct result_key key, struct result_key scope,
                       const struct frame_print *print, const struct result_bounds *bounds,
                       int64_t now_ns, struct result_hit *ret_hit);
/* Keeps a copy of `answer`, in place of one with the same key unless that was believed to be less
 * often wrong; without a print that of the one it replaces is kept (the same bytes). An answer that
 * is larger than the whole cache is not kept. 0 or TANDEM_ENOMEM (then nothing changed). */
int result_cache_put(struct result_cache *cache, struct result_key key, struct result_key scope,
                     const struct frame_print *print, const struct answer *answer,
                     const struct result_origin *origin);
/* Forgets the answers of a task, that `route` gave (NULL: all of them). */
void result_cache_forget(struct result_cache *cache, const char *task, const char *route);
/* Forgets the answer of this decision, if it is there. */
void result_cache_forget_decision(struct result_cache *cache, uint64_t decision);
/* Forgets all. */
void result_cache_clear(struct result_cache *cache);
void result_cache_counts(const struct result_cache *cache, struct result_counts *ret_counts);

#endif
