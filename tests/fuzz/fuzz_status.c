/* What is written to a status socket, up to one request line in two pieces: the first byte says
 * where it is cut. Every asker gets whole lines of JSON or nothing and is closed, and the line that
 * a daemon sees has no end of line, ends inside its buffer, and comes once. */
#include "common/base/limits.h"
#include "common/stream/status_listener.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct {
    uv_loop_t loop;
    char folder[64];
    struct sockaddr_un address;
    struct status_listener *listener;
    unsigned asked;
} status;

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Answers with the line itself, so that any byte a peer can send passes the writer of JSON. */
static bool on_line(const char *line, struct buf *out, void *user)
{
    const size_t bytes = strlen(line);

    (void)user;
    check(bytes < LIMIT_STATUS_LINE_BYTES && !strpbrk(line, "\r\n"));
    check(++status.asked == 1);
    check(status_error_json("fuzz", line, out) == 0);
    return false;
}

static void status_remove(void)
{
    status_listener_free(status.listener);
    (void)uv_run(&status.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&status.loop);
    (void)rmdir(status.folder);
}

static void status_make(void)
{
    char error[LOCAL_SOCKET_ERROR_BYTES];

    snprintf(status.folder, sizeof(status.folder), "/tmp/tandem-fuzz-XXXXXX");
    check(mkdtemp(status.folder) != NULL && uv_loop_init(&status.loop) == 0);
    status.address.sun_family = AF_UNIX;
    snprintf(status.address.sun_path, sizeof(status.address.sun_path), "%s/s", status.folder);
    check(status_listener_new(&status.loop, status.address.sun_path, "fuzz", on_line, NULL,
                              &status.listener, error) == 0);
    check(atexit(status_remove) == 0);
}

/* Lets the daemon's side work; true when it has closed. What it sent is added to `answer`. */
static bool loop_turn(int fd, char *answer, size_t size, size_t *bytes)
{
    ssize_t got;

    for (int i = 0; i < 3; i++) { /* accept, read, write */
        (void)uv_run(&status.loop, UV_RUN_NOWAIT);
    }
    got = recv(fd, answer + *bytes, size - *bytes, MSG_DONTWAIT);
    *bytes += got > 0 ? (size_t)got : 0;
    check(*bytes < size);
    return got == 0;
}

static void answer_check(char *answer, size_t bytes)
{
    char *line = answer;

    check(bytes == 0 || answer[bytes - 1] == '\n');
    check(memchr(answer, '\0', bytes) == NULL);
    for (size_t at = 0; at < bytes; at++) {
        if (answer[at] == '\n') {
            cJSON *object = cJSON_ParseWithLength(line, (size_t)(answer + at - line));

            check(cJSON_IsObject(object) && cJSON_HasObjectItem(object, "schema") &&
                  cJSON_HasObjectItem(object, "daemon"));
            cJSON_Delete(object);
            line = answer + at + 1;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char answer[16 * LIMIT_STATUS_LINE_BYTES];
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t cut, got = 0;

    if (status.folder[0] == '\0') {
        status_make();
    }
    bytes = bytes < 4096 ? bytes : 4096; /* all of it fits a socket's buffer */
    cut = bytes > 1 ? data[0] % bytes : 0;
    status.asked = 0;
    check(fd >= 0);
    check(connect(fd, (struct sockaddr *)&status.address, sizeof(status.address)) == 0);
    if (cut > 0) {
        (void)send(fd, data, cut, MSG_NOSIGNAL);
        (void)loop_turn(fd, answer, sizeof(answer), &got);
    }
    (void)send(fd, data + cut, bytes - cut, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; !loop_turn(fd, answer, sizeof(answer), &got); i++) {
        check(i < 1000); /* turns, not time */
    }
    close(fd);
    (void)uv_run(&status.loop, UV_RUN_NOWAIT);
    answer_check(answer, got);
    return 0;
}
