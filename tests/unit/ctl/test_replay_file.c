/* tandemctl replay: a file through another policy, as text and as JSON. The numbers are computed by
 * hand; client/policy has more of them. */
#include "tests/unit/ctl/stage.h"

#include <math.h>

#define CANDIDATES                                                                                 \
    "\"candidates\":[{\"route\":\"local\",\"latency_ms\":20,\"miss_probability\":0.01,"            \
    "\"error_probability\":0.3,\"energy_j\":null,\"bytes\":0,\"cost\":90},{\"route\":"             \
    "\"edge:den\",\"latency_ms\":40,\"miss_probability\":0.02,\"error_probability\":0.05,"         \
    "\"energy_j\":null,\"bytes\":500000,\"cost\":80}],"
#define WEIGHTS                                                                                    \
    "\"weights\":{\"one_miss_ms\":1000,\"one_megabyte_ms\":20,\"one_error_ms\":200,"               \
    "\"one_joule_ms\":20},"
#define HEAD(id) "{\"schema\":1,\"id\":\"" id "\",\"task\":\"objects\",\"deadline_ms\":100,"
/* Went to the edge: 44 ms, 0.5 MB: 44 + 200 * 0.05 + 10 = 64; at 20 + 10 + 60 = 90 it would be
 * here. */
#define AT_EDGE                                                                                    \
    HEAD("1")                                                                                      \
    CANDIDATES WEIGHTS "\"route\":\"edge:den\",\"reason\":\"edge is accurate and in "              \
                       "time\",\"outcome\":{\"route\":"                                            \
                       "\"edge:den\",\"latency_ms\":44,\"met_deadline\":true,\"bytes_up\":500000," \
                       "\"error_code\":0}}\n"
/* The same, and a shadow run here took 30 ms and agreed: 30 + 200 * 0.05 = 40. */
#define WITH_SHADOW                                                                                \
    HEAD("2")                                                                                      \
    CANDIDATES WEIGHTS                                                                             \
        "\"route\":\"edge:den\",\"reason\":\"x\",\"outcome\":{\"route\":\"edge:den\","             \
        "\"latency_ms\":44,\"met_deadline\":true,\"bytes_up\":500000,\"error_code\":0},"           \
        "\"shadow\":"                                                                              \
        "true,\"measured\":[{\"route\":\"edge:den\",\"latency_ms\":44,\"error_code\":0,"           \
        "\"agreed\":"                                                                              \
        "true,\"confidence\":null},{\"route\":\"local\",\"latency_ms\":30,\"error_code\":0,"       \
        "\"agreed\":true,\"confidence\":0.8}]}\n"
#define FORCED                                                                                     \
    HEAD("3")                                                                                      \
    CANDIDATES "\"route\":\"edge:den\",\"reason\":\"forced by "                                    \
               "caller\",\"outcome\":{\"route\":\"edge:den\","                                     \
               "\"latency_ms\":44,\"met_deadline\":true,\"bytes_up\":500000,\"error_code\":0}}\n"
#define RUNNING HEAD("4") CANDIDATES "\"route\":\"local\",\"reason\":\"x\",\"outcome\":null}\n"
#define CANCELED                                                                                   \
    HEAD("5")                                                                                      \
    CANDIDATES                                                                                     \
    "\"route\":\"local\",\"reason\":\"x\",\"outcome\":{\"route\":null,\"latency_ms\":1,"           \
    "\"met_deadline\":false,\"error_code\":-10}}\n"
/* Not a picture: on no route anything else would have come of it. */
#define AT_FAULT                                                                                   \
    HEAD("7")                                                                                      \
    CANDIDATES                                                                                     \
    "\"route\":\"edge:den\",\"reason\":\"x\",\"outcome\":{\"route\":null,\"latency_ms\":1,"        \
    "\"met_deadline\":false,\"error_code\":-4}}\n"
#define UNKNOWN                                                                                    \
    HEAD("6")                                                                                      \
    "\"candidates\":[{\"route\":\"local\",\"latency_ms\":null},{\"route\":\"edge:den\"}],"         \
    "\"route\":\"edge:den\",\"reason\":\"x\",\"outcome\":{\"route\":\"edge:den\","                 \
    "\"latency_ms\":44,\"met_deadline\":true,\"error_code\":0}}\n"
/* A shadow run of the first, told later: 30 ms, and it agreed. */
#define SHADOW                                                                                     \
    "{\"schema\":1,\"id\":\"1\",\"measured\":[{\"route\":\"local\",\"latency_ms\":30,"             \
    "\"error_code\":0,\"agreed\":true,\"confidence\":0.8}]}\n"
/* What the application said of an answer later. */
#define TRUTH(id, correct) "{\"schema\":1,\"id\":\"" id "\",\"correct\":" correct "}\n"

static char path[64];

static void file_make(const char *text)
{
    FILE *file;

    strcpy(path, "/tmp/tandem-replay-XXXXXX");
    file = fdopen(mkstemp(path), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static cJSON *replay_json(struct stage *stage, const char *option, const char *value)
{
    cJSON *object;

    assert_int_equal(ctl(stage, "replay", path, "--json", option, value, NULL), CTL_DONE);
    object = cJSON_Parse(stage->out);
    assert_non_null(object);
    return object;
}

static double number(const cJSON *object, const char *outer, const char *key)
{
    const cJSON *from = outer ? cJSON_GetObjectItemCaseSensitive(object, outer) : object;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static struct stage nobody(void)
{
    struct stage stage;

    memset(&stage, 0, sizeof(stage));
    stage.without_socket = true;
    return stage;
}

static void test_policy(void **state)
{
    struct stage stage = nobody();
    const cJSON *largest, *moves;
    cJSON *object;

    (void)state;
    file_make(AT_EDGE WITH_SHADOW "damaged\n" FORCED RUNNING TRUTH("9", "true") CANCELED UNKNOWN
              "[1]\n");
    object = replay_json(&stage, "--policy", "local");
    assert_non_null(strstr(stage.err, "line 3 is no JSON object"));
    assert_non_null(strstr(stage.err, "2 lines in all"));
    assert_float_equal(number(object, NULL, "requests"), 3, 0);
    assert_float_equal(number(object, NULL, "changed"), 2, 0);
    assert_float_equal(number(object, NULL, "forced"), 1, 0);
    assert_float_equal(number(object, NULL, "unfinished"), 2, 0);
    assert_float_equal(number(object, NULL, "unpriced"), 1, 0);
    assert_float_equal(number(object, NULL, "bad_lines"), 2, 0);
    assert_float_equal(number(object, "recorded", "cost_ms"), 3 * 64, 1e-3);
    assert_float_equal(number(object, "replayed", "cost_ms"), 90 + 40 + 64, 1e-3);
    assert_float_equal(number(object, "replayed", "latency_mean_ms"), 31.33333f, 1e-3);
    assert_float_equal(number(object, "replayed", "latency_p95_ms"), 44, 1e-3);
    assert_float_equal(number(object, "replayed", "misses"), 0.01, 1e-6);
    assert_float_equal(number(object, "replayed", "megabytes"), 0.5, 1e-6);
    assert_float_equal(number(object, "replayed", "errors"), 0.4f, 1e-6);
    assert_float_equal(number(object, "replayed", "agreement"), 1, 0);
    assert_true(isnan(number(object, "replayed", "energy_j")));
    largest = cJSON_GetObjectItemCaseSensitive(object, "largest");
    assert_int_equal(cJSON_GetArraySize(largest), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(largest->child, "id")), "1");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(largest->child, "latency_measured")));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(largest->child->next, "latency_measured")));
    moves = cJSON_GetObjectItemCaseSensitive(object, "moves");
    assert_int_equal(cJSON_GetArraySize(moves), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(moves->child, "to")), "local");
    assert_float_equal(number(moves->child, NULL, "requests"), 2, 0);
    cJSON_Delete(object);
    unlink(path);
}

static void test_weights(void **state)
{
    struct stage stage = nobody();
    cJSON *object;

    (void)state;
    file_make(AT_EDGE WITH_SHADOW);
    object = replay_json(&stage, "--prefer", "balanced"); /* as recorded: nothing changes */
    assert_float_equal(number(object, NULL, "changed"), 0, 0);
    assert_float_equal(number(object, "replayed", "cost_ms"), 128, 1e-3);
    cJSON_Delete(object);
    object = replay_json(&stage, "--one-megabyte-ms", "100"); /* the edge 120, here 90 */
    assert_float_equal(number(object, NULL, "changed"), 2, 0);
    assert_float_equal(number(object, "recorded", "cost_ms"), 2 * (64 + 40), 1e-3);
    assert_float_equal(number(object, "replayed", "cost_ms"), 90 + 40, 1e-3);
    cJSON_Delete(object);
    unlink(path);
}

static void test_text(void **state)
{
    struct stage stage = nobody();

    (void)state;
    file_make(AT_EDGE WITH_SHADOW FORCED AT_FAULT RUNNING UNKNOWN);
    assert_int_equal(ctl(&stage, "replay", path, "--policy", "local", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "3 requests, policy local: 2 (66.7 %) would have gone else"));
    assert_non_null(strstr(stage.out, "\nas recorded: 1 forced by their callers\n"
                                      "left out: 2 unfinished or at fault, 1 without a latency\n"));
    assert_non_null(
        strstr(stage.out, "agreement, %         100.0     100.0    +0.0  of 2 known\n"));
    assert_non_null(strstr(stage.out, "\np: as predicted, m: measured\n"));
    assert_non_null(
        strstr(stage.out, "mean latency, ms     44.00     31.33  -12.67  67 % measured"));
    assert_non_null(strstr(stage.out, "expected errors        0.2       0.4    +0.2  predicted"));
    assert_non_null(strstr(stage.out, "edge:den  local              2  66.7 %"));
    assert_non_null(strstr(stage.out, "edge:den  (the same)         1  33.3 %"));
    assert_non_null(strstr(stage.out, "edge:den > local"));
    assert_non_null(freopen(path, "r", stdin));
    assert_int_equal(ctl(&stage, "replay", "-", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "policy tandem: 0 (0.0 %)"));
    assert_non_null(strstr(stage.out, "3 requests, policy tandem: 0 (0.0 %)"));
    assert_int_equal(ctl(&stage, "replay", path, "--prefer", "battery", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "policy tandem, prefer battery: "));
    assert_int_equal(ctl(&stage, "replay", path, "--one-error-ms", "9", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "policy tandem, other weights: "));
    unlink(path);
}

/* A line that tells later what a shadow run measured counts, also where the file comes through a
 * pipe, which cannot be read twice. */
static void test_told_later(void **state)
{
    struct stage stage = nobody();
    char command[128];
    FILE *pipe;

    (void)state;
    file_make(AT_EDGE FORCED SHADOW);
    assert_int_equal(ctl(&stage, "replay", path, "--policy", "local", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "expected errors        0.1       0.1    +0.0  predicted"));
    snprintf(command, sizeof(command), "cat %s", path);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(dup2(fileno(pipe), STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(ctl(&stage, "replay", "-", "--policy", "local", NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "expected errors        0.1       0.1    +0.0  predicted"));
    pclose(pipe);
    unlink(path);
}

/* What was said is a measured error, of the answer and of what follows from it: 254 and 54 as they
 * went; here 90 as predicted, and 30 with the same right answer. The last word counts. */
static void test_truth(void **state)
{
    struct stage stage = nobody();
    cJSON *object;

    (void)state;
    file_make(AT_EDGE TRUTH("1", "true") WITH_SHADOW TRUTH("2", "true") TRUTH("1", "false"));
    object = replay_json(&stage, "--policy", "local");
    assert_float_equal(number(object, "recorded", "cost_ms"), 54 + 200 + 54, 1e-3);
    assert_float_equal(number(object, "recorded", "errors"), 1, 1e-6);
    assert_float_equal(number(object, "replayed", "cost_ms"), 90 + 30, 1e-3);
    cJSON_Delete(object);
    assert_int_equal(ctl(&stage, "explain", "1", "--file", path, NULL), CTL_DONE);
    assert_non_null(strstr(stage.out, "(it was wrong)"));
    unlink(path);
}

static void test_nothing_to_replay(void **state)
{
    struct stage stage = nobody();

    (void)state;
    file_make("no\nJSON\nhere\n");
    assert_int_equal(ctl(&stage, "replay", path, NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "there is no decision in it"));
    assert_string_equal(stage.out, "");
    assert_int_equal(ctl(&stage, "replay", "/tmp", NULL), CTL_FAILED);
    assert_int_equal(ctl(&stage, "replay", "/no/such/file", NULL), CTL_FAILED);
    assert_non_null(strstr(stage.err, "No such file"));
    assert_int_equal(ctl(&stage, "replay", path, "--policy", "best", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "replay", path, "--prefer", "speed", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "replay", path, "--threshold", "1.5", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "replay", path, "--one-error-ms", "-1", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "replay", path, "--one-joule-ms", "nan", NULL), CTL_WRONG_USE);
    assert_int_equal(ctl(&stage, "replay", NULL), CTL_WRONG_USE);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_text),   cmocka_unit_test(test_told_later),
        cmocka_unit_test(test_truth),  cmocka_unit_test(test_nothing_to_replay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
