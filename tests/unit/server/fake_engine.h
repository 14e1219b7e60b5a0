/* fake_engine.h: an engine that is played: engine.h without mathematics, so that the tests of the
 * server decide what a model says and how long it takes. A token is a byte; the next one is the
 * last one plus one, 'z' ends the text, '!' goes on for ever, '*' gives what is no number, '~'
 * keeps its step busy for FAKE_HANG_US or until it is aborted. A picture is "0".."9" and its class
 * is that digit, of which it is 0.55 sure at the temperature of its calibration; by the table of
 * both models half of what they claim is true. Defining these symbols keeps the real engine out of
 * the program. Pages are counted as the real ones are. */
#ifndef TANDEM_TESTS_SERVER_FAKE_ENGINE_H
#define TANDEM_TESTS_SERVER_FAKE_ENGINE_H

#include "common/engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAKE_VOCABULARY 257
#define FAKE_END        256
#define FAKE_CONTEXT    512
#define FAKE_PAGES      64
#define FAKE_STEP_US    2000
#define FAKE_HANG_US    8000000

static const char fake_long_word[4096]; /* the text of '#', which repeats itself as '!' does */

struct engine_model {
    struct engine_model_info info;
    char path[256];
    char digest[33];
    unsigned references;
};
struct engine_pool {
    uint32_t free_ids[FAKE_PAGES], free_count;
};
struct engine_context {
    struct engine_model *model;
    float logits[LIMIT_BATCH_SEQUENCES * FAKE_VOCABULARY];
};

int engine_self_check(char error[ENGINE_ERROR_BYTES])
{
    if (getenv("FAKE_BROKEN_KERNEL")) {
        snprintf(error, ENGINE_ERROR_BYTES, "sgemm is wrong here: set OPENBLAS_CORETYPE");
        return TANDEM_EINTERNAL;
    }
    return 0;
}
const char *engine_kernels_text(void)
{
    return "played";
}

int engine_model_open(const char *path, struct engine_model **ret_model,
                      char error[ENGINE_ERROR_BYTES])
{
    static const char *const labels[] = {"zero", "one", "two",   "three", "four",
                                         "five", "six", "seven", "eight", "nine"};
    FILE *file = fopen(path, "r");
    struct engine_model *model;
    char kind[32] = "";

    if (!file || !fgets(kind, sizeof(kind), file)) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: no model", path);
        if (file) {
            fclose(file);
        }
        return TANDEM_EIO;
    }
    fclose(file);
    model = calloc(1, sizeof(*model));
    snprintf(model->path, sizeof(model->path), "%s", path);
    model->references = 1;
    model->info = (struct engine_model_info){.path = model->path,
                                             .name = "",
                                             .license = "",
                                             .architecture_text = "gpt2",
                                             .projection_text = "Q-K=V",
                                             .architecture = ENGINE_GPT2,
                                             .n_context = FAKE_CONTEXT,
                                             .n_vocab = FAKE_VOCABULARY,
                                             .n_class = FAKE_VOCABULARY,
                                             .has_tokenizer = true};
    if (kind[0] == 'p') {
        model->info.architecture = ENGINE_VIT;
        model->info.architecture_text = "tandem-vit";
        model->info.n_class = 10;
        model->info.n_context = 16;
        model->info.has_tokenizer = false;
        model->info.labels = labels;
    }
    model->info.calibration =
        (struct calibration){.temperature = 2, .count = 2, .x = {0, 1}, .y = {0, 0.5}};
    snprintf(model->digest, sizeof(model->digest), "%032x", (unsigned)(kind[0] * 256 + kind[1]));
    *ret_model = model;
    return 0;
}
void engine_model_ref(struct engine_model *model)
{
    model->references++;
}
void engine_model_unref(struct engine_model *model)
{
    if (model && --model->references == 0) {
        free(model);
    }
}
const char *engine_model_digest(struct engine_model *model)
{
    return model->digest;
}
const struct engine_model_info *engine_model_info(const struct engine_model *model)
{
    return &model->info;
}

int engine_tokenize(const struct engine_model *model, const char *text, size_t text_bytes,
                    uint32_t *ids, size_t capacity, size_t *ret_count,
                    char error[ENGINE_ERROR_BYTES])
{
    (void)model;
    (void)error;
    *ret_count = text_bytes;
    for (size_t i = 0; i < text_bytes && i < capacity; i++) {
        ids[i] = (uint8_t)text[i];
    }
    return text_bytes > capacity ? TANDEM_ETOOBIG : 0;
}
int engine_tokenize_prompt(const struct engine_model *model, const char *text, size_t text_bytes,
                           uint32_t *ids, size_t capacity, size_t *ret_count,
                           char error[ENGINE_ERROR_BYTES])
{
    return engine_tokenize(model, text, text_bytes, ids, capacity, ret_count, error);
}
int engine_detokenize(const struct engine_model *model, uint32_t id, bool first, struct buf *out)
{
    (void)model;
    (void)first;
    if (id == '#') {
        return buf_append(out, fake_long_word, sizeof(fake_long_word));
    }
    return buf_append_u8(out, (uint8_t)id);
}
bool engine_is_end_token(const struct engine_model *model, uint32_t id)
{
    (void)model;
    return id == FAKE_END;
}
void engine_sampler_init(struct engine_sampler *sampler, const struct engine_sampling *params)
{
    *sampler = (struct engine_sampler){*params, params->seed};
}
bool engine_logits_are_sound(const float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(logits[i])) {
            return false;
        }
    }
    return true;
}
uint32_t engine_sample(struct engine_sampler *sampler, const float *logits, size_t n, void *scratch,
                       float *ret_logprob)
{
    (void)sampler;
    (void)scratch;
    for (uint32_t i = 0; i < n; i++) {
        if (logits[i] > 0) {
            *ret_logprob = logf(0.9f);
            return i;
        }
    }
    abort();
}
size_t engine_softmax(float *logits, size_t n, double temperature)
{
    size_t best = 0;

    for (size_t i = 0; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    for (size_t i = 0; i < n; i++) {
        logits[i] = i == best ? 0.5f + 0.1f / (float)temperature : 0.05f;
    }
    return best;
}

int engine_pool_new(struct engine_model *model, enum engine_kv_type type, uint64_t budget_bytes,
                    struct engine_pool **ret_pool, char error[ENGINE_ERROR_BYTES])
{
    struct engine_pool *pool = calloc(1, sizeof(*pool));

    (void)model;
    (void)type;
    (void)budget_bytes;
    (void)error;
    for (uint32_t i = 0; i < FAKE_PAGES; i++) {
        pool->free_ids[pool->free_count++] = i;
    }
    *ret_pool = pool;
    return 0;
}
void engine_pool_free(struct engine_pool *pool)
{
    if (pool->free_count != FAKE_PAGES) {
        abort(); /* a sequence was lost */
    }
    free(pool);
}
void engine_pool_stats(const struct engine_pool *pool, struct engine_pool_stats *ret_stats)
{
    *ret_stats =
        (struct engine_pool_stats){FAKE_PAGES, pool->free_count, 0, 1024, FAKE_PAGES * 1024};
}
void engine_seq_init(struct engine_seq *seq, struct engine_pool *pool)
{
    *seq = (struct engine_seq){.pool = pool};
}
static void seq_give_back(struct engine_seq *seq, uint32_t keep)
{
    while (seq->page_count > keep) {
        seq->pool->free_ids[seq->pool->free_count++] = seq->pages[--seq->page_count];
    }
}
void engine_seq_fini(struct engine_seq *seq)
{
    seq_give_back(seq, 0);
    free(seq->pages);
    *seq = (struct engine_seq){0};
}
int engine_seq_reserve(struct engine_seq *seq, uint32_t tokens)
{
    const uint32_t pages = (seq->length + tokens + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;

    if (seq->length + tokens > FAKE_CONTEXT) {
        return TANDEM_ETOOBIG;
    }
    if (pages > seq->page_count + seq->pool->free_count) {
        return TANDEM_ENOMEM;
    }
    if (!seq->pages) {
        seq->pages = calloc(FAKE_CONTEXT / ENGINE_PAGE_TOKENS, sizeof(*seq->pages));
    }
    while (seq->page_count < pages) {
        seq->pages[seq->page_count++] = seq->pool->free_ids[--seq->pool->free_count];
    }
    return 0;
}
int engine_seq_truncate(struct engine_seq *seq, uint32_t length)
{
    seq->length = length;
    seq_give_back(seq, (length + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS);
    return 0;
}

int engine_context_new(struct engine_model *model, const struct engine_context_params *params,
                       struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES])
{
    (void)params;
    (void)error;
    *ret_context = calloc(1, sizeof(**ret_context));
    (*ret_context)->model = model;
    return 0;
}
void engine_context_free(struct engine_context *context)
{
    free(context);
}
int engine_step(struct engine_context *context, struct engine_chunk *chunks, uint32_t chunk_count,
                const atomic_bool *abort_flag, const float **ret_logits)
{
    uint32_t row = 0;
    bool hangs = false;

    for (uint32_t i = 0; i < chunk_count; i++) {
        hangs |= chunks[i].tokens[chunks[i].count - 1] == '~';
    }
    for (int layer = 0; layer < (hangs ? FAKE_HANG_US / (FAKE_STEP_US / 4) : 4); layer++) {
        usleep(FAKE_STEP_US / 4);
        if (abort_flag && atomic_load(abort_flag)) {
            return TANDEM_ECANCELED;
        }
    }
    for (uint32_t i = 0; i < chunk_count; i++) {
        struct engine_chunk *chunk = &chunks[i];
        const uint32_t last = chunk->tokens[chunk->count - 1];

        if (chunk->seq->length + chunk->count > chunk->seq->page_count * ENGINE_PAGE_TOKENS) {
            abort(); /* no room was reserved */
        }
        chunk->seq->length += chunk->count;
        if (chunk->want == ENGINE_LOGITS_LAST) {
            float *logits = context->logits + (size_t)row * FAKE_VOCABULARY;

            memset(logits, 0, sizeof(float) * FAKE_VOCABULARY);
            logits[last == 'z' || last == '~'   ? FAKE_END
                   : last == '!' || last == '#' ? last
                                                : last + 1] = last == '*' ? NAN : 1;
            chunk->ret_row = row++;
        }
    }
    *ret_logits = context->logits;
    return 0;
}
size_t engine_picture_floats(const struct engine_model *model)
{
    (void)model;
    return 1;
}
int engine_picture_prepare(const struct engine_model *model, const struct engine_picture *picture,
                           float *ret_pixels, char error[ENGINE_ERROR_BYTES])
{
    (void)model;
    if (picture->bytes != 1 || picture->data[0] < '0' || picture->data[0] > '9') {
        snprintf(error, ENGINE_ERROR_BYTES, "this is no picture");
        return TANDEM_EFORMAT;
    }
    *ret_pixels = (float)(picture->data[0] - '0');
    return 0;
}
int engine_encode_pictures(struct engine_context *context, const float *const *pixels,
                           uint32_t count, const atomic_bool *abort_flag, const float **ret_logits)
{
    (void)abort_flag;
    usleep(FAKE_STEP_US);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < 10; k++) {
            context->logits[i * 10 + k] = (float)k == *pixels[i] ? 1 : 0;
        }
    }
    *ret_logits = context->logits;
    return 0;
}

#endif
