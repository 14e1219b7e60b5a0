/* server_fixture.h: the whole server in a process of its own, on temporary sockets, with a played
 * engine (fake_engine.h), and one client of it. The process is this test program anew (NNG does not
 * survive a fork), which is why main is here: a test file lists its tests in server_tests().
 * Include once per program, first. */
#ifndef TANDEM_TESTS_SERVER_FIXTURE_H
#define TANDEM_TESTS_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/wire/answer.h"
#include "server/catalog.h"
#include "server/server.h"
#include "tests/unit/server/edge_client.h"
#include "tests/unit/server/fake_engine.h"

#include <fcntl.h>
#include <sys/resource.h>

struct fixture {
    char dir[64], config[96], socket[96], url[110], log[96];
    pid_t pid;
    uv_loop_t loop;
    struct client *client;
};

static inline char *in_dir(const struct fixture *f, const char *name, char path[160])
{
    snprintf(path, 160, "%s/%s", f->dir, name);
    return path;
}

static inline void config_write(const struct fixture *f, const char *more)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "[server]\nlisten = ipc://%s/edge.sock, tcp://127.0.0.1:0\nstatus_socket = "
             "%s\ntasks_dir = %s/tasks.d\n"
             "sequences = 8\ndrain_timeout_ms = 3000\n%s",
             f->dir, f->socket, f->dir, more);
    file_write(f->config, text);
}

static inline void tasks_write(const struct fixture *f)
{
    char path[160];

    assert_int_equal(mkdir(in_dir(f, "tasks.d", path), 0700), 0);
    file_write(in_dir(f, "tasks.d/digits.conf", path),
               "[task]\nkind = classify\n[edge]\nmodel = p.gguf\n");
    file_write(in_dir(f, "tasks.d/letters.conf", path),
               "[task]\nkind = generate\nmax_new_tokens = 100\n[edge]\nmodel = g.gguf\n");
    file_write(in_dir(f, "tasks.d/p.gguf", path), "p1\n");
    file_write(in_dir(f, "tasks.d/g.gguf", path), "g1\n");
}

/* Runs the server in a child, this program anew (NNG does not survive a fork); its exit status is
 * server_run's. */
static inline void server_fork(struct fixture *f)
{
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        const int fd = open(f->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        (void)dup2(fd, 2);
        (void)close(fd);
        (void)execl("/proc/self/exe", "test_server", "--serve", f->config, (char *)NULL);
        _exit(1);
    }
}

static inline void server_await(const struct fixture *f)
{
    for (int i = 0; i < 1000; i++) {
        if (status_number(f->socket, "schema") == 1) {
            return;
        }
        usleep(10000);
    }
    fail_msg("the server did not start");
}

static inline int server_wait(struct fixture *f)
{
    int status = 0;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    return status;
}

static inline bool log_has(const struct fixture *f, const char *word)
{
    static char text[1 << 20];
    const int fd = open(f->log, O_RDONLY);
    const ssize_t got = read(fd, text, sizeof(text) - 1);

    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strstr(text, word) != NULL;
}

static inline int setup_files(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/tandem-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->config, sizeof(f->config), "%s/server.conf", f->dir);
    snprintf(f->socket, sizeof(f->socket), "%s/status.sock", f->dir);
    snprintf(f->url, sizeof(f->url), "ipc://%s/edge.sock", f->dir);
    snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
    tasks_write(f);
    config_write(f, "");
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    struct fixture *f;

    (void)setup_files(state);
    f = *state;
    server_fork(f);
    server_await(f);
    f->client = malloc(sizeof(*f->client));
    client_init(f->client, &f->loop, 1);
    client_connect(f->client, f->url);
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    char command[96];
    int status = 0;

    if (f->client) {
        client_fini(f->client);
        free(f->client);
    }
    if (f->pid > 0) {
        (void)kill(f->pid, SIGTERM);
        status = server_wait(f);
    }
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    if (status != 0) {
        snprintf(command, sizeof(command), "tail -n 60 %s/log >&2", f->dir);
        (void)!system(command);
    }
    snprintf(command, sizeof(command), "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    assert_int_equal(status, 0); /* every test ends with a drain that exits 0 and loses no page */
    return 0;
}

static inline void classify(struct fixture *f, uint64_t id, const char *picture)
{
    struct edge_request request = {.task = "digits", .has_picture = true, .decision_id = "4711"};

    client_send(f->client, id, &request, picture, strlen(picture));
}

static inline void generate(struct fixture *f, uint64_t id, const char *text, uint64_t budget_us,
                            uint32_t max_new)
{
    struct edge_request request = {
        .task = "letters", .budget_us = budget_us, .max_new_tokens = max_new, .stream = true};

    client_send(f->client, id, &request, text, strlen(text));
}

static inline void await_status(const struct fixture *f, const char *key, double value)
{
    for (int i = 0; i < 500 && status_number(f->socket, key) != value; i++) {
        usleep(10000);
    }
    assert_true(status_number(f->socket, key) == value);
}

/* Requests whose input never comes, to fill what is bounded. */
static inline void announce(struct client *client, uint64_t id, uint64_t payload_bytes)
{
    struct edge_request request = {
        .task = "digits", .has_picture = true, .payload_bytes = payload_bytes};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(edge_request_pack(&request, &header), 0);
    assert_int_equal(conn_send(client->conn, FRAME_REQUEST, 0, id, header.data, header.bytes), 0);
    buf_fini(&header);
}

static inline int socket_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

#define SERVED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FILES(name)  cmocka_unit_test_setup_teardown(name, setup_files, teardown)

/* Runs the tests, or the server when this program was started as one. */
static inline int fixture_main(int argc, char **argv, int (*tests_run)(void))
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc == 3 && strcmp(argv[1], "--serve") == 0) {
        log_init("tandem-server", LOG_LEVEL_DEBUG, 2);
        return server_run(argv[2]) == 0 ? 0 : 1;
    }
    return tests_run();
}

#endif
