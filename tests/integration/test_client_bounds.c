/* test_client_bounds.c: what a running tandem-client keeps is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/raw_app.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXTRA 6

static const struct local_submit upload = {
    .task = "objects", .payload_bytes = LIMIT_PAYLOAD_BYTES, .has_picture = true};

static size_t lines_of(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++) {
        lines++;
    }
    return lines;
}

/* One request that ends at once: no edge is connected. Its decision is kept all the same. */
static void refused_request(struct tandem *tandem)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_generate(tandem, "walk", "edge", 0, &answer), TANDEM_ENOROUTE);
    tandem_answer_free(answer);
}

/* The id of the newest decision, as text. */
static void newest_id(const struct site *site, char id[32])
{
    char *line = site_ask(site->status_socket, "decisions 1\n");
    const char *at = line ? strstr(line, "\"id\":\"") : NULL;

    assert_non_null(at);
    snprintf(id, 32, "%.*s", (int)strcspn(at + 6, "\""), at + 6);
    free(line);
}

static bool is_explained(const struct site *site, const char *id)
{
    char request[64], *line;
    bool found;

    snprintf(request, sizeof(request), "explain %s\n", id);
    line = site_ask(site->status_socket, request);
    assert_non_null(line);
    found = strstr(line, "\"error\"") == NULL && strstr(line, id) != NULL;
    free(line);
    return found;
}

/* The ring holds the newest LIMIT_DECISION_RING decisions, oldest first, and forgets the ones
 * before. */
static void test_decision_ring(void **state)
{
    struct site site;
    struct tandem *tandem = NULL;
    char oldest[32], kept[32], *lines;

    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    for (int i = 0; i < EXTRA; i++) {
        refused_request(tandem);
    }
    newest_id(&site, oldest);
    for (int i = 0; i < LIMIT_DECISION_RING - 1; i++) {
        refused_request(tandem);
        if (i == 0) {
            newest_id(&site, kept);
        }
    }
    assert_true(is_explained(&site, oldest)); /* the last that still has a place */
    refused_request(tandem);
    assert_true(is_explained(&site, kept));
    lines = site_ask(site.status_socket, "decisions 5000\n");
    assert_non_null(lines);
    assert_int_equal(lines_of(lines), LIMIT_DECISION_RING);
    assert_true(strstr(lines, kept) < strchr(lines, '\n')); /* oldest first */
    assert_null(strstr(lines, oldest)); /* from the disk it is still explained */
    free(lines);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

/* Inputs on their way: so many of one application, and so many bytes of all. None of these ever
 * becomes whole. */
static void test_uploads(void **state)
{
    static uint8_t part[LIMIT_FRAME_DATA_BYTES];
    const size_t most =
        LIMIT_PAYLOAD_BYTES - sizeof(part); /* of one input, so that it stays on its way */
    struct site site;
    struct raw_app apps[2];
    size_t sent = 0;

    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    for (size_t i = 0; i < 2; i++) {
        raw_ready(&apps[i], site.app_socket);
        for (uint64_t id = 1; id <= LIMIT_APP_UPLOADS; id++) {
            assert_true(raw_submit(&apps[i], id, &upload, NULL, 0));
        }
    }
    assert_true(raw_submit(&apps[0], 100, &upload, NULL, 0));
    assert_int_equal(raw_end(&apps[0], 100),
                     TANDEM_EBUSY); /* and nothing was said of the ones before */
    for (uint64_t id = 1; id <= LIMIT_APP_UPLOADS; id++) {
        for (size_t bytes = 0; bytes < most; bytes += sizeof(part), sent += sizeof(part)) {
            assert_true(raw_data(&apps[0], id, part, sizeof(part)));
        }
    }
    while (sent < LIMIT_APP_INPUT_BYTES) {
        assert_true(raw_data(&apps[1], 1, part, sizeof(part)));
        sent += sizeof(part);
    }
    assert_true(raw_data(&apps[1], 2, part, 1));
    assert_int_equal(raw_end(&apps[1], 2), TANDEM_EBUSY);
    raw_close(&apps[0]);
    raw_close(&apps[1]);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

/* Descriptors that come before the request they belong to. */
static void test_descriptors(void **state)
{
    struct site site;
    struct raw_app app;
    int fds[LIMIT_APP_FDS + 1], pair[2];
    char text[256];

    (void)state;
    assert_int_equal(pipe(pair), 0);
    for (int i = 0; i <= LIMIT_APP_FDS; i++) {
        fds[i] = pair[0];
    }
    site_init(&site, NULL);
    site_client_start(&site);
    raw_ready(&app, site.app_socket);
    assert_true(
        raw_bytes(&app, "T", 1, fds, LIMIT_APP_FDS)); /* the first byte of a frame's prefix: held */
    assert_true(site_number(site.status_socket, "schema") == 1);
    raw_close(&app);
    raw_ready(&app, site.app_socket);
    assert_true(raw_bytes(&app, "T", 1, fds, LIMIT_APP_FDS + 1));
    assert_int_equal(raw_thrown_out(&app, text), TANDEM_ETOOBIG);
    assert_string_equal(text, "too many descriptors came");
    raw_close(&app);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

/* An application that asks and never reads is cut off once so many bytes wait for it. */
static void test_slow_reader(void **state)
{
    const struct local_submit submit = {.task = "nothing", .payload_bytes = 0};
    struct site site;
    struct raw_app app;
    uint64_t sent = 0;

    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    raw_ready(&app, site.app_socket);
    while (sent < LIMIT_APP_OUTBOX_BYTES / 32 && raw_submit(&app, sent + 1, &submit, NULL, 0)) {
        sent++; /* each is answered with an error of more than 32 bytes */
    }
    assert_true(sent < LIMIT_APP_OUTBOX_BYTES / 32);
    assert_true(sent > LIMIT_APP_OUTBOX_BYTES / 512); /* and not before */
    raw_close(&app);
    assert_true(site_number(site.status_socket, "schema") == 1);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision_ring),
        cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_slow_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
