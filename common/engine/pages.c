/* pages.c: the KV page pool, sequences over it, and pages as bytes. */
#include "common/engine/pages.h"

#include "common/base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

static size_t element_bytes(enum engine_kv_type type)
{
    return type == ENGINE_KV_F16 ? 2 : 4;
}

void *pages_rows(const struct engine_pool *pool, uint32_t page, uint32_t layer, uint32_t tensor,
                 uint32_t head)
{
    const struct engine_model_info *info = &pool->model->info;
    size_t rows = ((size_t)layer * info->kv_tensors_per_layer + tensor) * info->n_head_kv + head;

    return pool->memory + page * pool->page_bytes +
           rows * ENGINE_PAGE_TOKENS * info->head_dim * element_bytes(pool->type);
}

/* Zeroed memory straight from the system, so that pages that were never written take none, and
 * those of a pool that is gone are the system's again. The heap promises neither. NULL when there
 * is not enough. */
static void *memory_take(uint64_t bytes)
{
    void *memory = bytes > SIZE_MAX ? MAP_FAILED
                                    : mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static void memory_give_back(void *memory, uint64_t bytes)
{
    if (memory) {
        (void)munmap(memory, (size_t)bytes);
    }
}

int engine_pool_new(struct engine_model *model, enum engine_kv_type type, uint64_t budget_bytes,
                    struct engine_pool **ret_pool, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = &model->info;
    uint64_t page_bytes = info->kv_bytes_per_page / 2 * element_bytes(type), needed, pages;
    struct engine_pool *pool;

    if (!engine_is_decoder(info->architecture)) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s is an encoder and keeps no cache", info->path);
        return TANDEM_EINVAL;
    }
    needed = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    pages = budget_bytes / page_bytes;
    if (pages < needed) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%llu bytes of cache hold %llu pages; one full context of %s needs %llu pages "
                 "(%llu bytes)",
                 (unsigned long long)budget_bytes, (unsigned long long)pages, info->path,
                 (unsigned long long)needed, (unsigned long long)(needed * page_bytes));
        return TANDEM_ENOMEM;
    }
    pages = pages > UINT32_MAX / 2 ? UINT32_MAX / 2 : pages;
    pool = calloc(1, sizeof(*pool));
    if (pool) {
        pool->references = calloc(pages, sizeof(*pool->references));
        pool->free_pages = calloc(pages, sizeof(*pool->free_pages));
        pool->memory = memory_take(pages * page_bytes);
    }
    if (!pool || !pool->references || !pool->free_pages || !pool->memory) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for %llu cache pages",
                 (unsigned long long)pages);
        if (pool) {
            free(pool->references);
            free(pool->free_pages);
            memory_give_back(pool->memory, pages * page_bytes);
        }
        free(pool);
        return TANDEM_ENOMEM;
    }
    engine_model_ref(model);
    pool->model = model;
    pool->type = type;
    pool->page_bytes = (size_t)page_bytes;
    pool->page_count = pool->free_count = (uint32_t)pages;
    for (uint32_t i = 0; i < pool->page_count; i++) {
        pool->free_pages[i] = pool->page_count - 1 - i;
    }
    *ret_pool = pool;
    return 0;
}

void engine_pool_free(struct engine_pool *pool)
{
    if (!pool) {
        return;
    }
    assert(pool->free_count == pool->page_count); /* every sequence is gone */
    engine_model_unref(pool->model);
    free(pool->references);
    free(pool->free_pages);
    memory_give_back(pool->memory, (uint64_t)pool->page_bytes * pool->page_count);
    free(pool);
}

void engine_pool_stats(const struct engine_pool *pool, struct engine_pool_stats *ret_stats)
{
    *ret_stats = (struct engine_pool_stats){
        .pages_total = pool->page_count,
        .pages_free = pool->free_count,
        .pages_shared = pool->shared_count,
        .bytes_per_page = pool->page_bytes,
        .bytes_total = (uint64_t)pool->page_bytes * pool->page_count,
    };
}

/* ---- page counts ---- */

static bool page_take(struct engine_pool *pool, uint32_t *ret_page)
{
    if (pool->free_count == 0) {
        return false;
    }
    *ret_page = pool->free_pages[--pool->free_count];
    pool->references[*ret_page] = 1;
    return true;
}

static void page_share(struct engine_pool *pool, uint32_t page)
{
    pool->shared_count += ++pool->references[page] == 2;
}

static void page_drop(struct engine_pool *pool, uint32_t page)
{
    pool->shared_count -= pool->references[page] == 2;
    if (--pool->references[page] == 0) {
        pool->free_pages[pool->free_count++] = page;
    }
}

static void page_copy(struct engine_pool *pool, uint32_t from, uint32_t to)
{
    memcpy(pool->memory + to * pool->page_bytes, pool->memory + from * pool->page_bytes,
           pool->page_bytes);
}

/* ---- sequences ---- */

void engine_seq_init(struct engine_seq *seq, struct engine_pool *pool)
{
    *seq = (struct engine_seq){.pool = pool};
}

void engine_seq_fini(struct engine_seq *seq)
{
    for (uint32_t i = 0; i < seq->page_count; i++) {
        page_drop(seq->pool, seq->pages[i]);
    }
    free(seq->pages);
    *seq = (struct engine_seq){.pool = seq->pool};
}

static uint32_t pages_for(uint32_t tokens)
{
    return (tokens + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
}

/* Room in the id list; the pages themselves are taken by the caller. */
static int seq_list_grow(struct engine_seq *seq, uint32_t count)
{
    uint32_t *pages;

    if (count <= seq->page_capacity) {
        return 0;
    }
    pages = realloc(seq->pages, count * sizeof(*pages));
    if (!pages) {
        return TANDEM_ENOMEM;
    }
    seq->pages = pages;
    seq->page_capacity = count;
    return 0;
}

int engine_seq_reserve(struct engine_seq *seq, uint32_t tokens)
{
    uint32_t context = seq->pool->model->info.n_context, wanted;
    int code;

    if (tokens > context || seq->length > context - tokens) {
        return TANDEM_ETOOBIG;
    }
    wanted = pages_for(seq->length + tokens);
    if (wanted <= seq->page_count) {
        return 0;
    }
    if (wanted - seq->page_count > seq->pool->free_count) {
        return TANDEM_ENOMEM;
    }
    code = seq_list_grow(seq, wanted);
    if (code) {
        return code;
    }
    while (seq->page_count < wanted) {
        page_take(seq->pool, &seq->pages[seq->page_count++]);
    }
    return 0;
}

int engine_seq_fork(const struct engine_seq *seq, struct engine_seq *ret_copy)
{
    struct engine_seq copy;
    uint32_t full = seq->length / ENGINE_PAGE_TOKENS, used = pages_for(seq->length);
    int code;

    engine_seq_init(&copy, seq->pool);
    if (used > full && seq->pool->free_count == 0) {
        return TANDEM_ENOMEM;
    }
    code = seq_list_grow(&copy, used);
    if (code) {
        return code;
    }
    for (uint32_t i = 0; i < full; i++) {
        copy.pages[copy.page_count++] = seq->pages[i];
        page_share(seq->pool, seq->pages[i]);
    }
    if (used > full) {
        page_take(seq->pool, &copy.pages[copy.page_count++]);
        page_copy(seq->pool, seq->pages[full], copy.pages[full]);
    }
    copy.length = seq->length;
    *ret_copy = copy;
    return 0;
}

int engine_seq_truncate(struct engine_seq *seq, uint32_t length)
{
    uint32_t used = pages_for(length), last = used - 1, page;

    if (length > seq->length) {
        return TANDEM_EINVAL;
    }
    if (length % ENGINE_PAGE_TOKENS && seq->pool->references[seq->pages[last]] > 1) {
        if (!page_take(seq->pool, &page)) {
            return TANDEM_ENOMEM;
        }
        page_copy(seq->pool, seq->pages[last], page);
        page_drop(seq->pool, seq->pages[last]);
        seq->pages[last] = page;
    }
    while (seq->page_count > used) {
        page_drop(seq->pool, seq->pages[--seq->page_count]);
    }
    seq->length = length;
    return 0;
}

/* ---- pages as bytes: little-endian header, then the page's memory ---- */

#define PAGE_MAGIC   0x50564b54u /* "TKVP" */
#define PAGE_VERSION 1

/* Offsets of the header's fields. The digest is the model file's, as 32 hex characters. */
enum {
    PAGE_AT_MAGIC = 0,
    PAGE_AT_VERSION = 4,
    PAGE_AT_TYPE = 8,
    PAGE_AT_TENSORS = 12,
    PAGE_AT_LAYERS = 16,
    PAGE_AT_HEADS = 20,
    PAGE_AT_HEAD_DIM = 24,
    PAGE_AT_TOKENS = 28,
    PAGE_AT_DIGEST = 32,
    PAGE_AT_BYTES = 64,
    PAGE_AT_CHECKSUM = 72,
    PAGE_HEADER_BYTES = 80,
};

static void page_header(const struct engine_pool *pool, uint8_t header[PAGE_HEADER_BYTES])
{
    const struct engine_model_info *info = &pool->model->info;

    le32_store(header + PAGE_AT_MAGIC, PAGE_MAGIC);
    le32_store(header + PAGE_AT_VERSION, PAGE_VERSION);
    le32_store(header + PAGE_AT_TYPE, (uint32_t)pool->type);
    le32_store(header + PAGE_AT_TENSORS, info->kv_tensors_per_layer);
    le32_store(header + PAGE_AT_LAYERS, info->n_layer);
    le32_store(header + PAGE_AT_HEADS, info->n_head_kv);
    le32_store(header + PAGE_AT_HEAD_DIM, info->head_dim);
    le32_store(header + PAGE_AT_TOKENS, ENGINE_PAGE_TOKENS);
    memcpy(header + PAGE_AT_DIGEST, engine_model_digest(pool->model), 32);
    le64_store(header + PAGE_AT_BYTES, pool->page_bytes);
}

int engine_seq_export_page(const struct engine_seq *seq, uint32_t index, struct buf *out)
{
    uint8_t header[PAGE_HEADER_BYTES];
    const uint8_t *memory;
    int code;

    if (index >= seq->length / ENGINE_PAGE_TOKENS) {
        return TANDEM_EINVAL;
    }
    memory = seq->pool->memory + seq->pages[index] * seq->pool->page_bytes;
    page_header(seq->pool, header);
    le64_store(header + PAGE_AT_CHECKSUM, XXH3_64bits(memory, seq->pool->page_bytes));
    code = buf_reserve(out, PAGE_HEADER_BYTES + seq->pool->page_bytes);
    if (code) {
        return code;
    }
    buf_append(out, header, sizeof(header));
    return buf_append(out, memory, seq->pool->page_bytes);
}

int engine_seq_import_page(struct engine_seq *seq, const void *bytes, size_t size,
                           char error[ENGINE_ERROR_BYTES])
{
    struct engine_pool *pool = seq->pool;
    const uint8_t *data = bytes;
    uint8_t wanted[PAGE_HEADER_BYTES];
    int code;

    if (seq->length % ENGINE_PAGE_TOKENS) {
        snprintf(error, ENGINE_ERROR_BYTES, "the sequence does not end on a page border");
        return TANDEM_EINVAL;
    }
    page_header(pool, wanted);
    if (size != PAGE_HEADER_BYTES + pool->page_bytes ||
        memcmp(data, wanted, PAGE_AT_CHECKSUM) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "the page belongs to another model, cache type or version");
        return TANDEM_EFORMAT;
    }
    if (le64_load(data + PAGE_AT_CHECKSUM) !=
        XXH3_64bits(data + PAGE_HEADER_BYTES, pool->page_bytes)) {
        snprintf(error, ENGINE_ERROR_BYTES, "the page is damaged: its checksum does not match");
        return TANDEM_EFORMAT;
    }
    code = engine_seq_reserve(seq, ENGINE_PAGE_TOKENS);
    if (code) {
        snprintf(error, ENGINE_ERROR_BYTES, "no room for the page: %s", tandem_error_text(code));
        return code;
    }
    memcpy(pool->memory + seq->pages[seq->length / ENGINE_PAGE_TOKENS] * pool->page_bytes,
           data + PAGE_HEADER_BYTES, pool->page_bytes);
    seq->length += ENGINE_PAGE_TOKENS;
    return 0;
}
