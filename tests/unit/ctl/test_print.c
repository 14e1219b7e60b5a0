/* The daemons' lines as people see them. */
#include "client/ctl/print.h"
#include "client/ctl/run_result.h"

#include "common/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char decision_line[] =
    "{\"schema\":1,\"daemon\":\"tandem-client\",\"id\":\"18446744073709551615\",\"time_unix_ns\":"
    "1764000000123000000,"
    "\"task\":\"objects\",\"session\":null,\"tenant\":null,\"deadline_ms\":100,\"candidates\":["
    "{\"route\":\"local\",\"latency_ms\":3.25,\"latency_p95_ms\":5,\"miss_probability\":0,\"energy_"
    "j\":null,\"bytes\":0,"
    "\"error_probability\":0.25,\"cost\":253.25},"
    "{\"route\":\"edge:hall\",\"latency_ms\":9.5,\"latency_p95_ms\":14,\"miss_probability\":0.001,"
    "\"bytes\":3072,"
    "\"error_probability\":0.125,\"cost\":135.5}],"
    "\"route\":\"edge:hall\",\"reason\":\"lowest cost\",\"confidence\":0.625,\"hedged\":true,"
    "\"outcome\":{\"route\":\"local\",\"latency_ms\":51.5,\"met_deadline\":true,\"bytes_up\":3072,"
    "\"error_code\":0,"
    "\"local_wait_ms\":0.5,\"local_run_ms\":3.5,\"edge_run_ms\":null,\"model_digest\":\"00ff\"}}";

static struct table_style plain;

static char *text_take(struct buf *out)
{
    assert_int_equal(buf_append_u8(out, 0), 0);
    return (char *)buf_take(out, &(size_t){0});
}

static void expect_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("no \"%s\" in:\n%s\n", part, text);
        fail();
    }
}

static void test_decision(void **state)
{
    cJSON *decision = cJSON_Parse(decision_line);
    struct buf out;
    char *text;

    (void)state;
    assert_non_null(decision);
    buf_init(&out, 0);
    assert_int_equal(print_decision(decision, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "decision        18446744073709551615\n");
    expect_has(text, "session         -\n");
    expect_has(text, "reason          lowest cost\n");
    expect_has(text, "deadline        100 ms\n");
    expect_has(text, "hedged          yes: both sides were started\n");
    expect_has(text,
               "*  edge:hall  -        9.50   14.00    0.001     0.125      -   3072   135.50\n");
    expect_has(text,
               "   local      -        3.25    5.00    0.000     0.250      -      0   253.25\n");
    expect_has(text, "answered by     local\n");
    expect_has(text, "latency         51.50 ms, in time\n");
    expect_has(text, "ran here        3.50 ms\n");
    expect_has(text, "sent            3072 bytes\n");
    assert_null(strstr(text, "ran at edge")); /* not measured, not shown */
    assert_null(strstr(text, "error  "));
    free(text);
    cJSON_Delete(decision);
}

/* Of the forms of a picture the cheapest was meant, the first of two alike. */
static void test_forms_of_a_picture(void **state)
{
    cJSON *decision = cJSON_Parse(
        "{\"id\":\"7\",\"route\":\"edge:den\",\"reserve\":\"kept\",\"candidates\":[{\"route\":"
        "\"edge:den\",\"cost\":9,\"upload\":null},{\"route\":\"edge:den\",\"cost\":7,\"upload\":{"
        "\"width\":320,\"height\":240,\"quality\":75}},{\"route\":\"edge:den\",\"cost\":7,"
        "\"upload\":{"
        "\"width\":160,\"height\":120,\"quality\":75}},{\"route\":\"local\",\"cost\":1}],"
        "\"outcome\":null}");
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_decision(decision, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "\nreserve         kept\n");
    expect_has(text, "\n   edge:den  -             -");
    expect_has(text, "\n*  edge:den  320x240 q75   -");
    expect_has(text, "\n   edge:den  160x120 q75   -");
    expect_has(text, "\n   local     -             -");
    free(text);
    cJSON_Delete(decision);
}

/* What was for nothing and what the application said: shown where it is there. */
static void test_waste_and_truth(void **state)
{
    cJSON *decision =
        cJSON_Parse("{\"id\":\"8\",\"outcome\":{\"route\":\"local\",\"latency_ms\":9},"
                    "\"wasted\":{\"local_ms\":null,\"edge_ms\":12.5,\"bytes\":4096},"
                    "\"correct\":false}");
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_decision(decision, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "wasted at edge  12.50 ms\n");
    expect_has(text, "wasted          4096 bytes\n");
    expect_has(text, "it was          wrong\n");
    assert_null(strstr(text, "wasted here"));
    free(text);
    cJSON_Delete(decision);
}

static void test_tasks_of_a_client(void **state)
{
    static const char json[] =
        "{\"tasks\":[{\"name\":\"objects\",\"kind\":\"classify\",\"local\":{\"model\":"
        "\"/usr/share/tandem/models/objects-local.gguf\",\"digest\":\"8f\",\"run_ms\":1.98},"
        "\"learned\":{\"compared\":40,\"agreed\":38,\"told\":0,\"right\":0},"
        "\"edges\":[{\"name\":\"hall\",\"ok\":true,\"why\":null},{\"name\":\"den\",\"ok\":false,"
        "\"why\":\"not connected\"}]},{\"name\":\"talk\",\"kind\":\"generate\",\"local\":null,"
        "\"edges\":[]}]}";
    const struct table_style terminal = {.width = 80};
    cJSON *status = cJSON_Parse(json);
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_object(status, &terminal, &out), 0);
    text = text_take(&out);
    expect_has(text,
               "tasks\nname      kind      local model         run_ms    agreed  right  edges\n");
    expect_has(text, "objects   classify  objects-local.gguf    1.98  38 of 40      -  \n"
                     "    hall: ok; den: not connected\n");
    expect_has(text, "talk      generate  -                        -         -      -  -\n");
    assert_null(strstr(text, "predictions"));
    free(text);
    cJSON_Delete(status);
}

/* How predictions came out: what was looked at, on lines that fit. */
static void test_predictions(void **state)
{
    static const char json[] =
        "{\"tasks\":[{\"name\":\"objects\",\"kind\":\"classify\",\"local\":{\"model\":\"m\","
        "\"predictions\":{\"answers\":200,\"within_p95\":0.945,\"median_error\":0.042}},"
        "\"confidence\":{\"agreement\":{\"answers\":120,\"ece\":0.0414},"
        "\"truth\":{\"answers\":3,\"ece\":0.25}},\"edges\":["
        "{\"name\":\"hall\",\"ok\":true,\"predictions\":{\"answers\":7,\"within_p95\":0,"
        "\"median_error\":null}},{\"name\":\"den\",\"ok\":true,\"predictions\":{\"answers\":0,"
        "\"within_p95\":null,\"median_error\":null}}]}]}";
    static const char *const lines =
        "predictions\n"
        "name      predicted             answers  within p95  off by\n"
        "objects   latency of local          200      94.5 %  4.2 % (median)\n"
        "objects   latency of edge:hall        7       0.0 %  -\n"
        "objects   confidence of local       120           -  0.041 (ECE, by agreement)\n"
        "objects   confidence of local         3           -  0.250 (ECE, as was told)\n";
    const struct table_style terminal = {.width = 80};
    cJSON *status = cJSON_Parse(json);
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_object(status, &terminal, &out), 0);
    text = text_take(&out);
    expect_has(text, lines);
    free(text);
    cJSON_Delete(status);
}

/* A request that failed in time is not late, one that failed for it is. */
static void test_failed_is_not_late(void **state)
{
    static const struct {
        int code;
        const char *said;
    } cases[] = {{TANDEM_EINVAL, "100.00 ms, failed\n"}, {TANDEM_ELATE, "100.00 ms, late\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[160], *text;
        cJSON *decision;
        struct buf out;

        snprintf(json, sizeof(json),
                 "{\"id\":\"8\",\"outcome\":{\"route\":null,\"latency_ms\":100,"
                 "\"met_deadline\":false,\"error_code\":%d}}",
                 cases[i].code);
        decision = cJSON_Parse(json);
        buf_init(&out, 0);
        assert_int_equal(print_decision(decision, &plain, &out), 0);
        text = text_take(&out);
        expect_has(text, cases[i].said);
        free(text);
        cJSON_Delete(decision);
    }
}

static void test_decision_running_and_failed(void **state)
{
    cJSON *decision = cJSON_Parse("{\"id\":\"7\",\"route\":\"local\",\"outcome\":null}");
    cJSON *failed = cJSON_Parse("{\"id\":\"8\",\"outcome\":{\"route\":null,\"latency_ms\":100,"
                                "\"met_deadline\":false,\"error_code\":-9}}");
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_decision(decision, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "still running\n");
    free(text);
    assert_int_equal(print_decision(failed, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "answered by     -\n");
    expect_has(text, "latency         100.00 ms, late\n");
    expect_has(text, "error           ELATE: ");
    free(text);
    cJSON_Delete(decision);
    cJSON_Delete(failed);
}

static char *rows_text(const char *const *lines, size_t count, const struct table_style *style,
                       struct buf *out)
{
    struct print_decisions rows;

    print_decisions_init(&rows, style);
    for (size_t i = 0; i < count; i++) {
        cJSON *decision = cJSON_Parse(lines[i]);

        assert_non_null(decision);
        print_decisions_add(&rows, decision);
        cJSON_Delete(decision);
    }
    assert_int_equal(table_print(&rows.table, style, out), 0);
    print_decisions_fini(&rows);
    return text_take(out);
}

/* No line is wider. */
static void expect_narrow(const char *text, size_t width)
{
    while (*text) {
        size_t bytes = strcspn(text, "\n");

        assert_true(bytes <= width);
        text += bytes + (text[bytes] == '\n');
    }
}

static void test_decision_rows(void **state)
{
    static const char *const lines[] = {
        decision_line,
        "{\"id\":\"9\",\"task\":\"commands\",\"route\":\"cascade\",\"reason\":\"x\\u001b[2J\","
        "\"outcome\":null}",
        "{\"id\":\"10\",\"outcome\":{\"error_code\":-12}}",
        "{}",
    };
    static const struct table_style narrow = {.width = 80};
    struct buf out;
    char *text;

    (void)state;
    setenv("TZ", "UTC", 1);
    buf_init(&out, 0);
    text = rows_text(lines, sizeof(lines) / sizeof(lines[0]), &plain, &out);
    expect_has(text, "18446744073709551615  16:00:00.123  objects   edge:hall   local          "
                     "51.50     14.00       100  ok        0.62  "
                     "lowest cost\n");
    expect_has(
        text,
        "9  -             commands  cascade     -                  -         -         -  ...   "
        "       -  x?[2J\n");
    expect_has(text, "ENOROUTE");
    free(text);
    text = rows_text(lines, sizeof(lines) / sizeof(lines[0]), &narrow, &out);
    expect_has(text, "18446744073709551615  16:00:00  objects   edge:hall>local    51.5  ok        "
                     "\n    lowest cost\n");
    expect_narrow(text, 80);
    free(text);
}

/* On any width all that is known is there: what has no room on the line stands below it. */
static void test_nothing_is_left_out(void **state)
{
    static const char *const words[] = {"16:00:00", "objects", "31x42 q75",
                                        "51.5",     "0.0123",  "567"};
    cJSON *decision = cJSON_Parse(
        "{\"id\":\"4820111200000001\",\"time_unix_ns\":1764000000123000000,\"task\":\"objects\","
        "\"candidates\":[{\"route\":\"edge:the-northern-hall\",\"latency_ms\":51.5,\"cost\":567,"
        "\"energy_j\":0.0123,\"upload\":{\"width\":31,\"height\":42,\"quality\":75}}],"
        "\"route\":\"edge:the-northern-hall\",\"reason\":\"words of which there are so many that "
        "no line has room for all of them to the very last\",\"outcome\":{\"latency_ms\":51.5}}");
    struct buf out;
    char *text;

    (void)state;
    assert_non_null(decision);
    setenv("TZ", "UTC", 1);
    buf_init(&out, 0);
    for (size_t width = 40; width <= 140; width += 20) {
        const struct table_style style = {.width = width};
        struct print_decisions rows;

        print_decisions_init(&rows, &style);
        print_decisions_add(&rows, decision);
        assert_int_equal(table_print(&rows.table, &style, &out), 0);
        print_decisions_fini(&rows);
        text = text_take(&out);
        expect_narrow(text, width);
        expect_has(text, words[0]);
        expect_has(text, words[1]);
        expect_has(text, "last");
        free(text);
        assert_int_equal(print_decision(decision, &style, &out), 0);
        text = text_take(&out);
        expect_narrow(text, width);
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            expect_has(text, words[i]);
        }
        expect_has(text, "COST MS");
        expect_has(text, "SENT AS");
        expect_has(text, "last");
        free(text);
    }
    cJSON_Delete(decision);
}

/* On 80 columns the reason is always there: beside the rest, or below it, in whole words. */
static void test_decision_rows_narrow(void **state)
{
    static const char *const lines[] = {
        "{\"id\":\"4820111200000001\",\"time_unix_ns\":1764000000123000000,\"task\":\"objects\","
        "\"route\":\"local\",\"reason\":\"lowest cost\",\"outcome\":{\"route\":\"local\","
        "\"latency_ms\":3.456,\"met_deadline\":true}}",
        "{\"id\":\"4820111200000002\",\"time_unix_ns\":1764000001123000000,\"task\":\"commands\","
        "\"route\":\"cascade\",\"reason\":\"sure enough after all, but only when every one of the "
        "twenty-two words has been looked at once more, twice even\",\"outcome\":{\"route\":"
        "\"edge:den\",\"latency_ms\":1234.5,\"met_deadline\":false}}",
    };
    static const struct table_style narrow = {.width = 80}, middle = {.width = 100};
    struct buf out;
    char *text;

    (void)state;
    setenv("TZ", "UTC", 1);
    buf_init(&out, 0);
    text = rows_text(lines, 1, &narrow, &out);
    assert_string_equal(
        text, "ID                TIME      TASK      ROUTE>BY       MS  END   REASON\n"
              "4820111200000001  16:00:00  objects   local         3.5  ok    lowest cost\n");
    free(text);
    text = rows_text(lines + 1, 1, &narrow, &out);
    assert_string_equal(
        text, "ID                TIME      TASK      ROUTE>BY              MS  END   REASON\n"
              "4820111200000002  16:00:01  commands  cascade>edge:den    1234  late  \n"
              "    sure enough after all, but only when every one of the twenty-two words has\n"
              "    been looked at once more, twice even\n");
    free(text);
    text = rows_text(lines + 1, 1, &middle, &out);
    expect_has(text, "late  sure enough after all, but\n");
    expect_narrow(text, 100);
    free(text);
}

static void test_edges(void **state)
{
    static const char line[] =
        "{\"daemon\":\"tandem-client\",\"tasks\":[{\"name\":\"objects\"}],\"edges\":[{\"name\":"
        "\"hall\",\"url\":\"tcp://192.0.2.10:7447\",\"state\":\"up\",\"why\":null,\"rtt_ms\":1.25,"
        "\"tasks_off\":[\"parts: labels differ\"],\"next_attempt_ms\":null,\"load\":{\"queued\":2,"
        "\"predicted_wait_ms\":7.5}},{\"name\":\"roof\",\"state\":\"waiting\",\"why\":\"connection "
        "refused\",\"next_attempt_ms\":400}]}";
    static const struct table_style narrow = {.width = 80};
    cJSON *status = cJSON_Parse(line), *none = cJSON_Parse("{\"edges\":[]}");
    struct buf out;
    char *text;

    (void)state;
    assert_non_null(status);
    buf_init(&out, 0);
    assert_int_equal(print_edges(status, &narrow, &out), 0);
    text = text_take(&out);
    assert_string_equal(text,
                        "NAME      STATE       RTT MS  MBIT/S  QUEUED  WAIT MS  NEXT TRY  WHY\n"
                        "hall      up            1.25       -       2      7.5  -         \n"
                        "    parts: labels differ\n"
                        "    URL tcp://192.0.2.10:7447\n"
                        "roof      waiting          -       -       -        -  in 0.4 s  \n"
                        "    connection refused\n"
                        "    URL -\n"); /* what has no room is below, not gone */
    free(text);
    assert_int_equal(print_edges(status, &plain, &out), 0);
    text = text_take(&out);
    expect_has(text, "hall      tcp://192.0.2.10:7447  up");
    free(text);
    assert_int_equal(print_edges(none, &plain, &out), 0);
    text = text_take(&out);
    assert_string_equal(text, "no edges are configured\n");
    free(text);
    cJSON_Delete(status);
    cJSON_Delete(none);
}

static void test_object(void **state)
{
    cJSON *status = cJSON_Parse(
        "{\"schema\":1,\"daemon\":\"tandem-client\",\"uptime_s\":12.5,\"ready\":true,\"load\":{"
        "\"queued\":3},"
        "\"names\":[\"a\",\"b\"],\"none\":null,\"edges\":[{\"name\":\"hall\",\"rtt_ms\":1.25},"
        "{\"name\":\"roof\",\"state\":\"down\"}],\"empty\":[]}");
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_object(status, &plain, &out), 0);
    text = text_take(&out);
    assert_string_equal(text, "daemon       tandem-client\n"
                              "uptime_s     12.5\n"
                              "ready        yes\n"
                              "load.queued  3\n"
                              "names        a, b\n"
                              "none         -\n"
                              "empty        -\n"
                              "\nedges\n"
                              "name  rtt_ms  state\n"
                              "hall    1.25  -\n"
                              "roof       -  down\n");
    free(text);
    cJSON_Delete(status);
}

/* Nothing is cut where a table would be wider than the terminal. */
static void test_object_narrow(void **state)
{
    static const struct table_style narrow = {.width = 30}, wide = {.width = 40};
    cJSON *status =
        cJSON_Parse("{\"kernels\":\"OpenBLAS 0.3.21 of twelve words\",\"edges\":[{\"name\":"
                    "\"hall\",\"url\":\"tcp://192.0.2.10:7447\"},{\"name\":\"roof\","
                    "\"state\":\"down\",\"load\":{\"queued\":1}}]}");
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(print_object(status, &narrow, &out), 0);
    text = text_take(&out);
    assert_string_equal(text, "kernels  \n    OpenBLAS 0.3.21 of twelve\n    words\n"
                              "\nedges\n"
                              "name  hall\nurl   tcp://192.0.2.10:7447\n\n"
                              "name   roof\nstate  down\n");
    free(text);
    assert_int_equal(print_object(status, &wide, &out), 0);
    text = text_take(&out);
    expect_has(text, "\nname  url                    state\nhall  tcp://192.0.2.10:7447  -\n");
    free(text);
    cJSON_Delete(status);
}

/* A failure without a decision is JSON too, with every key of the contract. */
static void test_run_failure_json(void **state)
{
    static const char *const keys[] = {"schema", "id",         "route",     "outcome_route",
                                       "reason", "latency_ms", "partial",   "met_deadline",
                                       "answer", "error_code", "error_text"};
    struct buf out;
    char *text;
    cJSON *object;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(run_result_json(TANDEM_EGONE, "it went", NULL, &out), 0);
    text = text_take(&out);
    assert_int_equal(text[strlen(text) - 1], '\n');
    object = cJSON_Parse(text);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_non_null(cJSON_GetObjectItemCaseSensitive(object, keys[i]));
    }
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(object, "error_code")->valueint,
                     TANDEM_EGONE);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(object, "error_text")->valuestring,
                        "it went");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "answer")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "latency_ms")));
    cJSON_Delete(object);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision),
        cmocka_unit_test(test_forms_of_a_picture),
        cmocka_unit_test(test_waste_and_truth),
        cmocka_unit_test(test_failed_is_not_late),
        cmocka_unit_test(test_tasks_of_a_client),
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_decision_running_and_failed),
        cmocka_unit_test(test_decision_rows),
        cmocka_unit_test(test_decision_rows_narrow),
        cmocka_unit_test(test_nothing_is_left_out),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_object_narrow),
        cmocka_unit_test(test_run_failure_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
