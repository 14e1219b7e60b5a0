/* tandemctl as a person runs it, against a status socket and an application socket played by this
 * test. */
#include "tests/unit/lib/fake_daemon.h"

#include "client/ctl/ctl.h"

#include <cjson/cJSON.h>

/* The canned daemon: what it says to which request line. */
struct reply {
    const char *request;
    const char *answer;
};

struct stage {
    char dir[64];
    char status_path[96];
    int listener;
    pthread_t thread;
    const struct reply *replies;
    size_t reply_count;
    struct fake app;
    pthread_t app_thread;
    struct local_submit submit; /* the last request */
    struct buf payload;
    char out[16384], err[4096]; /* of the last command */
};

static void stage_answer(struct stage *stage, int fd)
{
    char line[256];
    char text[4096];
    ssize_t got = read(fd, line, sizeof(line) - 1);

    if (got <= 0 || line[got - 1] != '\n') {
        return;
    }
    line[got - 1] = '\0';
    for (size_t i = 0; i < stage->reply_count; i++) {
        if (strcmp(line, stage->replies[i].request) == 0) {
            /* %s in an answer is the application socket */
            const char *at = strstr(stage->replies[i].answer, "%s");

            if (at) {
                snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - stage->replies[i].answer),
                         stage->replies[i].answer, stage->app.path, at + 2);
            } else {
                snprintf(text, sizeof(text), "%s", stage->replies[i].answer);
            }
            (void)!write(fd, text, strlen(text));
        }
    }
}

static void *stage_serve(void *user)
{
    struct stage *stage = user;
    int fd;

    while ((fd = accept(stage->listener, NULL, NULL)) >= 0) {
        stage_answer(stage, fd);
        close(fd);
    }
    return NULL;
}

static void *app_serve(void *user)
{
    struct stage *stage = user;
    uint64_t id;

    for (;;) {
        (void)fake_accept_thread(&stage->app);
        if (stage->app.fd < 0) {
            return NULL;
        }
        while (fake_request(&stage->app, &stage->submit, &stage->payload, &id) == 0) {
            if (strcmp(stage->submit.route, "edge") == 0) {
                fake_send_error(&stage->app, id, TANDEM_ENOROUTE, "no edge is connected", "41");
            } else if (strcmp(stage->submit.task, "commands") == 0) {
                struct local_answer answer = {.id = "42",
                                              .answer = {.kind = WIRE_GENERATE,
                                                         .text = (char *)"I_WALK",
                                                         .text_bytes = 6,
                                                         .tokens = 1,
                                                         .finish = WIRE_FINISH_END},
                                              .route = "cascade",
                                              .outcome_route = "local",
                                              .reason = "sure enough",
                                              .latency_us = 2500,
                                              .met_deadline = true};

                fake_send_answer(&stage->app, id, &answer);
            } else {
                fake_send_label(&stage->app, id, "cup");
            }
        }
        fake_hang_up(&stage->app);
    }
}

static void stage_start(struct stage *stage, const struct reply *replies, size_t count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(stage, 0, sizeof(*stage));
    stage->replies = replies;
    stage->reply_count = count;
    fake_start(&stage->app);
    buf_init(&stage->payload, 0);
    snprintf(stage->status_path, sizeof(stage->status_path), "%s/status.sock", stage->app.dir);
    strcpy(address.sun_path, stage->status_path);
    stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stage->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(stage->listener, 8), 0);
    assert_int_equal(pthread_create(&stage->thread, NULL, stage_serve, stage), 0);
    assert_int_equal(pthread_create(&stage->app_thread, NULL, app_serve, stage), 0);
}

static void stage_stop(struct stage *stage)
{
    shutdown(stage->listener, SHUT_RDWR);
    shutdown(stage->app.listener, SHUT_RDWR);
    assert_int_equal(pthread_join(stage->thread, NULL), 0);
    assert_int_equal(pthread_join(stage->app_thread, NULL), 0);
    close(stage->listener);
    unlink(stage->status_path);
    buf_fini(&stage->payload);
    fake_stop(&stage->app);
}

static void capture_end(FILE *from, int saved, int file, char *ret_text, size_t bytes)
{
    ssize_t got;

    fflush(from);
    dup2(saved, fileno(from));
    close(saved);
    got = pread(file, ret_text, bytes - 1, 0);
    ret_text[got > 0 ? got : 0] = '\0';
    close(file);
}

/* Runs `tandemctl WORDS... --socket PATH` and keeps what it printed. */
static int ctl(struct stage *stage, const char *first, ...)
{
    char *argv[16] = {(char *)"tandemctl"};
    char out_name[] = "/tmp/tandem-test-out-XXXXXX", err_name[] = "/tmp/tandem-test-err-XXXXXX";
    int out = mkstemp(out_name), err = mkstemp(err_name);
    int saved_out = dup(1), saved_err = dup(2);
    int argc = 1;
    va_list words;
    int code;

    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *)) {
        argv[argc++] = (char *)(uintptr_t)word;
    }
    va_end(words);
    argv[argc++] = (char *)"--socket";
    argv[argc++] = stage->status_path;
    unlink(out_name);
    unlink(err_name);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    code = ctl_main(argc, argv);
    capture_end(stdout, saved_out, out, stage->out, sizeof(stage->out));
    capture_end(stderr, saved_err, err, stage->err, sizeof(stage->err));
    return code;
}

#define STATUS                                                                                     \
    "{\"schema\":1,\"daemon\":\"tandem-client\",\"app_socket\":\"%s\",\"tasks\":["                 \
    "{\"name\":\"objects\",\"kind\":\"classify\"},"                                                \
    "{\"name\":\"commands\",\"kind\":\"generate\",\"kv_pages_free\":7}],"                          \
    "\"edges\":[{\"name\":\"hall\",\"state\":\"up\"}],"                                            \
    "\"batches\":{\"steps\":3,\"cached_tokens\":5},\"sessions\":2}\n"
#define FIRST                                                                                      \
    "{\"schema\":1,\"id\":\"1\",\"task\":\"objects\",\"route\":\"local\",\"outcome\":{\"route\":"  \
    "\"local\"}}\n"
#define SECOND                                                                                     \
    "{\"schema\":1,\"id\":\"2\",\"task\":\"objects\",\"route\":\"edge:hall\",\"outcome\":null}\n"
#define SECOND_ENDED                                                                               \
    "{\"schema\":1,\"id\":\"2\",\"task\":\"objects\",\"route\":\"edge:hall\",\"outcome\":{"        \
    "\"route\":\"local\"}}\n"

static const struct reply replies[] = {
    {"status", STATUS},
    {"decisions 20", FIRST SECOND},
    {"decisions 15", FIRST},
    {"decisions 1", SECOND},
    {"explain 1", FIRST},
    {"explain 3", "{\"schema\":1,\"daemon\":\"tandem-client\",\"error\":\"no decision 3\"}\n"},
    {"explain 4", "not json\n"},
    {"explain 5", "{\"cut\":"},
    {"follow", FIRST SECOND_ENDED},
};
#define REPLY_COUNT (sizeof(replies) / sizeof(replies[0]))

static void test_look(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "status", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "tandem-client\n"));
    assert_non_null(strstr(stage.out, "commands  generate "));
    assert_int_equal(ctl(&stage, "status", "--json", NULL), CTL_DONE);
    assert_true(strncmp(stage.out, "{\"schema\":1,", 12) == 0);
    assert_int_equal(ctl(&stage, "edges", "--json", NULL), CTL_DONE);
    assert_string_equal(stage.out, "{\"schema\":1,\"daemon\":\"tandem-client\",\"edges\":[{"
                                   "\"name\":\"hall\",\"state\":\"up\"}]}\n");
    assert_int_equal(ctl(&stage, "cache", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "--server"));
    assert_int_equal(ctl(&stage, "cache", "--server", NULL), CTL_DONE);
    assert_string_equal(stage.out, "daemon                 tandem-client\n"
                                   "batches.cached_tokens  5\n"
                                   "sessions               2\n"
                                   "\ntasks\n"
                                   "name      kv_pages_free\n"
                                   "commands              7\n");
    assert_int_equal(ctl(&stage, "top", "-n", "1", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "kv_pages_free"));
    assert_non_null(strstr(stage.out, "REASON"));
    assert_null(strchr(stage.out, '\033')); /* no terminal */
    stage_stop(&stage);
}

static void test_decisions(void **state)
{
    struct stage stage;
    char *at;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "decisions", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "edge:hall"));
    assert_int_equal(ctl(&stage, "decisions", "-n", "1", "--json", NULL), CTL_DONE);
    assert_string_equal(stage.out, SECOND);
    /* The first was told with its outcome; the second was running, so its end is news. The daemon
     * hangs up: exit 3. */
    assert_int_equal(ctl(&stage, "decisions", "--follow", "--json", NULL), CTL_NOT_RUNNING);
    assert_string_equal(stage.out, FIRST SECOND SECOND_ENDED);
    assert_int_equal(ctl(&stage, "decisions", "--follow", NULL), CTL_NOT_RUNNING);
    at = strstr(stage.out, "REASON");
    assert_non_null(at);
    assert_null(strstr(at + 1, "REASON")); /* titles once */
    assert_int_equal(ctl(&stage, "explain", "1", "--json", NULL), CTL_DONE);
    assert_string_equal(stage.out, FIRST);
    assert_int_equal(ctl(&stage, "explain", "1", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "possible routes"));
    assert_int_equal(ctl(&stage, "explain", "3", NULL), CTL_FAILED);
    assert_string_equal(stage.err, "tandemctl: no decision 3\n");
    assert_int_equal(ctl(&stage, "explain", "4", NULL), CTL_FAILED);
    assert_int_equal(ctl(&stage, "explain", "5", NULL), CTL_FAILED);
    assert_int_equal(ctl(&stage, "explain", "6", NULL), CTL_FAILED); /* no answer at all */
    assert_int_equal(ctl(&stage, "explain", "x", NULL), CTL_WRONG_USE);
    stage_stop(&stage);
}

static void test_wrong_use(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "replay", "x", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "status", "x", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "explain", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "status", "--follow", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "status", "--json=1", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "run", "objects", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "run", "objects", "x", "--server", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "decisions", "-n", "0", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "decisions", "-n", "-1", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "decisions", "-n", "2x", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "decisions", "-n", "4294967296", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "--help", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "run TASK INPUT"));
    assert_null(strstr(stage.out, "replay"));
    stage_stop(&stage);
    assert_int_equal(ctl(&stage, "status", NULL), CTL_NOT_RUNNING); /* stopped now */
    assert_int_equal(ctl(&stage, "run", "objects", "x", NULL), CTL_NOT_RUNNING);
}

static void test_run_text(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "run", "commands", "walk left", NULL), CTL_DONE);
    assert_string_equal(stage.out, "I_WALK\n");
    assert_string_equal(stage.err,
                        "decision 42: cascade, answered by local in 2.50 ms (sure enough)\n");
    assert_int_equal(stage.payload.bytes, 9);
    assert_int_equal(ctl(&stage, "run", "commands", "--deadline-ms=70", "--session", "s", "--route",
                         "local", "--json", "--", "-x", NULL),
                     CTL_WRONG_USE); /* --socket PATH, which the test appends, is now an argument */
    assert_int_equal(ctl(&stage, "run", "commands", "jump", "--deadline-ms=70", "--session", "s",
                         "--route", "local", "--json", NULL),
                     CTL_DONE);
    assert_string_equal(
        stage.out,
        "{\"schema\":1,\"id\":\"42\",\"route\":\"cascade\",\"outcome_route\":\"local\",\"reason\":"
        "\"sure "
        "enough\",\"latency_ms\":2.5,\"met_deadline\":true,\"partial\":false,\"error_code\":0,"
        "\"answer\":{\"text\":\"I_WALK\",\"tokens\":1,\"finish\":\"end\"}}\n");
    assert_int_equal(stage.submit.deadline_us, 70000);
    assert_string_equal(stage.submit.session, "s");
    assert_string_equal(stage.submit.route, "local");
    stage_stop(&stage);
}

static void test_run_files(void **state)
{
    struct stage stage;
    char path[128], at_path[130];
    FILE *file;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    snprintf(path, sizeof(path), "%s/input", stage.app.dir);
    snprintf(at_path, sizeof(at_path), "@%s", path);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("walk twice\n", file);
    fclose(file);
    assert_int_equal(ctl(&stage, "run", "commands", at_path, NULL), CTL_DONE);
    assert_int_equal(stage.payload.bytes, 10); /* without its newline */
    assert_int_equal(ctl(&stage, "run", "objects", path, "--json", NULL), CTL_DONE);
    assert_int_equal(stage.payload.bytes, 11); /* a picture's bytes are all its own */
    assert_true(stage.submit.has_picture);
    assert_non_null(strstr(
        stage.out, "\"answer\":{\"label\":\"cup\",\"confidence\":0.75,\"scores\":{\"cup\":0.75}}"));
    assert_int_equal(ctl(&stage, "run", "objects", path, NULL), CTL_DONE);
    assert_string_equal(stage.out, "cup           0.750\n");
    assert_non_null(freopen(path, "r", stdin));
    assert_int_equal(ctl(&stage, "run", "commands", "-", NULL), CTL_DONE);
    assert_int_equal(stage.payload.bytes, 10);
    unlink(path);
    assert_int_equal(ctl(&stage, "run", "objects", path, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, path));
    stage_stop(&stage);
}

static void test_run_failures(void **state)
{
    static const struct reply other[] = {
        {"status", "{\"schema\":1,\"daemon\":\"tandem-server\",\"tasks\":[]}\n"}};
    struct stage stage;

    (void)state;
    stage_start(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", "--route", "edge", "--json", NULL),
                     CTL_FAILED);
    assert_string_equal(stage.err, "tandemctl: no edge is connected\n");
    assert_string_equal(stage.out, "{\"schema\":1,\"id\":\"41\",\"route\":\"edge:hall\",\"outcome_"
                                   "route\":\"local\",\"reason\":\"fastest in "
                                   "time\",\"latency_ms\":1.5,\"met_deadline\":false,\"partial\":"
                                   "false,\"error_code\":-12,\"answer\":null}\n");
    assert_int_equal(ctl(&stage, "run", "nothing", "walk", "--json", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.out, "\"error_code\":-7"));
    assert_int_equal(ctl(&stage, "run", "commands", "walk", "--route", "nowhere", NULL),
                     CTL_FAILED);
    stage_stop(&stage);
    stage_start(&stage, other, 1);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "not a tandem-client"));
    stage_stop(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),      cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_wrong_use), cmocka_unit_test(test_run_text),
        cmocka_unit_test(test_run_files), cmocka_unit_test(test_run_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
