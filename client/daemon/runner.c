#include "client/daemon/runner.h"

#include "common/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct runner {
    uv_async_t async;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    struct runner_job *waiting, *done; /* under the mutex */
    struct runner_job *current;
    bool stop;
    size_t out;
    void (*on_done)(struct runner_job *job, void *user);
    void *user;
};

int local_model_open(const char *path, uint32_t kind, uint32_t threads, uint64_t kv_bytes, struct local_model *ret_model,
                     char error[ENGINE_ERROR_BYTES])
{
    struct local_model model = {.kind = kind};
    const struct engine_model_info *info;
    struct engine_context_params params = {.max_tokens = 256, .max_sequences = 1, .threads = threads};
    int result = engine_model_open(path, &model.model, error);

    if (result != 0) {
        return result;
    }
    info = engine_model_info(model.model);
    if ((kind == WIRE_CLASSIFY) != (info->architecture == ENGINE_VIT)) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: a %.60s model does not serve this kind of task", path, info->architecture_text);
        result = TANDEM_ECONFIG;
    }
    if (result == 0 && kind == WIRE_GENERATE) {
        result = engine_pool_new(model.model, ENGINE_KV_F16, kv_bytes, &model.pool, error);
    }
    if (result == 0) {
        result = engine_context_new(model.model, &params, &model.context, error);
    }
    if (result != 0) {
        local_model_close(&model);
        return result;
    }
    model.labels = info->labels;
    model.label_count = info->labels ? info->n_class : 0;
    *ret_model = model;
    return 0;
}

void local_model_close(struct local_model *model)
{
    engine_context_free(model->context);
    if (model->pool) {
        engine_pool_free(model->pool);
    }
    engine_model_unref(model->model);
    memset(model, 0, sizeof(*model));
}

static int label_compare(const void *a, const void *b)
{
    const struct answer_label *left = a, *right = b;

    return (left->score < right->score) - (left->score > right->score);
}

static int classify_answer(struct runner_job *job, float *scores, size_t classes)
{
    struct answer_label *labels = calloc(classes, sizeof(*labels));
    char number[24];

    if (!labels) {
        return TANDEM_ENOMEM;
    }
    job->answer.kind = WIRE_CLASSIFY;
    job->answer.labels = labels;
    job->answer.label_count = classes;
    for (size_t i = 0; i < classes; i++) {
        snprintf(number, sizeof(number), "%zu", i);
        labels[i].score = (double)scores[i];
        labels[i].label = strdup(i < job->model->label_count ? job->model->labels[i] : number);
        if (!labels[i].label) {
            return TANDEM_ENOMEM;
        }
    }
    qsort(labels, classes, sizeof(*labels), label_compare);
    for (; job->answer.label_count > LIMIT_LABELS; job->answer.label_count--) {
        free(labels[job->answer.label_count - 1].label);
    }
    job->answer.confidence = labels[0].score;
    return 0;
}

static int job_classify(struct runner_job *job)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    const struct engine_picture picture = {(enum engine_pixel_format)job->picture.format, job->picture.width, job->picture.height,
                                           job->picture.stride_bytes, job->input, job->input_bytes};
    float *pixels = malloc(sizeof(*pixels) * engine_picture_floats(job->model->model));
    float *scores = malloc(sizeof(*scores) * info->n_class);
    const float *row = pixels, *logits;
    int result = pixels && scores ? 0 : TANDEM_ENOMEM;

    if (result == 0) {
        result = engine_picture_prepare(job->model->model, &picture, pixels, job->why);
    }
    if (result == 0) {
        result = engine_encode_pictures(job->model->context, &row, 1, &job->abort, &logits);
    }
    if (result == 0) {
        memcpy(scores, logits, sizeof(*scores) * info->n_class);
        (void)engine_softmax(scores, info->n_class);
        result = classify_answer(job, scores, info->n_class);
    }
    free(pixels);
    free(scores);
    return result;
}

static int turn_tokens(const struct engine_model *model, enum turn_role role, const char *text, size_t bytes, uint32_t *ids,
                       size_t room, size_t *count, char *why)
{
    size_t more = 0;
    int result = role == TURN_USER ? engine_tokenize_prompt(model, text, bytes, ids + *count, room - *count, &more, why)
                                   : engine_tokenize(model, text, bytes, ids + *count, room - *count, &more, why);

    if (result == TANDEM_ETOOBIG) {
        snprintf(why, ENGINE_ERROR_BYTES, "the text has more than the %zu tokens of the model's context", room);
    } else if (result == 0) {
        *count += more;
    }
    return result;
}

static int job_tokens(struct runner_job *job, uint32_t *ids, size_t room, size_t *ret_count)
{
    const struct engine_model *model = job->model->model;
    size_t at = 0, bytes, count = 0;
    enum turn_role role;
    const char *text;
    int result = 0;

    if (!job->transcript) {
        result = turn_tokens(model, TURN_USER, (const char *)job->input, job->input_bytes, ids, room, &count, job->why);
    }
    while (job->transcript && result == 0) {
        result = transcript_next(job->input, job->input_bytes, &at, &role, &text, &bytes);
        if (result == 0) {
            result = turn_tokens(model, role, text, bytes, ids, room, &count, job->why);
        }
    }
    if (result == 1) {
        result = 0; /* the transcript's end */
    }
    if (result == 0 && (count == 0 || count >= room)) {
        snprintf(job->why, sizeof(job->why), count == 0 ? "the text is empty" : "the text fills the model's context");
        result = count == 0 ? TANDEM_EINVAL : TANDEM_ETOOBIG;
    }
    *ret_count = count;
    return result;
}

static int job_prefill(struct runner_job *job, struct engine_seq *seq, const uint32_t *ids, size_t count, const float **ret_logits)
{
    int result = engine_seq_reserve(seq, (uint32_t)count);

    for (size_t at = 0; result == 0 && at < count;) {
        const size_t part = count - at < 256 ? count - at : 256;
        struct engine_chunk chunk = {seq, ids + at, (uint32_t)part, ENGINE_LOGITS_LAST, 0};

        result = engine_step(job->model->context, &chunk, 1, &job->abort, ret_logits);
        at += part;
    }
    return result;
}

/* One token after the other until the end token, the length, the context or the deadline. */
static int job_decode(struct runner_job *job, struct engine_seq *seq, const float *logits, void *scratch, struct buf *text)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    const struct engine_sampling params = {job->sampling.temperature, job->sampling.top_k, job->sampling.top_p, job->sampling.seed};
    struct engine_sampler sampler;
    double logprob_sum = 0;
    int result = 0;

    engine_sampler_init(&sampler, &params);
    job->answer.finish = WIRE_FINISH_LENGTH;
    while (result == 0) {
        float logprob;
        uint32_t id = engine_sample(&sampler, logits, info->n_class, scratch, &logprob);
        struct engine_chunk chunk = {seq, &id, 1, ENGINE_LOGITS_LAST, 0};

        logprob_sum += (double)logprob;
        if (engine_is_end_token(job->model->model, id)) {
            job->answer.finish = WIRE_FINISH_END;
            break;
        }
        result = engine_detokenize(job->model->model, id, job->answer.tokens == 0, text);
        if (result == TANDEM_ETOOBIG) {
            result = 0;
            break;
        }
        if (++job->answer.tokens >= job->max_new_tokens || seq->length + 1 > info->n_context) {
            break;
        }
        if (result == 0) {
            result = engine_seq_reserve(seq, 1);
        }
        if (result == 0) {
            result = engine_step(job->model->context, &chunk, 1, &job->abort, &logits);
        }
    }
    job->answer.confidence = exp(logprob_sum);
    return result;
}

static int job_generate(struct runner_job *job)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    uint32_t *ids = malloc(sizeof(*ids) * info->n_context);
    void *scratch = malloc((size_t)info->n_class * 8);
    const float *logits = NULL;
    struct engine_seq seq;
    struct buf text;
    size_t count = 0;
    int result = ids && scratch ? 0 : TANDEM_ENOMEM;

    engine_seq_init(&seq, job->model->pool);
    buf_init(&text, LIMIT_ANSWER_TEXT_BYTES);
    job->answer.kind = WIRE_GENERATE;
    if (result == 0) {
        result = job_tokens(job, ids, info->n_context, &count);
    }
    if (result == 0) {
        result = job_prefill(job, &seq, ids, count, &logits);
    }
    if (result == 0) {
        result = job_decode(job, &seq, logits, scratch, &text);
    }
    if (result == 0) {
        job->answer.text = malloc(text.bytes + 1);
        result = job->answer.text ? 0 : TANDEM_ENOMEM;
    }
    if (result == 0) {
        if (text.bytes) {
            memcpy(job->answer.text, text.data, text.bytes);
        }
        job->answer.text[text.bytes] = '\0';
        job->answer.text_bytes = text.bytes;
    }
    engine_seq_fini(&seq);
    buf_fini(&text);
    free(ids);
    free(scratch);
    return result;
}

void runner_run_now(struct runner_job *job)
{
    job->started_ns = clock_now_ns();
    job->error = atomic_load(&job->abort) ? TANDEM_ECANCELED : 0;
    if (job->error == 0) {
        job->error = job->model->kind == WIRE_CLASSIFY ? job_classify(job) : job_generate(job);
    }
    if (job->error != 0) {
        answer_fini(&job->answer);
    }
    job->ended_ns = clock_now_ns();
}

static struct runner_job *earliest_take(struct runner_job **list)
{
    struct runner_job **best = list, *taken;

    for (struct runner_job **at = list; *at; at = &(*at)->next) {
        if ((*at)->deadline_ns != 0 && ((*best)->deadline_ns == 0 || (*at)->deadline_ns < (*best)->deadline_ns)) {
            best = at;
        }
    }
    taken = *best;
    *best = taken->next;
    return taken;
}

static void runner_main(void *argument)
{
    struct runner *runner = argument;
    struct runner_job *job, **end;

    uv_mutex_lock(&runner->mutex);
    for (;;) {
        while (!runner->waiting && !runner->stop) {
            uv_cond_wait(&runner->wake, &runner->mutex);
        }
        if (runner->stop) {
            break;
        }
        job = earliest_take(&runner->waiting);
        runner->current = job;
        uv_mutex_unlock(&runner->mutex);
        runner_run_now(job);
        uv_mutex_lock(&runner->mutex);
        runner->current = NULL;
        job->next = NULL;
        for (end = &runner->done; *end; end = &(*end)->next) {
        }
        *end = job;
        (void)uv_async_send(&runner->async);
    }
    uv_mutex_unlock(&runner->mutex);
}

static void on_async(uv_async_t *async)
{
    struct runner *runner = async->data;
    struct runner_job *list, *next;

    uv_mutex_lock(&runner->mutex);
    list = runner->done;
    runner->done = NULL;
    uv_mutex_unlock(&runner->mutex);
    for (; list; list = next) {
        next = list->next;
        runner->out--;
        runner->on_done(list, runner->user);
    }
}

int runner_new(uv_loop_t *loop, void (*on_done)(struct runner_job *job, void *user), void *user, struct runner **ret_runner)
{
    struct runner *runner = calloc(1, sizeof(*runner));

    if (!runner) {
        return TANDEM_ENOMEM;
    }
    runner->on_done = on_done;
    runner->user = user;
    runner->async.data = runner;
    if (uv_mutex_init(&runner->mutex) != 0 || uv_cond_init(&runner->wake) != 0 ||
        uv_async_init(loop, &runner->async, on_async) != 0 || uv_thread_create(&runner->thread, runner_main, runner) != 0) {
        return TANDEM_EIO; /* out of handles at start: the process ends with this error */
    }
    *ret_runner = runner;
    return 0;
}

void runner_submit(struct runner *runner, struct runner_job *job)
{
    struct runner_job **end;

    job->queued_ns = clock_now_ns();
    job->next = NULL;
    runner->out++;
    uv_mutex_lock(&runner->mutex);
    for (end = &runner->waiting; *end; end = &(*end)->next) {
    }
    *end = job;
    uv_cond_signal(&runner->wake);
    uv_mutex_unlock(&runner->mutex);
}

void runner_cancel(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    atomic_store(&job->abort, true);
}

size_t runner_queued(const struct runner *runner)
{
    return runner->out;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runner_free(struct runner *runner)
{
    if (!runner) {
        return;
    }
    uv_mutex_lock(&runner->mutex);
    runner->stop = true;
    if (runner->current) {
        atomic_store(&runner->current->abort, true);
    }
    uv_cond_signal(&runner->wake);
    uv_mutex_unlock(&runner->mutex);
    (void)uv_thread_join(&runner->thread);
    uv_mutex_destroy(&runner->mutex);
    uv_cond_destroy(&runner->wake);
    uv_close((uv_handle_t *)&runner->async, on_closed);
}
