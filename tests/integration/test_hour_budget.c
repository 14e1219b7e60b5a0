/* test_hour_budget.c: the budgets of an hour with real daemons. The edge answers until its bytes
 * are used up, then this device does and says why; a relay between them counts that no more goes
 * than was allowed, and a kill and a restart forget nothing. Used-up joule refuse no request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/relay.h"
#include "tests/support/site.h"

#include "common/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_BYTES 65536
#define REQUESTS    200
#define IN_FLIGHT   16
#define DEADLINE_MS 20000
#define BYTES       "byte budget" /* is used up, or has too little left for this request */
#define BYTES_USED  "byte budget of this hour is used up"
#define JOULE_USED  "energy budget of this hour is used up"
#define PREFER_EDGE "edge_error = 0\none_error_ms = 1000\n"

static struct site site;
static struct relay *relay;
static struct tandem *tandem;

static void open_with(const char *policy)
{
    static char url[128];
    const struct site_config config = {.url = url, .client = policy};

    site_init(&site, NULL);
    snprintf(url, sizeof(url), "ipc://%s/relay.sock", site.dir);
    site_configure(&site, &config);
    relay = relay_new(site.dir, "relay.sock", "edge.sock");
    assert_int_equal(site_open(&site, &tandem), 0);
}

static int setup_bytes(void **state)
{
    (void)state;
    open_with("[policy]\nbytes_per_hour = 64K\n" PREFER_EDGE);
    return 0;
}

static int setup_joule(void **state)
{
    (void)state;
    open_with("[policy]\njoule_per_hour = 1\n" PREFER_EDGE
              "[device]\ncompute_watt = 1000\nsend_joule_per_megabyte = 0.8\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    relay_free(relay);
    return 0;
}

static double all_bytes(void)
{
    return (double)(relay_bytes(relay) + relay_bytes_down(relay));
}

struct seen {
    unsigned edge, local, said, failed;
};

static void look(const struct tandem_answer *answer, const char *words, struct seen *seen)
{
    seen->edge += strcmp(tandem_answer_outcome_route(answer), "edge:den") == 0;
    seen->local += strcmp(tandem_answer_outcome_route(answer), "local") == 0;
    seen->said += strstr(tandem_answer_reason(answer), words) != NULL;
}

/* One after the other until one says the words. */
static struct seen requests_until(const char *words)
{
    struct seen seen = {0};

    for (int i = 0; i < REQUESTS && seen.said == 0; i++) {
        struct tandem_answer *answer = NULL;

        assert_int_equal(site_classify(tandem, SITE_PICTURE, NULL, DEADLINE_MS, &answer), 0);
        look(answer, words, &seen);
        tandem_answer_free(answer);
    }
    return seen;
}

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    struct seen *seen = user;

    (void)id;
    if (error != 0) {
        seen->failed++;
        seen->said += strstr(tandem_last_error(handle), BYTES) != NULL;
        return;
    }
    look(answer, BYTES, seen);
    tandem_answer_free(answer);
}

/* Many at once, all by the edge. */
static struct seen requests_at_once(unsigned count)
{
    size_t bytes;
    void *data = site_file(SITE_PICTURE, &bytes);
    struct tandem_request request;
    struct seen seen = {0};

    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = "edge";
    request.deadline_ms = DEADLINE_MS;
    for (unsigned i = 0; i < count || tandem_in_flight(tandem) > 0;) {
        if (i < count && tandem_in_flight(tandem) < IN_FLIGHT) {
            assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, &seen, NULL), 0);
            i++;
        } else {
            (void)tandem_wait(tandem, 100);
        }
    }
    free(data);
    return seen;
}

static void restart(int how)
{
    tandem_close(tandem);
    (void)site_client_stop(&site, how);
    site_client_start(&site);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
}

static double used(void)
{
    return site_number(site.status_socket, "budget.bytes.used");
}

static void test_bytes(void **state)
{
    struct tandem_answer *answer = NULL;
    struct seen seen;
    double sent;

    (void)state;
    seen = requests_at_once(1);
    assert_true(seen.edge > 0 && seen.failed == 0);
    sent = all_bytes();
    restart(SIGKILL);
    printf("# %u by the edge, %.0f bytes, %llu of them down; %.0f count after a kill\n", seen.edge,
           sent, (unsigned long long)relay_bytes_down(relay), used());
    assert_true(used() >= sent);
    /* 16 KiB are on disk ahead, and twice what was reserved: most of the hour is still there */
    assert_true(used() < sent + 0.375 * LIMIT_BYTES);
    site_edge_wait(&site, "up");
    seen = requests_at_once(REQUESTS); /* together far over what is left */
    assert_true(seen.failed > 0);
    assert_int_equal(seen.said, seen.failed);
    seen = requests_until(BYTES);
    printf("# %u more by the edge; %.0f bytes of %d\n", seen.edge, all_bytes(), LIMIT_BYTES);
    assert_true(all_bytes() > LIMIT_BYTES / 2.0);
    assert_int_equal(requests_until(BYTES).edge, 0);
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge", DEADLINE_MS, &answer),
                     TANDEM_ENOROUTE);
    assert_non_null(strstr(tandem_last_error(tandem), BYTES));
    site_edge_wait(&site, "waiting"); /* pings cost bytes too: the connection ends */
    sent = all_bytes();
    for (int i = 0; i < 250; i++) {
        site_pause();
    }
    assert_true(all_bytes() == sent);
    assert_int_equal(requests_until(BYTES_USED).said, 1);
    restart(SIGKILL);
    assert_true(used() >= all_bytes());
    seen = requests_until(BYTES_USED);
    assert_true(seen.said == 1 && seen.edge == 0);
    restart(SIGTERM);
    seen = requests_until(BYTES_USED);
    assert_true(seen.said == 1 && seen.edge == 0);
    assert_true(all_bytes() <= LIMIT_BYTES);
}

/* Not an error: what takes the least is chosen, and says so. */
static void test_joule(void **state)
{
    struct seen seen;

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct tandem_answer *answer = NULL;

        assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", DEADLINE_MS, &answer), 0);
        tandem_answer_free(answer);
    }
    assert_true(site_number(site.status_socket, "budget.joule.left") == 0);
    seen = requests_until(JOULE_USED);
    assert_int_equal(seen.said, 1);
    assert_int_equal(seen.edge, 1); /* sending takes far less than computing here */
    for (int i = 0; i < 130; i++) {
        site_pause(); /* what this takes cannot be refused: it is on disk a second later */
    }
    restart(SIGKILL);
    assert_true(site_number(site.status_socket, "budget.joule.left") == 0);
    assert_int_equal(requests_until(JOULE_USED).said, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, setup_bytes, teardown),
        cmocka_unit_test_setup_teardown(test_joule, setup_joule, teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
