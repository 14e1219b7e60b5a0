/* app_parts.h: what app.c (the socket), app_peer.c (one application) and app_input.c (its inputs)
 * share. Nobody else includes it. Loop thread. */
#ifndef TANDEM_CLIENT_APP_PARTS_H
#define TANDEM_CLIENT_APP_PARTS_H

#include "client/daemon/app.h"
#include "common/base/limits.h"

#include <sys/un.h>

struct upload { /* a submit whose DATA is still coming */
    uint64_t id;
    struct local_submit submit;
    struct buf data;
};
struct app_word { /* taken, and told so once it is on disk */
    uint64_t id;  /* of the frame */
    struct local_feedback said;
    bool taken;
};
struct app_peer {
    struct app_peer *next;
    struct app *app;
    uv_poll_t poll;
    uv_timer_t timer; /* until the hello; then it closes a peer that broke inside app_send */
    unsigned open_handles;
    int fd;
    uid_t uid;
    bool greeted, broken, closing;
    int64_t words_ns;                           /* since then it has */
    unsigned words;                             /* said so often how an answer was */
    struct app_word held[LIMIT_FEEDBACK_PER_S]; /* oldest first */
    size_t held_count;
    int fds[LIMIT_APP_FDS]; /* received, and not yet taken by a request; oldest first */
    size_t fd_count;
    struct buf inbox, outbox;
    struct upload *uploads[LIMIT_APP_UPLOADS];
    size_t upload_count;
};
struct app {
    uv_poll_t poll;
    uv_timer_t pause_timer; /* while the process has no descriptors left to accept with */
    unsigned open_handles;
    uv_loop_t *loop;
    int fd;
    gid_t group; /* of the socket file */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char (*task_names)[LIMIT_NAME_BYTES + 1];
    uint32_t *task_kinds;
    size_t task_count;
    struct app_callbacks callbacks;
    void *user;
    struct app_peer *peers;
    size_t count;
    size_t upload_bytes; /* of all peers' uploads */
    bool draining;
    bool starved; /* said so already */
};

/* Takes the connected `fd` in any case. TANDEM_ENOMEM. */
int app_peer_new(struct app *app, int fd, uid_t uid);
/* `tell`: calls on_gone. The memory goes with its handles. */
void app_peer_close(struct app_peer *peer, bool tell);
/* Answers request `id` with an error; 0 speaks of the connection. */
void app_peer_error(struct app_peer *peer, uint64_t id, int code, const char *text);
/* Says so and closes at the end of this event. */
void app_peer_fail(struct app_peer *peer, int code, const char *text);
/* An ERROR frame of its own. TANDEM_E* of its packing. */
int app_error_pack(uint64_t id, int code, const char *text, struct buf *out);

/* Frames that bring an input. */
void app_input_submit(struct app_peer *peer, const struct frame *frame);
void app_input_data(struct app_peer *peer, const struct frame *frame);
/* Whether `id` was an input on its way, which has then ended with TANDEM_ECANCELED. */
bool app_input_cancel(struct app_peer *peer, uint64_t id);
/* Drops the peer's uploads and descriptors. */
void app_inputs_drop(struct app_peer *peer);

#endif
