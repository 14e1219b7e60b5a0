/* The status socket of both daemons: one line in, objects out; who follows; who is cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include "common/base/limits.h"
#include "common/stream/status_listener.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURNS 20000 /* of the loop; far more than any step here needs */

struct fixture {
    uv_loop_t loop;
    struct status_listener *listener;
    char dir[40], path[64];
    size_t answer_bytes;
    size_t piece_bytes, pieces; /* of a stream, and how many were asked for */
    size_t sources, gone;
};
/* "stream N": N pieces. */
struct pieces {
    struct status_source source;
    struct fixture *f;
    unsigned left;
};

static void on_more(struct status_source *source)
{
    struct pieces *pieces = (struct pieces *)source;
    struct buf piece;

    buf_init(&piece, 0);
    for (size_t i = 0; pieces->left > 0 && i < pieces->f->piece_bytes; i++) {
        (void)buf_append_u8(&piece, 'p');
    }
    pieces->f->pieces += pieces->left > 0;
    pieces->left -= pieces->left > 0;
    status_source_put(source, &piece, pieces->left == 0);
    buf_fini(&piece);
}

static void on_gone(struct status_source *source)
{
    ((struct pieces *)source)->f->gone++;
    free(source);
}

static struct status_source *stream(const char *line, void *user)
{
    struct fixture *f = user;
    struct pieces *pieces;

    if (strncmp(line, "stream ", 7) != 0) {
        return NULL;
    }
    pieces = calloc(1, sizeof(*pieces));
    pieces->source = (struct status_source){.more = on_more, .gone = on_gone};
    pieces->f = f;
    pieces->left = (unsigned)atoi(line + 7);
    f->sources++;
    return &pieces->source;
}

static bool answer(const char *line, struct buf *out, void *user)
{
    const struct fixture *f = user;

    if (strcmp(line, "follow") == 0) {
        return true;
    }
    if (strcmp(line, "much") == 0) {
        for (size_t i = 0; i < f->answer_bytes; i++) {
            (void)buf_append_u8(out, 'x');
        }
        return false;
    }
    (void)buf_printf(out, "{\"line\":\"%s\"}\n", line);
    return false;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char error[LOCAL_SOCKET_ERROR_BYTES];

    strcpy(f->dir, "/tmp/status.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chmod(f->dir, 0755), 0);
    snprintf(f->path, sizeof(f->path), "%s/s.sock", f->dir);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(
        status_listener_new(&f->loop, f->path, "tester", answer, f, &f->listener, error), 0);
    status_listener_set_stream(f->listener, stream);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    status_listener_free(f->listener);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_not_equal(access(f->path, F_OK), 0);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static int ask(const struct fixture *f, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, f->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return fd;
}

static void turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

/* What comes until the daemon closes; the bytes, of which the first are in `text`. */
static size_t read_all(struct fixture *f, int fd, char *text, size_t size)
{
    char piece[4096];
    size_t bytes = 0;

    for (int i = 0; i < TURNS; i++) {
        const ssize_t got = recv(fd, piece, sizeof(piece), 0);

        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            (void)close(fd);
            text[bytes < size ? bytes : size - 1] = '\0';
            return bytes;
        }
        for (ssize_t at = 0; at < got; at++, bytes++) {
            if (bytes < size) {
                text[bytes] = piece[at];
            }
        }
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    fail_msg("the daemon does not close");
    return 0;
}

static void test_asks(void **state)
{
    struct fixture *f = *state;
    char text[512], longest[LIMIT_STATUS_LINE_BYTES + 1];
    int fd;

    assert_true(read_all(f, ask(f, "hello\r\n"), text, sizeof(text)) > 0);
    assert_string_equal(text, "{\"line\":\"hello\"}\n");
    fd = ask(f, "one\nmore\n"); /* what comes after the line is not read */
    assert_true(read_all(f, fd, text, sizeof(text)) > 0);
    assert_string_equal(text, "{\"line\":\"one\"}\n");
    f->answer_bytes = LIMIT_STATUS_ANSWER_BYTES;
    fd = ask(f, "much\n"); /* who closed only its writing side still gets the answer */
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turns(f, 50);
    assert_int_equal(read_all(f, fd, text, sizeof(text)), LIMIT_STATUS_ANSWER_BYTES);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(read_all(f, ask(f, longest), text, sizeof(text)), 0);
}

static void test_follows(void **state)
{
    struct fixture *f = *state;
    const int quick = ask(f, "follow\n"), slow = ask(f, "follow\n");
    char text[1 << 16];
    struct buf line;
    size_t published = 0, got = 0;

    buf_init(&line, sizeof(text));
    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    assert_int_equal(buf_append(&line, text, sizeof(text)), 0);
    turns(f, 50);
    /* The quick one reads everything; the slow one nothing, and is cut off past its queue. */
    while (published < 8 * LIMIT_STATUS_QUEUE_BYTES) {
        status_listener_publish(f->listener, &line);
        published += line.bytes;
        while (got < published) {
            const ssize_t bytes = recv(quick, text, sizeof(text), 0);

            assert_true(bytes > 0 || (bytes < 0 && errno == EAGAIN));
            got += bytes > 0 ? (size_t)bytes : 0;
            turns(f, 1);
        }
    }
    assert_true(read_all(f, slow, text, 1) < published);
    (void)close(quick);
    turns(f, 50);
    status_listener_publish(f->listener, &line);
    buf_fini(&line);
}

static void test_too_many(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_STATUS_CONNECTIONS];
    char text[512];

    for (int i = 0; i < LIMIT_STATUS_CONNECTIONS; i++) {
        fds[i] = ask(f, "follow\n");
        turns(f, 5);
    }
    assert_true(read_all(f, ask(f, "hello\n"), text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "{\"schema\":1,\"daemon\":\"tester\",\"error\":\"too many"));
    for (int i = 0; i < LIMIT_STATUS_CONNECTIONS; i++) {
        (void)close(fds[i]);
    }
    turns(f, 200);
    assert_true(read_all(f, ask(f, "hello\n"), text, sizeof(text)) > 0);
    assert_string_equal(text, "{\"line\":\"hello\"}\n");
}

/* An answer in pieces: all of it, and no more is made than the asker takes. */
static void test_streams(void **state)
{
    struct fixture *f = *state;
    char text[64];
    int fd;

    f->piece_bytes = 64 << 10;
    assert_int_equal(read_all(f, ask(f, "stream 50\n"), text, sizeof(text)), 50 * f->piece_bytes);
    assert_int_equal(f->pieces, 50);
    assert_int_equal(f->gone, 1);
    assert_int_equal(read_all(f, ask(f, "stream 0\n"), text, sizeof(text)), 0);
    assert_int_equal(f->gone, 2);
    f->piece_bytes = 1 << 20;
    f->pieces = 0;
    fd = ask(f, "stream 100\n"); /* reads nothing, then goes */
    turns(f, 200);
    assert_true(f->pieces > 0 && f->pieces < 5);
    (void)close(fd);
    turns(f, 200);
    assert_int_equal(f->gone, 3);
    assert_int_equal(f->sources, 3);
}

/* Who does not read a piece within its time is cut off; so many streams and no more. */
static void test_stream_bounds(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_STATUS_STREAMS];
    char text[512];

    f->piece_bytes = 4 << 20;
    for (int i = 0; i < LIMIT_STATUS_STREAMS; i++) {
        fds[i] = ask(f, "stream 9\n");
        turns(f, 20);
    }
    assert_true(read_all(f, ask(f, "stream 1\n"), text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "\"error\":\"too many ask for so much at once\""));
    assert_int_equal(f->gone, 1); /* of the refused one */
    while (f->gone < 1 + LIMIT_STATUS_STREAMS) {
        assert_true(uv_run(&f->loop, UV_RUN_ONCE) != 0);
    }
    for (int i = 0; i < LIMIT_STATUS_STREAMS; i++) {
        assert_true(read_all(f, fds[i], text, 1) < 9 * f->piece_bytes);
    }
    f->piece_bytes = 10;
    assert_int_equal(read_all(f, ask(f, "stream 1\n"), text, sizeof(text)), 10);
}

/* A user outside the group gets one line, even where the mode of the file lets it connect. */
static void test_stranger(void **state)
{
    struct fixture *f = *state;
    char text[512] = "";
    int pair[2], status;
    pid_t child;

    if (geteuid() != 0) {
        return; /* needs another user */
    }
    assert_int_equal(chmod(f->path, 0666), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ssize_t bytes;

        strcpy(address.sun_path, f->path);
        if (setgroups(0, NULL) != 0 || setgid(54321) != 0 || setuid(54321) != 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
            _exit(1);
        }
        (void)send(fd, "hello\n", 6, MSG_NOSIGNAL);
        bytes = recv(fd, text, sizeof(text), 0);
        (void)send(pair[1], text, bytes > 0 ? (size_t)bytes : 1, 0);
        _exit(0);
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        (void)usleep(1000);
    }
    assert_int_equal(status, 0);
    assert_true(recv(pair[0], text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, "\"error\":\"" LOCAL_SOCKET_REFUSAL));
    (void)close(pair[0]);
    (void)close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stranger, setup, teardown),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* as the daemons do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
