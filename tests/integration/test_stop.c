/* test_stop.c: SIGTERM of the client daemon while something is under way that would keep it: an
 * edge that reads nothing, models that a reload opens, a file that does not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LONG_ENOUGH 20000
#define OUT         8    /* pictures on the way to the edge */
#define SIDE        1000 /* of each; more bytes than a socket takes */
#define MODELS      24   /* that the reload opens */
#define ANSWERS     3
#define TRIES       10   /* until a stop meets a reload */
#define AT_ONCE_MS  5000 /* ten times what it takes, and less than the silence of a connection */

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    (void)state;
    site_init(&site, &(struct site_config){0});
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    tandem_close(tandem);
    site_fini(&site);
    return 0;
}

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    (void)handle;
    (void)id;
    assert_int_not_equal(error, 0);
    assert_null(answer);
    ++*(unsigned *)user;
}

static void picture_submit(unsigned *ended)
{
    static uint8_t pixels[3 * SIDE * SIDE];
    struct tandem_request request;

    tandem_request_init(&request, "objects");
    request.picture = (struct tandem_picture){.data = pixels,
                                              .bytes = sizeof(pixels),
                                              .format = TANDEM_PIXELS_RGB,
                                              .width = SIDE,
                                              .height = SIDE};
    request.route = "edge";
    request.deadline_ms = LONG_ENOUGH;
    assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, ended, NULL), 0);
}

/* A second signal ends what runs; what cannot be sent any more is not waited for. */
static void test_edge_that_does_not_read(void **state)
{
    unsigned ended = 0;
    int64_t start_ns;

    (void)state;
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    for (int i = 0; i < OUT; i++) {
        picture_submit(&ended);
    }
    for (int waited = 0; site_number(site.status_socket, "in_flight") < OUT; waited += 50) {
        assert_true(waited < SITE_PATIENCE_MS);
        (void)tandem_wait(tandem, 50);
    }
    start_ns = clock_now_ns();
    assert_int_equal(kill(site.client, SIGTERM), 0);
    site_log_wait(&site, "client", "stopping: 8 accepted requests");
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_true(clock_now_ns() - start_ns < AT_ONCE_MS * NS_PER_MS);
    while (ended < OUT) {
        (void)tandem_wait(tandem, 100);
    }
}

static void task_write(int number, const char *model)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/tasks/more%d.conf", site.dir, number);
    site_write(path, "[task]\nkind = generate\n[local]\nmodel = %s/%s\n", site.top, model);
}

/* Of two signals that are sent at once either may come first: then there is no reload to give up.
 */
static void test_reload_is_given_up(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        task_write(i, "deploy/models/commands-edge.gguf");
    }
    for (int i = 0; i < TRIES && site_log_count(&site, "client", "reload: given up") == 0; i++) {
        if (i > 0) {
            site_client_start(&site);
        }
        assert_int_equal(kill(site.client, SIGHUP), 0);
        assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    }
    assert_int_equal(site_log_count(&site, "client", "reload: given up"), 1);
}

static size_t lines_count(const char *path)
{
    char *text = site_file(path, NULL);
    size_t count = 0;

    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    free(text);
    return count;
}

/* The reload hangs in a pipe that nobody writes to, and the stop with it; the decisions are on disk
 * all the same. */
static void test_decisions_before_what_hangs(void **state)
{
    struct tandem_answer *answer;
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/tasks/pipe.conf", site.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(kill(site.client, SIGHUP), 0);
    for (int i = 0; i < ANSWERS; i++) {
        assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", LONG_ENOUGH, &answer), 0);
        tandem_answer_free(answer);
    }
    assert_int_equal(kill(site.client, SIGTERM), 0);
    snprintf(path, sizeof(path), "%s/state/decisions.jsonl", site.dir);
    for (int waited = 0; lines_count(path) < ANSWERS; waited += 10) {
        assert_true(waited < SITE_PATIENCE_MS);
        site_pause();
    }
    assert_int_equal(site_client_stop(&site, SIGKILL), SIGKILL);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRESH(test_edge_that_does_not_read),
        FRESH(test_reload_is_given_up),
        FRESH(test_decisions_before_what_hangs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
