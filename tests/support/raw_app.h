/* raw_app.h: an application that speaks to tandem-client by hand, frame by frame, so that a test
 * can say what the library never would. One thread. Waits at most SITE_PATIENCE_MS. Include
 * cmocka.h before. */
#ifndef TANDEM_TESTS_RAW_APP_H
#define TANDEM_TESTS_RAW_APP_H

#include "common/base/buf.h"
#include "common/wire/frame.h"
#include "common/wire/local_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raw_app {
    int fd; /* -1: closed here */
    struct buf inbox;
    size_t used; /* of the frame handed out last */
};

void raw_open(struct raw_app *app, const char *socket_path); /* connects, says nothing */
void raw_close(struct raw_app *app);
void raw_hello(struct raw_app *app, uint32_t version_low, uint32_t version_high);
/* Connects, greets and takes the daemon's hello. */
void raw_ready(struct raw_app *app, const char *socket_path);

/* Bytes as they are, with descriptors on the first one. False: the daemon has closed. */
bool raw_bytes(struct raw_app *app, const void *data, size_t bytes, const int *fds,
               size_t fd_count);
bool raw_frame(struct raw_app *app, enum frame_kind kind, unsigned flags, uint64_t id,
               const void *header, size_t bytes);
/* A SUBMIT of `submit` with descriptors. */
bool raw_submit(struct raw_app *app, uint64_t id, const struct local_submit *submit, const int *fds,
                size_t fd_count);
bool raw_data(struct raw_app *app, uint64_t id, const void *data, size_t bytes);

/* The next frame, borrowed until the next call. False: the daemon has closed. Fails when nothing
 * comes. */
bool raw_next(struct raw_app *app, struct frame *ret_frame);
/* Reads on to the end of request `id`: 0 for an answer, the code of an error, or 1 when the daemon
 * closed before. */
int raw_end(struct raw_app *app, uint64_t id);
/* Waits for the daemon's ERROR about the connection and for its end. The code; 1: it closed without
 * a word. `text` may be NULL. */
int raw_thrown_out(struct raw_app *app, char text[256]);

#endif
