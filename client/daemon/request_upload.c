/* request_upload.c: the picture in the form that was chosen for the edge: which forms there are,
 * and making one. A thread of the loop's pool decodes, shrinks and encodes; what it touches
 * meanwhile is the request's input (read only) and request->upload, and the request lives until it
 * is back. */
#include "client/daemon/request.h"

#include "client/policy/decide_fill.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/engine/engine.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PNG_FIRST_BYTE 0x89 /* a JPEG begins with another */

struct engine_picture request_picture(const struct local_submit *submit,
                                      const struct app_input *input)
{
    const struct wire_picture *picture = &submit->picture;

    return (struct engine_picture){(enum engine_pixel_format)picture->format,
                                   picture->width,
                                   picture->height,
                                   picture->stride_bytes,
                                   input->data,
                                   input->bytes};
}

void request_upload_look(struct request *request)
{
    const struct engine_picture picture = request_picture(&request->submit, &request->input);
    struct upload_source *source = &request->upload.source;

    source->bytes = picture.bytes;
    source->too_big = picture.bytes > LIMIT_PAYLOAD_BYTES;
    if (!request->submit.has_picture || request->task->config->upload == TASK_UPLOAD_ORIGINAL ||
        request->task->effects.count == 0 || picture.bytes == 0) {
        return;
    }
    source->width = picture.width;
    source->height = picture.height;
    if (picture.format == ENGINE_PIXELS_ENCODED) {
        source->kind = picture.data[0] == PNG_FIRST_BYTE ? UPLOAD_PNG : UPLOAD_JPEG;
        if (picture.bytes > LIMIT_PICTURE_BYTES ||
            engine_picture_size(picture.data, picture.bytes, &source->width, &source->height) !=
                0) {
            source->width = source->height = 0; /* whoever runs it says what is wrong with it */
        }
    }
    if ((uint64_t)source->width * source->height > LIMIT_PICTURE_PIXELS) {
        source->width = source->height = 0;
    }
}

/* Bytes in a ms that max_up_kbit lets through. */
static double cap_of(const struct requests *all, size_t edge)
{
    struct link_view view;

    links_view(all->links, edge, &view);
    return view.max_up_kbit > 0 ? (double)view.max_up_kbit / 8 : INFINITY;
}

/* What was measured, where it was with the model that this edge has. */
static const struct picture_effects *effects_of(const struct client_task *task, size_t edge)
{
    static const struct picture_effects none;

    return strcmp(task->effects.model_digest, task->known[edge].digest) == 0 ? &task->effects
                                                                             : &none;
}

void request_upload_forms(const struct requests *all, const struct client_task *task,
                          const struct upload_source *source, size_t edge,
                          const struct estimate_link *link, int64_t now_ns,
                          struct decide_edge *ret_edge)
{
    const size_t task_index = (size_t)(task - all->tasks->items);
    const struct decide_weights weights = client_config_weights(all->config);
    const struct decide_energy energy = requests_energy(all);
    struct upload_terms terms =
        decide_fill_terms(&weights, &energy, link, cap_of(all, edge), now_ns);
    struct upload_form forms[LIMIT_UPLOAD_FORMS];

    links_picture(all->links, edge, task_index, &terms.width, &terms.height);
    ret_edge->form_count =
        upload_forms(&task->upload, effects_of(task, edge), source, &terms, forms);
    for (size_t i = 0; i < ret_edge->form_count; i++) {
        ret_edge->forms[i].upload = forms[i];
    }
}

/* ---- making one ---- */

void request_upload_make(struct request_upload *upload)
{
    const int64_t began_ns = clock_now_ns();

    upload->error =
        engine_picture_encode(&upload->picture, upload->form.width, upload->form.height,
                              upload->form.quality, &upload->data, &upload->bytes, upload->why);
    upload->made_ns = clock_now_ns() - began_ns;
}

static void on_make(uv_work_t *work)
{
    struct request *request = work->data;

    request_upload_make(&request->upload);
}

/* What was made teaches, also where nobody waits for it any more. */
void request_upload_made(struct requests *all, struct client_task *task,
                         struct request_upload *upload)
{
    requests_computed(all, ms_between(0, upload->made_ns));
    if (upload->error == 0) {
        upload_made(&task->upload, &upload->source, &upload->form, upload->bytes,
                    ms_between(0, upload->made_ns));
        upload->form.bytes = (double)upload->bytes;
        upload->form.prepare_ms = ms_between(0, upload->made_ns);
    }
    if (upload->error == 0 && upload->bytes > LIMIT_PAYLOAD_BYTES) {
        snprintf(upload->why, sizeof(upload->why), "a JPEG of %zu bytes is too big for the wire",
                 upload->bytes);
        upload->error = TANDEM_ETOOBIG;
    }
    if (upload->error != 0) {
        free(upload->data);
        upload->data = NULL;
        upload->bytes = 0;
    }
}

static void on_made(uv_work_t *work, int status)
{
    struct request *request = work->data;
    struct request_upload *upload = &request->upload;

    upload->out = false;
    if (status != 0) { /* it was called back before the thread had begun */
        upload->error = TANDEM_ECANCELED;
    }
    request_upload_made(request->all, request->task, upload);
    if (request->ended || request->job.side[JOB_SIDE_EDGE] != JOB_SIDE_RUNNING) {
        request_free_if_done(request);
        return;
    }
    request->decision.outcome.prepare_ms = ms_between(upload->asked_ns, clock_now_ns());
    request->decision.upload_reason = request->choice.upload_reason;
    request->decision.outcome.upload = upload->form;
    if (upload->error != 0) {
        log_info("request %" PRIu64 ": the picture cannot be made smaller: %s",
                 request->decision.id, upload->why);
        request->decision.upload_reason = "it could not be made smaller";
        request->decision.outcome.upload = (struct upload_form){0};
    }
    if (upload->error != 0 && upload->source.too_big) {
        snprintf(request->why, sizeof(request->why), "%.250s", upload->why);
        request->why_kept = NULL;
        request_event(request,
                      &(struct job_event_data){.kind = JOB_EDGE_FAILED, .error = upload->error});
        return;
    }
    request_edge_send(request);
}

bool request_upload_begin(struct request *request)
{
    struct request_upload *upload = &request->upload;
    const size_t asked = request->choice.asked;

    if (!request->submit.has_picture || asked >= request->choice.count ||
        request->choice.candidates[asked].upload.width == 0 || upload->asked_ns != 0) {
        return false;
    }
    upload->form = request->choice.candidates[asked].upload;
    upload->picture = request_picture(&request->submit, &request->input);
    upload->asked_ns = clock_now_ns();
    upload->work.data = request;
    upload->out = uv_queue_work(request->all->loop, &upload->work, on_make, on_made) == 0;
    return upload->out;
}

bool request_upload_cancel(struct request *request)
{
    if (request->upload.out) {
        (void)uv_cancel((uv_req_t *)&request->upload.work); /* on_made still comes */
    }
    return request->upload.out;
}

void request_upload_boxes(const struct request_upload *upload, struct answer *answer)
{
    if (!upload->data) {
        return;
    }
    for (size_t i = 0; i < answer->box_count; i++) {
        struct answer_box *box = &answer->boxes[i];
        const float across = (float)upload->source.width / (float)upload->form.width;
        const float down = (float)upload->source.height / (float)upload->form.height;

        box->x *= across;
        box->w *= across;
        box->y *= down;
        box->h *= down;
    }
}
