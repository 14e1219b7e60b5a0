/* Requests of a task of kind detect, with answers made of boxes from a runner and an edge that are
 * not there: what found nothing and what is doubtful goes on to the edge, what both sides answer
 * teaches, and what was learned ends the asking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_parts.h"

#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/status.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>

#define START_NS (1000 * NS_PER_S)
#define LOCAL_MS 5
#define EDGE_MS  60

static uv_loop_t loop;
static struct client_config config;
static struct task_config configs[1];
static struct client_task items[1];
static struct client_task *const people = &items[0];
static struct tasks tasks;
static struct requests all;
static char peer; /* only its address */

static void on_decision(const struct decision *decision, void *user)
{
    (void)user;
    fake.last = *decision;
}

static void on_amended(const struct decision *decision, decision_member_fn *member, void *user)
{
    (void)decision;
    (void)member;
    (void)user;
}

static void on_idle(void *user)
{
    (void)user;
}

/* An error costs as much as 600 ms, asking the edge takes 60: what is wrong more often than one
 * time of ten asks. */
static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.now_ns = START_NS;
    clock_set_fake(fake_now, NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    estimate_link_init(&fake.link);
    (void)estimate_link_rtt(&fake.link, 10, fake.now_ns);
    fake.load = (struct edge_load){
        .picture_us = (EDGE_MS - 10) * 1000, .prefill_tokens_per_s = 1, .decode_tokens_per_s = 1};
    config = (struct client_config){.one_error_ms = 600, .edge_error = 0.02};
    fake_task("people", TASK_DETECT, configs, items);
    estimate_local_add(&people->estimate, LOCAL_MS);
    people->first_estimate = people->estimate;
    tasks = (struct tasks){.configs = configs, .items = items, .count = 1};
    strcpy(fake.local_digest, "11111111111111111111111111111111");
    all = (struct requests){.loop = &loop,
                            .config = &config,
                            .tasks = &tasks,
                            .links = (struct links *)&peer,
                            .on_decision = on_decision,
                            .on_amended = on_amended,
                            .on_idle = on_idle,
                            .ids = {.next = 1, .reserved = LIMIT_DECISION_ID_BLOCK}};
    return requests_init(&all);
}

static int teardown(void **state)
{
    (void)state;
    requests_end_all(&all);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(all.live, 0);
    requests_fini(&all);
    clock_set_fake(NULL, NULL);
    return uv_loop_close(&loop);
}

/* ---- the requests ---- */

static void submit(const char *route, const char *input)
{
    static uint64_t id;
    struct local_submit message = {.task = "people", .has_picture = true};

    snprintf(message.route, sizeof(message.route), "%s", route);
    requests_app_callbacks.on_submit((struct app_peer *)&peer, ++id, &message,
                                     (struct app_input){.data = (uint8_t *)(uintptr_t)input,
                                                        .bytes = strlen(input),
                                                        .mapped = true},
                                     &all);
}

/* People of these scores side by side, from `x` on; a negative one ends them. */
struct seen {
    double scores[4];
    float x;
};
static const struct seen nobody = {{-1}, 0}, one = {{0.97, -1}, 0}, doubtful = {{0.97, 0.6, -1}, 0},
                         pair = {{0.99, 0.99, -1}, 0};

static struct answer answer_of(const struct seen *seen)
{
    struct answer answer = {.kind = WIRE_DETECT, .boxes = calloc(4, sizeof(*answer.boxes))};

    for (size_t i = 0; i < 4 && seen->scores[i] >= 0; i++) {
        answer.boxes[answer.box_count++] = (struct answer_box){
            strdup("person"), seen->scores[i], seen->x + 20 * (float)i, 0, 10, 10};
    }
    return answer;
}

static void local_end(const struct seen *seen)
{
    struct runner_job *job = fake.started[--fake.started_count];

    assert_int_equal(fake.started_count, 0);
    job->queued_ns = fake.now_ns;
    job->run_ns = LOCAL_MS * NS_PER_MS;
    fake.now_ns += job->run_ns;
    job->ended_ns = fake.now_ns;
    job->answer = answer_of(seen);
    requests_runner_callbacks.on_done(job, &all);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void edge_end(const struct seen *seen)
{
    const struct fake_sent *sent = &fake.sent[--fake.sent_count];
    struct edge_result result = {.answer = answer_of(seen), .run_us = (EDGE_MS - 10) * 1000};

    assert_int_equal(fake.sent_count, 0);
    fake.now_ns += EDGE_MS * NS_PER_MS;
    requests_link_callbacks.on_acked(sent->edge, sent->id, &all);
    requests_link_callbacks.on_result(sent->edge, sent->id, &result, 77, &all);
    answer_fini(&result.answer);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* A whole request: whether the edge was asked, which then says `edge`. */
static bool asks(const struct seen *local, const struct seen *edge)
{
    submit("", "picture");
    local_end(local);
    if (fake.sent_count == 0) {
        return false;
    }
    edge_end(edge);
    return true;
}

/* What is found is known to be right. */
static void sure_learn(void)
{
    for (int i = 0; i < 200; i++) {
        confidence_see(&people->confidence, 0.97);
        confidence_compare(&people->confidence, 0.97, true);
    }
}

static bool reason_has(const char *text)
{
    return strstr(fake.last.reason, text) != NULL;
}

/* ---- deciding ---- */

static void test_nothing_escalates(void **state)
{
    (void)state;
    sure_learn();
    submit("", "picture");
    assert_int_equal(fake.sent_count, 0); /* local first */
    local_end(&nobody);
    assert_int_equal(fake.sent_count, 1);
    edge_end(&one);
    assert_string_equal(fake.last.route, "cascade");
    assert_memory_equal(fake.last.outcome.route, "edge:", 5);
    assert_true(fake.last.boxes && !fake.last.found);
    assert_float_equal(fake.last.confidence, 0.5, 1e-9);
    assert_true(isnan(fake.last.threshold));
    assert_true(reason_has("edge if not sure or nothing is found: found nothing, believed wrong "
                           "50 % of such times, the edge was asked"));
    assert_int_equal(people->confidence.seen[0], 1);
    assert_int_equal(people->confidence.both[0], 1);
    assert_int_equal(people->confidence.agreed[0], 0);
}

static void test_what_is_found_stays(void **state)
{
    (void)state;
    sure_learn();
    assert_false(asks(&one, &one));
    assert_string_equal(fake.last.outcome.route, "local");
    assert_true(fake.last.boxes && fake.last.found);
    assert_float_equal(fake.last.confidence, 0.97, 1e-6);
    assert_true(fake.last.threshold > 0.5 && fake.last.threshold < 0.97);
    assert_true(reason_has("sure enough, 0.97 >= "));
}

/* The mean of its scores is 0.785; of its two boxes one may well be none. */
static void test_a_doubtful_box_escalates(void **state)
{
    (void)state;
    sure_learn();
    assert_true(asks(&doubtful, &pair));
    assert_float_equal(fake.last.confidence, 0.582, 1e-6);
    assert_true(reason_has("not sure, 0.58 < "));
    assert_int_equal(people->confidence.agreed[6], 1); /* both of both are the same people */
    assert_true(asks(&doubtful, &one));
    assert_int_equal(people->confidence.both[6], 2);
    assert_int_equal(people->confidence.agreed[6], 1);
}

/* Where the edge finds nothing either, nothing stays after a while; where it does not, it goes on
 * asking. */
static void test_learned_nothing_stops_escalating(void **state)
{
    int asked = 0;

    (void)state;
    sure_learn();
    while (asked < 40 && asks(&nobody, &nobody)) {
        asked++;
    }
    assert_in_range(asked, 3, 30);
    assert_string_equal(fake.last.outcome.route, "local");
    assert_true(reason_has("local first, edge if not sure: sure enough, found nothing, believed "
                           "wrong "));
    assert_float_equal(fake.last.confidence, (float)(1 - 1.0 / (asked + 2)), 1e-6);
    assert_true(asks(&doubtful, &doubtful)); /* that did not stop */
    assert_int_equal(learn_forget(&all, "people"), 0);
    sure_learn();
    assert_true(people->confidence.nothing);
    for (asked = 0; asked < 40; asked++) {
        assert_true(asks(&nobody, &one));
    }
    assert_true(fake.last.confidence < 0.05);
}

/* Late or dead, the edge changes nothing: what found nothing is the answer, and says why. */
static void test_nothing_is_kept(void **state)
{
    const struct edge_error error = {.code = TANDEM_EBUSY};

    (void)state;
    sure_learn();
    submit("", "picture");
    local_end(&nobody);
    assert_int_equal(fake.sent_count, 1);
    requests_link_callbacks.on_error(fake.sent[0].edge, fake.sent[0].id, &error, &all);
    fake.sent_count = 0;
    assert_string_equal(fake.last.outcome.route, "local");
    assert_true(reason_has("kept though it found nothing, believed wrong 50 % of such times, the "
                           "edge failed ("));
}

/* ---- learning ---- */

/* An answer of another kind has no boxes either, and yet says nothing of what there is. */
static void test_other_kinds(void **state)
{
    const struct answer none = {.kind = WIRE_DETECT}, other = {.kind = WIRE_CLASSIFY};

    (void)state;
    assert_true(answers_agree(people, &none, &none));
    assert_false(answers_agree(people, &none, &other));
}

/* What an application says of an answer that found nothing belongs to such answers. */
static void test_told(void **state)
{
    const char *why;

    (void)state;
    submit("local", "picture");
    local_end(&nobody);
    assert_int_equal(feedback_take(&all, 1000, fake.last.id, false, &why), 0);
    assert_int_equal(people->confidence.told[0], 1);
    assert_int_equal(people->confidence.right[0], 0);
    assert_int_equal(people->watch.truth.count, 1); /* it had said 0.5 of itself */
    assert_float_equal(people->watch.truth.items[0].confidence, 0.5, 1e-6);
    assert_true(confidence_error(&people->confidence, CONFIDENCE_NOTHING) > 0.5);
    submit("local", "another");
    local_end(&one);
    assert_int_equal(feedback_take(&all, 1000, fake.last.id, true, &why), 0);
    assert_int_equal(people->confidence.told[0], 1);
    assert_int_equal(people->confidence.told[9], 1);
}

static void test_watched(void **state)
{
    (void)state;
    sure_learn();
    assert_true(asks(&nobody, &nobody));
    assert_int_equal(people->watch.agreement.count, 1);
    assert_float_equal(people->watch.agreement.items[0].confidence, 0.5, 1e-6);
    assert_true(people->watch.agreement.items[0].right);
}

static void test_kept_over_a_restart(void **state)
{
    static struct edge_task contract;
    char error[LEARNED_ERROR_BYTES];
    struct learned learned, again;
    struct buf text;
    double wrong;

    (void)state;
    tasks.contracts = &contract;
    sure_learn();
    assert_true(asks(&nobody, &nobody));
    assert_true(asks(&nobody, &one));
    assert_true(asks(&nobody, &nobody));
    wrong = confidence_error(&people->confidence, CONFIDENCE_NOTHING);
    assert_float_equal(wrong, 0.4, 1e-6);
    buf_init(&text, 0);
    assert_int_equal(learn_take(&all, &learned), 0);
    assert_int_equal(learned_write(&learned, fake.now_ns, START_NS, &text), 0);
    learned_fini(&learned);
    assert_int_equal(learn_forget(&all, "people"), 0);
    assert_float_equal(confidence_error(&people->confidence, CONFIDENCE_NOTHING), 0.5, 1e-9);
    assert_int_equal(learned_read(text.data, text.bytes, fake.now_ns, START_NS, &again, error), 0);
    learn_give(&all, &again);
    learned_fini(&again);
    buf_fini(&text);
    assert_float_equal(confidence_error(&people->confidence, CONFIDENCE_NOTHING), (float)wrong,
                       1e-6);
}

/* ---- what was answered before ---- */

/* The same picture again: the boxes are there, and what found nothing is believed to be as wrong as
 * such answers are. */
static void test_cached(void **state)
{
    (void)state;
    config.result_cache_bytes = 1 << 20;
    assert_int_equal(requests_results_reset(&all), 0);
    submit("local", "nobody");
    local_end(&nobody);
    submit("local", "somebody");
    local_end(&one);
    submit("", "nobody"); /* one time of two it is wrong: the edge knows better */
    assert_string_equal(all.list->decision.route, "edge:den");
    for (size_t i = 0; i < all.list->choice.count; i++) {
        const struct candidate *candidate = &all.list->choice.candidates[i];

        if (candidate->kind == JOB_CACHE) {
            assert_float_equal(candidate->error_probability, 0.5, 1e-9);
        }
    }
    edge_end(&nobody); /* and what it says takes the place of the other */
    submit("", "nobody");
    assert_string_equal(fake.last.route, "cache");
    assert_true(fake.last.candidate_count > 0);
    submit("", "somebody");
    assert_string_equal(fake.last.route, "cache");
}

/* Once such answers are known to be right, the one that is there is. */
static void test_cached_nothing(void **state)
{
    const struct candidate *cached = NULL;

    (void)state;
    config.result_cache_bytes = 1 << 20;
    assert_int_equal(requests_results_reset(&all), 0);
    sure_learn();
    for (int i = 0; i < 8; i++) {
        confidence_compare(&people->confidence, CONFIDENCE_NOTHING, true);
    }
    submit("local", "nobody");
    local_end(&nobody);
    submit("", "nobody");
    assert_string_equal(fake.last.route, "cache");
    for (size_t i = 0; i < fake.last.candidate_count; i++) {
        cached =
            strcmp(fake.last.candidates[i].route, "cache") == 0 ? &fake.last.candidates[i] : cached;
    }
    assert_non_null(cached);
    assert_float_equal(cached->error_probability, 0.1, 1e-9);
}

/* ---- what is shown ---- */

static void test_status(void **state)
{
    const char *const said =
        "\"found_nothing\":{\"answers\":2,\"compared\":2,\"agreed\":1,\"told\":0,\"right\":0,"
        "\"error_probability\":0.5}}";
    struct json_writer json;
    struct buf out;

    (void)state;
    sure_learn();
    assert_true(asks(&nobody, &nobody));
    assert_true(asks(&nobody, &one));
    buf_init(&out, 0);
    json_begin(&json, &out);
    json_object_open(&json, NULL);
    status_learned_json(people, &json);
    json_object_close(&json);
    assert_int_equal(json_end(&json), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    assert_non_null(strstr((const char *)out.data, said));
    buf_fini(&out);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {FRESH(test_nothing_escalates),
                                       FRESH(test_what_is_found_stays),
                                       FRESH(test_a_doubtful_box_escalates),
                                       FRESH(test_learned_nothing_stops_escalating),
                                       FRESH(test_nothing_is_kept),
                                       FRESH(test_other_kinds),
                                       FRESH(test_told),
                                       FRESH(test_watched),
                                       FRESH(test_kept_over_a_restart),
                                       FRESH(test_cached),
                                       FRESH(test_cached_nothing),
                                       FRESH(test_status)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
