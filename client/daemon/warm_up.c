#include "client/daemon/warm_up.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdio.h>

#define ROUNDS      2 /* the first pays for cold memory */
#define TOKENS_MAX  (WARM_UP_PROMPT_TOKENS + WARM_UP_ANSWER_TOKENS)
#define PIXELS_SIDE 32

/* Takes one request the whole way. 0 with *ret_ms, or what it ended with. */
static int request_run(struct local_model *model, const void *input, size_t bytes,
                       const atomic_bool *abort, double *ret_ms, struct runner_work *ret_work,
                       char why[ENGINE_ERROR_BYTES])
{
    struct runner_job job = {.model = model,
                             .input = input,
                             .input_bytes = bytes,
                             .picture = {ENGINE_PIXELS_GREY, PIXELS_SIDE, PIXELS_SIDE, 0},
                             .max_new_tokens = WARM_UP_ANSWER_TOKENS,
                             .sampling = {.top_p = 1}};

    runner_run_now(&job, abort);
    answer_fini(&job.answer);
    *ret_ms = (double)job.run_ns / (double)NS_PER_MS;
    *ret_work = job.work;
    snprintf(why, ENGINE_ERROR_BYTES, "%s", job.why[0] ? job.why : tandem_error_text(job.error));
    return job.error;
}

static int picture_warm_up(struct local_model *model, struct estimate_local *estimate,
                           const atomic_bool *abort, char *why)
{
    static const uint8_t grey[PIXELS_SIDE * PIXELS_SIDE];
    struct runner_work work;
    double ms = 0;
    int result = 0;

    for (int i = 0; result == 0 && i < ROUNDS; i++) {
        result = request_run(model, grey, sizeof(grey), abort, &ms, &work, why);
    }
    if (result == 0) {
        estimate_local_add(estimate, ms);
    }
    return result;
}

/* Feeds `count` of `ids` in one step; adds its time to *total_ms. */
static int step_run(struct local_model *model, struct engine_seq *seq, const uint32_t *ids,
                    uint32_t count, const atomic_bool *abort, double *total_ms)
{
    struct engine_chunk chunk = {
        .seq = seq, .tokens = ids, .count = count, .want = ENGINE_LOGITS_LAST};
    const int64_t start_ns = clock_now_ns();
    const float *logits;
    int result = engine_seq_reserve(seq, count);

    if (result == 0) {
        result = engine_step(model->context, &chunk, 1, abort, &logits);
    }
    *total_ms += (double)(clock_now_ns() - start_ns) / (double)NS_PER_MS;
    return result;
}

/* One prompt and the tokens after it: what each kind of step takes. */
static int steps_run(struct local_model *model, const uint32_t *ids, size_t prompt, size_t count,
                     const atomic_bool *abort, struct estimate_text_run *ret_run)
{
    struct estimate_text_run run = {.prefill_tokens = (double)prompt,
                                    .decode_tokens = (double)(count - prompt)};
    struct engine_seq seq;
    int result;

    engine_seq_init(&seq, model->pool);
    result = step_run(model, &seq, ids, (uint32_t)prompt, abort, &run.prefill_ms);
    for (size_t i = prompt; result == 0 && i < count; i++) {
        result = step_run(model, &seq, ids + i, 1, abort, &run.decode_ms);
    }
    engine_seq_fini(&seq);
    *ret_run = run;
    return result;
}

/* Every so many-th token of the vocabulary; a small context takes fewer. Returns how many. */
static size_t ids_spread(const struct engine_model_info *info, uint32_t ids[TOKENS_MAX])
{
    const uint32_t count = info->n_context < TOKENS_MAX ? info->n_context : TOKENS_MAX;
    const uint32_t stride = info->n_vocab / TOKENS_MAX + 1;

    for (uint32_t i = 0; i < count; i++) {
        ids[i] = (uint32_t)(((uint64_t)i * stride) % info->n_vocab);
    }
    return count;
}

/* The words of the prompt as one request. A tokenizer that knows no way to spell them is no
 * failure: what counts is that the model runs, and the first request tells the rest. */
static int words_run(struct local_model *model, const uint32_t *ids, size_t count,
                     const atomic_bool *abort, struct estimate_local *estimate,
                     struct estimate_text_run *run, char *why)
{
    struct buf words;
    struct runner_work work = {0};
    double ms = 0;
    int result = 0;

    buf_init(&words, LIMIT_TEXT_BYTES);
    for (size_t i = 0; result == 0 && i < count; i++) {
        result = engine_detokenize(model->model, ids[i], words.bytes == 0, &words);
    }
    for (int i = 0; result == 0 && i < ROUNDS; i++) {
        result = request_run(model, words.data, words.bytes, abort, &ms, &work, why);
    }
    if (result == 0) {
        estimate_local_add(estimate, ms);
        run->prompt_tokens = work.prompt_tokens;
        run->prompt_bytes = (double)words.bytes;
    }
    buf_fini(&words);
    return result == TANDEM_EINVAL || result == TANDEM_ETOOBIG ? 0 : result;
}

static int text_warm_up(struct local_model *model, struct estimate_local *estimate,
                        struct estimate_text *text, const atomic_bool *abort, char *why)
{
    uint32_t ids[TOKENS_MAX];
    const size_t count = ids_spread(engine_model_info(model->model), ids);
    const size_t prompt = (count * WARM_UP_PROMPT_TOKENS + TOKENS_MAX - 1) / TOKENS_MAX;
    struct estimate_text_run run;
    int result = 0;

    for (int i = 0; result == 0 && i < ROUNDS; i++) {
        result = steps_run(model, ids, prompt, count, abort, &run);
    }
    if (result != 0) {
        return result;
    }
    run.prompt_tokens = run.prompt_bytes = 1; /* until better is known: no token is shorter */
    result = words_run(model, ids, prompt / 2 + 1, abort, estimate, &run, why);
    if (result == 0) {
        estimate_text_add(text, &run);
    }
    return result;
}

int warm_up(struct local_model *model, struct estimate_local *estimate, struct estimate_text *text,
            const atomic_bool *abort, char why[ENGINE_ERROR_BYTES])
{
    int result;

    why[0] = '\0';
    result = model->pool ? text_warm_up(model, estimate, text, abort, why)
                         : picture_warm_up(model, estimate, abort, why);
    if (result != 0 && !why[0]) { /* not every step has words of its own */
        snprintf(why, ENGINE_ERROR_BYTES, "%s", tandem_error_text(result));
    }
    return result;
}
