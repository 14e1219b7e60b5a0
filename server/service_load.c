#include "server/service_parts.h"

#define BYTES_PER_TOKEN_GUESS 4 /* until prompts of this model were seen */

static uint32_t prefill_left(const struct request *request)
{
    const uint32_t rows =
        request->session.state == SESSION_RUNNING ? request->rows : request->seq.length;
    double tokens;

    if (request->session.state == SESSION_LEAVING || request->session.tokens > 0) {
        return 0;
    }
    if (request->ids) {
        return rows < request->prompt_count ? request->prompt_count - rows : 0;
    }
    tokens = (double)(request->prefix_bytes + request->payload_bytes);
    tokens = request->model->tokens_per_byte > 0 ? tokens * request->model->tokens_per_byte
                                                 : tokens / BYTES_PER_TOKEN_GUESS;
    return tokens < (double)request->model->info->n_context ? (uint32_t)tokens
                                                            : request->model->info->n_context;
}

int64_t request_service_ns(const struct request *request)
{
    double answer = request->model->answer_tokens;

    if (request->task->kind == TASK_CLASSIFY) {
        return batcher_service_ns(&request->model->rates, 1, 0, 0);
    }
    if (request->max_new > 0 && answer > (double)request->max_new) {
        answer = (double)request->max_new;
    }
    answer -= (double)request->session.tokens;
    return batcher_service_ns(&request->model->rates, 0, prefill_left(request),
                              answer > 1 ? (uint32_t)answer : 1);
}

int64_t request_urgency_ns(const struct request *request)
{
    return batcher_urgency(request->arrival_ns, request->deadline_ns, request_service_ns(request));
}

/* What has to be computed before a request of this urgency: the pictures and prefills that are more
 * urgent. Decoding runs beside it in the same steps and is not counted, so the prediction errs to
 * the hopeful side: nothing is refused that could have been served. */
int64_t service_ahead_ns(const struct service *service, int64_t urgency_ns)
{
    int64_t ahead = 0;

    for (const struct request *r = service->requests; r; r = r->next) {
        if (r->session.state < SESSION_LEAVING && request_urgency_ns(r) <= urgency_ns) {
            ahead += r->task->kind == TASK_CLASSIFY
                         ? batcher_service_ns(&r->model->rates, 1, 0, 0)
                         : batcher_service_ns(&r->model->rates, 0, prefill_left(r), 0);
        }
    }
    return ahead;
}

static void rates_store(const struct served_model *model, struct edge_load *load)
{
    struct engine_pool_stats stats;

    if (model->rates.prefill_ns > 0) {
        load->prefill_tokens_per_s = 1e9 / model->rates.prefill_ns;
    }
    if (model->rates.decode_ns > 0) {
        load->decode_tokens_per_s = 1e9 / model->rates.decode_ns;
    }
    if (model->rates.picture_ns > 0) {
        load->picture_us = (uint64_t)(model->rates.picture_ns / 1e3);
    }
    if (model->pool) {
        engine_pool_stats(model->pool, &stats);
        load->kv_pages_free = stats.pages_free;
    }
}

/* `model` NULL: the rates of whatever is served, later tasks first overwritten by earlier ones. */
void service_load_for(const struct service *service, const struct served_model *model,
                      struct edge_load *ret_load)
{
    struct edge_load load = {.draining = service->draining};

    for (const struct request *r = service->requests; r; r = r->next) {
        if (r->session.state == SESSION_ENDED) {
            continue; /* this load goes out with its answer */
        }
        if (r->started_ns != 0) {
            load.running++;
        } else {
            load.queued++;
        }
    }
    load.predicted_wait_us = (uint64_t)(service_ahead_ns(service, INT64_MAX) / NS_PER_US);
    for (size_t i = service->catalog->task_count; i-- > 0;) {
        rates_store(service->catalog->tasks[i].model, &load);
    }
    if (model) {
        rates_store(model, &load);
    }
    *ret_load = load;
}

void service_load(struct service *service, struct edge_load *ret_load)
{
    service_load_for(service, NULL, ret_load);
}
