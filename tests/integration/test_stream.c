/* test_stream.c: generated text as it comes, through the library, from this device, from the edge,
 * and from one after the other. Whatever happens, what was shown joins to the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <cmocka.h>

#include "tests/support/site.h"

#define LONG_TEXT "jump around left twice and walk around right thrice"
/* The small model is not sure of this one. */
#define HARD_TEXT "run opposite right thrice after look around left thrice"

struct shown {
    char text[8192];
    size_t bytes, pieces, begun; /* begun: pieces at offset 0 */
    int error;
    struct tandem_answer *answer; /* owned */
    bool ended;
};

static void on_piece(struct tandem *tandem, uint64_t id, size_t offset, const char *text,
                     size_t bytes, void *user)
{
    struct shown *shown = user;

    (void)tandem;
    (void)id;
    assert_false(shown->ended);
    assert_true(offset == 0 || offset == shown->bytes);
    assert_true(offset + bytes < sizeof(shown->text));
    memcpy(shown->text + offset, text, bytes);
    shown->bytes = offset + bytes;
    shown->pieces++;
    shown->begun += offset == 0;
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

/* Asks and waits; checks what holds for every streamed request that was answered. */
static void stream(struct site *site, const char *text, const char *route, uint32_t max_new_tokens,
                   struct shown *ret_shown)
{
    struct tandem_request request;
    struct tandem *tandem;
    size_t bytes;
    const char *whole;

    memset(ret_shown, 0, sizeof(*ret_shown));
    assert_int_equal(tandem_open(site->app_socket, &tandem), 0);
    tandem_request_init(&request, "commands");
    request.text = text;
    request.route = route;
    request.max_new_tokens = max_new_tokens;
    request.deadline_ms = SITE_PATIENCE_MS;
    assert_int_equal(tandem_submit(tandem, &request, on_end, on_piece, ret_shown, NULL), 0);
    while (!ret_shown->ended) {
        assert_true(tandem_wait(tandem, SITE_PATIENCE_MS) >= 0);
    }
    assert_int_equal(ret_shown->error, 0);
    whole = tandem_answer_text(ret_shown->answer, &bytes);
    assert_true(bytes > 0);
    assert_int_equal(ret_shown->bytes, bytes);
    assert_memory_equal(ret_shown->text, whole, bytes);
    tandem_close(tandem);
}

/* The small model may be done before the daemon's loop has looked once: then one piece has all of
 * it. Among many requests there is one whose text came as it was made. */
static void test_local(void **state)
{
    struct site site;
    struct shown shown;
    size_t pieces = 0;

    (void)state;
    site_init(&site, &(struct site_config){0});
    site_client_start(&site);
    for (int i = 0; i < 500 && pieces < 2; i++) {
        stream(&site, LONG_TEXT, "local", 0, &shown);
        assert_string_equal(tandem_answer_outcome_route(shown.answer), "local");
        assert_int_equal(shown.begun, 1);
        pieces = shown.pieces;
        tandem_answer_free(shown.answer);
    }
    assert_true(pieces > 1);
    /* The token that ends it by its length still brings text: that comes with the answer. */
    stream(&site, LONG_TEXT, "local", 5, &shown);
    assert_int_equal(tandem_answer_tokens(shown.answer), 5);
    assert_int_equal(tandem_answer_finish(shown.answer), TANDEM_FINISH_LENGTH);
    tandem_answer_free(shown.answer);
    site_fini(&site);
}

static void test_edge_and_both(void **state)
{
    struct site site;
    struct shown shown;

    (void)state;
    site_init(&site, &(struct site_config){0});
    site_server_start(&site);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    stream(&site, LONG_TEXT, "edge", 0, &shown);
    assert_string_equal(tandem_answer_outcome_route(shown.answer), "edge:den");
    assert_true(shown.pieces > 1);
    assert_int_equal(shown.begun, 1);
    tandem_answer_free(shown.answer);
    /* The local text is shown, is not sure enough, and the edge's takes its place. */
    stream(&site, HARD_TEXT, "cascade", 0, &shown);
    assert_string_equal(tandem_answer_outcome_route(shown.answer), "edge:den");
    assert_int_equal(shown.begun, 2);
    tandem_answer_free(shown.answer);
    /* The edge is not there any more: the local text comes back, or is the only one. */
    (void)site_server_stop(&site, SIGKILL);
    stream(&site, HARD_TEXT, NULL, 0, &shown);
    assert_string_equal(tandem_answer_outcome_route(shown.answer), "local");
    tandem_answer_free(shown.answer);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_local),
                                       cmocka_unit_test(test_edge_and_both)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
