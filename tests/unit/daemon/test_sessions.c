/* Conversations: a turn at a time, the transcript grows with answers only, whose session it is, and
 * which one makes room when there are too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/app_parts.h"
#include "client/daemon/request.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct requests all;
static struct app_peer mine = {.uid = 1000}, yours = {.uid = 1001};
static int64_t fake_ns;

static int64_t fake_now(void *user)
{
    (void)user;
    return ++fake_ns;
}

static int setup(void **state)
{
    (void)state;
    clock_set_fake(fake_now, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sessions_free(all.sessions);
    memset(&all, 0, sizeof(all));
    clock_set_fake(NULL, NULL);
    return 0;
}

/* One turn that has begun, or 0 with `ret_error`. */
static struct request *turn_begin(struct app_peer *peer, const char *session, const char *text,
                                  int *ret_error)
{
    struct request *request = calloc(1, sizeof(*request));

    assert_non_null(request);
    request->all = &all;
    request->peer = peer;
    snprintf(request->submit.session, sizeof(request->submit.session), "%s", session);
    request->input.data = (uint8_t *)(uintptr_t)text;
    request->input.bytes = strlen(text);
    *ret_error = session_begin(request);
    return request;
}

static void turn_end(struct request *request, const char *answer, int edge)
{
    const struct answer given = {.text = (char *)(uintptr_t)answer,
                                 .text_bytes = answer ? strlen(answer) : 0};

    session_end(request, answer ? &given : NULL, edge);
    assert_null(request->session);
    buf_fini(&request->transcript);
    free(request);
}

static void turn(struct app_peer *peer, const char *session, const char *text, const char *answer)
{
    int error;
    struct request *request = turn_begin(peer, session, text, &error);

    assert_int_equal(error, 0);
    turn_end(request, answer, -1);
}

/* The bytes of the transcript that the next turn of this session begins with; 0: a new one. */
static size_t bytes_kept(struct app_peer *peer, const char *session)
{
    int error;
    struct request *request = turn_begin(peer, session, "", &error);
    struct buf empty;
    size_t bytes;

    assert_int_equal(error, 0);
    buf_init(&empty, LIMIT_TRANSCRIPT_BYTES);
    assert_int_equal(transcript_append(&empty, TURN_USER, "", 0), 0);
    bytes = request->transcript.bytes - empty.bytes;
    buf_fini(&empty);
    turn_end(request, NULL, -1);
    return bytes;
}

static void test_turns(void **state)
{
    struct buf expected;
    struct request *request;
    int error;

    (void)state;
    buf_init(&expected, LIMIT_TRANSCRIPT_BYTES);
    assert_int_equal(transcript_append(&expected, TURN_USER, "jump", 4), 0);
    assert_int_equal(transcript_append(&expected, TURN_ANSWER, "I_JUMP", 6), 0);
    turn(&mine, "talk", "jump", "I_JUMP");
    turn(&mine, "talk", "lost", NULL); /* a turn that failed leaves nothing */
    request = turn_begin(&mine, "talk", "walk", &error);
    assert_int_equal(error, 0);
    assert_int_equal(transcript_append(&expected, TURN_USER, "walk", 4), 0);
    assert_int_equal(request->transcript.bytes, expected.bytes);
    assert_memory_equal(request->transcript.data, expected.data, expected.bytes);
    turn_end(request, "I_WALK", -1);
    buf_fini(&expected);
}

static void test_one_turn_at_a_time(void **state)
{
    struct request *first, *second;
    int error;

    (void)state;
    first = turn_begin(&mine, "talk", "jump", &error);
    assert_int_equal(error, 0);
    second = turn_begin(&mine, "talk", "walk", &error);
    assert_int_equal(error, TANDEM_EBUSY);
    assert_non_null(strstr(second->why, "another turn of this session"));
    turn_end(second, NULL, -1); /* does not end the turn of the first */
    second = turn_begin(&mine, "talk", "walk", &error);
    assert_int_equal(error, TANDEM_EBUSY);
    turn_end(second, NULL, -1);
    turn_end(first, "I_JUMP", -1);
    turn(&mine, "talk", "walk", "I_WALK");
}

/* The same name of two users is two sessions. */
static void test_users_are_apart(void **state)
{
    (void)state;
    turn(&mine, "talk", "jump", "I_JUMP");
    assert_int_equal(bytes_kept(&yours, "talk"), 0);
    assert_true(bytes_kept(&mine, "talk") > 0);
    assert_int_equal(all.session_count, 2);
}

static void test_what_an_edge_holds(void **state)
{
    struct request *request;
    size_t bytes;
    int error;

    (void)state;
    request = turn_begin(&mine, "talk", "jump", &error);
    turn_end(request, "I_JUMP", 3);
    bytes = bytes_kept(&mine, "talk");
    request = turn_begin(&mine, "talk", "walk", &error);
    assert_int_equal(request->session->edge_bytes[3], bytes);
    assert_int_equal(request->session->edge_bytes[2], 0);
    turn_end(request, "I_WALK", -1); /* answered here: the edge has the older part */
    request = turn_begin(&mine, "talk", "run", &error);
    assert_int_equal(request->session->edge_bytes[3], bytes);
    turn_end(request, NULL, -1);
}

static void test_the_least_used_makes_room(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < LIMIT_SESSIONS; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        turn(&mine, name, "jump", "I_JUMP");
    }
    turn(&mine, "s0", "walk", "I_WALK"); /* used again: s1 is the oldest now */
    turn(&mine, "new", "jump", "I_JUMP");
    assert_int_equal(all.session_count, LIMIT_SESSIONS);
    assert_true(bytes_kept(&mine, "s0") > 0);
    assert_true(bytes_kept(&mine, "s2") > 0);
    assert_true(bytes_kept(&mine, "new") > 0);
    assert_int_equal(bytes_kept(&mine, "s1"), 0);
    assert_int_equal(all.session_count, LIMIT_SESSIONS);
}

/* A session in use is never taken away, and one more is refused when all are. */
static void test_busy_ones_stay(void **state)
{
    struct request *turns[LIMIT_SESSIONS], *refused;
    char name[16];
    int error;

    (void)state;
    for (int i = 0; i < LIMIT_SESSIONS; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        turns[i] = turn_begin(&mine, name, "jump", &error);
        assert_int_equal(error, 0);
    }
    refused = turn_begin(&mine, "new", "jump", &error);
    assert_int_equal(error, TANDEM_EBUSY);
    assert_non_null(strstr(refused->why, "sessions are in use"));
    turn_end(refused, NULL, -1);
    turn_end(turns[7], "I_JUMP", -1); /* the only idle one makes room, however new */
    turn(&mine, "new", "jump", "I_JUMP");
    for (int i = 0; i < LIMIT_SESSIONS; i++) {
        if (i != 7) {
            turn_end(turns[i], "I_JUMP", -1);
        }
    }
    assert_true(bytes_kept(&mine, "s0") > 0);
    assert_int_equal(bytes_kept(&mine, "s7"), 0);
}

/* A conversation ends where its transcript is full; what is there stays. */
static void test_transcript_is_bounded(void **state)
{
    const size_t text_bytes = LIMIT_TEXT_BYTES;
    char *text = malloc(text_bytes + 1);
    struct request *request;
    size_t bytes;
    int error;

    (void)state;
    memset(text, 'x', text_bytes);
    text[text_bytes] = '\0';
    do {
        bytes = bytes_kept(&mine, "talk");
        assert_true(bytes <= LIMIT_TRANSCRIPT_BYTES);
        turn(&mine, "talk", text, "I_JUMP");
    } while (bytes_kept(&mine, "talk") + text_bytes < LIMIT_TRANSCRIPT_BYTES);
    bytes = bytes_kept(&mine, "talk");
    request = turn_begin(&mine, "talk", text, &error);
    assert_int_equal(error, TANDEM_ETOOBIG);
    turn_end(request, NULL, -1);
    assert_int_equal(bytes_kept(&mine, "talk"), bytes);
    turn(&mine, "talk", "jump", "I_JUMP"); /* and it is not stuck */
    free(text);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {FRESH(test_turns),
                                       FRESH(test_one_turn_at_a_time),
                                       FRESH(test_users_are_apart),
                                       FRESH(test_what_an_edge_holds),
                                       FRESH(test_the_least_used_makes_room),
                                       FRESH(test_busy_ones_stay),
                                       FRESH(test_transcript_is_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
