#include "client/lib/handle.h"

#include "common/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What tandem_call waits for; the callbacks of other requests may run in between. */
struct call {
    bool done;
    int error;
    struct tandem_answer *answer;
    struct tandem_answer *failure;
    char text[LIMIT_LINE_BYTES + 1];
};

static void call_done(struct tandem *tandem, uint64_t request_id, int error,
                      struct tandem_answer *answer, void *user)
{
    struct call *call = user;

    (void)request_id;
    call->done = true;
    call->error = error;
    call->answer = answer;
    if (error != 0) {
        memcpy(call->text, tandem->error, sizeof(call->text));
        call->failure = tandem->failure;
        tandem->failure = NULL;
    }
}

static int call_check(struct tandem *tandem)
{
    return tandem->callback_depth > 0
               ? handle_fail(tandem, TANDEM_EINVAL, "no blocking calls inside a callback")
               : 0;
}

/* Waits for what is under way with call_done. */
static int call_wait(struct tandem *tandem, struct call *call)
{
    while (!call->done) {
        (void)tandem_wait(tandem, -1); /* when the connection fails, the request has ended */
    }
    if (call->error != 0) {
        (void)handle_fail(tandem, call->error, "%s", call->text);
        tandem->failure = call->failure;
    }
    return call->error;
}

int tandem_call(struct tandem *tandem, const struct tandem_request *request,
                struct tandem_answer **ret_answer)
{
    struct call call = {.done = false};
    int result = call_check(tandem);

    if (result == 0) {
        result = tandem_submit(tandem, request, call_done, NULL, &call, NULL);
    }
    if (result == 0) {
        result = call_wait(tandem, &call);
    }
    if (result == 0) {
        *ret_answer = call.answer;
    }
    return result;
}

int tandem_feedback(struct tandem *tandem, const char *id, int correct)
{
    struct call call = {.done = false};
    const struct pending like = {.done = call_done, .user = &call};
    int result = call_check(tandem);

    if (result == 0) {
        result = feedback_start(tandem, id, correct != 0, &like);
    }
    return result == 0 ? call_wait(tandem, &call) : result;
}

/* Reads at most LIMIT_PICTURE_BYTES into `ret_data` (an initialised buf). */
static int file_read(struct tandem *tandem, const char *path, struct buf *ret_data)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = 0;
    ssize_t got = 1;

    if (fd < 0) {
        return handle_fail(tandem, TANDEM_EIO, "%s: %s", path, strerrordesc_np(errno));
    }
    while (result == 0 && got != 0) {
        result = buf_reserve(ret_data, 64u << 10);
        if (result != 0) {
            (void)handle_fail(tandem, result, "%s: %s", path, tandem_strerror(result));
            break;
        }
        got = read(fd, ret_data->data + ret_data->bytes, 64u << 10);
        if (got < 0 && errno != EINTR) {
            result = handle_fail(tandem, TANDEM_EIO, "%s: %s", path, strerrordesc_np(errno));
        } else if (got > 0) {
            ret_data->bytes += (size_t)got;
        }
    }
    (void)close(fd);
    return result;
}

int tandem_classify_file(struct tandem *tandem, const char *task, const char *path,
                         uint32_t deadline_ms, struct tandem_answer **ret_answer)
{
    struct tandem_request request;
    struct buf data;
    int result;

    /* One block more than a picture may have, so that the check of the request says what is wrong.
     */
    buf_init(&data, LIMIT_PICTURE_BYTES + (128u << 10));
    result = file_read(tandem, path, &data);
    if (result == 0 && data.bytes == 0) {
        result = handle_fail(tandem, TANDEM_EFORMAT, "%s: an empty file", path);
    }
    if (result == 0) {
        tandem_request_init(&request, task);
        request.picture.data = data.data;
        request.picture.bytes = data.bytes;
        request.deadline_ms = deadline_ms;
        result = tandem_call(tandem, &request, ret_answer);
    }
    buf_fini(&data);
    return result;
}

int tandem_generate(struct tandem *tandem, const char *task, const char *text, uint32_t deadline_ms,
                    struct tandem_answer **ret_answer)
{
    struct tandem_request request;

    tandem_request_init(&request, task);
    request.text = text;
    request.deadline_ms = deadline_ms;
    return tandem_call(tandem, &request, ret_answer);
}
