#include "server/warm_up.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS        2 /* only the last is measured */
#define PROMPT_TOKENS 16

static int pictures_run(struct served_model *model)
{
    float *black = calloc(engine_picture_floats(model->model), sizeof(*black));
    const float *const rows[1] = {black};
    const float *logits;
    int result = black ? 0 : TANDEM_ENOMEM;

    for (int i = 0; result == 0 && i < ROUNDS; i++) {
        const int64_t start_ns = clock_now_ns();

        result = engine_encode_pictures(model->context, rows, 1, NULL, &logits);
        if (result == 0 && i + 1 == ROUNDS) {
            batcher_rate_add(&model->rates.picture_ns, (double)(clock_now_ns() - start_ns));
        }
    }
    free(black);
    return result;
}

/* One chunk of `count` tokens of id 0 at the end of the sequence; its time. */
static int chunk_run(struct served_model *model, struct engine_seq *seq, uint32_t count,
                     double *ret_ns)
{
    static const uint32_t tokens[PROMPT_TOKENS];
    struct engine_chunk chunk = {
        .seq = seq, .tokens = tokens, .count = count, .want = ENGINE_LOGITS_LAST};
    const int64_t start_ns = clock_now_ns();
    const float *logits;
    int result = engine_seq_reserve(seq, count);

    if (result == 0) {
        result = engine_step(model->context, &chunk, 1, NULL, &logits);
    }
    *ret_ns = (double)(clock_now_ns() - start_ns);
    return result;
}

static int tokens_run(struct served_model *model)
{
    const uint32_t context = model->info->n_context;
    uint32_t count = model->step_tokens < PROMPT_TOKENS ? model->step_tokens : PROMPT_TOKENS;
    double prefill_ns = 0, decode_ns = 0;
    int result = 0;

    count = count < context ? count : context - 1;
    for (int i = 0; result == 0 && i < ROUNDS; i++) {
        struct engine_seq seq;

        engine_seq_init(&seq, model->pool);
        result = count > 0 ? chunk_run(model, &seq, count, &prefill_ns) : 0;
        if (result == 0) {
            result = chunk_run(model, &seq, 1, &decode_ns);
        }
        engine_seq_fini(&seq);
    }
    if (result == 0 && count > 0) {
        batcher_rate_add(&model->rates.prefill_ns, prefill_ns / count);
    }
    if (result == 0) {
        batcher_rate_add(&model->rates.decode_ns, decode_ns);
    }
    return result;
}

int model_warm_up(struct served_model *model, char error[ENGINE_ERROR_BYTES])
{
    int result = 0; /* what no task can serve is not run; the task's check says so */

    if (model->pool) {
        result = tokens_run(model);
    } else if (model->info->architecture == ENGINE_VIT) {
        result = pictures_run(model);
    }

    if (result != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model does not run: %s",
                 tandem_error_text(result));
    }
    return result;
}
