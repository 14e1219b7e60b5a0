/* Which socket tandemctl asks, and what it says of one that is not the right one; where options may
 * stand. */
#include "tests/unit/ctl/stage.h"

static void stage_begin(struct stage *stage, const struct reply *answers, size_t count)
{
    unsetenv("TANDEM_SOCKET");
    unsetenv("TANDEM_STATUS_SOCKET");
    stage_start(stage, answers, count);
    stage->without_socket = true;
}

static void test_options_before(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "--socket", stage.status_path, "status", NULL), CTL_DONE);
    assert_int_equal(
        ctl(&stage, "--json", "--socket", stage.status_path, "-n", "1", "decisions", NULL),
        CTL_DONE);
    assert_string_equal(stage.out, SECOND);
    assert_int_equal(ctl(&stage, "--follow", "status", NULL), CTL_WRONG_USE);
    assert_non_null(strstr(stage.err, "status does not take --follow"));
    assert_int_equal(ctl(&stage, "--json", NULL), CTL_WRONG_USE);
    assert_non_null(strstr(stage.err, "a command is missing"));
    assert_int_equal(ctl(&stage, "--json", "dance", NULL), CTL_WRONG_USE);
    assert_non_null(strstr(stage.err, "no command 'dance'"));
    stage_stop(&stage);
}

static void test_environment(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, replies, REPLY_COUNT);
    setenv("TANDEM_STATUS_SOCKET", stage.status_path, 1);
    assert_int_equal(ctl(&stage, "status", NULL), CTL_DONE);
    setenv("TANDEM_STATUS_SOCKET", "/nope/x.sock", 1);
    assert_int_equal(ctl(&stage, "status", NULL), CTL_NOT_RUNNING);
    assert_int_equal(ctl(&stage, "status", "--socket", stage.status_path, NULL), CTL_DONE);
    /* run looks at the application socket and at no other. */
    setenv("TANDEM_SOCKET", stage.app.path, 1);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", NULL), CTL_DONE);
    assert_string_equal(stage.out, "I_WALK\n");
    setenv("TANDEM_SOCKET", "/nope/x.sock", 1);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", NULL), CTL_NOT_RUNNING);
    assert_non_null(strstr(stage.err, "/nope/x.sock"));
    stage_stop(&stage);
    unsetenv("TANDEM_SOCKET");
    unsetenv("TANDEM_STATUS_SOCKET");
}

static void test_run_either_socket(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, replies, REPLY_COUNT);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", "--socket", stage.status_path, NULL),
                     CTL_DONE);
    assert_string_equal(stage.out, "I_WALK\n");
    assert_int_equal(ctl(&stage, "run", "commands", "walk", "--socket", stage.app.path, NULL),
                     CTL_DONE);
    assert_string_equal(stage.out, "I_WALK\n");
    assert_int_equal(stage.submit.has_picture, 0);
    stage_stop(&stage);
}

static void test_wrong_sockets(void **state)
{
    static const char *const words[] = {"status", "decisions", "edges", "top"};
    struct stage stage;
    char file[96], dead[96], say[256];
    int fd;

    (void)state;
    stage_begin(&stage, replies, REPLY_COUNT);
    snprintf(file, sizeof(file), "%.60s/file", stage.app.dir);
    snprintf(say, sizeof(say), "%s: this is the application socket; give the status socket",
             stage.app.path);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(ctl(&stage, words[i], "--socket", stage.app.path, NULL), CTL_FAILED);
        assert_non_null(strstr(stage.err, say));
    }
    assert_int_equal(ctl(&stage, "explain", "1", "--socket", stage.app.path, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, say));
    assert_int_equal(ctl(&stage, "status", "--socket", "/nope/x.sock", NULL), CTL_NOT_RUNNING);
    assert_non_null(strstr(stage.err, "/nope/x.sock: no such socket"));
    fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ctl(&stage, "status", "--socket", file, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "not a socket"));
    unlink(file);
    snprintf(dead, sizeof(dead), "%s", stage.status_path);
    shutdown(stage.listener, SHUT_RDWR); /* the file stays, and nobody listens */
    assert_int_equal(ctl(&stage, "status", "--socket", dead, NULL), CTL_NOT_RUNNING);
    assert_non_null(strstr(stage.err, "not running"));
    stage_stop(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_before),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_run_either_socket),
        cmocka_unit_test(test_wrong_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
