#include "common/model/timing.h"

#include "common/base/clock.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>

#define PICTURES 16
#define ROWS     16

/* ---- which tests ---- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static size_t decoder_tests(const struct engine_model_info *info, uint32_t prompt,
                            uint32_t generate, struct timing_test *tests)
{
    const uint32_t room = info->n_context;
    size_t count = 0;

    prompt = least(prompt, room);
    generate = least(generate, room);
    if (prompt > 0) {
        tests[count] = (struct timing_test){
            .sequences = 1, .count = prompt, .chunk = least(prompt, TIMING_CHUNK)};
        snprintf(tests[count++].name, sizeof(tests->name), "pp%u", prompt);
    }
    if (generate > 0) {
        tests[count] = (struct timing_test){.sequences = 1, .count = generate, .chunk = 1};
        snprintf(tests[count++].name, sizeof(tests->name), "tg%u", generate);
    }
    if (generate > 0 && room >= TIMING_DEEP && room - TIMING_DEEP >= generate) {
        tests[count] = (struct timing_test){
            .sequences = 1, .before = TIMING_DEEP, .count = generate, .chunk = 1};
        snprintf(tests[count++].name, sizeof(tests->name), "tg%u@%d", generate, TIMING_DEEP);
    }
    if (generate > 0) {
        tests[count] = (struct timing_test){.sequences = TIMING_BATCH, .chunk = 1};
        tests[count].count = (generate + TIMING_BATCH - 1) / TIMING_BATCH;
        snprintf(tests[count++].name, sizeof(tests->name), "batch%d", TIMING_BATCH);
    }
    return count;
}

size_t timing_tests(const struct engine_model_info *info, uint32_t prompt, uint32_t generate,
                    struct timing_test ret_tests[TIMING_TESTS])
{
    if (engine_is_decoder(info->architecture)) {
        return decoder_tests(info, prompt, generate, ret_tests);
    }
    if (info->architecture == ENGINE_VIT) {
        ret_tests[0] =
            (struct timing_test){.name = "image", .kind = TIMING_PICTURES, .count = PICTURES};
        return 1;
    }
    ret_tests[0] = (struct timing_test){.kind = TIMING_ROWS, .count = ROWS};
    ret_tests[0].chunk = least(info->n_context, LIMIT_BATCH_TOKENS);
    snprintf(ret_tests[0].name, sizeof(ret_tests[0].name), "pp%u", ret_tests[0].chunk);
    return 1;
}

/* ---- running one ---- */

static int fail(char error[ENGINE_ERROR_BYTES], int code, const char *what)
{
    snprintf(error, ENGINE_ERROR_BYTES, "%s: %s", what, tandem_error_text(code));
    return code;
}

/* `count` tokens more for each sequence, in steps of at most `chunk` for each. */
static int feed(struct engine_context *context, struct engine_seq *seqs, uint32_t sequences,
                const uint32_t *tokens, uint32_t count, uint32_t chunk)
{
    struct engine_chunk chunks[TIMING_BATCH];
    const float *logits;
    int rc = 0;

    for (uint32_t at = 0; rc == 0 && at < count; at += chunk) {
        const uint32_t here = least(count - at, chunk);

        for (uint32_t i = 0; rc == 0 && i < sequences; i++) {
            chunks[i] = (struct engine_chunk){&seqs[i], tokens, here, ENGINE_LOGITS_LAST, 0};
            rc = engine_seq_reserve(&seqs[i], here);
        }
        rc = rc ? rc : engine_step(context, chunks, sequences, NULL, &logits);
    }
    return rc;
}

static int steps_time(struct engine_model *model, const struct timing_test *test,
                      struct engine_context *context, int64_t *ret_ns,
                      char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(model);
    const uint64_t tokens_each = (uint64_t)test->before + test->count;
    const uint64_t each = (tokens_each + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    const uint64_t whole = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    const uint64_t pages = each * test->sequences > whole ? each * test->sequences : whole;
    struct engine_seq seqs[TIMING_BATCH];
    struct engine_pool *pool = NULL;
    uint32_t tokens[TIMING_CHUNK];
    int64_t start_ns;
    int rc = engine_pool_new(model, ENGINE_KV_F16, pages * info->kv_bytes_per_page, &pool, error);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < TIMING_CHUNK; i++) {
        tokens[i] = i * 7919 % info->n_vocab;
    }
    for (uint32_t i = 0; i < test->sequences; i++) {
        engine_seq_init(&seqs[i], pool);
    }
    /* one step of the size that is timed first, and forgotten: scratch memory is in place then */
    rc = feed(context, seqs, test->sequences, tokens, test->chunk, test->chunk);
    for (uint32_t i = 0; rc == 0 && i < test->sequences; i++) {
        rc = engine_seq_truncate(&seqs[i], 0);
    }
    rc = rc ? rc
            : feed(context, seqs, test->sequences, tokens, test->before,
                   TIMING_CHUNK / test->sequences);
    start_ns = clock_now_ns();
    rc = rc ? rc : feed(context, seqs, test->sequences, tokens, test->count, test->chunk);
    *ret_ns = clock_now_ns() - start_ns;
    for (uint32_t i = 0; i < test->sequences; i++) {
        engine_seq_fini(&seqs[i]);
    }
    engine_pool_free(pool);
    return rc ? fail(error, rc, "a step could not be run") : 0;
}

static int pictures_time(struct engine_model *model, const struct timing_test *test,
                         struct engine_context *context, int64_t *ret_ns,
                         char error[ENGINE_ERROR_BYTES])
{
    const size_t floats = engine_picture_floats(model);
    float *picture = calloc(floats, sizeof(*picture));
    const float *pixels[PICTURES], *logits;
    int rc = picture ? 0 : TANDEM_ENOMEM;

    for (size_t i = 0; rc == 0 && i < floats; i++) {
        picture[i] = (float)(i * 7919 % 255) / 128 - 1;
    }
    for (uint32_t i = 0; i < PICTURES; i++) {
        pixels[i] = picture;
    }
    rc = rc ? rc : engine_encode_pictures(context, pixels, 1, NULL, &logits); /* warm */
    *ret_ns = clock_now_ns();
    rc = rc ? rc : engine_encode_pictures(context, pixels, test->count, NULL, &logits);
    *ret_ns = clock_now_ns() - *ret_ns;
    free(picture);
    return rc ? fail(error, rc, "pictures could not be run") : 0;
}

static int rows_time(struct engine_model *model, const struct timing_test *test,
                     struct engine_context *context, int64_t *ret_ns,
                     char error[ENGINE_ERROR_BYTES])
{
    uint32_t *tokens = calloc(test->chunk, sizeof(*tokens));
    const float *logits;
    int rc = tokens ? 0 : TANDEM_ENOMEM;

    for (uint32_t i = 0; rc == 0 && i < test->chunk; i++) {
        tokens[i] = i * 7919 % engine_model_info(model)->n_vocab;
    }
    rc = rc ? rc : engine_encode_tokens(context, tokens, test->chunk, NULL, &logits); /* warm */
    *ret_ns = clock_now_ns();
    for (uint32_t i = 0; rc == 0 && i < test->count; i++) {
        rc = engine_encode_tokens(context, tokens, test->chunk, NULL, &logits);
    }
    *ret_ns = clock_now_ns() - *ret_ns;
    free(tokens);
    return rc ? fail(error, rc, "a row could not be run") : 0;
}

int timing_run(struct engine_model *model, const struct timing_test *test, uint32_t threads,
               double *ret_per_second, char error[ENGINE_ERROR_BYTES])
{
    static int (*const runs[])(struct engine_model *, const struct timing_test *,
                               struct engine_context *, int64_t *, char *) = {
        [TIMING_STEPS] = steps_time,
        [TIMING_PICTURES] = pictures_time,
        [TIMING_ROWS] = rows_time,
    };
    const uint32_t each = test->kind == TIMING_ROWS ? test->chunk : 1;
    const struct engine_context_params params = {
        .max_tokens =
            test->kind == TIMING_ROWS && test->chunk > TIMING_CHUNK ? test->chunk : TIMING_CHUNK,
        .max_sequences = PICTURES,
        .threads = threads,
    };
    struct engine_context *context = NULL;
    int64_t ns = 0;
    int rc = engine_context_new(model, &params, &context, error);

    rc = rc ? rc : runs[test->kind](model, test, context, &ns, error);
    engine_context_free(context);
    if (rc == 0) {
        const double tokens = (double)test->count * (test->sequences ? test->sequences : 1) * each;

        *ret_per_second = tokens * 1e9 / (double)(ns > 0 ? ns : 1);
    }
    return rc;
}
