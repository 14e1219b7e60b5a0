/* test_midway.c: the edge dies in the middle of a text that it was sending: the caller is shown the
 * local text from its beginning, and gets that answer in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <cmocka.h>

#include "tests/support/site.h"

#define LONG_TEXT "jump around left thrice after walk around right thrice"
#define TRIES     20 /* the edge may have sent the rest before it is struck */

static struct site site;

struct shown {
    char text[8192];
    size_t bytes, begun; /* begun: pieces at offset 0 */
    int error;
    struct tandem_answer *answer; /* owned */
    bool ended, struck;
};

static void on_piece(struct tandem *tandem, uint64_t id, size_t offset, const char *text,
                     size_t bytes, void *user)
{
    struct shown *shown = user;

    (void)tandem;
    (void)id;
    assert_true(offset == 0 || offset == shown->bytes);
    assert_true(offset + bytes < sizeof(shown->text));
    memcpy(shown->text + offset, text, bytes);
    shown->bytes = offset + bytes;
    shown->begun += offset == 0;
    if (!shown->struck) {
        shown->struck = true;
        (void)kill(site.server, SIGKILL);
    }
}

static void on_end(struct tandem *tandem, uint64_t id, int error, struct tandem_answer *answer,
                   void *user)
{
    struct shown *shown = user;

    (void)tandem;
    (void)id;
    shown->error = error;
    shown->answer = answer;
    shown->ended = true;
}

/* One streamed request whose edge is killed at its first piece. True: it was in the middle. */
static bool strike(struct tandem *tandem)
{
    static struct shown shown;
    struct tandem_request request;
    size_t bytes;
    const char *whole;
    bool midway;

    memset(&shown, 0, sizeof(shown));
    tandem_request_init(&request, "commands");
    request.text = LONG_TEXT;
    request.deadline_ms = SITE_PATIENCE_MS;
    assert_int_equal(tandem_submit(tandem, &request, on_end, on_piece, &shown, NULL), 0);
    while (!shown.ended) {
        assert_true(tandem_wait(tandem, SITE_PATIENCE_MS) >= 0);
    }
    assert_int_equal(shown.error, 0);
    assert_true(tandem_answer_met_deadline(shown.answer));
    assert_false(tandem_answer_partial(shown.answer));
    whole = tandem_answer_text(shown.answer, &bytes);
    assert_int_equal(shown.bytes, bytes); /* what was shown is the answer, whoever gave it */
    assert_memory_equal(shown.text, whole, bytes);
    midway = shown.begun == 2;
    if (midway) { /* else the edge was done before it was struck, or local spoke first */
        assert_string_equal(tandem_answer_outcome_route(shown.answer), "local");
    }
    tandem_answer_free(shown.answer);
    return midway;
}

static void test_edge_dies_in_the_middle_of_a_text(void **state)
{
    struct tandem *tandem;
    bool midway = false;

    (void)state;
    site_init(&site,
              &(struct site_config){.client = "[policy]\nedge_error = 0\none_error_ms = 100000\n"});
    site_client_start(&site);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    for (int i = 0; i < TRIES && !midway; i++) {
        site_server_start(&site);
        site_edge_wait(&site, "up");
        midway = strike(tandem);
        (void)site_server_stop(&site, SIGKILL);
    }
    assert_true(midway);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_edge_dies_in_the_middle_of_a_text)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
