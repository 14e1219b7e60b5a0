#include "client/daemon/status.h"

#include "client/daemon/app.h"
#include "client/daemon/request.h"
#include "client/policy/candidates.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/stream/status_listener.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAEMON STATUS_DAEMON

/* What a text is believed to be made of. */
static void text_rates_json(const struct client_task *task, struct json_writer *json)
{
    const struct estimate_text *text = &task->text;

    if (task->config->kind == TASK_GENERATE) {
        json_double(json, "prefill_ms_per_token",
                    text->prefill.mean.count ? text->prefill.mean.mean : NAN);
        json_double(json, "decode_ms_per_token",
                    text->decode.mean.count ? text->decode.mean.mean : NAN);
        json_double(json, "answer_tokens", text->answer.mean.count ? text->answer.mean.mean : NAN);
    }
}

/* How pictures go to edges; nothing of a task without any. */
static void upload_json(const struct client_task *task, struct json_writer *json)
{
    const char *why, *mode = task_upload_mode(task, &why);

    if (!mode) {
        return;
    }
    json_object_open(json, "upload");
    json_text(json, "mode", mode);
    json_text(json, "why", why);
    if (task->effects.count > 0) {
        json_text(json, "measured_digest", task->effects.model_digest);
        json_uint(json, "measured_pictures", task->effects.pictures);
    }
    json_object_close(json);
}

static void tasks_json(const struct status_view *view, struct json_writer *json)
{
    json_array_open(json, "tasks");
    for (size_t i = 0; i < view->requests->tasks->count; i++) {
        const struct client_task *task = &view->requests->tasks->items[i];

        json_object_open(json, NULL);
        json_text(json, "name", task->config->name);
        json_text(json, "kind", task_kind_text(task->config->kind));
        if (task->has_local) {
            json_object_open(json, "local");
            json_text(json, "model", task->config->local.model);
            json_text(json, "digest", engine_model_digest(task->local.model));
            json_double(json, "run_ms", task->estimate.run.count ? task->estimate.run.mean : NAN);
            text_rates_json(task, json);
            status_predictions_json(&task->watch.predictions, json);
            json_object_close(json);
        } else {
            json_null(json, "local");
        }
        status_learned_json(task, json);
        upload_json(task, json);
        status_confidence_json(task, json);
        json_array_open(json, "edges");
        for (size_t edge = 0; edge < links_count(view->requests->links); edge++) {
            enum edge_trouble trouble;
            const char *unusable = links_unusable(view->requests->links, edge, i, &trouble);
            struct link_view link;

            links_view(view->requests->links, edge, &link);
            if (!link.name[0]) {
                continue;
            }
            json_object_open(json, NULL);
            json_text(json, "name", link.name);
            json_bool(json, "ok", unusable == NULL);
            json_text(json, "why", unusable);
            status_learned_edge_json(task, edge, json);
            if (task->effects.count > 0) {
                json_bool(json, "upload_measured",
                          strcmp(task->effects.model_digest, task->known[edge].digest) == 0);
            }
            status_predictions_json(&task->known[edge].predictions, json);
            json_object_close(json);
        }
        json_array_close(json);
        json_object_close(json);
    }
    json_array_close(json);
}

/* What a connected edge and this device do not agree on, "TASK: why". */
static void tasks_off_json(const struct status_view *view, size_t edge, struct json_writer *json)
{
    json_array_open(json, "tasks_off");
    for (size_t i = 0; i < view->requests->tasks->count; i++) {
        enum edge_trouble trouble;
        const char *why = links_unusable(view->requests->links, edge, i, &trouble);
        char text[LIMIT_LINE_BYTES + 1];

        if (trouble == EDGE_NO_TASK || trouble == EDGE_MISMATCH) {
            snprintf(text, sizeof(text), "%s: %s", view->requests->tasks->names[i], why);
            json_text(json, NULL, text);
        }
    }
    json_array_close(json);
}

static void edges_json(const struct status_view *view, struct json_writer *json)
{
    json_array_open(json, "edges");
    for (size_t i = 0; i < links_count(view->requests->links); i++) {
        struct link_view link;

        links_view(view->requests->links, i, &link);
        if (!link.name[0]) {
            continue;
        }
        json_object_open(json, NULL);
        json_text(json, "name", link.name);
        json_text(json, "url", link.url);
        json_text(json, "state", link.state);
        json_text(json, "why", link.why[0] ? link.why : NULL);
        json_double(json, "rtt_ms",
                    estimate_samples_mean(&link.estimate->rtt_ms, NAN, clock_now_ns()));
        json_double(json, "bandwidth_mbit_s",
                    estimate_samples_mean(&link.estimate->up_bytes_per_ms, NAN, clock_now_ns()) *
                        8 / 1000);
        if (link.max_up_kbit > 0) {
            json_uint(json, "max_up_kbit", link.max_up_kbit);
        } else {
            json_null(json, "max_up_kbit");
        }
        json_uint(json, "dials", link.reconnects);
        tasks_off_json(view, i, json);
        if (link.next_attempt_ms >= 0) {
            json_int(json, "next_attempt_ms", link.next_attempt_ms);
        } else {
            json_null(json, "next_attempt_ms");
        }
        if (link.up) {
            json_object_open(json, "load");
            json_uint(json, "queued", link.load->queued);
            json_uint(json, "running", link.load->running);
            json_double(json, "predicted_wait_ms", (double)link.load->predicted_wait_us / 1000);
            json_object_close(json);
        }
        json_object_close(json);
    }
    json_array_close(json);
}

/* What shadow runs were, and what they took. */
static void shadows_json(const struct requests *requests, struct json_writer *json)
{
    const struct shadow_counts *counts = &requests->shadows.counts;
    const struct decide_energy energy = requests_energy(requests);

    json_object_open(json, "shadows");
    json_uint(json, "under_way", requests->shadows.count);
    json_uint(json, "local", counts->local);
    json_uint(json, "edge", counts->edge);
    json_object_open(json, "dropped");
    for (int why = 0; why < SHADOW_VERDICTS; why++) {
        if (shadow_drop_names[why]) {
            json_uint(json, shadow_drop_names[why], counts->dropped[why]);
        }
    }
    json_object_close(json);
    json_double(json, "bytes_up", counts->bytes_up);
    json_double(json, "energy_j", candidate_joule(&energy, counts->run_ms, counts->bytes_up, 0));
    json_object_close(json);
}

/* The answers that are kept; null: none ever is. */
static void results_json(const struct requests *requests, struct json_writer *json)
{
    struct result_counts counts;

    if (!requests->results) {
        json_null(json, "results");
        return;
    }
    result_cache_counts(requests->results, &counts);
    json_object_open(json, "results");
    json_uint(json, "entries", counts.entries);
    json_uint(json, "bytes", counts.bytes);
    json_uint(json, "bytes_max", (uint64_t)requests->config->result_cache_bytes);
    json_uint(json, "exact_hits", counts.exact_hits);
    json_uint(json, "similar_hits", counts.similar_hits);
    json_uint(json, "misses", counts.misses);
    json_uint(json, "evictions", counts.evictions);
    json_object_close(json);
}

/* What was computed and sent for answers that nobody got. */
static void wasted_json(const struct counts *counts, struct json_writer *json)
{
    json_double(json, "wasted_local_ms", counts->wasted_local_ms);
    json_double(json, "wasted_edge_ms", counts->wasted_edge_ms);
    json_uint(json, "wasted_bytes", counts->wasted_bytes);
}

static void status_json(const struct status_view *view, struct json_writer *json)
{
    const struct counts *counts = &view->requests->counts;
    const struct client_config *config = view->requests->config;

    json_text(json, "version", TANDEM_VERSION);
    json_int(json, "pid", getpid());
    json_int(json, "uptime_s", (clock_now_ns() - view->started_ns) / NS_PER_S);
    json_text(json, "app_socket", config->app_socket);
    json_text(json, "mode", client_config_mode_text(config));
    json_text(json, "observe_route",
              config->mode == MODE_OBSERVE ? client_config_observe_route_text(config) : NULL);
    json_text(json, "decisions_file", view->decisions->fd >= 0 ? view->decisions->path : NULL);
    json_bool(json, "draining", view->draining);
    json_uint(json, "reloads", view->reloads);
    json_uint(json, "reload_failures", view->reload_failures);
    json_uint(json, "applications", app_peer_count(view->app));
    json_uint(json, "in_flight", view->requests->live);
    tasks_json(view, json);
    edges_json(view, json);
    status_budget_json(view->requests, json);
    results_json(view->requests, json);
    status_energy_json(view->energy, json);
    json_object_open(json, "counters");
    json_uint(json, "requests", counts->requests);
    json_uint(json, "local", counts->local);
    json_uint(json, "edge", counts->edge);
    json_uint(json, "cascade_stayed", counts->cascade_stayed);
    json_uint(json, "cascade_went", counts->cascade_went);
    json_uint(json, "cache", counts->cache);
    json_uint(json, "late", counts->late);
    json_uint(json, "errors", counts->errors);
    json_uint(json, "cancelled", counts->cancelled);
    json_uint(json, "hedges", counts->hedges);
    wasted_json(counts, json);
    json_uint(json, "log_lines_lost", log_lost_lines());
    json_uint(json, "decision_lines_lost", view->decisions->lost);
    json_object_close(json);
    shadows_json(view->requests, json);
}

/* ---- metrics ---- */

static void routes_json(const struct counts *counts, struct json_writer *json)
{
    static const char *const routes[COUNTED_ROUTES] = {"local", "edge", "cascade", "cache", "none"};
    static const char *const ends[COUNTED_ENDS] = {"in_time", "late", "failed", "cancelled"};

    json_object_open(json, "routes");
    for (size_t route = 0; route < COUNTED_ROUTES; route++) {
        json_object_open(json, routes[route]);
        for (size_t end = 0; end < COUNTED_ENDS; end++) {
            json_uint(json, ends[end], counts->ended[route][end]);
        }
        json_object_close(json);
    }
    json_object_close(json);
}

static void metrics_json(const struct status_view *view, struct json_writer *json)
{
    const struct requests *requests = view->requests;
    const struct counts *counts = &requests->counts;
    uint64_t edges = 0, edges_up = 0, local_queue = 0;

    for (const struct request *at = requests->list; at; at = at->next) {
        local_queue += at->local_out;
    }
    for (size_t i = 0; i < links_count(requests->links); i++) {
        struct link_view link;

        links_view(requests->links, i, &link);
        edges += link.name[0] != '\0';
        edges_up += link.name[0] && link.up;
    }
    json_int(json, "uptime_s", (clock_now_ns() - view->started_ns) / NS_PER_S);
    json_bool(json, "draining", view->draining);
    json_uint(json, "reloads", view->reloads);
    json_uint(json, "reload_failures", view->reload_failures);
    json_uint(json, "applications", app_peer_count(view->app));
    json_uint(json, "in_flight", requests->live);
    json_uint(json, "local_queue", local_queue);
    json_uint(json, "sessions", requests->session_count);
    json_uint(json, "edges", edges);
    json_uint(json, "edges_up", edges_up);
    json_uint(json, "requests", counts->requests);
    routes_json(counts, json);
    json_uint(json, "cascade_stayed", counts->cascade_stayed);
    json_uint(json, "cascade_went", counts->cascade_went);
    json_uint(json, "hedges", counts->hedges);
    json_uint(json, "misses", counts->late);
    json_uint(json, "bytes_up", counts->bytes_up);
    shadows_json(requests, json);
    wasted_json(counts, json);
    json_uint(json, "answer_tokens", counts->answer_tokens);
    json_uint(json, "cached_tokens", counts->cached_tokens);
    status_budget_metrics(requests, json);
    json_uint(json, "log_lines_lost", log_lost_lines());
    json_uint(json, "decision_lines_lost", view->decisions->lost);
}

static void object_answer(const struct status_view *view,
                          void (*fill)(const struct status_view *view, struct json_writer *json),
                          struct buf *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "daemon", DAEMON);
    fill(view, &json);
    json_object_close(&json);
    if (json_end(&json) != 0 || buf_append_u8(out, '\n') != 0) {
        log_warning("status: the answer does not fit %u bytes", LIMIT_STATUS_ANSWER_BYTES);
        buf_clear(out);
    }
}

/* ---- decisions ---- */

int status_forgotten(const char *task, struct buf *out)
{
    struct json_writer json;
    int result;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "daemon", DAEMON);
    json_text(&json, "forgotten", task);
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

int status_amendment(const struct decision *decision, decision_member_fn *member, struct buf *out)
{
    struct json_writer json;
    char id[21];
    int result;

    snprintf(id, sizeof(id), "%" PRIu64, decision->id);
    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "daemon", DAEMON);
    json_text(&json, "id", id);
    member(decision, &json);
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

int status_decision(const struct decision *decision, struct buf *out)
{
    struct json_writer json;
    int result;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_text(&json, "daemon", DAEMON);
    decision_json(decision, &json);
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

static const struct decision *ring_at(const struct requests *requests, size_t age)
{
    const size_t at = requests->ring_next + LIMIT_DECISION_RING - 1 - age;

    return &requests->ring[at % LIMIT_DECISION_RING];
}

/* Those that have ended, then those that run, each oldest first: the list begins with the newest
 * request, and is shorter than the ring. */
static void decisions_answer(const struct requests *requests, uint64_t count, struct buf *out)
{
    const struct decision *running[LIMIT_REQUESTS];
    size_t more = 0;
    uint64_t ended;

    for (const struct request *at = requests->list; at && more < LIMIT_REQUESTS && more < count;
         at = at->next) {
        if (!at->ended) {
            running[more++] = &at->decision;
        }
    }
    count = count < LIMIT_DECISION_RING ? count : LIMIT_DECISION_RING;
    more = more < count ? more : (size_t)count;
    ended = count - more < requests->ring_count ? count - more : requests->ring_count;
    while (ended-- > 0) {
        (void)status_decision(ring_at(requests, (size_t)ended), out);
    }
    while (more-- > 0) {
        (void)status_decision(running[more], out);
    }
}

const struct decision *status_find(const struct requests *requests, uint64_t id)
{
    for (const struct request *at = requests->list; at; at = at->next) {
        if (!at->ended && at->decision.id == id) {
            return &at->decision;
        }
    }
    for (size_t age = 0; age < requests->ring_count; age++) {
        if (ring_at(requests, age)->id == id) {
            return ring_at(requests, age);
        }
    }
    return NULL;
}

bool status_number_after(const char *line, const char *word, uint64_t *ret_number)
{
    const size_t bytes = strlen(word);
    const char *digits = line + bytes + 1;

    if (strncmp(line, word, bytes) != 0 || line[bytes] != ' ' || !digits[0] ||
        digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    *ret_number = strtoull(digits, NULL, 10); /* a larger one is the largest */
    return true;
}

bool status_answer(const struct status_view *view, const char *line, struct buf *out)
{
    const struct decision *decision;
    uint64_t number;

    if (strcmp(line, "status") == 0) {
        object_answer(view, status_json, out);
    } else if (strcmp(line, "metrics") == 0) {
        object_answer(view, metrics_json, out);
    } else if (strcmp(line, "follow") == 0) {
        return true;
    } else if (status_number_after(line, "decisions", &number)) {
        decisions_answer(view->requests, number, out);
    } else if (status_number_after(line, "explain", &number)) {
        decision = status_find(view->requests, number);
        if (decision) {
            (void)status_decision(decision, out);
        } else {
            (void)status_error_json(DAEMON, STATUS_NO_DECISION, out);
        }
    } else {
        (void)status_error_json(
            DAEMON,
            "unknown request: status, metrics, decisions N [since=MS] [until=MS], explain ID, "
            "follow, forget TASK",
            out);
    }
    return false;
}
