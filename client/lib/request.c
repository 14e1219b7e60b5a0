/* request.c: a caller's request, checked against every bound, copied and encoded. The shape of a
 * raw picture (stride, planes) is judged by whoever decodes it. */
#include "client/lib/handle.h"
#include "client/lib/memfd.h"
#include "client/lib/request_check.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/wire/frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void tandem_request_init_bytes(struct tandem_request *request, size_t struct_bytes,
                               const char *task)
{
    memset(request, 0, struct_bytes);
    request->struct_bytes = struct_bytes;
    request->task = task;
}

/* What the request's input is. */
struct request_input {
    const void *data;
    size_t bytes;
    int memfd; /* -1: travels inline */
};

static void submit_fill(const struct tandem_request *request, const struct request_input *input,
                        bool stream, struct local_submit *ret_submit)
{
    *ret_submit = (struct local_submit){
        .deadline_us = (uint64_t)request->deadline_ms * 1000,
        .payload_bytes = input->bytes,
        .memfd = input->memfd >= 0,
        .has_picture = request_has_picture(request),
        .sampling = {.temperature = request->temperature,
                     .top_k = request->top_k,
                     .top_p = request->top_p,
                     .seed = request->seed},
        .max_new_tokens = request->max_new_tokens,
        .stream = stream,
        .leaves_device = request->never_leave_device ? 1 : 0,
        .deliver_late = request->deliver_late != 0,
        .capture_age_us = (uint64_t)request->capture_age_ms * 1000,
    };
    if (ret_submit->has_picture) {
        ret_submit->picture = (struct wire_picture){.format = (uint32_t)request->picture.format,
                                                    .width = request->picture.width,
                                                    .height = request->picture.height,
                                                    .stride_bytes = request->picture.stride_bytes};
    }
    snprintf(ret_submit->task, sizeof(ret_submit->task), "%s", request->task);
    snprintf(ret_submit->session, sizeof(ret_submit->session), "%s",
             request->session ? request->session : "");
    snprintf(ret_submit->route, sizeof(ret_submit->route), "%s",
             request->route ? request->route : "");
}

static int data_append(struct buf *out, uint64_t id, const struct request_input *input)
{
    const uint8_t *at = input->data;
    size_t left = input->bytes;
    int result = 0;

    while (left > 0 && result == 0) {
        size_t part = left < LIMIT_FRAME_DATA_BYTES ? left : LIMIT_FRAME_DATA_BYTES;
        struct frame frame = {.kind = FRAME_DATA,
                              .flags = part == left ? FRAME_FLAG_LAST : 0,
                              .request_id = id,
                              .payload = at,
                              .payload_bytes = (uint32_t)part};

        result = frame_encode(&frame, out);
        at += part;
        left -= part;
    }
    return result;
}

/* Appends all frames of the request to the outbox, or none. Takes input->memfd on success. */
static int request_encode(struct tandem *tandem, uint64_t id, const struct local_submit *submit,
                          const struct request_input *input)
{
    struct outbox *outbox = &tandem->outbox;
    size_t start = outbox->bytes.bytes;
    struct buf header;
    int result;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    result = local_submit_pack(submit, &header);
    if (result == 0) {
        struct frame frame = {.kind = FRAME_REQUEST,
                              .request_id = id,
                              .header = header.data,
                              .header_bytes = (uint32_t)header.bytes};

        result = frame_encode(&frame, &outbox->bytes);
    }
    if (result == 0 && input->memfd < 0) {
        result = data_append(&outbox->bytes, id, input);
    }
    buf_fini(&header);
    if (result != 0) {
        outbox->bytes.bytes = start;
        /* Within all bounds of one request, so what is full is the queue of those before it. */
        return result == TANDEM_ETOOBIG ? TANDEM_EBUSY : result;
    }
    return 0;
}

/* The picture or text of a checked request; a large picture becomes a memfd. */
static int request_input_open(struct tandem *tandem, const struct tandem_request *request,
                              struct request_input *ret_input)
{
    struct request_input input = {.memfd = -1};
    int result = 0;

    if (!request_has_picture(request)) {
        input.data = request->text;
        input.bytes = request_text_bytes(request);
    } else if (!request->picture.data) {
        input.bytes = request->picture.bytes;
        result = memfd_share(request->picture.memfd, input.bytes, &input.memfd);
        if (result == TANDEM_EINVAL) {
            return handle_fail(
                tandem, result,
                "picture.memfd is not a memfd of this size, sealed against write, shrink and grow");
        }
    } else {
        input.data = request->picture.data;
        input.bytes = request->picture.bytes;
        if (input.bytes >= LOCAL_MEMFD_BYTES) {
            result = memfd_copy(input.data, input.bytes, &input.memfd);
        }
    }
    if (result != 0) {
        return handle_fail(tandem, result, "memory for the picture: %s", strerrordesc_np(errno));
    }
    *ret_input = input;
    return 0;
}

int request_room_check(struct tandem *tandem, size_t bytes)
{
    if (tandem->pending_count == LIMIT_LIB_REQUESTS) {
        return handle_fail(tandem, TANDEM_EBUSY, "%d requests are under way", LIMIT_LIB_REQUESTS);
    }
    /* Bounded each: bytes by request_check, what is under way by this. */
    if (tandem->pending_bytes > 0 && tandem->pending_bytes + bytes > LIMIT_LIB_BYTES) {
        return handle_fail(tandem, TANDEM_EBUSY, "%zu bytes are under way", tandem->pending_bytes);
    }
    return 0;
}

static int64_t request_guard_ns(const struct tandem_request *request, int64_t now_ns)
{
    if (request->deadline_ms == 0 || request->deliver_late) {
        return INT64_MAX;
    }
    return now_ns + ((int64_t)request->deadline_ms + LIMIT_LIB_GRACE_MS) * NS_PER_MS;
}

/* Puts the checked request into the outbox and among those under way. */
static int request_start(struct tandem *tandem, const struct tandem_request *request,
                         int64_t start_ns, const struct pending *like, uint64_t *ret_request_id)
{
    struct request_input input = {.memfd = -1};
    struct local_submit submit;
    struct pending *pending;
    uint64_t id = tandem->last_id + 1;
    int result = request_input_open(tandem, request, &input);

    if (result != 0) {
        return result;
    }
    submit_fill(request, &input, like->partial != NULL, &submit);
    if (input.memfd >= 0) {
        result = outbox_fd_append(&tandem->outbox, input.memfd);
        if (result != 0) {
            (void)close(input.memfd);
            return handle_fail(tandem, result, "too many pictures wait to be sent");
        }
    }
    size_t start = tandem->outbox.bytes.bytes;
    result = request_encode(tandem, id, &submit, &input);
    if (result != 0) {
        outbox_truncate(&tandem->outbox, start);
        return handle_fail(tandem, result, "%s", tandem_strerror(result));
    }
    pending = pending_new(tandem);
    pending->done = like->done;
    pending->partial = like->partial;
    pending->user = like->user;
    pending->timestamp_ns = request->timestamp_ns;
    pending->cookie = request->cookie;
    pending->start_ns = start_ns;
    pending->guard_ns = request_guard_ns(request, start_ns);
    pending->bytes = input.bytes;
    tandem->pending_bytes += input.bytes;
    *ret_request_id = id;
    return 0;
}

int tandem_submit(struct tandem *tandem, const struct tandem_request *caller_request,
                  tandem_done_fn done, tandem_partial_fn partial, void *user,
                  uint64_t *ret_request_id)
{
    const struct pending like = {.done = done, .partial = partial, .user = user};
    int64_t start_ns = clock_now_ns();
    struct tandem_request request;
    const char *why;
    uint64_t id = 0;
    int result;

    if (!done || tandem->closing) {
        return handle_fail(tandem, TANDEM_EINVAL,
                           done ? "the handle is being closed" : "no callback");
    }
    result = request_check(caller_request, &request, &why);
    if (result != 0) {
        return handle_fail(tandem, result, "%s", why);
    }
    result = connection_ready(tandem);
    if (result == 0) {
        result = request_room_check(tandem, request_input_bytes(&request));
    }
    if (result == 0) {
        result = request_start(tandem, &request, start_ns, &like, &id);
    }
    if (result != 0) {
        return result;
    }
    if (ret_request_id) {
        *ret_request_id = id;
    }
    /* A connection that breaks here is noticed by tandem_process, which then ends this request too.
     */
    (void)connection_flush(tandem);
    return 0;
}

void request_cancel_send(struct tandem *tandem, const struct pending *pending)
{
    struct frame frame = {.kind = FRAME_CANCEL, .request_id = pending->id};

    if (tandem->fd >= 0 && frame_encode(&frame, &tandem->outbox.bytes) == 0) {
        (void)outbox_write(&tandem->outbox, tandem->fd);
    }
}

int tandem_cancel(struct tandem *tandem, uint64_t request_id)
{
    struct pending *pending = pending_find(tandem, request_id);
    int64_t latest_ns = clock_now_ns() + LIMIT_LIB_GRACE_MS * NS_PER_MS;

    if (!pending) {
        return handle_fail(tandem, TANDEM_ENOTFOUND, "no request %llu is under way",
                           (unsigned long long)request_id);
    }
    if (!pending->cancelled && !pending->ended) {
        request_cancel_send(tandem, pending);
        pending->cancelled = true;
        pending->guard_ns = pending->guard_ns < latest_ns ? pending->guard_ns : latest_ns;
    }
    return 0;
}
