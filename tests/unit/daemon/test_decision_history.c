/* What the status socket tells of the decisions on disk: both files and what waits to be written,
 * in order, by time, by number, by id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/decision_history.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTHING "{\"error\":\"nothing\"}\n"
#define PAD     400 /* bytes in each line, so that there are many pieces */

struct fixture {
    uv_loop_t loop;
    struct status_listener *listener;
    struct decision_file file;
    struct history_query query;
    char dir[40], socket[64], path[80], old[96];
    struct buf got;
};

static bool on_line(const char *line, struct buf *out, void *user)
{
    (void)line;
    (void)out;
    (void)user;
    return false;
}

static struct status_source *on_stream(const char *line, void *user)
{
    struct fixture *f = user;
    struct buf recent;
    struct status_source *source;

    (void)line;
    buf_init(&recent, 0);
    assert_int_equal(buf_append(&recent, f->file.pending.data, f->file.pending.bytes), 0);
    source = history_new(&f->loop, &f->file, &f->query, &recent, f->query.id ? NOTHING : NULL);
    buf_fini(&recent);
    return source;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char error[LOCAL_SOCKET_ERROR_BYTES];

    strcpy(f->dir, "/tmp/history.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->socket, sizeof(f->socket), "%s/s.sock", f->dir);
    snprintf(f->path, sizeof(f->path), "%s/decisions.jsonl", f->dir);
    snprintf(f->old, sizeof(f->old), "%s.1", f->path);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(
        status_listener_new(&f->loop, f->socket, "tester", on_line, f, &f->listener, error), 0);
    status_listener_set_stream(f->listener, on_stream);
    decision_file_open(&f->file, f->dir, 1);
    buf_init(&f->got, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    status_listener_free(f->listener);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    decision_file_close(&f->file);
    buf_fini(&f->got);
    (void)unlink(f->path);
    (void)unlink(f->old);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

/* Decision `id` began at so many seconds; it is on disk when `now`, else it waits. */
static void decision_add(struct fixture *f, uint64_t id, int64_t at_s, bool now)
{
    char line[PAD + 128];
    const int bytes =
        snprintf(line, sizeof(line),
                 "{\"schema\":1,\"id\":\"%" PRIu64 "\",\"task\":\"t\",\"time_unix_ns\":%" PRId64
                 ",\"reason\":\"%*s\"}\n",
                 id, at_s * NS_PER_S, PAD, "x");

    decision_file_write(&f->file, line, (size_t)bytes, 2);
    if (now) {
        decision_file_flush(&f->file, 2);
    }
}

static int ask(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, f->socket);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, "x\n", 2, MSG_NOSIGNAL), 2);
    return fd;
}

/* The ids that are told, as "1 2 3 ". */
static const char *told(struct fixture *f, struct history_query query)
{
    static char ids[1 << 16];
    char *line;
    size_t used = 0;
    int fd;

    f->query = query;
    fd = ask(f);
    buf_clear(&f->got);
    for (;;) {
        ssize_t bytes;

        assert_int_equal(buf_reserve(&f->got, 4096), 0);
        bytes = recv(fd, f->got.data + f->got.bytes, 4095, 0);
        if (bytes == 0) {
            break;
        }
        assert_true(bytes > 0 || errno == EAGAIN);
        f->got.bytes += bytes > 0 ? (size_t)bytes : 0;
        (void)uv_run(&f->loop, bytes > 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    (void)close(fd);
    assert_int_equal(buf_append_u8(&f->got, 0), 0);
    ids[0] = '\0';
    for (line = (char *)f->got.data; *line; line = strchr(line, '\n') + 1) {
        uint64_t id;

        assert_non_null(strchr(line, '\n'));
        if (strncmp(line, NOTHING, strlen(NOTHING)) == 0) {
            return "nothing";
        }
        assert_int_equal(sscanf(line, "{\"schema\":1,\"id\":\"%" SCNu64, &id), 1);
        used += (size_t)snprintf(ids + used, sizeof(ids) - used, "%" PRIu64 " ", id);
    }
    return ids;
}

#define ALL .count = UINT64_MAX, .until_ns = INT64_MAX

static void test_by_time_number_and_id(void **state)
{
    struct fixture *f = *state;
    static const char truth[] = "{\"schema\":1,\"id\":\"2\",\"correct\":true}\n";

    assert_string_equal(told(f, (struct history_query){ALL}), "");
    decision_add(f, 1, 100, true);
    decision_add(f, 2, 200, true);
    decision_file_write(&f->file, truth, sizeof(truth) - 1, 2); /* is no decision */
    decision_file_flush(&f->file, 2);
    assert_int_equal(rename(f->path, f->old), 0);
    decision_file_close(&f->file);
    decision_file_open(&f->file, f->dir, 1);
    decision_add(f, 3, 300, true);
    decision_add(f, 4, 400, true);
    decision_add(f, 5, 500, false);
    assert_int_not_equal(f->file.pending.bytes, 0);
    assert_string_equal(told(f, (struct history_query){ALL}), "1 2 3 4 5 ");
    assert_string_equal(told(f, (struct history_query){.count = 2, .until_ns = INT64_MAX}), "4 5 ");
    assert_string_equal(told(f, (struct history_query){.count = 0, .until_ns = INT64_MAX}), "");
    assert_string_equal(told(f, (struct history_query){.count = UINT64_MAX,
                                                       .since_ns = 200 * NS_PER_S,
                                                       .until_ns = 400 * NS_PER_S}),
                        "2 3 "); /* from, inclusive; to, exclusive */
    assert_string_equal(told(f, (struct history_query){.count = 1, .until_ns = 400 * NS_PER_S}),
                        "3 ");
    assert_string_equal(told(f, (struct history_query){ALL, .id = 2}), "2 ");
    assert_string_equal(told(f, (struct history_query){ALL, .id = 5}), "5 ");
    assert_string_equal(told(f, (struct history_query){ALL, .id = 6}), "nothing");
}

static void more_add(struct fixture *f, const char *line)
{
    decision_file_write(&f->file, line, strlen(line), 2);
}

/* What was told of a decision later comes with it, wherever it stands and whatever was asked; the
 * line itself is no answer. */
static void test_told_later(void **state)
{
    static const char measured[] = "\"measured\":[{\"route\":\"local\"}]}\n",
                      wrong[] = ",\"correct\":false", more[] = ",\"more\":3}\n";
    struct fixture *f = *state;

    decision_add(f, 3, 100, true);
    decision_add(f, 2, 200, true);
    more_add(f, "{\"schema\":1,\"id\":\"2\",\"correct\":true}\n");
    assert_int_equal(rename(f->path, f->old), 0);
    decision_file_close(&f->file);
    decision_file_open(&f->file, f->dir, 1);
    more_add(f, "{\"schema\":1,\"id\":\"3\",\"measured\":[{\"route\":\"local\"}]}\n");
    more_add(f, "{\"schema\":1,\"id\":\"9\",\"lost\":true}\n");
    decision_add(f, 4, 300, true);
    more_add(f, "{\"schema\":1,\"id\":\"2\",\"correct\":false}\n");
    more_add(f, "{\"schema\":1,\"id\":\"4\",\"more\":3}\n");
    assert_int_not_equal(f->file.pending.bytes, 0);
    assert_string_equal(told(f, (struct history_query){ALL, .id = 3}), "3 ");
    assert_non_null(strstr((char *)f->got.data, measured));
    assert_string_equal(told(f, (struct history_query){ALL, .id = 2}), "2 ");
    assert_non_null(strstr((char *)f->got.data, wrong));
    assert_null(strstr((char *)f->got.data, "true"));
    assert_string_equal(told(f, (struct history_query){.count = 2, .until_ns = INT64_MAX}), "2 4 ");
    assert_non_null(strstr((char *)f->got.data, wrong));
    assert_non_null(strstr((char *)f->got.data, more));
    assert_string_equal(told(f, (struct history_query){ALL}), "3 2 4 ");
    assert_non_null(strstr((char *)f->got.data, measured));
    assert_null(strstr((char *)f->got.data, "lost"));
}

/* Far more than one piece, in order, whole; the last ones of it, too. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char expected[1 << 16] = "";
    size_t used = 0;

    for (uint64_t id = 1; id <= 4000; id++) {
        decision_add(f, id, (int64_t)id, id % 100 == 0);
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%" PRIu64 " ", id);
    }
    assert_true(f->file.bytes > 6 * (256 << 10));
    assert_string_equal(told(f, (struct history_query){ALL}), expected);
    assert_string_equal(told(f, (struct history_query){.count = 3, .until_ns = INT64_MAX}),
                        "3998 3999 4000 ");
    assert_string_equal(told(f, (struct history_query){ALL, .id = 3000}), "3000 ");
}

/* What is longer than any line of ours is passed over. */
static void test_foreign_bytes(void **state)
{
    struct fixture *f = *state;
    FILE *file = fopen(f->path, "a");

    assert_non_null(file);
    for (size_t i = 0; i < 2 * LIMIT_STATUS_QUEUE_BYTES; i++) {
        (void)fputc('z', file);
    }
    (void)fputs("\nnot json\n{\"id\":\"8\"}\n", file);
    (void)fclose(file);
    decision_file_close(&f->file);
    decision_file_open(&f->file, f->dir, 1);
    decision_add(f, 7, 7, true);
    assert_string_equal(told(f, (struct history_query){ALL}), "7 ");
}

/* Who leaves while the disk is read leaves nothing behind (the loop's end says so). */
static void test_gone(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 3000; id++) {
        decision_add(f, id, 1, false);
    }
    decision_file_flush(&f->file, 2);
    f->query = (struct history_query){ALL};
    for (int turns = 1; turns < 20; turns++) {
        const int fd = ask(f);

        for (int i = 0; i < turns; i++) {
            (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        (void)close(fd);
    }
    status_listener_free(f->listener);
    f->listener = NULL;
}

static void test_question(void **state)
{
    static const struct {
        const char *line;
        uint64_t count;
        int64_t since_ns, until_ns;
    } good[] = {
        {"decisions 5 since=7", 5, 7 * NS_PER_MS, INT64_MAX},
        {"decisions 5 until=7", 5, 0, 7 * NS_PER_MS},
        {"decisions 0 since=0 until=1", 0, 0, NS_PER_MS},
        {"decisions 99999999999999999999 since=1795500000123", UINT64_MAX,
         INT64_C(1795500000123000000), INT64_MAX},
        {"decisions 1 since=1 until=99999999999999999999", 1, NS_PER_MS, INT64_MAX},
    };
    static const char *const bad[] = {"decisions 5",          "decisions",
                                      "decisions ",           "decisions x since=1",
                                      "decisions 5 since=",   "decisions 5 since=x",
                                      "decisions 5 since=-1", "decisions 5 until=1 since=0",
                                      "decisions 5 since=1 ", "decisions 5 since=1 until=2 3",
                                      "explain 5 since=1",    ""};
    struct history_query query;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(history_query_parse(good[i].line, &query));
        assert_int_equal(query.count, good[i].count);
        assert_int_equal(query.since_ns, good[i].since_ns);
        assert_int_equal(query.until_ns, good[i].until_ns);
        assert_int_equal(query.id, 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (history_query_parse(bad[i], &query)) {
            fail_msg("'%s' is taken", bad[i]);
        }
    }
}

int main(void)
{
#define WITH_SOCKET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {WITH_SOCKET(test_by_time_number_and_id),
                                       WITH_SOCKET(test_many),
                                       WITH_SOCKET(test_foreign_bytes),
                                       WITH_SOCKET(test_told_later),
                                       WITH_SOCKET(test_gone),
                                       cmocka_unit_test(test_question)};

    (void)signal(SIGPIPE, SIG_IGN); /* as the daemons do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
