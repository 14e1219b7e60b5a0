/* app.h: the socket of local applications. Frames of local.proto in and out, pictures as sealed
 * memfds (SCM_RIGHTS) or as DATA. Every peer is bounded and a bad one costs only its own
 * connection. Loop thread. */
#ifndef TANDEM_CLIENT_APP_H
#define TANDEM_CLIENT_APP_H

#include "common/wire/frame.h"
#include "common/wire/edge_msg.h"
#include "common/wire/local_msg.h"

#include <sys/types.h>
#include <uv.h>

struct app;
struct app_peer;
struct app_input { /* of one submit; whoever holds it releases it */
    uint8_t *data;
    size_t bytes;
    bool mapped;
};
void app_input_release(struct app_input *input);

struct app_callbacks {
    /* A whole request: takes `input` on return in any case. */
    void (*on_submit)(struct app_peer *peer, uint64_t id, const struct local_submit *submit,
                      struct app_input input, void *user);
    void (*on_cancel)(struct app_peer *peer, uint64_t id, void *user);
    void (*on_gone)(struct app_peer *peer, void *user); /* after this the peer is no more */
    /* 0: the peer is told when app_words_kept says so; or TANDEM_E* with a line (static): it is
     * told now. */
    int (*on_feedback)(struct app_peer *peer, uint64_t decision, bool correct, const char **ret_why,
                       void *user);
};
int app_new(uv_loop_t *loop, const char *path, char (*task_names)[LIMIT_NAME_BYTES + 1],
            uint32_t *task_kinds, size_t task_count, const struct app_callbacks *callbacks,
            void *user, struct app **ret_app, char error[256]);
uid_t app_peer_uid(const struct app_peer *peer);
/* Queues one frame; a peer that reads too slowly is closed (on_gone comes later, never inside this
 * call). */
void app_send(struct app_peer *peer, enum frame_kind kind, uint64_t id, const struct buf *header);
/* What applications that connect from now on are told. `names` and `kinds` (enum task_kind_wire)
 * are borrowed until the next such call. */
void app_set_tasks(struct app *app, char (*names)[LIMIT_NAME_BYTES + 1], uint32_t *kinds,
                   size_t count);
size_t app_peer_count(const struct app *app);
/* What peers have said of answers until now is in what is written next; and that is on disk (0), or
 * cannot be kept there (TANDEM_E*): whoever said it is told. */
void app_words_taken(struct app *app);
void app_words_kept(struct app *app, int result);
/* Says goodbye to every peer and takes no new ones. */
void app_drain(struct app *app);
/* Closes everything, without callbacks. The memory goes with the loop's handles. */
void app_close(struct app *app);

#endif
