/* Steps of a decoder: however the tokens of a sequence are cut into chunks and batches, the logits
 * are the same; what goes wrong changes no length. For every projection and number of KV heads, on
 * the small models of tests/golden. */
#include "tests/unit/engine/models.h"

#include <math.h>

#define TOKENS    70 /* two full pages and a part */
#define TOLERANCE 1e-4f

static const struct {
    const char *name;
    uint32_t kv_tensors, kv_heads; /* of 4 heads */
} variants[] = {
    {"decoder_qkv_f32", 2, 4},   {"decoder_qk_f32", 2, 4},     {"decoder_kv_f32", 1, 4},
    {"decoder_q_f32", 1, 4},     {"decoder_qkv_g2_f32", 2, 2}, {"decoder_qkv_g1_f32", 2, 1},
    {"decoder_kv_g2_f32", 1, 2}, {"decoder_kv_g1_f16", 1, 1},
};
#define VARIANTS (sizeof(variants) / sizeof(variants[0]))

struct rig {
    struct engine_model *model;
    struct engine_pool *pool;
    struct engine_context *context;
    uint32_t vocabulary;
    uint32_t tokens[TOKENS];
};

static void rig_open(struct rig *rig, const char *name, enum engine_kv_type type)
{
    const struct engine_context_params params = {
        .max_tokens = 128, .max_sequences = 80, .threads = 1};
    char error[ENGINE_ERROR_BYTES] = "";
    uint32_t seed = 7;

    rig->model = model_get(name);
    rig->vocabulary = engine_model_info(rig->model)->n_vocab;
    assert_int_equal(engine_pool_new(rig->model, type, 1u << 20, &rig->pool, error), 0);
    assert_int_equal(engine_context_new(rig->model, &params, &rig->context, error), 0);
    for (int i = 0; i < TOKENS; i++) {
        seed = seed * 1664525u + 1013904223u;
        rig->tokens[i] = (seed >> 16) % rig->vocabulary;
    }
}

static void rig_close(struct rig *rig)
{
    struct engine_pool_stats stats;

    engine_pool_stats(rig->pool, &stats);
    assert_int_equal(stats.pages_free, stats.pages_total);
    engine_context_free(rig->context);
    engine_pool_free(rig->pool);
    engine_model_unref(rig->model);
}

/* One chunk of tokens[from .. from+count); a copy of its rows, *owned*. */
static float *chunk_run(struct rig *rig, struct engine_seq *seq, const uint32_t *tokens,
                        uint32_t count, enum engine_logits want)
{
    struct engine_chunk chunk = {.seq = seq, .tokens = tokens, .count = count, .want = want};
    const size_t rows = want == ENGINE_LOGITS_ALL ? count : 1;
    const float *logits = NULL;
    float *copy = malloc(rows * rig->vocabulary * sizeof(float));

    assert_int_equal(engine_seq_reserve(seq, count), 0);
    assert_int_equal(engine_step(rig->context, &chunk, 1, NULL, &logits), 0);
    memcpy(copy, logits + (size_t)chunk.ret_row * rig->vocabulary,
           rows * rig->vocabulary * sizeof(float));
    return copy;
}

static void rows_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) <= TOLERANCE)) {
            fail_msg("number %zu: %g and %g", i, (double)a[i], (double)b[i]);
        }
    }
}

static float *whole_run(struct rig *rig)
{
    struct engine_seq seq;
    float *rows;

    engine_seq_init(&seq, rig->pool);
    rows = chunk_run(rig, &seq, rig->tokens, TOKENS, ENGINE_LOGITS_ALL);
    engine_seq_fini(&seq);
    return rows;
}

static void pieces_check(const char *name, enum engine_kv_type type)
{
    static const uint32_t sizes[] = {TOKENS, 32, 33, 5, 2, 1};
    struct rig rig;
    float *whole;

    rig_open(&rig, name, type);
    whole = whole_run(&rig);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct engine_seq seq;

        engine_seq_init(&seq, rig.pool);
        for (uint32_t at = 0; at < TOKENS; at += sizes[i]) {
            const uint32_t count = TOKENS - at < sizes[i] ? TOKENS - at : sizes[i];
            float *row = chunk_run(&rig, &seq, rig.tokens + at, count, ENGINE_LOGITS_LAST);

            rows_same(row, whole + (size_t)(at + count - 1) * rig.vocabulary, rig.vocabulary);
            free(row);
        }
        assert_int_equal(seq.length, TOKENS);
        engine_seq_fini(&seq);
    }
    free(whole);
    rig_close(&rig);
}

static void test_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIANTS; i++) {
        pieces_check(variants[i].name, ENGINE_KV_F32);
        pieces_check(variants[i].name, ENGINE_KV_F16);
    }
}

/* Three sequences of different length in one step: a prefill, a single token, a chunk without
 * logits. */
static void batch_check(const char *name)
{
    static const uint32_t before[] = {0, 40, 3}, count[] = {20, 1, 9};
    struct engine_seq seqs[3];
    struct engine_chunk chunks[3] = {0};
    struct rig rig;
    float *alone[3];
    const float *logits;

    rig_open(&rig, name, ENGINE_KV_F16);
    for (int i = 0; i < 3; i++) {
        struct engine_seq seq;

        engine_seq_init(&seqs[i], rig.pool);
        if (before[i] > 0) {
            free(chunk_run(&rig, &seqs[i], rig.tokens + i, before[i], ENGINE_LOGITS_LAST));
        }
        assert_int_equal(engine_seq_fork(&seqs[i], &seq), 0);
        alone[i] = chunk_run(&rig, &seq, rig.tokens + i + before[i], count[i], ENGINE_LOGITS_LAST);
        engine_seq_fini(&seq);
        chunks[i] = (struct engine_chunk){&seqs[i], rig.tokens + i + before[i], count[i],
                                          i == 2 ? ENGINE_LOGITS_NONE : ENGINE_LOGITS_LAST, 99};
        assert_int_equal(engine_seq_reserve(&seqs[i], count[i]), 0);
    }
    assert_int_equal(engine_step(rig.context, chunks, 3, NULL, &logits), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(seqs[i].length, before[i] + count[i]);
        if (i < 2) {
            rows_same(logits + (size_t)chunks[i].ret_row * rig.vocabulary, alone[i],
                      rig.vocabulary);
        }
    }
    /* The chunk without logits left its rows in the cache all the same. */
    free(alone[2]);
    alone[2] = chunk_run(&rig, &seqs[2], rig.tokens + 2 + 12, 1, ENGINE_LOGITS_LAST);
    {
        struct engine_seq seq;
        float *fresh;

        engine_seq_init(&seq, rig.pool);
        fresh = chunk_run(&rig, &seq, rig.tokens + 2, 13, ENGINE_LOGITS_LAST);
        rows_same(fresh, alone[2], rig.vocabulary);
        free(fresh);
        engine_seq_fini(&seq);
    }
    for (int i = 0; i < 3; i++) {
        free(alone[i]);
        engine_seq_fini(&seqs[i]);
    }
    rig_close(&rig);
}

static void test_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIANTS; i++) {
        batch_check(variants[i].name);
    }
}

/* One tensor a layer when K=V, and only the KV heads. 2 layers, heads of 8, 32 tokens a page. */
static void test_page_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < VARIANTS; i++) {
        const uint64_t numbers =
            (uint64_t)variants[i].kv_tensors * 2 * variants[i].kv_heads * 8 * ENGINE_PAGE_TOKENS;
        struct engine_pool_stats stats;
        struct rig rig;

        rig_open(&rig, variants[i].name, ENGINE_KV_F16);
        engine_pool_stats(rig.pool, &stats);
        assert_int_equal(stats.bytes_per_page, numbers * 2);
        assert_int_equal(engine_model_info(rig.model)->kv_bytes_per_page, numbers * 2);
        rig_close(&rig);
        rig_open(&rig, variants[i].name, ENGINE_KV_F32);
        engine_pool_stats(rig.pool, &stats);
        assert_int_equal(stats.bytes_per_page, numbers * 4);
        rig_close(&rig);
    }
}

static void test_abort(void **state)
{
    struct engine_chunk chunk = {0};
    struct engine_seq seq;
    struct rig rig;
    atomic_bool stop;
    const float *logits;
    float *whole, *after;

    (void)state;
    atomic_init(&stop, true);
    rig_open(&rig, "decoder_kv_f32", ENGINE_KV_F32);
    whole = whole_run(&rig);
    engine_seq_init(&seq, rig.pool);
    free(chunk_run(&rig, &seq, rig.tokens, 10, ENGINE_LOGITS_LAST));
    chunk = (struct engine_chunk){&seq, rig.tokens + 20, 30, ENGINE_LOGITS_LAST, 0};
    assert_int_equal(engine_seq_reserve(&seq, 30), 0);
    assert_int_equal(engine_step(rig.context, &chunk, 1, &stop, &logits), TANDEM_ECANCELED);
    assert_int_equal(seq.length, 10);
    after = chunk_run(&rig, &seq, rig.tokens + 10, 30, ENGINE_LOGITS_LAST);
    rows_same(after, whole + (size_t)39 * rig.vocabulary, rig.vocabulary);
    free(after);
    free(whole);
    engine_seq_fini(&seq);
    rig_close(&rig);
}

static void refused(struct rig *rig, struct engine_chunk *chunks, uint32_t count)
{
    const float *logits;

    assert_int_equal(engine_step(rig->context, chunks, count, NULL, &logits), TANDEM_EINVAL);
}

static void test_broken_rules(void **state)
{
    struct engine_chunk chunks[2];
    struct engine_seq seq, foreign;
    struct rig rig, other;
    uint32_t id;

    (void)state;
    rig_open(&rig, "decoder_kv_f32", ENGINE_KV_F32);
    rig_open(&other, "decoder_qkv_f32", ENGINE_KV_F32);
    engine_seq_init(&seq, rig.pool);
    engine_seq_init(&foreign, other.pool);
    chunks[0] = (struct engine_chunk){&seq, rig.tokens, 4, ENGINE_LOGITS_LAST, 0};
    refused(&rig, chunks, 1); /* nothing reserved */
    assert_int_equal(engine_seq_reserve(&seq, 32), 0);
    refused(&rig, chunks, 0);
    chunks[0].count = 0;
    refused(&rig, chunks, 1);
    chunks[0].count = 33; /* over what is reserved */
    refused(&rig, chunks, 1);
    chunks[0].count = 4;
    chunks[1] = chunks[0];
    refused(&rig, chunks, 2); /* the same sequence twice */
    id = rig.vocabulary;
    chunks[0].tokens = &id;
    chunks[0].count = 1;
    refused(&rig, chunks, 1); /* outside the vocabulary */
    assert_int_equal(engine_seq_reserve(&foreign, 4), 0);
    chunks[0] = (struct engine_chunk){&foreign, rig.tokens, 4, ENGINE_LOGITS_LAST, 0};
    refused(&rig, chunks, 1); /* pages of another model */
    assert_int_equal(seq.length, 0);
    assert_int_equal(engine_seq_reserve(&seq, engine_model_info(rig.model)->n_context + 1),
                     TANDEM_ETOOBIG);
    engine_seq_fini(&seq);
    engine_seq_fini(&foreign);
    rig_close(&rig);
    rig_close(&other);
}

/* ---- pages ---- */

static uint32_t pages_shared(const struct rig *rig)
{
    struct engine_pool_stats stats;

    engine_pool_stats(rig->pool, &stats);
    return stats.pages_shared;
}

static void test_fork_truncate(void **state)
{
    struct engine_seq seq, copy;
    struct rig rig;
    float *whole, *row;

    (void)state;
    rig_open(&rig, "decoder_kv_g2_f32", ENGINE_KV_F32);
    whole = whole_run(&rig);
    engine_seq_init(&seq, rig.pool);
    free(chunk_run(&rig, &seq, rig.tokens, 50, ENGINE_LOGITS_LAST));
    assert_int_equal(engine_seq_fork(&seq, &copy), 0);
    assert_int_equal(pages_shared(&rig), 1); /* the full one; the partial one is a copy */
    assert_int_not_equal(seq.pages[1], copy.pages[1]);
    /* The copy goes another way without disturbing the first. */
    free(chunk_run(&rig, &copy, rig.tokens, 10, ENGINE_LOGITS_LAST));
    row = chunk_run(&rig, &seq, rig.tokens + 50, 20, ENGINE_LOGITS_LAST);
    rows_same(row, whole + (size_t)69 * rig.vocabulary, rig.vocabulary);
    free(row);
    /* Into the shared page: the copy gets its own before it writes. */
    assert_int_equal(engine_seq_truncate(&copy, 20), 0);
    assert_int_equal(pages_shared(&rig), 0);
    assert_int_not_equal(seq.pages[0], copy.pages[0]);
    assert_int_equal(copy.page_count, 1);
    row = chunk_run(&rig, &copy, rig.tokens + 20, 1, ENGINE_LOGITS_LAST);
    rows_same(row, whole + (size_t)20 * rig.vocabulary, rig.vocabulary);
    free(row);
    assert_int_equal(engine_seq_truncate(&copy, 22), TANDEM_EINVAL);
    assert_int_equal(engine_seq_truncate(&copy, 0), 0);
    assert_int_equal(copy.page_count, 0);
    engine_seq_fini(&copy);
    engine_seq_fini(&seq);
    free(whole);
    rig_close(&rig);
}

static void test_pool_runs_out(void **state)
{
    char error[ENGINE_ERROR_BYTES];
    struct engine_pool_stats stats;
    struct engine_pool *pool = NULL;
    struct engine_seq seqs[2], copy;
    struct engine_model *model = model_get("decoder_kv_f32");
    const uint64_t page = engine_model_info(model)->kv_bytes_per_page;

    (void)state;
    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, page * 3 - 1, &pool, error),
                     TANDEM_ENOMEM); /* context 96 */
    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, page * 3, &pool, error), 0);
    engine_seq_init(&seqs[0], pool);
    engine_seq_init(&seqs[1], pool);
    assert_int_equal(engine_seq_reserve(&seqs[0], 65), 0);
    assert_int_equal(engine_seq_reserve(&seqs[1], 1), TANDEM_ENOMEM);
    assert_int_equal(seqs[1].page_count, 0);
    seqs[0].length = 65;
    assert_int_equal(engine_seq_fork(&seqs[0], &copy),
                     TANDEM_ENOMEM); /* no page for the partial one */
    engine_pool_stats(pool, &stats);
    assert_int_equal(stats.pages_shared, 0);
    engine_seq_fini(&seqs[0]);
    engine_seq_fini(&seqs[1]);
    engine_pool_stats(pool, &stats);
    assert_int_equal(stats.pages_free, 3);
    engine_pool_free(pool);
    engine_model_unref(model);
}

static void test_export_import(void **state)
{
    char error[ENGINE_ERROR_BYTES];
    struct buf bytes;
    struct engine_seq seq, copy;
    struct rig rig, other;
    float *whole, *row;

    (void)state;
    rig_open(&rig, "decoder_kv_f32", ENGINE_KV_F16);
    rig_open(&other, "decoder_kv_f16", ENGINE_KV_F16); /* same shape, another file */
    whole = whole_run(&rig);
    buf_init(&bytes, 0);
    engine_seq_init(&seq, rig.pool);
    engine_seq_init(&copy, rig.pool);
    free(chunk_run(&rig, &seq, rig.tokens, 40, ENGINE_LOGITS_LAST));
    assert_int_equal(engine_seq_export_page(&seq, 1, &bytes), TANDEM_EINVAL); /* not full */
    assert_int_equal(engine_seq_export_page(&seq, 0, &bytes), 0);
    for (size_t i = 0; i < bytes.bytes; i++) {
        bytes.data[i] ^= 0x10;
        assert_int_equal(engine_seq_import_page(&copy, bytes.data, bytes.bytes, error),
                         TANDEM_EFORMAT);
        bytes.data[i] ^= 0x10;
        assert_int_equal(engine_seq_import_page(&copy, bytes.data, i, error), TANDEM_EFORMAT);
    }
    assert_int_equal(copy.length, 0);
    assert_int_equal(engine_seq_import_page(&copy, bytes.data, bytes.bytes, error), 0);
    assert_int_equal(copy.length, ENGINE_PAGE_TOKENS);
    row = chunk_run(&rig, &copy, rig.tokens + 32, 38, ENGINE_LOGITS_LAST);
    rows_same(row, whole + (size_t)69 * rig.vocabulary, rig.vocabulary);
    assert_int_equal(engine_seq_import_page(&copy, bytes.data, bytes.bytes, error),
                     TANDEM_EINVAL); /* not on a border */
    engine_seq_fini(&copy);
    engine_seq_init(&copy, other.pool);
    assert_int_equal(engine_seq_import_page(&copy, bytes.data, bytes.bytes, error), TANDEM_EFORMAT);
    free(row);
    free(whole);
    buf_fini(&bytes);
    engine_seq_fini(&seq);
    engine_seq_fini(&copy);
    rig_close(&rig);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_page_bytes),    cmocka_unit_test(test_abort),
        cmocka_unit_test(test_broken_rules),  cmocka_unit_test(test_fork_truncate),
        cmocka_unit_test(test_pool_runs_out), cmocka_unit_test(test_export_import),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
