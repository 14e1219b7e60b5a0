#include "server/status.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/stream/status_listener.h"

#include <string.h>
#include <unistd.h>

#define DAEMON "tandem-server"

static void fill_requests(struct json_writer *json, const struct status_view *view,
                          const struct edge_load *load)
{
    const struct service_counts *counts = service_counts(view->service);

    json_object_open(json, "requests");
    json_uint(json, "queued", load->queued);
    json_uint(json, "running", load->running);
    json_uint(json, "accepted", counts->accepted);
    json_uint(json, "answered", counts->answered);
    json_uint(json, "failed", counts->failed);
    json_uint(json, "refused", counts->refused);
    json_uint(json, "cancelled", counts->cancelled);
    json_uint(json, "late", counts->late);
    json_object_close(json);
    json_object_open(json, "batches");
    json_uint(json, "steps", counts->steps);
    json_uint(json, "batch_max", counts->step_requests_max);
    if (counts->steps > 0) {
        json_double(json, "batch_mean", (double)counts->step_requests / (double)counts->steps);
    }
    json_uint(json, "prompt_tokens", counts->prompt_tokens);
    json_uint(json, "cached_tokens", counts->cached_tokens);
    json_uint(json, "answer_tokens", counts->answer_tokens);
    json_uint(json, "pictures", counts->pictures);
    json_object_close(json);
}

static void fill_load(struct json_writer *json, const struct edge_load *load)
{
    json_object_open(json, "load");
    json_uint(json, "predicted_wait_us", load->predicted_wait_us);
    if (load->prefill_tokens_per_s > 0) {
        json_double(json, "prefill_tokens_per_s", load->prefill_tokens_per_s);
    }
    if (load->decode_tokens_per_s > 0) {
        json_double(json, "decode_tokens_per_s", load->decode_tokens_per_s);
    }
    if (load->picture_us > 0) {
        json_uint(json, "picture_us", load->picture_us);
    }
    json_object_close(json);
}

static void fill_tasks(struct json_writer *json, const struct catalog *catalog)
{
    struct engine_pool_stats pages;

    json_array_open(json, "tasks");
    for (size_t i = 0; i < catalog->task_count; i++) {
        const struct served_task *task = &catalog->tasks[i];
        const struct engine_model_info *info = task->model->info;

        json_object_open(json, NULL);
        json_text(json, "name", task->name);
        json_text(json, "kind", task_kind_text(task->kind));
        json_text(json, "model", info->path);
        json_text(json, "model_digest", engine_model_digest(task->model->model));
        json_text(json, "projection", info->projection_text);
        if (task->model->pool) {
            engine_pool_stats(task->model->pool, &pages);
            json_uint(json, "kv_pages_total", pages.pages_total);
            json_uint(json, "kv_pages_free", pages.pages_free);
            json_uint(json, "kv_bytes_per_page", pages.bytes_per_page);
        }
        json_object_close(json);
    }
    json_array_close(json);
}

static void fill_status(struct json_writer *json, const struct status_view *view)
{
    struct edge_load load;
    const char *url;

    service_load(view->service, &load);
    json_text(json, "version", TANDEM_VERSION);
    json_int(json, "pid", getpid());
    json_int(json, "uptime_s", (clock_now_ns() - view->started_ns) / NS_PER_S);
    json_text(json, "kernels", engine_kernels_text());
    json_bool(json, "draining", view->draining);
    json_uint(json, "reloads", view->reloads);
    json_uint(json, "reload_failures", view->reload_failures);
    json_uint(json, "log_lines_lost", log_lost_lines());
    json_uint(json, "connections", view->listener ? listener_peer_count(view->listener) : 0);
    json_uint(json, "sessions", service_sessions(view->service));
    json_array_open(json, "listen");
    for (size_t i = 0; view->listener && (url = listener_url(view->listener, i)) != NULL; i++) {
        json_text(json, NULL, url);
    }
    json_array_close(json);
    fill_requests(json, view, &load);
    fill_load(json, &load);
    fill_tasks(json, service_catalog(view->service));
}

/* Pages of all models; a model may serve several tasks. */
static void fill_pages(struct json_writer *json, const struct catalog *catalog)
{
    struct engine_pool_stats pages;
    uint64_t total = 0, unused = 0;

    for (size_t i = 0; i < catalog->task_count; i++) {
        size_t first = 0;

        while (catalog->tasks[first].model != catalog->tasks[i].model) {
            first++;
        }
        if (first == i && catalog->tasks[i].model->pool) {
            engine_pool_stats(catalog->tasks[i].model->pool, &pages);
            total += pages.pages_total;
            unused += pages.pages_free;
        }
    }
    json_uint(json, "kv_pages_total", total);
    json_uint(json, "kv_pages_free", unused);
}

static void fill_metrics(struct json_writer *json, const struct status_view *view)
{
    struct edge_load load;

    service_load(view->service, &load);
    json_int(json, "uptime_s", (clock_now_ns() - view->started_ns) / NS_PER_S);
    json_bool(json, "draining", view->draining);
    json_uint(json, "reloads", view->reloads);
    json_uint(json, "reload_failures", view->reload_failures);
    json_uint(json, "log_lines_lost", log_lost_lines());
    json_uint(json, "connections", view->listener ? listener_peer_count(view->listener) : 0);
    json_uint(json, "sessions", service_sessions(view->service));
    fill_requests(json, view, &load);
    fill_load(json, &load);
    fill_pages(json, service_catalog(view->service));
}

bool status_answer(const struct status_view *view, const char *line, struct buf *out)
{
    static const struct {
        const char *line;
        void (*fill)(struct json_writer *json, const struct status_view *view);
    } requests[] = {{"status", fill_status}, {"metrics", fill_metrics}};
    struct json_writer json;

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(line, requests[i].line) != 0) {
            continue;
        }
        json_begin(&json, out);
        json_object_open(&json, NULL);
        json_int(&json, "schema", 1);
        json_text(&json, "daemon", DAEMON);
        requests[i].fill(&json, view);
        json_object_close(&json);
        if (json_end(&json) != 0 || buf_append_u8(out, '\n') != 0) {
            log_warning("status: the answer does not fit %u bytes", LIMIT_STATUS_ANSWER_BYTES);
            buf_clear(out);
        }
        return false;
    }
    (void)status_error_json(
        DAEMON, "unknown request: status and metrics are what this daemon answers", out);
    return false;
}
