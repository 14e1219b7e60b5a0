/* explain's story: ten lines of eighty characters whatever the decision is, times that add up, and
 * what the others would have cost, measured or predicted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/ctl/print.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD                                                                                       \
    "{\"schema\":1,\"id\":\"18446744073709551615\",\"time_unix_ns\":1764000000123456789,"          \
    "\"task\":\"objects\",\"session\":\"talk\",\"deadline_ms\":100,"
#define CANDIDATES                                                                                 \
    "\"candidates\":[{\"route\":\"local\",\"latency_ms\":20,\"latency_p95_ms\":25,"                \
    "\"miss_probability\":0.01,\"error_probability\":0.3,\"bytes\":0,\"cost\":90},{\"route\":"     \
    "\"edge:den\",\"latency_ms\":40,\"latency_p95_ms\":60,\"miss_probability\":0.02,"              \
    "\"error_probability\":0.05,\"bytes\":500000,\"cost\":80},{\"route\":\"cascade\","             \
    "\"latency_ms\":30,\"latency_p95_ms\":85,\"miss_probability\":0.01,\"error_probability\":0.1," \
    "\"bytes\":250000,\"cost\":65}],"
#define WEIGHTS                                                                                    \
    "\"weights\":{\"one_miss_ms\":1000,\"one_megabyte_ms\":20,\"one_error_ms\":200,"               \
    "\"one_joule_ms\":20},"
#define CASCADE                                                                                    \
    "\"route\":\"cascade\",\"reason\":\"local first, edge if not sure: not sure, 0.60 < 0.70, "    \
    "the "                                                                                         \
    "edge was asked\",\"confidence\":0.6,\"threshold\":0.7,\"hedged\":false,\"outcome\":{"         \
    "\"route\":\"edge:den\",\"latency_ms\":61.26,\"met_deadline\":true,\"bytes_up\":500000,"       \
    "\"error_code\":0,\"local_wait_ms\":2.04,\"local_run_ms\":18.26,\"up_ms\":14.98,"              \
    "\"edge_wait_ms\":0,\"edge_run_ms\":20.5}"
#define MEASURED                                                                                   \
    ",\"shadow\":false,\"measured\":[{\"route\":\"local\",\"latency_ms\":20.3,\"error_code\":0,"   \
    "\"agreed\":false,\"confidence\":0.6},{\"route\":\"edge:den\",\"latency_ms\":41,"              \
    "\"error_code\":0,\"agreed\":true,\"confidence\":null}]"

/* The story of `line`; it fits, also on a narrow screen as wide as that. */
static const char *story(const char *line, size_t width, size_t lines_max)
{
    static char text[16384];
    const struct table_style style = {.width = width};
    cJSON *decision = cJSON_Parse(line);
    struct buf out;
    size_t lines = 0;

    assert_non_null(decision);
    buf_init(&out, 0);
    assert_int_equal(print_story(decision, &style, &out), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    assert_true(out.bytes < sizeof(text));
    memcpy(text, out.data, out.bytes);
    for (char *at = text, *end; *at; at = end + 1, lines++) {
        end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        if (text_width(at) > (width ? width : 80)) {
            fail_msg("too wide: %s", at);
        }
        *end = '\n';
    }
    if (lines > lines_max) {
        fail_msg("%zu lines: %s", lines, text);
    }
    buf_fini(&out);
    cJSON_Delete(decision);
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("no \"%s\" in:\n%s", part, text);
    }
}

static void test_old_record(void **state)
{
    const char *text = story(HEAD CANDIDATES CASCADE "}", 0, PRINT_STORY_LINES);

    (void)state;
    has(text, "decision 18446744073709551615: objects, 2025-11-24 16:00:00.123, deadline 100\n"
              "  ms, session talk\npossible, as predicted: ");
    has(text, "possible, as predicted: cascade in 30.0 ms (p95 85.0), cost 65.0; edge:den in\n");
    has(text, "chosen: cascade: local first, edge if not sure: not sure, 0.60 < 0.70,");
    /* 2.0 + 18.3 + 15.0 + 20.5 + 5.5 = 61.3: as shown, they add up */
    has(text, "answered by edge:den, in time, 61.3 ms = 2.0 waited here + 18.3 run here + 15.0\n"
              "  sent + 20.5 run there + 5.5 back and the rest; 500000 bytes sent\n");
    has(text, "otherwise: edge:den 40.0 ms predicted, cost 80.0; local 20.3 ms predicted\n");
}

/* Two answers, believed wrong 0.4 and 0.05 of the times: where they differ 0.4 / 0.43 = 0.9302 and
 * 0.05 / 0.43 = 0.1163. The edge alone 41 + 23.26 + 20 * 0.5 = 74.3; local 20.3 + 186.05 = 206.3;
 * as it went 61.26 + 23.26 + 10 = 94.5. */
static void test_measured(void **state)
{
    const char *text = story(HEAD WEIGHTS CANDIDATES CASCADE MEASURED "}", 0, PRINT_STORY_LINES);

    (void)state;
    has(text, "back and the rest, cost 94.5;");
    has(text, "otherwise: edge:den 41.0 ms measured, cost 74.3; local 20.3 ms measured, cost\n"
              "  206.3, another answer, believed wrong 93 %\n");
}

/* What was for nothing, and what the application said of it. */
static void test_waste_and_truth(void **state)
{
    const char *text = story(
        HEAD CANDIDATES
        "\"route\":\"local\",\"reason\":\"x\",\"outcome\":{\"route\":\"local\",\"latency_ms\":61."
        "26,"
        "\"met_deadline\":true,\"bytes_up\":4096,\"error_code\":0},\"wasted\":{\"local_ms\":null,"
        "\"edge_ms\":18.26,\"bytes\":4000},\"correct\":false}",
        0, PRINT_STORY_LINES);

    (void)state;
    has(text, "answered by local (it was wrong), in time, 61.3 ms");
    has(text, "; for nothing: 18.3 ms there,\n  4000 bytes; 4096 bytes sent\n");
}

/* Both at once: the times of who answered, which fit into the latency. */
static void test_at_the_same_time(void **state)
{
    const char *text = story(HEAD CANDIDATES
                             "\"route\":\"edge:den\",\"reason\":\"x\",\"hedged\":true,\"outcome\":{"
                             "\"route\":\"local\",\"latency_ms\":31,\"met_deadline\":false,"
                             "\"bytes_up\":0,\"error_code\":0,\"local_wait_ms\":10,"
                             "\"local_run_ms\":20,\"up_ms\":15,\"edge_run_ms\":9}}",
                             0, PRINT_STORY_LINES);

    (void)state;
    has(text, "answered by local, late, 31.0 ms = 10.0 waited here + 20.0 run here + 1.0 the\n"
              "  rest; both sides were started\n");
}

/* What max_up_kbit held back is a part of the way up that is told by itself. */
static void test_held_back(void **state)
{
    const char *text =
        story(HEAD CANDIDATES "\"route\":\"edge:den\",\"reason\":\"x\",\"outcome\":{"
                              "\"route\":\"edge:den\",\"latency_ms\":50,\"met_deadline\":true,"
                              "\"error_code\":0,\"up_ms\":35,\"paced_ms\":30,\"edge_wait_ms\":2,"
                              "\"edge_run_ms\":9}}",
              200, PRINT_STORY_LINES);

    (void)state;
    has(text, "in time, 50.0 ms = 30.0 held back by max_up_kbit + 5.0\n"
              "  sent + 2.0 waited there + 9.0 run there + 4.0 back and the rest");
}

static void test_without_an_answer(void **state)
{
    (void)state;
    has(story(HEAD CANDIDATES "\"route\":\"local\",\"reason\":\"x\",\"outcome\":null}", 0, 10),
        "\nstill running\n");
    has(story(HEAD "\"candidates\":[],\"route\":\"\",\"reason\":\"no edge connected\",\"outcome\":{"
                   "\"route\":null,\"latency_ms\":0.5,\"error_code\":-12}}",
              0, 10),
        "possible: nothing\nchosen: no route: no edge connected\nfailed: ");
    has(story(HEAD CANDIDATES "\"observed\":true,\"route\":\"local\",\"reason\":\"x\",\"outcome\":{"
                              "\"route\":\"edge:den\",\"latency_ms\":44,\"met_deadline\":true}}",
              0, 10),
        "\nx\nanswered by edge:den,");
}

/* A failure with the line that its caller was told, where there is one. */
static void test_error_line(void **state)
{
    (void)state;
    has(story(HEAD "\"candidates\":[],\"route\":\"local\",\"reason\":\"x\",\"outcome\":{\"route\":"
                   "null,\"latency_ms\":0.5,\"error_code\":-6,\"error_text\":\"not a JPEG\"}}",
              0, 10),
        "\nfailed: not a JPEG, after 0.50 ms");
    has(story(HEAD "\"candidates\":[],\"route\":\"local\",\"reason\":\"x\",\"outcome\":{\"route\":"
                   "null,\"latency_ms\":0.5,\"error_code\":-6,\"error_text\":null}}",
              0, 10),
        tandem_error_text(-6));
}

/* The promise, in one clause; nothing where it was not asked for. */
static void test_reserve(void **state)
{
    static const char *const cases[][2] = {
        {"\"kept\"", "in time; a place was kept here in case the edge is late"},
        {"\"raced\"", "in time; local started at once, as no place was free later"},
        {"\"none\"", "in time; no place was free here in case the edge is late"},
        {"null", "in time"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[1024], wanted[256];

        snprintf(line, sizeof(line),
                 HEAD
                 "\"candidates\":[],\"route\":\"edge:den\",\"reason\":\"in time\",\"reserve\":%s,"
                 "\"outcome\":null}",
                 cases[i][0]);
        snprintf(wanted, sizeof(wanted), "\nchosen: edge:den: %s\nstill running\n", cases[i][1]);
        has(story(line, 0, PRINT_STORY_LINES), wanted);
    }
}

/* A picture can be sent in several forms: the cheapest of each edge is told, once. */
static void test_forms_of_a_picture(void **state)
{
    const char *text = story(
        HEAD WEIGHTS
        "\"candidates\":[{\"route\":\"local\",\"latency_ms\":20,\"latency_p95_ms\":25,\"cost\":90},"
        "{\"route\":\"edge:den\",\"latency_ms\":60,\"latency_p95_ms\":80,\"cost\":80,\"upload\":"
        "null},"
        "{\"route\":\"edge:den\",\"latency_ms\":40,\"latency_p95_ms\":50,\"cost\":70,\"upload\":{"
        "\"width\":320,\"height\":240,\"quality\":75}}],\"route\":\"local\",\"reason\":\"x\","
        "\"outcome\":{\"route\":\"local\",\"latency_ms\":21,\"met_deadline\":true}}",
        0, PRINT_STORY_LINES);

    (void)state;
    has(text, "possible, as predicted: edge:den (320x240, quality 75) in 40.0 ms (p95 50.0),\n"
              "  cost 70.0; local in 20.0 ms (p95 25.0), cost 90.0; and 1 more\n");
    has(text, "\notherwise: edge:den 40.0 ms predicted, cost 40.0\n");
}

/* Decisions as a daemon made them, one of each kind, and their stories as they are told: whoever
 * changes a word sees here what becomes of it. */
static void test_real_ones(void **state)
{
    static char wanted[65536];
    char *line = NULL, *at = wanted;
    size_t room = 0, count = 0;
    FILE *decisions = fopen("tests/unit/ctl/stories.jsonl", "r"),
         *stories = fopen("tests/unit/ctl/stories.txt", "r");

    (void)state;
    assert_non_null(decisions);
    assert_non_null(stories);
    wanted[fread(wanted, 1, sizeof(wanted) - 1, stories)] = '\0';
    for (; getline(&line, &room, decisions) > 0; count++) {
        const char *told = story(line, 0, PRINT_STORY_LINES);
        const size_t bytes = strlen(told);

        if (strncmp(at, told, bytes) != 0 || at[bytes] != '\n') {
            fail_msg("told:\n%s\nwanted:\n%.*s", told, (int)(strstr(at, "\n\n") - at), at);
        }
        at += bytes + 1; /* an empty line between two */
    }
    assert_true(*at == '\0' && count >= 16);
    free(line);
    (void)fclose(decisions);
    (void)fclose(stories);
}

/* What found nothing has no confidence of its own; said once. */
static void test_nothing_was_found(void **state)
{
    static const struct {
        const char *line;
        bool says;
    } cases[] = {{HEAD CANDIDATES "\"route\":\"local\",\"reason\":\"why\",\"confidence\":0.88,"
                                  "\"found\":false,\"outcome\":null}",
                  true},
                 {HEAD CANDIDATES
                  "\"route\":\"cascade\",\"reason\":\"why: found nothing, believed wrong 12 "
                  "% of such times, the edge was asked\",\"confidence\":0.88,"
                  "\"found\":false,\"outcome\":null}",
                  true},
                 {HEAD CANDIDATES "\"route\":\"local\",\"reason\":\"why\",\"confidence\":0.88,"
                                  "\"found\":true,\"outcome\":null}",
                  false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *told = story(cases[i].line, 0, PRINT_STORY_LINES), *at;

        at = strstr(told, "found nothing, believed wrong 12 %");
        assert_int_equal(at != NULL, cases[i].says);
        assert_true(!at || !strstr(at + 1, "found nothing"));
        assert_int_equal(strstr(told, "local was 0.88 sure") != NULL, !cases[i].says);
    }
}

/* The longest there can be: every candidate, names and reasons as long as they may be. */
static void test_the_longest(void **state)
{
    static char line[65536];
    char name[LIMIT_NAME_BYTES + 1], reason[LIMIT_LINE_BYTES + 1];
    size_t used;

    (void)state;
    memset(name, 'e', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(reason, 'r', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    used =
        (size_t)snprintf(line, sizeof(line),
                         "{\"id\":\"18446744073709551615\",\"time_unix_ns\":1764000000123456789,"
                         "\"task\":\"%s\",\"session\":\"%s\",\"deadline_ms\":3600000,"
                         "\"reason\":\"%s\",\"route\":\"edge:00%.60s\"," WEIGHTS "\"candidates\":[",
                         name, name, reason, name);
    for (unsigned i = 0; i < LIMIT_CANDIDATES; i++) {
        used += (size_t)snprintf(line + used, sizeof(line) - used,
                                 "%s{\"route\":\"edge:%02u%.60s\",\"latency_ms\":123456.5,"
                                 "\"latency_p95_ms\":123456.5,\"cost\":123456.5,\"bytes\":1}",
                                 i > 0 ? "," : "", i, name);
    }
    snprintf(line + used, sizeof(line) - used,
             "],\"confidence\":0.5,\"threshold\":0.5,\"hedged\":true,\"outcome\":{\"route\":"
             "\"edge:00%.60s\",\"latency_ms\":999999,\"met_deadline\":false,\"bytes_up\":99999999,"
             "\"local_wait_ms\":11111,\"local_run_ms\":11111,\"prepare_ms\":11111,\"up_ms\":11111,"
             "\"edge_wait_ms\":11111,\"edge_run_ms\":11111}}",
             name);
    has(story(line, 0, PRINT_STORY_LINES), " ...\n");
    (void)story(line, 40, PRINT_STORY_LINES);
    (void)story("{\"id\":\"x\\u001b[2J\",\"task\":\"t\",\"route\":\"r\"}", 0, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_record),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_waste_and_truth),
        cmocka_unit_test(test_at_the_same_time),
        cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_without_an_answer),
        cmocka_unit_test(test_error_line),
        cmocka_unit_test(test_the_longest),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_real_ones),
        cmocka_unit_test(test_forms_of_a_picture),
        cmocka_unit_test(test_nothing_was_found),
    };

    (void)setenv("TZ", "UTC", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
