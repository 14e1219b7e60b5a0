/* pages.h: where the KV rows of a page lie, for the files that run on them. The pool itself is
 * engine.h's.
 *
 * One page holds ENGINE_PAGE_TOKENS rows of every layer. Rows of one head are contiguous, so that a
 * query walks straight through them:
 *
 *   page | layer 0                                              | layer 1 ...
 *        | tensor 0 (K, or K and V)   | tensor 1 (V, unless K=V)|
 *        | head 0      | head 1 ...   | head 0 ...              |
 *        | 32 x dk     | 32 x dk      |
 */
#ifndef TANDEM_ENGINE_PAGES_H
#define TANDEM_ENGINE_PAGES_H

#include "common/engine/model.h"

struct engine_pool {
    struct engine_model *model; /* one reference */
    enum engine_kv_type type;
    uint8_t *memory;
    size_t page_bytes;
    uint32_t page_count;
    uint32_t *references; /* [page_count] */
    uint32_t *free_pages; /* [page_count], a stack */
    uint32_t free_count;
    uint32_t shared_count;
};

/* The 32 rows of dk elements of (page, layer, tensor, head): float or half by the pool's type. */
void *pages_rows(const struct engine_pool *pool, uint32_t page, uint32_t layer, uint32_t tensor,
                 uint32_t head);

#endif
