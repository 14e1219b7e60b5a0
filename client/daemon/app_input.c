/* app_input.c: how an application's picture or text arrives: as DATA frames, or in a sealed memfd.
 */
#include "client/daemon/app_parts.h"

#include "common/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void app_input_release(struct app_input *input)
{
    if (input->mapped) {
        (void)munmap(input->data, input->bytes);
    } else {
        free(input->data);
    }
    memset(input, 0, sizeof(*input));
}

/* Only a file that nobody can change or cut any more is mapped; anything else could kill us later
 * with SIGBUS. */
static int memfd_map(int fd, uint64_t bytes, struct app_input *ret_input)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_GROW;
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat file;
    void *data;

    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &file) != 0) {
        return TANDEM_EAUTH;
    }
    if (bytes == 0 || bytes > LIMIT_MEMFD_BYTES || file.st_size < 0 ||
        (uint64_t)file.st_size < bytes) {
        return TANDEM_ETOOBIG;
    }
    data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return TANDEM_ENOMEM;
    }
    *ret_input = (struct app_input){data, (size_t)bytes, true};
    return 0;
}

/* The oldest descriptor, which rode on the first byte of the frame that is read now; -1: none. */
static int fd_take(struct app_peer *peer)
{
    const int fd = peer->fd_count > 0 ? peer->fds[0] : -1;

    if (fd >= 0) {
        peer->fd_count--;
        memmove(peer->fds, peer->fds + 1, sizeof(peer->fds[0]) * peer->fd_count);
    }
    return fd;
}

static void memfd_submit(struct app_peer *peer, uint64_t id, const struct local_submit *submit)
{
    const int fd = fd_take(peer);
    struct app_input input = {0};
    int result;

    if (fd < 0) {
        app_peer_error(peer, id, TANDEM_EPROTO, "the picture's memfd did not come");
        return;
    }
    result = peer->app->draining ? TANDEM_EDRAINING : memfd_map(fd, submit->payload_bytes, &input);
    (void)close(fd);
    switch (result) {
    case 0:
        peer->app->callbacks.on_submit(peer, id, submit, input, peer->app->user);
        break;
    case TANDEM_EAUTH:
        app_peer_error(peer, id, result,
                       "the picture is not in a memfd sealed against write, shrink and grow");
        break;
    case TANDEM_ETOOBIG:
        app_peer_error(peer, id, result, "the picture's memfd is empty, or shorter than was said");
        break;
    default:
        app_peer_error(peer, id, result, tandem_error_text(result));
    }
}

static struct upload *upload_find(struct app_peer *peer, uint64_t id, size_t *ret_index)
{
    for (size_t i = 0; i < peer->upload_count; i++) {
        if (peer->uploads[i]->id == id) {
            *ret_index = i;
            return peer->uploads[i];
        }
    }
    return NULL;
}

static void upload_start(struct app_peer *peer, uint64_t id, const struct local_submit *submit)
{
    struct upload *upload =
        peer->upload_count < LIMIT_APP_UPLOADS ? calloc(1, sizeof(*upload)) : NULL;

    if (!upload) {
        app_peer_error(peer, id, TANDEM_EBUSY, "too many inputs are on their way");
        return;
    }
    upload->id = id;
    upload->submit = *submit;
    buf_init(&upload->data, LIMIT_PAYLOAD_BYTES);
    peer->uploads[peer->upload_count++] = upload;
}

/* Its data may have been taken before; the bytes are then no longer the app's to count. */
static void upload_remove(struct app_peer *peer, size_t index)
{
    struct upload *upload = peer->uploads[index];

    peer->app->upload_bytes -= upload->data.bytes;
    buf_fini(&upload->data);
    free(upload);
    peer->uploads[index] = peer->uploads[--peer->upload_count];
}

void app_input_submit(struct app_peer *peer, const struct frame *frame)
{
    const uint64_t id = frame->request_id;
    struct local_submit submit = {0};
    const int result = local_submit_unpack(frame->header, frame->header_bytes, &submit);
    size_t index;

    if (result != 0) {
        app_peer_error(peer, id, result,
                       result == TANDEM_ETOOBIG ? "the input is too big"
                                                : "the request is malformed");
    } else if (submit.memfd) {
        memfd_submit(peer, id, &submit);
    } else if (peer->app->draining) {
        app_peer_error(peer, id, TANDEM_EDRAINING, "the daemon is stopping");
    } else if (submit.payload_bytes == 0) {
        app_peer_error(peer, id, TANDEM_EINVAL, "the input is empty");
    } else if (upload_find(peer, id, &index)) {
        app_peer_fail(peer, TANDEM_EPROTO, "two requests have one id");
    } else {
        upload_start(peer, id, &submit);
    }
}

/* DATA of a request that has ended already, or was refused, is dropped. */
void app_input_data(struct app_peer *peer, const struct frame *frame)
{
    size_t index = 0;
    struct upload *upload = upload_find(peer, frame->request_id, &index);
    struct app *app = peer->app;
    struct app_input input = {0};

    if (!upload) {
        return;
    }
    if (frame->payload_bytes > upload->submit.payload_bytes - upload->data.bytes) {
        app_peer_error(peer, upload->id, TANDEM_ETOOBIG, "more input came than was said");
        upload_remove(peer, index);
        return;
    }
    if (app->upload_bytes + frame->payload_bytes > LIMIT_APP_INPUT_BYTES ||
        buf_append(&upload->data, frame->payload, frame->payload_bytes) != 0) {
        app_peer_error(peer, upload->id, TANDEM_EBUSY, "no memory for the input");
        upload_remove(peer, index);
        return;
    }
    app->upload_bytes += frame->payload_bytes;
    if (upload->data.bytes == upload->submit.payload_bytes) {
        const uint64_t id = upload->id;
        const struct local_submit submit = upload->submit;

        app->upload_bytes -= upload->data.bytes;
        input.data = buf_take(&upload->data, &input.bytes);
        upload_remove(peer, index);
        app->callbacks.on_submit(peer, id, &submit, input, app->user);
    }
}

bool app_input_cancel(struct app_peer *peer, uint64_t id)
{
    size_t index = 0;

    if (!upload_find(peer, id, &index)) {
        return false;
    }
    upload_remove(peer, index);
    app_peer_error(peer, id, TANDEM_ECANCELED, tandem_error_text(TANDEM_ECANCELED));
    return true;
}

void app_inputs_drop(struct app_peer *peer)
{
    while (peer->upload_count > 0) {
        upload_remove(peer, peer->upload_count - 1);
    }
    while (peer->fd_count > 0) {
        (void)close(peer->fds[--peer->fd_count]);
    }
}
