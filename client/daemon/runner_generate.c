#include "client/daemon/runner_parts.h"

#include "client/policy/confidence_text.h"
#include "common/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct generation {
    struct engine_seq seq;
    struct engine_sampler sampler;
    uint32_t *ids;   /* [n_context]: the prompt and what was generated after it */
    size_t id_count; /* those past seq.length have still to be fed */
    void *scratch;   /* for the sampler */
    struct buf text;
    size_t shown; /* bytes of it that generation_text has given */
    struct confidence_text sure;
    uint32_t finish; /* WIRE_FINISH_* */
};

static int turn_tokens(const struct engine_model *model, enum turn_role role, const char *text,
                       size_t bytes, uint32_t *ids, size_t room, size_t *count, char *why)
{
    size_t more = 0;
    int result =
        role == TURN_USER
            ? engine_tokenize_prompt(model, text, bytes, ids + *count, room - *count, &more, why)
            : engine_tokenize(model, text, bytes, ids + *count, room - *count, &more, why);

    if (result == TANDEM_ETOOBIG) {
        snprintf(why, ENGINE_ERROR_BYTES,
                 "the text has more than the %zu tokens of the model's context", room);
    } else if (result == 0) {
        *count += more;
    }
    return result;
}

/* The model's own prefix and suffix make tokens of no text at all: that is looked at first. */
static int job_tokens(struct runner_job *job, uint32_t *ids, size_t room, size_t *ret_count)
{
    const struct engine_model *model = job->model->model;
    size_t at = 0, bytes, count = 0;
    enum turn_role role;
    const char *text;
    int result = 0;

    if (job->input_bytes == 0) {
        snprintf(job->why, sizeof(job->why), "the text is empty");
        return TANDEM_EINVAL;
    }
    if (!job->transcript) {
        result = turn_tokens(model, TURN_USER, (const char *)job->input, job->input_bytes, ids,
                             room, &count, job->why);
    }
    while (job->transcript && result == 0) {
        result = transcript_next(job->input, job->input_bytes, &at, &role, &text, &bytes);
        if (result == 0) {
            result = turn_tokens(model, role, text, bytes, ids, room, &count, job->why);
        }
    }
    if (result < 0) {
        job->why_kept = result == TANDEM_ETOOBIG
                            ? NULL
                            : "this model has no token for a part of the text, which only the "
                              "application was told";
        return result;
    }
    if (count == 0) {
        snprintf(job->why, sizeof(job->why), "the text has no tokens");
        return TANDEM_EINVAL;
    }
    if (count >= room) {
        snprintf(job->why, sizeof(job->why), "the text fills the model's context");
        return TANDEM_ETOOBIG;
    }
    *ret_count = count;
    return 0;
}

int generation_begin(struct runner_job *job)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    const struct engine_sampling params = {job->sampling.temperature, job->sampling.top_k,
                                           job->sampling.top_p, job->sampling.seed};
    struct generation *generation = calloc(1, sizeof(*generation));
    int result;

    if (!generation) {
        return TANDEM_ENOMEM;
    }
    job->generation = generation;
    engine_seq_init(&generation->seq, job->model->pool);
    engine_sampler_init(&generation->sampler, &params);
    confidence_text_init(&generation->sure);
    buf_init(&generation->text, LIMIT_ANSWER_TEXT_BYTES);
    generation->ids = malloc(sizeof(*generation->ids) * info->n_context);
    generation->scratch = malloc((size_t)info->n_class * 8);
    result = generation->ids && generation->scratch ? 0 : TANDEM_ENOMEM;
    if (result == 0) {
        result = job_tokens(job, generation->ids, info->n_context, &generation->id_count);
        job->work.prompt_tokens = (uint32_t)generation->id_count;
    }
    if (result != 0) {
        generation_free(job);
    }
    return result;
}

void generation_free(struct runner_job *job)
{
    struct generation *generation = job->generation;

    if (generation) {
        engine_seq_fini(&generation->seq);
        buf_fini(&generation->text);
        free(generation->ids);
        free(generation->scratch);
        free(generation);
        job->generation = NULL;
    }
}

static size_t unfed_count(const struct generation *generation)
{
    const size_t left = generation->id_count - generation->seq.length;

    return left < RUNNER_CHUNK_TOKENS ? left : RUNNER_CHUNK_TOKENS;
}

enum step_kind generation_next(const struct runner_job *job)
{
    return job->generation && unfed_count(job->generation) == 1 ? STEP_TOKEN : STEP_CHUNK;
}

bool generation_has_text(const struct runner_job *job)
{
    return job->generation && job->generation->text.bytes > 0;
}

double generation_sure(const struct runner_job *job, uint32_t *ret_tokens)
{
    *ret_tokens = job->generation->sure.tokens;
    return confidence_text_get(&job->generation->sure,
                               &engine_model_info(job->model->model)->calibration);
}

bool generation_has_pages(const struct runner_job *job)
{
    return job->generation && job->generation->seq.page_count > 0;
}

int generation_reserve(struct runner_job *job)
{
    return engine_seq_reserve(&job->generation->seq, (uint32_t)unfed_count(job->generation));
}

void generation_drop(struct runner_job *job)
{
    engine_seq_fini(&job->generation->seq);
    engine_seq_init(&job->generation->seq, job->model->pool);
}

/* Takes the token that `logits` say comes next. *ret_more: it has to be fed for another. */
static int token_take(struct runner_job *job, const float *logits, bool *ret_more)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    struct generation *generation = job->generation;
    float logprob;
    uint32_t id;
    int result;

    *ret_more = false;
    if (!engine_logits_are_sound(logits, info->n_class)) {
        snprintf(job->why, sizeof(job->why), "the model computes what is no number");
        return TANDEM_EINTERNAL;
    }
    id = engine_sample(&generation->sampler, logits, info->n_class, generation->scratch, &logprob);
    confidence_text_add(&generation->sure, (double)logprob);
    if (engine_is_end_token(job->model->model, id)) {
        generation->finish = WIRE_FINISH_END;
        return 0;
    }
    generation->finish = WIRE_FINISH_LENGTH;
    result = engine_detokenize(job->model->model, id, job->answer.tokens == 0, &generation->text);
    if (result != 0) {
        return result == TANDEM_ETOOBIG ? 0 : result; /* a text as long as it may be */
    }
    job->answer.tokens++;
    if (job->answer.tokens < job->max_new_tokens && generation->id_count < info->n_context) {
        generation->ids[generation->id_count++] = id;
        *ret_more = true;
    }
    return 0;
}

static void work_add(struct runner_work *work, bool decode, uint32_t tokens, int64_t ns)
{
    if (decode) {
        work->decode_tokens += tokens;
        work->decode_ns += ns;
    } else {
        work->prefill_tokens += tokens;
        work->prefill_ns += ns;
    }
}

int generation_step(struct runner_job *job, bool *ret_more)
{
    struct generation *generation = job->generation;
    const uint32_t count = (uint32_t)unfed_count(generation);
    const bool last = generation->seq.length + count == generation->id_count;
    struct engine_chunk chunk = {&generation->seq, generation->ids + generation->seq.length, count,
                                 last ? ENGINE_LOGITS_LAST : ENGINE_LOGITS_NONE, 0};
    const bool decode = count == 1 && generation->seq.length >= job->work.prompt_tokens;
    const int64_t start_ns = clock_now_ns();
    const float *logits;
    int result = engine_step(job->model->context, &chunk, 1, &job->abort, &logits);

    *ret_more = true;
    work_add(&job->work, decode, count, clock_now_ns() - start_ns);
    return result == 0 && last ? token_take(job, logits, ret_more) : result;
}

const uint8_t *generation_text(struct runner_job *job, size_t *ret_bytes)
{
    struct generation *generation = job->generation;
    const size_t at = generation->shown;

    generation->shown = generation->text.bytes;
    *ret_bytes = generation->text.bytes - at;
    return *ret_bytes ? generation->text.data + at : NULL;
}

int generation_finish(struct runner_job *job, bool deadline)
{
    struct generation *generation = job->generation;
    struct answer *answer = &job->answer;
    uint32_t tokens;

    answer->text = malloc(generation->text.bytes + 1);
    if (!answer->text) {
        return TANDEM_ENOMEM;
    }
    if (generation->text.bytes) {
        memcpy(answer->text, generation->text.data, generation->text.bytes);
    }
    answer->text[generation->text.bytes] = '\0';
    answer->text_bytes = generation->text.bytes;
    answer->kind = WIRE_GENERATE;
    answer->finish = deadline ? WIRE_FINISH_DEADLINE : generation->finish;
    answer->confidence = generation_sure(job, &tokens);
    return 0;
}
