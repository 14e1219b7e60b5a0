/* test_server.c: tandem-server as it is shipped, with the shipped models, over loopback TCP: real
 * pictures and commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/answer.h"
#include "tests/unit/server/edge_client.h"

#include <fcntl.h>

#define SAMPLES      "deploy/models/samples/"
#define PICTURES_MAX 64
#define COMMANDS_MAX 12

struct fixture {
    char dir[64], config[96], socket[96], url[128];
    pid_t pid;
    uv_loop_t loop;
    struct client client;
};

static const char *server_program(char path[512])
{
    const char *build = getenv("BUILD");

    snprintf(path, 512, "%s/bin/tandem-server", build ? build : "build");
    return path;
}

static void url_ask(struct fixture *f)
{
    char answer[1 << 16];
    const char *at;

    assert_true(status_ask(f->socket, "status\n", answer, sizeof(answer)));
    at = strstr(answer, "\"listen\":[\"");
    assert_non_null(at);
    at += strlen("\"listen\":[\"");
    snprintf(f->url, sizeof(f->url), "%.*s", (int)strcspn(at, "\""), at);
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    char text[1024], path[512], here[256]; /* here: the top of the tree */

    memset(f, 0, sizeof(*f));
    strcpy(f->dir, "/tmp/tandem-edge-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_non_null(getcwd(here, sizeof(here)));
    snprintf(f->config, sizeof(f->config), "%s/server.conf", f->dir);
    snprintf(f->socket, sizeof(f->socket), "%s/status.sock", f->dir);
    snprintf(text, sizeof(text),
             "[server]\nlisten = tcp://127.0.0.1:0\nstatus_socket = %.90s\ntasks_dir = "
             "%.60s/tasks\nmodels_dir = %.250s/deploy/models\n",
             f->socket, f->dir, here);
    file_write(f->config, text);
    snprintf(path, sizeof(path), "%s/tasks", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/tasks/objects.conf", f->dir);
    file_write(path, "[task]\nkind = classify\n[edge]\nmodel = objects-edge.gguf\n");
    snprintf(path, sizeof(path), "%s/tasks/commands.conf", f->dir);
    file_write(
        path, "[task]\nkind = generate\nmax_new_tokens = 64\n[edge]\nmodel = commands-edge.gguf\n");
    f->pid = fork();
    if (f->pid == 0) {
        (void)execl(server_program(path), "tandem-server", "--config", f->config, (char *)NULL);
        _exit(1);
    }
    for (int i = 0; i < 2000 && status_number(f->socket, "schema") != 1; i++) {
        usleep(10000);
    }
    url_ask(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    client_init(&f->client, &f->loop, 1);
    client_connect(&f->client, f->url);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    int status = -1;

    client_fini(&f->client);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    assert_int_equal(status, 0);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    snprintf(command, sizeof(command), "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static size_t file_read(const char *path, uint8_t *bytes, size_t capacity)
{
    const int fd = open(path, O_RDONLY);
    const ssize_t got = read(fd, bytes, capacity);

    assert_true(fd >= 0 && got > 0 && (size_t)got < capacity);
    (void)close(fd);
    return (size_t)got;
}

/* All the sample pictures at once: the label stands in the file's name. */
static void test_pictures(void **state)
{
    static uint8_t bytes[1 << 20];
    struct fixture *f = *state;
    char names[PICTURES_MAX][128], path[256], *end;
    unsigned count = 0, right = 0;
    FILE *list = popen("ls " SAMPLES "*.jpg", "r");

    assert_non_null(list);
    while (count < PICTURES_MAX && fgets(path, sizeof(path), list)) {
        struct edge_request request = {.task = "objects", .has_picture = true};

        path[strcspn(path, "\n")] = '\0';
        snprintf(names[count], sizeof(names[count]), "%.100s", strrchr(path, '/') + 1);
        client_send(&f->client, ++count, &request, bytes, file_read(path, bytes, sizeof(bytes)));
    }
    assert_int_equal(pclose(list), 0);
    assert_true(count >= 20);
    for (unsigned i = 0; i < count; i++) {
        const struct client_request *got = client_result(&f->client, i + 1);

        assert_true(got->has_result);
        assert_int_equal(got->result.answer.label_count, 10);
        end = strchr(names[i], '-');
        *(end ? end : names[i]) = '\0';
        right += strcmp(got->result.answer.labels[0].label, names[i]) == 0;
    }
    printf("%u of %u pictures right, batches of up to %.0f\n", right, count,
           status_number(f->socket, "batch_max"));
    assert_true(right * 10 >=
                count * 6); /* far above chance; the cards have the measured accuracy */
    assert_true(status_number(f->socket, "batch_max") >= 2);
}

/* Commands at once give what they give one after the other. */
static void test_commands_share_batches(void **state)
{
    struct fixture *f = *state;
    char lines[COMMANDS_MAX][512], *answer;
    unsigned count = 0, right = 0;
    FILE *file = fopen(SAMPLES "commands.txt", "r");

    assert_non_null(file);
    while (count < COMMANDS_MAX && fgets(lines[count], sizeof(lines[count]), file)) {
        lines[count][strcspn(lines[count], "\n")] = '\0';
        count += strchr(lines[count], '\t') != NULL;
    }
    (void)fclose(file);
    for (unsigned i = 0; i < 2 * count; i++) {
        struct edge_request request = {.task = "commands", .stream = true};
        const char *line = lines[i % count];

        client_send(&f->client, 100 + i, &request, line, strcspn(line, "\t"));
        if (i >= count) { /* the second time one after the other */
            (void)client_result(&f->client, 100 + i);
        } else if (i + 1 == count) {
            for (unsigned k = 0; k < count; k++) {
                (void)client_result(&f->client, 100 + k);
            }
        }
    }
    for (unsigned i = 0; i < count; i++) {
        const struct client_request *together = client_of(&f->client, 100 + i),
                                    *alone = client_of(&f->client, 100 + count + i);

        assert_true(together->has_result && alone->has_result);
        assert_string_equal(together->result.answer.text, alone->result.answer.text);
        assert_int_equal(together->streamed.bytes, together->result.answer.text_bytes);
        assert_memory_equal(together->streamed.data, together->result.answer.text,
                            together->streamed.bytes);
        assert_true(together->result.answer.confidence > 0 &&
                    together->result.answer.confidence <= 1);
        answer = strchr(lines[i], '\t') + 1;
        right += strcmp(together->result.answer.text, answer) == 0;
    }
    printf("%u of %u commands right, mean batch %.2f\n", right, count,
           status_number(f->socket, "batch_mean"));
    assert_true(right * 2 > count);
    assert_true(status_number(f->socket, "batch_max") >= 4);
}

static void test_bad_input_costs_one_request(void **state)
{
    struct fixture *f = *state;
    struct edge_request picture = {.task = "objects", .has_picture = true},
                        text = {.task = "commands"}, good = {.task = "commands"};

    client_send(&f->client, 300, &picture, "this is no picture", 18);
    client_send(&f->client, 301, &text, "jump xyzzy", 10); /* not a word of the model */
    client_send(&f->client, 302, &good, "jump twice", 10);
    assert_int_equal(client_result(&f->client, 300)->error.code, TANDEM_EFORMAT);
    assert_int_equal(client_result(&f->client, 301)->error.code, TANDEM_EINVAL);
    assert_true(client_result(&f->client, 302)->has_result);
}

static void turn(struct fixture *f, uint64_t id, const char *session, const struct buf *known,
                 const char *text)
{
    struct edge_request request = {.task = "commands", .prefix_bytes = known->bytes};
    struct buf payload;

    snprintf(request.session, sizeof(request.session), "%s", session);
    if (known->bytes > 0) {
        memset(request.prefix_digest, '0', 32); /* nobody's */
    }
    buf_init(&payload, 0);
    assert_int_equal(transcript_append(&payload, TURN_USER, text, strlen(text)), 0);
    client_send(&f->client, id, &request, payload.data, payload.bytes);
    buf_fini(&payload);
}

static void test_sessions(void **state)
{
    struct fixture *f = *state;
    struct buf known;

    buf_init(&known, 0);
    turn(f, 400, "talk", &known, "jump");
    assert_true(client_result(&f->client, 400)->has_result);
    turn(f, 401, "talk", &known, "jump"); /* the whole again: its rows are still there */
    assert_true(client_result(&f->client, 401)->result.cached_tokens > 0);
    assert_string_equal(client_of(&f->client, 400)->result.answer.text,
                        client_of(&f->client, 401)->result.answer.text);
    assert_int_equal(transcript_append(&known, TURN_USER, "jump", 4), 0);
    turn(f, 402, "talk", &known, "walk");
    assert_int_equal(client_result(&f->client, 402)->error.code, TANDEM_EPREFIX);
    buf_fini(&known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_commands_share_batches),
        cmocka_unit_test(test_bad_input_costs_one_request),
        cmocka_unit_test(test_sessions),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
