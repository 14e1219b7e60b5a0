/* Decisions of a time: which ones are asked for, which ones are shown, in what order; from a daemon
 * and from a file. */
#include "tests/unit/ctl/stage.h"

#include "client/ctl/decision_pick.h"

#define DECISION(id, task, route, ms, met, error)                                                  \
    "{\"schema\":1,\"id\":\"" id "\",\"time_unix_ns\":" id "000000000,\"task\":\"" task            \
    "\",\"route\":\"" route "\",\"candidates\":[{\"route\":\"" route                               \
    "\",\"latency_p95_ms\":50}],\"outcome\":{\"route\":\"" route "\",\"latency_ms\":" ms           \
    ",\"met_deadline\":" met ",\"error_code\":" error "}}\n"
#define ONE   DECISION("1", "objects", "local", "10", "true", "0")
#define TWO   DECISION("2", "objects", "edge:hall", "90", "false", "0")
#define TRUTH "{\"schema\":1,\"id\":\"2\",\"correct\":true}\n"
#define TOLD  ",\"correct\":true}\n" /* at the end of the second */
#define THREE DECISION("3", "commands", "cascade", "60", "true", "0")
#define FOUR  DECISION("4", "objects", "edge:den", "30", "false", "-12")
#define ALL   "decisions 18446744073709551615 since="

static const struct reply past[] = {
    {ALL "0", ONE TWO TRUTH THREE FOUR}, {ALL "2000", TWO THREE FOUR},
    {ALL "2000 until=4000", TWO THREE},  {ALL "0 until=4000", ONE TWO THREE},
    {"decisions 20", THREE FOUR},        {"follow", ONE TWO},
};

static void expect(struct stage *stage, int code, const char *out)
{
    assert_int_equal(code, CTL_DONE);
    assert_string_equal(stage->out, out);
}

static void test_from_daemon(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, past, sizeof(past) / sizeof(past[0]));
    expect(&stage, ctl(&stage, "decisions", "--since", "@2", "--json", NULL), TWO THREE FOUR);
    expect(&stage, ctl(&stage, "decisions", "--since", "@2", "--until", "@4", "--json", NULL),
           TWO THREE);
    expect(&stage, ctl(&stage, "decisions", "--until", "@4", "--json", NULL), ONE TWO THREE);
    expect(&stage, ctl(&stage, "decisions", "--since", "@2", "-n", "1", "--json", NULL), FOUR);
    expect(&stage, ctl(&stage, "decisions", "--slow", "--json", NULL), TWO THREE FOUR ONE);
    expect(&stage, ctl(&stage, "decisions", "--slow", "2", "--json", NULL), TWO THREE);
    expect(&stage, ctl(&stage, "decisions", "--slow=1", "--json", NULL), TWO);
    expect(&stage, ctl(&stage, "decisions", "--missed", "--json", NULL), TWO FOUR);
    expect(&stage, ctl(&stage, "decisions", "--missed", "--slow", "--json", NULL), TWO FOUR);
    expect(&stage, ctl(&stage, "decisions", "--task", "commands", "--json", NULL), THREE);
    expect(&stage, ctl(&stage, "decisions", "--route", "edge", "--json", NULL), TWO FOUR);
    expect(&stage, ctl(&stage, "decisions", "--route", "edge:den", "--json", NULL), FOUR);
    expect(&stage, ctl(&stage, "decisions", "--route", "cache", "--json", NULL), "");
    expect(&stage, ctl(&stage, "decisions", "--route", "cache", NULL),
           "no decision is like that\n");
    assert_int_equal(ctl(&stage, "decisions", "--since", "@2", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "\n3 requests, 2 missed (66.7 %), 2 slower than their "
                                      "predicted p95 (66.7 % of 3)\n"));
    assert_null(strstr(stage.out, "local"));
    assert_int_equal(ctl(&stage, "decisions", "--follow", "--missed", "--json", NULL),
                     CTL_NOT_RUNNING);
    assert_string_equal(stage.out, FOUR TWO);
    stage_stop(&stage);
    assert_int_equal(ctl(&stage, "decisions", "--since", "2h", NULL), CTL_NOT_RUNNING);
}

static void test_from_file(void **state)
{
    char path[] = "/tmp/tandem-test-XXXXXX";
    char two[1024], three[4096];
    struct stage stage;
    const int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    (void)state;
    assert_non_null(file);
    memset(&stage, 0, sizeof(stage));
    stage.without_socket = true;
    fputs(ONE "damaged\n" TWO TRUTH "\n[]\n" THREE FOUR, file);
    for (size_t i = 0; i <= LIMIT_CTL_LINE_BYTES; i++) {
        fputc(' ', file); /* far too long for a line */
    }
    fputs("{}\n{\"id\":\"5\",\"task\":\"objects\"}", file);
    fclose(file);
    snprintf(two, sizeof(two), "%.*s%s", (int)strlen(TWO) - 2, TWO, TOLD);
    snprintf(three, sizeof(three), "%s" THREE FOUR, two);
    expect(&stage, ctl(&stage, "decisions", "--file", path, "--slow", "3", "--json", NULL), three);
    assert_non_null(strstr(stage.err, "line 2 is no JSON object"));
    assert_null(strstr(stage.err, "line 5")); /* said once */
    expect(&stage, ctl(&stage, "decisions", "--file", path, "-n", "2", "--json", NULL),
           FOUR "{\"id\":\"5\",\"task\":\"objects\"}\n");
    expect(&stage, ctl(&stage, "explain", "2", "--file", path, "--json", NULL), two);
    assert_int_equal(ctl(&stage, "explain", "8", "--file", path, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "there is no decision 8 in /tmp/"));
    unlink(path);
    assert_int_equal(ctl(&stage, "decisions", "--file", path, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "No such file"));
}

static void test_wrong_use(void **state)
{
    static const char *const words[][4] = {
        {"--since", "soon"},           {"--until", "x"}, {"--since", "2h", "--until", "3h"},
        {"--since", "2h", "--follow"}, {"--slow", "0"},  {"--slow="},
        {"--route", "auto"},           {"--since"}};
    struct stage stage;

    (void)state;
    memset(&stage, 0, sizeof(stage));
    stage.without_socket = true;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(
            ctl(&stage, "decisions", words[i][0], words[i][1], words[i][2], words[i][3], NULL),
            CTL_WRONG_USE);
        assert_true(stage.err[0] != '\0');
        assert_null(strchr(strchr(stage.err, '\n') + 1, '\n')); /* one line */
    }
    assert_int_equal(ctl(&stage, "status", "--since", "2h", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "run", "objects", "x", "--route", "cache", NULL), CTL_WRONG_USE);
}

/* Whatever the order they come in, the slowest are kept, and no more than so many. */
static void test_pick(void **state)
{
    struct decision_pick slow, last;
    unsigned seed = 7;

    (void)state;
    decision_pick_init(&slow, 10, true);
    decision_pick_init(&last, 10, false);
    for (int i = 0; i < 1000; i++) {
        char line[64];
        int ms;

        seed = seed * 1103515245u + 12345u;
        ms = i < 990 ? (int)(seed >> 16) % 1000 : i + 1000; /* the last ten are the slowest */
        snprintf(line, sizeof(line), "{\"outcome\":{\"latency_ms\":%d}}", ms);
        assert_int_equal(decision_pick_add(&slow, line, cJSON_Parse(line)), 0);
        assert_int_equal(decision_pick_add(&last, line, cJSON_Parse(line)), 0);
    }
    assert_int_equal(decision_pick_add(&slow, "{}", cJSON_Parse("{}")), 0); /* still runs */
    decision_pick_sort(&slow);
    decision_pick_sort(&last);
    assert_int_equal(slow.count, 10);
    assert_int_equal(last.count, 10);
    for (int i = 0; i < 10; i++) {
        assert_float_equal(slow.items[i].latency_ms, (float)(1999 - i), 0);
        assert_float_equal(last.items[i].latency_ms, (float)(1990 + i), 0);
    }
    decision_pick_fini(&slow);
    decision_pick_fini(&last);
}

/* What is a miss, and what is compared with which prediction. */
static void test_sums(void **state)
{
    static const struct {
        const char *rest; /* of a decision for the edge (p95 50) and not for local (p95 9) */
        uint64_t beyond, missed, predicted, slower;
    } rows[] = {
        {"\"outcome\":{\"route\":\"edge:a\",\"latency_ms\":20,\"met_deadline\":true}", 0, 0, 1, 0},
        {"\"outcome\":{\"route\":\"edge:a\",\"latency_ms\":60,\"met_deadline\":false}", 0, 1, 1, 1},
        {"\"outcome\":{\"route\":\"local\",\"latency_ms\":40,\"met_deadline\":true}", 0, 0, 1, 0},
        {"\"outcome\":{\"route\":\"cache\",\"latency_ms\":1,\"met_deadline\":true}", 0, 0, 0, 0},
        {"\"observed\":true,\"outcome\":{\"route\":\"local\",\"latency_ms\":20}", 0, 0, 1, 1},
        {"\"observed\":true,\"outcome\":{\"route\":\"local\",\"latency_ms\":8}", 0, 0, 1, 0},
        {"\"outcome\":{\"route\":null,\"error_code\":-12,\"met_deadline\":false}", 0, 1, 0, 0},
        {"\"outcome\":{\"route\":null,\"error_code\":-1,\"met_deadline\":false}", 1, 0, 0, 0},
        {"\"outcome\":{\"route\":null,\"error_code\":-10,\"met_deadline\":false}", 1, 0, 0, 0},
    };
    const struct decision_filter missed = {.missed = true};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct decision_sums sums = {0};
        char text[512];
        cJSON *decision;

        snprintf(text, sizeof(text),
                 "{\"task\":\"t\",\"route\":\"edge:a\",\"candidates\":["
                 "{\"route\":\"local\",\"latency_p95_ms\":9},"
                 "{\"route\":\"edge:a\",\"latency_p95_ms\":50}],%s}",
                 rows[i].rest);
        decision = cJSON_Parse(text);
        assert_non_null(decision);
        decision_sums_add(&sums, decision);
        assert_int_equal(sums.beyond, rows[i].beyond);
        assert_int_equal(sums.ended, 1 - rows[i].beyond);
        assert_int_equal(sums.missed, rows[i].missed);
        assert_int_equal(sums.predicted, rows[i].predicted);
        assert_int_equal(sums.slower, rows[i].slower);
        assert_int_equal(decision_filter_takes(&missed, decision), rows[i].missed);
        cJSON_Delete(decision);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_daemon), cmocka_unit_test(test_from_file),
        cmocka_unit_test(test_wrong_use), cmocka_unit_test(test_pick), cmocka_unit_test(test_sums)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
