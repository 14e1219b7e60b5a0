/* request_cache.c: requests and the answers that were given before. Sessions are left out, their
 * answers depend on what was said; so is what came as a deadline's partial text. */
#include "client/daemon/learn.h"
#include "client/daemon/request.h"

#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool task_keeps(const struct task_config *task)
{
    return task->result_cache == TASK_CACHE_AUTO ? task->kind != TASK_GENERATE
                                                 : task->result_cache != TASK_CACHE_OFF;
}

static struct result_key digest_of(const void *data, size_t bytes, struct result_key seed)
{
    const XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, seed.low ^ seed.high);

    return (struct result_key){hash.low64 ^ seed.low, hash.high64 ^ seed.high};
}

static bool is_encoded(const struct request *request)
{
    return request->submit.has_picture && request->submit.picture.format == ENGINE_PIXELS_ENCODED &&
           request->input.bytes <= LIMIT_PICTURE_BYTES;
}

/* What has to be the same besides the bytes: who asks, for what, how, and the model here. */
static struct result_key scope_of(const struct request *request)
{
    const struct local_submit *submit = &request->submit;
    struct {
        char task[LIMIT_NAME_BYTES + 1], model[33];
        uint32_t uid, never_leaves, max_new_tokens;
        struct wire_picture picture;
        struct wire_sampling sampling;
    } all;

    memset(&all, 0, sizeof(all)); /* the gaps are hashed too */
    strcpy(all.task, submit->task);
    if (request->task->has_local) {
        snprintf(all.model, sizeof(all.model), "%s",
                 engine_model_digest(request->task->local.model));
    }
    all.uid = (uint32_t)app_peer_uid(request->peer);
    all.never_leaves = submit->leaves_device;
    all.max_new_tokens = submit->max_new_tokens;
    all.picture = submit->picture;
    if (is_encoded(request)) { /* frames of different sizes are not compared */
        (void)engine_picture_size(request->input.data, request->input.bytes, &all.picture.width,
                                  &all.picture.height);
    }
    all.sampling = submit->sampling;
    return digest_of(&all, sizeof(all), (struct result_key){0, 0});
}

/* The first plane of a raw picture; false where it has none, or is shorter than it says. */
static bool view_of(const struct request *request, struct frame_view *ret_view)
{
    static const struct {
        size_t pixel_bytes;
        unsigned colours;
    } formats[] = {{0, 0}, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {2, 1}}; /* as edge.proto */
    const struct wire_picture *picture = &request->submit.picture;
    size_t row_bytes;

    if (!request->submit.has_picture || picture->format == 0 ||
        picture->format >= sizeof(formats) / sizeof(formats[0]) || picture->height == 0) {
        return false;
    }
    row_bytes = formats[picture->format].pixel_bytes * picture->width;
    *ret_view = (struct frame_view){request->input.data,
                                    picture->width,
                                    picture->height,
                                    picture->stride_bytes ? picture->stride_bytes : row_bytes,
                                    formats[picture->format].pixel_bytes,
                                    formats[picture->format].colours};
    return ret_view->row_bytes >= row_bytes && request->input.bytes >= row_bytes &&
           (request->input.bytes - row_bytes) / ret_view->row_bytes >= picture->height - 1;
}

static void print_make(struct request *request)
{
    struct frame_view view;

    if (request->task->config->result_cache == TASK_CACHE_SIMILAR && view_of(request, &view)) {
        request->cache_print = malloc(sizeof(*request->cache_print));
        if (request->cache_print) { /* without memory it is compared by its bytes alone */
            frame_print_make(&view, request->cache_print);
        }
    }
}

void request_cache_prepare(struct request *request)
{
    uint64_t *content = request->decision.answers.content;

    if (request->submit.session[0] || request->input.bytes > LIMIT_PAYLOAD_BYTES) {
        return;
    }
    request->cacheable = request->all->results && task_keeps(request->task->config);
    request->cache_scope = scope_of(request);
    request->cache_key = digest_of(request->input.data, request->input.bytes, request->cache_scope);
    content[0] = request->cache_key.low; /* also where nothing is kept: what is said of it counts */
    content[1] = request->cache_key.high; /* once */
    if (request->cacheable) {
        print_make(request);
    }
}

bool request_cache_wants_print(const struct request *request)
{
    uint32_t width, height;

    return request->cacheable && request->task->config->result_cache == TASK_CACHE_SIMILAR &&
           is_encoded(request) &&
           engine_picture_size(request->input.data, request->input.bytes, &width, &height) == 0 &&
           (uint64_t)width * height <= LIMIT_PRINT_PIXELS &&
           !result_cache_has(request->all->results, request->cache_key);
}

bool request_cache_look(struct request *request, struct result_hit *ret_hit,
                        struct decide_cached *ret_cached)
{
    const struct task_config *task = request->task->config;
    const struct result_bounds bounds = {task->result_age_ms * NS_PER_MS, task->similar_distance,
                                         task->similar_age_ms * NS_PER_MS};

    if (!request->cacheable || !request->all->results ||
        !result_cache_find(request->all->results, request->cache_key, request->cache_scope,
                           request->cache_print, &bounds, request->start_ns, ret_hit)) {
        return false;
    }
    ret_cached->error_probability = ret_hit->origin->error_probability;
    ret_cached->error_weight = ret_hit->origin->error_weight;
    ret_cached->by_local = strcmp(ret_hit->origin->route, "local") == 0;
    ret_cached->reason =
        ret_hit->exact ? "the same was answered before" : "nearly the same frame was answered";
    return true;
}

int request_cache_take(struct request *request, const struct result_hit *hit)
{
    struct decision *decision = &request->decision;
    const size_t used = strlen(decision->reason);
    const double age_ms = ms_between(hit->origin->kept_ns, request->start_ns);

    request->cached = *hit->origin;
    request->cached_same = hit->exact;
    request->has_answer[JOB_SIDE_CACHE] = true;
    if (hit->exact) {
        snprintf(decision->reason + used, sizeof(decision->reason) - used, " by %s, %.0f ms ago",
                 hit->origin->route, age_ms);
    } else {
        snprintf(decision->reason + used, sizeof(decision->reason) - used,
                 " by %s, %.0f ms ago, distance %.1f", hit->origin->route, age_ms, hit->distance);
    }
    return answer_copy(hit->answer, &request->answers[JOB_SIDE_CACHE]);
}

/* How wrong the answer of this side is believed to be. */
static void error_fill(const struct request *request, enum job_side side,
                       struct result_origin *origin)
{
    const struct client_task *task = request->task;
    const struct answer *answer = &request->answers[side];

    if (side == JOB_SIDE_EDGE) {
        origin->error_probability =
            edge_truth_error(&task->known[request->choice.edge].truth,
                             requests_edge_error(request->all, task->config)) +
            request->decision.outcome.upload.error; /* to what it was sent */
        origin->error_probability = fmin(origin->error_probability, 1);
    } else if (task->asks) {
        origin->error_probability = cascade_two_error(&task->confidence, &task->costs,
                                                      positive_sure(answer, task_positive(task)));
    } else {
        origin->error_probability = confidence_error(&task->confidence, answer_sure(task, answer));
    }
    origin->error_weight =
        task->asks
            ? cascade_two_weight(&task->costs, positive_is_first(answer, task_positive(task)),
                                 origin->error_probability)
            : origin->error_probability;
}

void request_cache_keep(struct request *request, enum job_side side)
{
    const struct answer *answer = &request->answers[side];
    const struct decision_outcome *outcome = &request->decision.outcome;
    struct result_origin origin = {.kept_ns = request->start_ns};

    if (!request->cacheable || side == JOB_SIDE_CACHE || answer->finish == WIRE_FINISH_DEADLINE ||
        request->tasks != request->all->tasks || /* what another configuration made */
        (side == JOB_SIDE_EDGE && !learn_edge_model_is(request))) {
        return;
    }
    error_fill(request, side, &origin);
    origin.decision = request->decision.id;
    strcpy(origin.task, request->submit.task);
    snprintf(origin.route, sizeof(origin.route), "%s", outcome->route);
    snprintf(origin.model_digest, sizeof(origin.model_digest), "%s", outcome->model_digest);
    /* Without memory it is not kept, which costs time only. */
    (void)result_cache_put(request->all->results, request->cache_key, request->cache_scope,
                           request->cache_print, answer, &origin);
}
