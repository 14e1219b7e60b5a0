/* test_result_cache.c: what was answered before is given again, through real daemons: the same
 * picture, and nearly the same frame where the task allows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define WIDTH  160u
#define HEIGHT 120u

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    const struct site_config config = {.results = true};
    char path[128];

    (void)state;
    site_init(&site, &config);
    snprintf(path, sizeof(path), "%s/tasks/hall.conf", site.dir);
    site_write(path,
               "[task]\nkind = classify\nresult_cache = similar\nsimilar_age_ms = 60000\n"
               "[local]\nmodel = %s/deploy/models/objects-local.gguf\n",
               site.top);
    site_client_start(&site);
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

static void test_same_picture(void **state)
{
    struct tandem_answer *first = NULL, *again = NULL;

    (void)state;
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "auto", 0, &first), 0);
    assert_string_equal(tandem_answer_outcome_route(first), "local");
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "auto", 0, &again), 0);
    assert_string_equal(tandem_answer_route(again), "cache");
    assert_string_equal(tandem_answer_outcome_route(again), "cache");
    assert_non_null(strstr(tandem_answer_reason(again), "the same was answered before by local"));
    assert_true(tandem_answer_met_deadline(again));
    assert_string_not_equal(tandem_answer_id(again), tandem_answer_id(first));
    assert_int_equal(tandem_answer_label_count(again), tandem_answer_label_count(first));
    for (size_t i = 0; i < tandem_answer_label_count(first); i++) {
        assert_string_equal(tandem_answer_label(again, i), tandem_answer_label(first, i));
        assert_true(tandem_answer_score(again, i) == tandem_answer_score(first, i));
    }
    tandem_answer_free(first);
    tandem_answer_free(again);
    assert_true(site_number(site.status_socket, "counters.cache") == 1);
    assert_true(site_number(site.status_socket, "results.exact_hits") == 1);
    assert_true(site_number(site.status_socket, "results.entries") == 1);
    assert_true(site_number(site.status_socket, "results.bytes") > 0);
}

/* A route that the caller forces is taken, whatever is kept. */
static void test_forced_is_computed(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", 0, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "local");
    tandem_answer_free(answer);
}

/* By default texts are not kept: the same question may want another answer. */
static void test_text_is_computed(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(site_generate(tandem, "walk twice", "auto", 0, &answer), 0);
        assert_string_equal(tandem_answer_outcome_route(answer), "local");
        tandem_answer_free(answer);
        answer = NULL;
    }
}

static const char *frame_route(uint8_t brighter, bool somebody, char reason[256])
{
    static uint8_t pixels[WIDTH * HEIGHT];
    static char route[64];
    struct tandem_answer *answer = NULL;
    struct tandem_request request;

    for (size_t i = 0; i < sizeof(pixels); i++) {
        pixels[i] = (uint8_t)(60 + i % WIDTH / 2 + brighter);
    }
    for (size_t y = 40; somebody && y < 100; y++) {
        memset(pixels + y * WIDTH + 70, 220, 20);
    }
    tandem_request_init(&request, "hall");
    request.picture.format = TANDEM_PIXELS_GREY;
    request.picture.width = WIDTH;
    request.picture.height = HEIGHT;
    request.picture.data = pixels;
    request.picture.bytes = sizeof(pixels);
    assert_int_equal(tandem_call(tandem, &request, &answer), 0);
    snprintf(route, sizeof(route), "%s", tandem_answer_outcome_route(answer));
    snprintf(reason, 256, "%s", tandem_answer_reason(answer));
    tandem_answer_free(answer);
    return route;
}

static void test_similar_frame(void **state)
{
    char reason[256];

    (void)state;
    assert_string_equal(frame_route(0, false, reason), "local");
    assert_string_equal(frame_route(2, false, reason), "cache");
    assert_non_null(strstr(reason, "nearly the same frame"));
    assert_non_null(strstr(reason, "distance 2.0"));
    assert_string_equal(frame_route(2, true, reason), "local");
    assert_string_equal(frame_route(2, true, reason), "cache");
    assert_non_null(strstr(reason, "the same was answered before"));
    assert_string_equal(frame_route(40, false, reason), "local");
}

/* Labels and models may be others after a reload. */
static void test_reload_forgets(void **state)
{
    struct tandem_answer *answer = NULL;
    const double before = site_number(site.status_socket, "reloads");

    (void)state;
    assert_int_equal(kill(site.client, SIGHUP), 0);
    for (unsigned i = 0; site_number(site.status_socket, "reloads") == before; i++) {
        assert_true(i < SITE_PATIENCE_MS);
        site_pause();
    }
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "auto", 0, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "local");
    tandem_answer_free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_picture),     cmocka_unit_test(test_forced_is_computed),
        cmocka_unit_test(test_text_is_computed), cmocka_unit_test(test_similar_frame),
        cmocka_unit_test(test_reload_forgets),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
