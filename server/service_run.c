#include "server/service_parts.h"

#include "common/base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- into the step ---- */

/* A turn that has not begun waits with the rows of its conversation's earlier turns. The last of
 * them to come gives them up for one that came before, else such turns could hold all pages between
 * them and none could begin. */
static bool rows_give_up(struct service *service, const struct request *request)
{
    struct request *last = NULL;

    for (struct request *r = request->next; r; r = r->next) {
        if (r->model->pool == request->model->pool && r->session.state == SESSION_QUEUED &&
            !r->reserved && r->seq.page_count > 0) {
            last = r;
        }
    }
    if (!last) {
        return false;
    }
    engine_seq_fini(&last->seq);
    engine_seq_init(&last->seq, last->model->pool);
    service->counts.cached_tokens -= last->cached_count;
    last->cached_count = 0;
    return true;
}

/* Pages for the whole request, so that what runs never runs out of them half way. Idle
 * conversations make room, then turns that wait. */
static bool pages_reserve(struct service *service, struct request *request)
{
    /* The last token is never fed back, so it needs no row. */
    const uint32_t tokens = request->prompt_count + request->max_new - 1 - request->seq.length;
    int result;

    if (request->reserved) {
        return true;
    }
    while ((result = engine_seq_reserve(&request->seq, tokens)) == TANDEM_ENOMEM &&
           (conversation_evict(&service->conversations, request->model->pool) ||
            rows_give_up(service, request))) {
    }
    request->reserved = result == 0;
    return request->reserved;
}

static size_t items_collect(struct service *service, const struct served_model *model,
                            struct batcher_item *items)
{
    bool pages_short = false;
    size_t count = 0;

    for (struct request *r = service->requests; r; r = r->next) {
        if (r->model != model || r->session.state != SESSION_QUEUED) {
            continue;
        }
        if (r->task->kind == TASK_GENERATE) {
            /* Whoever waits for pages waits in order: nobody who came later takes them away. */
            if (!r->reserved && (pages_short || !pages_reserve(service, r))) {
                pages_short = true;
                continue;
            }
        }
        items[count++] = (struct batcher_item){.tenant = r->tenant_key,
                                               .urgency_ns = request_urgency_ns(r),
                                               .user = r,
                                               .prefill = r->task->kind == TASK_CLASSIFY ? 1
                                                          : r->seq.length < r->prompt_count
                                                              ? r->prompt_count - r->seq.length
                                                              : 0};
    }
    return count;
}

static void chunk_fill(struct worker_job *job, struct request *request, uint32_t take)
{
    struct worker_entry *entry = &job->entries[job->count];
    struct engine_chunk *chunk = &job->chunks[job->count];

    if (request->seq.length >= request->prompt_count) { /* a decode token */
        request->ids[request->id_count++] = request->next_id;
        take = 1;
    }
    *chunk = (struct engine_chunk){.seq = &request->seq,
                                   .tokens = request->ids + request->seq.length,
                                   .count = take,
                                   .want = request->seq.length + take == request->id_count
                                               ? ENGINE_LOGITS_LAST
                                               : ENGINE_LOGITS_NONE};
    request->rows = request->seq.length;
    entry->sampler = request->sampler;
}

/* Puts the picked requests into the job. Those whose deadline has just passed fall out here. */
static void job_fill(struct service *service, struct worker_job *job, struct batcher_item *items,
                     size_t count)
{
    const int64_t now_ns = clock_now_ns();

    for (size_t i = 0; i < count; i++) {
        struct request *request = items[i].user;
        struct worker_entry *entry = &job->entries[job->count];

        if (items[i].ret_take == 0) {
            continue;
        }
        if (request->deadline_ns != 0 && now_ns >= request->deadline_ns) {
            request_apply(service, request, SESSION_DEADLINE, 0, NULL);
            continue;
        }
        memset(entry, 0, sizeof(*entry));
        entry->user = request;
        if (job->kind == WORKER_STEP) {
            chunk_fill(job, request, items[i].ret_take);
        } else {
            entry->input = request->input.data;
            entry->input_bytes = request->input.bytes;
            entry->picture = request->picture;
            entry->scores = request->scores;
        }
        if (request->started_ns == 0) {
            request->started_ns = now_ns;
        }
        request_apply(service, request, SESSION_STEP, 0, NULL);
        job->count++;
    }
}

static void job_target(struct worker_job *job, enum worker_kind kind, struct served_model *model)
{
    job->kind = kind;
    job->model = model->model;
    job->context = model->context;
}

/* Every text that waits to become tokens, of one model. Those whose deadline has passed fall out
 * here. */
static void prepare_fill(struct service *service, struct worker_job *job,
                         struct served_model *model)
{
    const int64_t now_ns = clock_now_ns();

    job_target(job, WORKER_PREPARE, model);
    for (struct request *next, *r = service->requests; r && job->count < LIMIT_PICTURE_BATCH;
         r = next) {
        next = r->next;
        if (r->session.state != SESSION_WAITING || r->model != model) {
            continue;
        }
        if (r->deadline_ns != 0 && now_ns >= r->deadline_ns) {
            request_apply(service, r, SESSION_DEADLINE, 0, NULL);
            continue;
        }
        job->entries[job->count++] = (struct worker_entry){.user = r,
                                                           .input = r->input.data,
                                                           .input_bytes = r->input.bytes,
                                                           .transcript = r->is_session};
        request_apply(service, r, SESSION_STEP, 0, NULL);
    }
}

/* The most urgent request that waits for a step and whose model was not `tried`. */
static struct request *urgent_find(const struct service *service, struct served_model *const *tried,
                                   size_t tried_count)
{
    struct request *urgent = NULL;

    for (struct request *r = service->requests; r; r = r->next) {
        bool skip = r->session.state != SESSION_QUEUED;

        for (size_t i = 0; i < tried_count && !skip; i++) {
            skip = tried[i] == r->model;
        }
        if (!skip && (!urgent || request_urgency_ns(r) < request_urgency_ns(urgent))) {
            urgent = r;
        }
    }
    return urgent;
}

static void step_fill(struct service *service, struct worker_job *job)
{
    static_assert(LIMIT_REQUESTS <= 4096, "the items stand on the stack");
    struct batcher_item items[LIMIT_REQUESTS];
    struct served_model *tried[LIMIT_TASKS * 2];
    size_t tried_count = 0, count;
    struct request *urgent;

    while (job->count == 0 && tried_count < LIMIT_TASKS * 2 &&
           (urgent = urgent_find(service, tried, tried_count)) != NULL) {
        struct served_model *model = urgent->model;

        served_model_ref(model); /* the last request of an old model may end on the way */
        job_target(job, model->pool ? WORKER_STEP : WORKER_PICTURES, model);
        count = items_collect(service, model, items);
        (void)batcher_pick(&model->batcher, items, count,
                           model->pool ? model->step_tokens : LIMIT_PICTURE_BATCH,
                           model->step_sequences);
        job_fill(service, job, items, count);
        tried[tried_count++] = model;
        served_model_unref(model);
    }
    if (job->count > 0) {
        service->counts.steps++;
        service->counts.step_requests += job->count;
        if (job->count > service->counts.step_requests_max) {
            service->counts.step_requests_max = job->count;
        }
    }
}

void service_schedule(struct service *service)
{
    struct worker_job *job = service->closing ? NULL : worker_job_get(service->worker);

    if (!job) {
        return;
    }
    for (struct request *r = service->requests; r; r = r->next) {
        if (r->session.state == SESSION_WAITING) {
            struct served_model *model = r->model;

            served_model_ref(model); /* the last request of an old model may end on the way */
            prepare_fill(service, job, model);
            served_model_unref(model);
            break;
        }
    }
    if (job->count == 0) {
        step_fill(service, job);
    }
    if (job->count > 0) {
        worker_submit(service->worker);
    }
}

/* ---- out of the step ---- */

static void prepared(struct service *service, struct request *request, struct worker_entry *entry)
{
    const uint32_t context = request->model->info->n_context;
    uint32_t same = 0;

    request->ids = entry->ret_ids;
    request->id_count = request->prompt_count = (uint32_t)entry->ret_count;
    if (request->max_new > context - request->prompt_count) {
        request->max_new = context - request->prompt_count;
    }
    batcher_rate_add(&request->model->tokens_per_byte,
                     (double)entry->ret_count /
                         (double)(entry->input_bytes ? entry->input_bytes : 1));
    if (request->conversation) {
        struct conversation *conversation = request->conversation;

        request->seq = conversation->seq;
        engine_seq_init(&conversation->seq, request->model->pool);
        /* The last token runs in any case: its logits are what comes next. */
        while (same < request->seq.length && same + 1 < request->prompt_count &&
               conversation->ids[same] == request->ids[same]) {
            same++;
        }
        if (engine_seq_truncate(&request->seq, same) != 0) {
            engine_seq_fini(&request->seq);
            engine_seq_init(&request->seq, request->model->pool);
            same = 0;
        }
    }
    request->cached_count = same;
    service->counts.prompt_tokens += request->prompt_count;
    service->counts.cached_tokens += same;
    request_apply(service, request, SESSION_PREPARED, 0, NULL);
}

/* Takes a generated token; true when it was the last. */
static bool token_take(struct service *service, struct request *request,
                       const struct worker_entry *entry, int *ret_error)
{
    const size_t before = request->text.bytes;

    request->logprob += (double)entry->ret_logprob;
    if (engine_is_end_token(request->model->model, entry->ret_id)) {
        request->finish = WIRE_FINISH_END;
        return true;
    }
    *ret_error = engine_detokenize(request->model->model, entry->ret_id,
                                   request->session.tokens == 0, &request->text);
    if (*ret_error != 0) {
        return true;
    }
    request->session.tokens++;
    service->counts.answer_tokens++;
    request->next_id = entry->ret_id;
    if (request->stream) {
        reply_tokens(request, request->text.data + before, request->text.bytes - before);
    }
    if (request->session.tokens >= request->max_new ||
        request->text.bytes > LIMIT_ANSWER_TEXT_BYTES) {
        request->finish = WIRE_FINISH_LENGTH;
        return true;
    }
    return false;
}

static void stepped(struct service *service, struct request *request, const struct worker_job *job,
                    uint32_t index)
{
    const struct worker_entry *entry = &job->entries[index];
    bool last = false;
    int error = 0;

    request->sampler = entry->sampler;
    if (job->chunks[index].want == ENGINE_LOGITS_LAST) {
        last = token_take(service, request, entry, &error);
    }
    if (error != 0) {
        request_apply(service, request, SESSION_FAILED, error,
                      "the model made a token that is none");
    } else if (last) {
        batcher_rate_add(&request->model->answer_tokens, (double)request->session.tokens);
        request_apply(service, request, SESSION_FINISHED, 0, NULL);
    } else {
        request_apply(service, request, SESSION_STEPPED, 0, NULL);
    }
}

/* A step is one sample of the speed of its model. */
static void rates_learn(struct served_model *model, const struct worker_job *job)
{
    uint32_t prefill = 0;
    double rest_ns = (double)job->run_ns;

    if (job->kind == WORKER_PICTURES) {
        batcher_rate_add(&model->rates.picture_ns, rest_ns / job->count);
        return;
    }
    for (uint32_t i = 0; i < job->count; i++) {
        prefill += job->chunks[i].count > 1 ? job->chunks[i].count : 0;
    }
    if (prefill == 0) {
        batcher_rate_add(&model->rates.decode_ns, rest_ns);
        return;
    }
    if (job->chunks[0].count == 1 && model->rates.decode_ns < rest_ns / 2) {
        rest_ns -= model->rates.decode_ns;
    }
    batcher_rate_add(&model->rates.prefill_ns, rest_ns / prefill);
}

static void entry_done(struct service *service, struct worker_job *job, uint32_t index)
{
    struct worker_entry *entry = &job->entries[index];
    struct request *request = entry->user;
    const int error = job->error != 0 ? job->error : entry->error;

    request->run_ns += job->run_ns;
    if (job->error == TANDEM_ECANCELED || request->session.state == SESSION_LEAVING) {
        free(entry->ret_ids);
        if (job->kind == WORKER_STEP && job->error != 0 && request->session.tokens > 0) {
            request->id_count =
                request->seq.length; /* the token was not fed after all: it is fed again */
        }
        request_apply(service, request, SESSION_STEPPED, 0, NULL);
    } else if (error != 0) {
        if (error == TANDEM_EIO || error == TANDEM_EINTERNAL) {
            log_error("request %s: %s: %s", request->decision_id, request->model->info->path,
                      tandem_error_text(error));
        }
        request_apply(service, request, SESSION_FAILED, error, entry->why);
    } else if (job->kind == WORKER_PREPARE) {
        prepared(service, request, entry);
    } else if (job->kind == WORKER_PICTURES) {
        service->counts.pictures++;
        request_apply(service, request, SESSION_FINISHED, 0, NULL);
    } else {
        stepped(service, request, job, index);
    }
}

void service_on_job(struct worker_job *job, void *user)
{
    struct service *service = user;
    struct worker_job *done = job; /* nothing is submitted before the last entry is looked at */

    if (done->error == 0 && done->kind != WORKER_PREPARE && done->count > 0) {
        rates_learn(((struct request *)done->entries[0].user)->model, done);
    }
    for (uint32_t i = 0; i < done->count; i++) { /* an answer tells what is left of all */
        struct request *request = done->entries[i].user;

        request->rows = request->seq.length;
    }
    for (uint32_t i = 0; i < done->count; i++) {
        entry_done(service, done, i);
    }
    service_arm(service);
    service_schedule(service);
}
