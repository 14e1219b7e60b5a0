/* What tandemctl believes of a status socket is bounded: the length of a line, and how long it
 * waits for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/ctl/ctl.h"
#include "client/ctl/status_socket.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct stage {
    char dir[32], path[64];
    int listener;
    pthread_t thread;
    size_t line_bytes; /* of the object it answers, without the newline; 0: it accepts and says
                          nothing */
};

static void text_write(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);

        if (sent <= 0) {
            return; /* the other side has heard enough */
        }
        text += sent;
        bytes -= (size_t)sent;
    }
}

/* {"a":"xxx..."} of exactly so many bytes. */
static void object_write(int fd, size_t bytes)
{
    char *text = malloc(bytes + 1);

    assert_non_null(text);
    memset(text, 'x', bytes);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + bytes - 2, "\"}\n", 3);
    text_write(fd, text, bytes + 1);
    free(text);
}

static void *stage_serve(void *user)
{
    const struct stage *stage = user;
    const int fd = accept(stage->listener, NULL, NULL);
    char line[64];

    while (recv(fd, line, sizeof(line), 0) > 0) { /* until the asker leaves */
        if (stage->line_bytes > 0) {
            object_write(fd, stage->line_bytes);
            shutdown(fd, SHUT_WR);
        }
    }
    close(fd);
    return NULL;
}

static void stage_start(struct stage *stage, size_t line_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(stage->dir, "/tmp/tandem-test-XXXXXX");
    assert_non_null(mkdtemp(stage->dir));
    snprintf(stage->path, sizeof(stage->path), "%s/status.sock", stage->dir);
    strcpy(address.sun_path, stage->path);
    stage->line_bytes = line_bytes;
    stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stage->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(stage->listener, 1), 0);
    assert_int_equal(pthread_create(&stage->thread, NULL, stage_serve, stage), 0);
}

static void stage_stop(struct stage *stage)
{
    assert_int_equal(pthread_join(stage->thread, NULL), 0);
    close(stage->listener);
    unlink(stage->path);
    rmdir(stage->dir);
}

static int ask(size_t line_bytes, size_t *ret_bytes)
{
    struct stage stage;
    cJSON *object = NULL;
    char *line = NULL;
    int result;

    stage_start(&stage, line_bytes);
    result = status_socket_ask(stage.path, "status", &line, &object);
    *ret_bytes = line ? strlen(line) : 0;
    free(line);
    cJSON_Delete(object);
    stage_stop(&stage);
    return result;
}

static void test_line_bytes(void **state)
{
    size_t bytes = 0;

    (void)state;
    assert_int_equal(ask(LIMIT_CTL_LINE_BYTES, &bytes), 0);
    assert_int_equal(bytes, LIMIT_CTL_LINE_BYTES);
    assert_int_equal(ask(LIMIT_CTL_LINE_BYTES + 1, &bytes), TANDEM_EPROTO);
    assert_int_equal(ask(4 * LIMIT_CTL_LINE_BYTES, &bytes), TANDEM_EPROTO);
}

static void test_answer_time(void **state)
{
    const int64_t start_ns = clock_now_ns();
    size_t bytes = 0;
    int64_t took_ms;

    (void)state;
    assert_int_equal(ask(0, &bytes), TANDEM_ETIMEDOUT);
    took_ms = (clock_now_ns() - start_ns) / NS_PER_MS;
    assert_true(took_ms >= LIMIT_CTL_ANSWER_MS - 20 && took_ms < 10 * LIMIT_CTL_ANSWER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_bytes),
        cmocka_unit_test(test_answer_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
