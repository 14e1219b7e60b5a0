/* tandemctl as a person runs it, against a status socket and an application socket played by this
 * test. */
#include "tests/unit/ctl/stage.h"

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
    assert_int_equal(ctl(&stage, "cache", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "\nresults.entries        3\n"));
    assert_null(strstr(stage.out, "steps"));
    assert_int_equal(ctl(&stage, "cache", "--server", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "tandem-client answers here, not tandem-server"));
    assert_int_equal(ctl(&stage, "status", "--server", NULL), CTL_FAILED);
    assert_string_equal(stage.out, "");
    assert_int_equal(ctl(&stage, "edges", NULL), CTL_DONE);
    assert_true(strncmp(stage.out, "NAME ", 5) == 0); /* the table, and nothing before it */
    assert_int_equal(ctl(&stage, "top", "-n", "1", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "P95 MS"));
    assert_non_null(strstr(stage.out, "hall"));
    assert_non_null(strstr(stage.out, "REASON"));
    assert_null(strchr(stage.out, '\033')); /* no terminal */
    stage_stop(&stage);
}

/* Where nobody watches, one table, or JSON with the rates as they are shown. */
static void test_top_without_a_terminal(void **state)
{
    static const char decisions[] =
        "{\"schema\":1,\"id\":\"1\",\"time_unix_ns\":9e18,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":{\"route\":\"local\",\"latency_ms\":10,\"met_deadline\":true}}\n"
        "{\"schema\":1,\"id\":\"2\",\"time_unix_ns\":9e18,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":{\"route\":\"cache\",\"latency_ms\":20,\"met_deadline\":false}}\n"
        "{\"schema\":1,\"id\":\"3\",\"time_unix_ns\":9e18,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":{\"route\":null,\"error_code\":-12}}\n"
        "{\"schema\":1,\"id\":\"4\",\"time_unix_ns\":9e18,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":null}\n"
        "{\"schema\":1,\"id\":\"6\",\"time_unix_ns\":9e18,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":{\"route\":null,\"met_deadline\":false,\"error_code\":-1}}\n" /* its fault */
        "{\"schema\":1,\"id\":\"5\",\"time_unix_ns\":1000,\"task\":\"objects\",\"route\":\"local\","
        "\"outcome\":{\"route\":\"local\",\"latency_ms\":99,\"met_deadline\":true}}\n";
    static const char sums[] =
        "\"recent\":{\"window_s\":2,\"all\":{\"requests_per_s\":2.5,\"in_time\":0.333333333333333";
    static const struct reply busy[] = {
        {"status", "{\"schema\":1,\"daemon\":\"tandem-client\",\"uptime_s\":2,\"tasks\":[{\"name\":"
                   "\"objects\"},{\"name\":\"commands\"}],\"edges\":[]}\n"},
        {"decisions 300", decisions}};
    struct stage stage;
    cJSON *second, *object;

    (void)state;
    stage_start(&stage, busy, 2);
    assert_int_equal(ctl(&stage, "top", NULL), CTL_DONE); /* once, then it ends */
    assert_non_null(strstr(stage.out, "the last 2.0 s\nTASK "));
    assert_non_null(strstr(stage.out, "\nobjects        2.5   33.3 %    10.0    20.0   33.3 %"
                                      "    0.0 %   33.3 %   33.3 %\n"));
    assert_non_null(strstr(stage.out, "\ncommands       0.0        -       -       -        -"));
    assert_null(strstr(strstr(stage.out, "the last") + 1, "the last"));
    assert_int_equal(ctl(&stage, "top", "--json", "-n", "2", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, sums));
    *strchr(stage.out, '\n') = '\0';
    second = cJSON_Parse(stage.out + strlen(stage.out) + 1); /* the second line */
    object = cJSON_GetObjectItem(second, "recent");
    object = cJSON_GetArrayItem(cJSON_GetObjectItem(object, "tasks"), 1);
    assert_string_equal(cJSON_GetObjectItem(object, "name")->valuestring, "commands");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "p95_ms"))); /* nothing, so not 0 */
    cJSON_Delete(second);
    stage_stop(&stage);
}

static void test_look_server(void **state)
{
    static const struct reply server[] = {
        {"status",
         "{\"schema\":1,\"daemon\":\"tandem-server\",\"uptime_s\":10,\"tasks\":[{\"name\":"
         "\"commands\",\"kind\":\"generate\",\"kv_pages_total\":9,\"kv_pages_free\":7}],"
         "\"requests\":{\"answered\":25},\"batches\":{\"steps\":3,\"cached_tokens\":5},"
         "\"sessions\":2}\n"}};
    struct stage stage;

    (void)state;
    stage_start(&stage, server, 1);
    assert_int_equal(ctl(&stage, "edges", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "tandem-server answers here, not tandem-client"));
    assert_int_equal(ctl(&stage, "top", "-n", "1", "--server", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "ANSWERED/S"));
    assert_non_null(strstr(stage.out, "       2.5"));
    assert_non_null(strstr(stage.out, "2 of 9"));
    assert_int_equal(ctl(&stage, "top", "-n", "1", "--server", "--json", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "\"recent\":{\"window_s\":10,\"answered_per_s\":2.5,"));
    assert_int_equal(ctl(&stage, "cache", "--server", NULL), CTL_DONE);
    assert_string_equal(stage.out, "daemon                 tandem-server\n"
                                   "batches.cached_tokens  5\n"
                                   "sessions               2\n"
                                   "\ntasks\n"
                                   "name      kv_pages_total  kv_pages_free\n"
                                   "commands               9              7\n");
    stage_stop(&stage);
}

/* A budget is told in units of which it has ten at least. */
static void test_top_budgets(void **state)
{
    static const struct {
        const char *status, *said;
    } cases[] = {
        {"\"bytes\":{\"limit\":65536,\"used\":1234},\"joule\":{\"limit\":0.05,\"used\":0.0123}",
         "this hour 1.2 of 65.5 kB to and from edges, 12.3 of 50.0 mJ\n"},
        {"\"bytes\":{\"limit\":5e10,\"used\":12e9},\"joule\":{\"limit\":3600,\"used\":12}",
         "this hour 12.0 of 50.0 GB to and from edges, 12.0 of 3600.0 joule\n"},
        {"\"bytes\":null,\"joule\":{\"limit\":2e-4,\"used\":1e-4}", "this hour 0.1 of 0.2 mJ\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char status[400];
        const struct reply replies_of[] = {
            {"status", status},
            {"decisions 300", "{\"schema\":1,\"daemon\":\"tandem-client\",\"id\":\"1\"}\n"}};
        struct stage stage;

        snprintf(status, sizeof(status),
                 "{\"schema\":1,\"daemon\":\"tandem-client\",\"budget\":{%s}}\n", cases[i].status);
        stage_start(&stage, replies_of, 2);
        assert_int_equal(ctl(&stage, "top", "-n", "1", NULL), CTL_DONE);
        assert_non_null(strstr(stage.out, cases[i].said));
        stage_stop(&stage);
    }
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
    assert_non_null(strstr(stage.out, "chosen: local"));
    assert_int_equal(ctl(&stage, "explain", "1", "--full", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "possible routes"));
    assert_int_equal(ctl(&stage, "explain", "3", NULL), CTL_FAILED);
    assert_string_equal(
        stage.err,
        "tandemctl: there is no decision 3, neither in the daemon's memory nor on disk\n");
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
    assert_non_null(strstr(stage.out, "replay FILE"));
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
    assert_true(stage.submit.deliver_late);
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
        "\"error_text\":null,\"answer\":{\"text\":\"I_WALK\",\"tokens\":1,\"finish\":\"end\"}}\n");
    assert_int_equal(stage.submit.deadline_us, 70000);
    assert_false(stage.submit.deliver_late); /* it is told how long to wait */
    assert_string_equal(stage.submit.session, "s");
    assert_string_equal(stage.submit.route, "local");
    assert_int_equal(ctl(&stage, "run", "commands", "jump", "--deadline-ms=70", "--late", NULL),
                     CTL_DONE);
    assert_true(stage.submit.deliver_late);
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
                                   "false,\"error_code\":-12,\"error_text\":\"no edge is "
                                   "connected\",\"answer\":null}\n");
    assert_int_equal(ctl(&stage, "run", "nothing", "walk", "--json", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.out, "\"error_code\":-7"));
    assert_int_equal(ctl(&stage, "run", "commands", "walk", "--route", "nowhere", NULL),
                     CTL_WRONG_USE);
    stage_stop(&stage);
    stage_start(&stage, other, 1);
    assert_int_equal(ctl(&stage, "run", "commands", "walk", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "not a tandem-client"));
    stage_stop(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),         cmocka_unit_test(test_top_without_a_terminal),
        cmocka_unit_test(test_look_server),  cmocka_unit_test(test_top_budgets),
        cmocka_unit_test(test_decisions),    cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_run_text),     cmocka_unit_test(test_run_files),
        cmocka_unit_test(test_run_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
