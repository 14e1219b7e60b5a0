/* test_up_cap.c: `max_up_kbit` on the wire, without TLS and with it. A relay between both daemons
 * counts what comes from the client: under more load than fits, over a silence and a lost
 * connection, no second holds more than the cap; and a request that would take too long under it
 * stays here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/relay.h"
#include "tests/support/site.h"

#include "common/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_KBIT    200
#define CAP_BYTES   (CAP_KBIT * 125)
#define IN_FLIGHT   24
#define AT_ONCE     60
#define LOAD_MS     6000
#define PAUSE_AT_MS 1500
#define GOES_ON_MS  2700
#define CUT_AT_MS   4300

static struct site site;
static struct relay *relay;
static struct tandem *tandem;

static int setup(void **state)
{
    static char url[128], edge[64];
    struct site_config config = {.url = url, .edge = edge};

    (void)state;
    snprintf(edge, sizeof(edge), "max_up_kbit = %d\n", CAP_KBIT);
    site_init(&site, NULL);
    snprintf(url, sizeof(url), "ipc://%s/relay.sock", site.dir);
    site_configure(&site, &config);
    relay = relay_new(site.dir, "relay.sock", "edge.sock");
    assert_non_null(relay);
    return site_open(&site, &tandem);
}

/* The [tls] section of `name`'s certificate. */
static const char *tls_of(const char *name, char text[512])
{
    snprintf(text, 512, "[tls]\ncert = %s/ca/%s.pem\nkey = %s/ca/%s.key\nca = %s/ca/ca.pem\n",
             site.dir, name, site.dir, name, site.dir);
    return text;
}

/* Where the server listens. */
static uint16_t server_port(void)
{
    cJSON *status = site_status(site.server_socket);
    const cJSON *listen = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(status, "listen"), 0);
    unsigned port = 0;

    assert_true(cJSON_IsString(listen));
    assert_int_equal(sscanf(listen->valuestring, "tcp://127.0.0.1:%u", &port), 1);
    cJSON_Delete(status);
    return (uint16_t)port;
}

static int setup_tls(void **state)
{
    static char url[64], edge[64], server_tls[512], client_tls[512];
    struct site_config config = {
        .listen = "tcp://127.0.0.1:0", .edge = edge, .url = url, .tls = true};
    char command[512];
    uint16_t port;

    (void)state;
    snprintf(edge, sizeof(edge), "max_up_kbit = %d\n", CAP_KBIT);
    site_init(&site, NULL);
    snprintf(command, sizeof(command),
             "{ deploy/certs.sh %s/ca ca; deploy/certs.sh %s/ca server den 127.0.0.1; "
             "deploy/certs.sh %s/ca client robot; } >/dev/null",
             site.dir, site.dir, site.dir);
    assert_int_equal(system(command), 0);
    config.server = tls_of("den", server_tls);
    config.client = tls_of("robot", client_tls);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:1"); /* no client runs yet */
    site_configure(&site, &config);
    site_server_start(&site);
    relay = relay_new_tcp(server_port(), &port);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
    site_configure(&site, &config);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    relay_free(relay);
    return 0;
}

struct seen {
    unsigned answered;
    double predicted_ms, latency_ms; /* the longest */
};

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    struct seen *seen = user;

    (void)handle;
    (void)id;
    if (error == 0) {
        seen->answered++;
        seen->predicted_ms = fmax(seen->predicted_ms, tandem_answer_predicted_ms(answer));
        seen->latency_ms = fmax(seen->latency_ms, tandem_answer_latency_ms(answer));
    }
    tandem_answer_free(answer);
}

static void request_send(struct seen *seen)
{
    static uint8_t *data;
    static size_t bytes;
    struct tandem_request request;

    if (!data) {
        data = site_file(SITE_PICTURE, &bytes);
    }
    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = "edge";
    request.deadline_ms = SITE_PATIENCE_MS;
    assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, seen, NULL), 0);
}

/* Keeps so many requests under way that the cap is what holds them up. Each ends, be it with an
 * error: its edge goes away under it. */
static void load_make(int64_t end_ns, struct seen *seen)
{
    while (clock_now_ns() < end_ns || tandem_in_flight(tandem) > 0) {
        if (clock_now_ns() < end_ns && tandem_in_flight(tandem) < IN_FLIGHT) {
            request_send(seen);
        }
        (void)tandem_wait(tandem, tandem_in_flight(tandem) < IN_FLIGHT ? 1 : 100);
    }
}

static void test_any_second(void **state)
{
    const int64_t start_ns = clock_now_ns();
    struct seen seen = {0};

    (void)state;
    relay_plan(relay, start_ns + PAUSE_AT_MS * NS_PER_MS, start_ns + GOES_ON_MS * NS_PER_MS,
               start_ns + CUT_AT_MS * NS_PER_MS);
    load_make(start_ns + LOAD_MS * NS_PER_MS, &seen);
    printf("# %u answers, fullest second %llu bytes of %d, all %llu, %u connections\n",
           seen.answered, (unsigned long long)relay_fullest_second(relay), CAP_BYTES,
           (unsigned long long)relay_bytes(relay), relay_connections(relay));
    assert_true(relay_connections(relay) >= 2);
    assert_true(relay_fullest_second(relay) <= CAP_BYTES);
    assert_true(relay_fullest_second(relay) > CAP_BYTES / 2); /* and it is made use of */
}

/* The longest that the cap is said to have held one of the last so many back, each no longer than
 * its way up took. */
static double longest_paced_ms(unsigned count)
{
    double longest_ms = 0;
    char line[32], *lines, *rest = NULL;

    snprintf(line, sizeof(line), "decisions %u\n", count);
    lines = site_ask(site.status_socket, line);
    assert_non_null(lines);
    for (char *at = strtok_r(lines, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
        cJSON *decision = cJSON_Parse(at);
        const cJSON *outcome = cJSON_GetObjectItemCaseSensitive(decision, "outcome"),
                    *up = cJSON_GetObjectItemCaseSensitive(outcome, "up_ms"),
                    *paced = cJSON_GetObjectItemCaseSensitive(outcome, "paced_ms");

        assert_true(cJSON_IsNumber(up) && cJSON_IsNumber(paced));
        assert_true(paced->valuedouble <= up->valuedouble);
        longest_ms = fmax(longest_ms, paced->valuedouble);
        cJSON_Delete(decision);
    }
    free(lines);
    return longest_ms;
}

/* More at once than fits a second: the last ones are known to be late, and are. */
static void test_is_foreseen(void **state)
{
    struct seen seen = {0};
    double paced_ms;

    (void)state;
    for (int i = 0; i < 130; i++) {
        site_pause(); /* what was sent before counts no more */
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        request_send(&seen);
    }
    while (tandem_in_flight(tandem) > 0) {
        (void)tandem_wait(tandem, 100);
    }
    paced_ms = longest_paced_ms(AT_ONCE);
    printf("# predicted up to %.1f ms, took up to %.1f ms, of these %.1f held back\n",
           seen.predicted_ms, seen.latency_ms, paced_ms);
    assert_true(paced_ms > 800 && paced_ms <= seen.latency_ms);
    assert_int_equal(seen.answered, AT_ONCE);
    assert_true(seen.latency_ms > 800);
    assert_true(seen.predicted_ms > seen.latency_ms / 2);
}

/* Requests that are small themselves: what asks whether the edge is there waits with them, and is
 * not taken for its silence. */
static void test_small_requests(void **state)
{
    const int64_t end_ns = clock_now_ns() + LOAD_MS * NS_PER_MS;
    const unsigned connections = relay_connections(relay);
    struct tandem_request request;
    struct seen seen = {0};
    unsigned sent = 0;

    (void)state;
    tandem_request_init(&request, "commands");
    request.text = "walk";
    request.route = "edge";
    request.deadline_ms = SITE_PATIENCE_MS;
    while (clock_now_ns() < end_ns || tandem_in_flight(tandem) > 0) {
        if (clock_now_ns() < end_ns && tandem_in_flight(tandem) < AT_ONCE) {
            assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, &seen, NULL), 0);
            sent++;
        } else {
            (void)tandem_wait(tandem, 100);
        }
    }
    printf("# %u of %u answered, fullest second %llu bytes of %d, %u connections more\n",
           seen.answered, sent, (unsigned long long)relay_fullest_second(relay), CAP_BYTES,
           relay_connections(relay) - connections);
    assert_int_equal(seen.answered, sent);
    assert_int_equal(relay_connections(relay), connections);

    assert_true(relay_fullest_second(relay) <= CAP_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_second),
                                       cmocka_unit_test(test_is_foreseen),
                                       cmocka_unit_test(test_small_requests)};

    return cmocka_run_group_tests_name("plaintext", tests, setup, teardown) +
           cmocka_run_group_tests_name("TLS", tests, setup_tls, teardown);
}
