/* Threads that share work: every item is done once, by a member that is alone with its number, and
 * nothing is left running. */
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/engine/team.h"
#include "tests/unit/engine/models.h"

#include <sched.h>

#define MEMBERS 4
#define ITEMS   1000

struct job {
    atomic_uint done[ITEMS];
    atomic_bool busy[MEMBERS];
    atomic_uint wrong;
    size_t piece;
};

static void job_run(void *user, uint32_t member, size_t from, size_t to)
{
    struct job *job = user;

    if (member >= MEMBERS || from >= to || to > ITEMS || to - from > job->piece ||
        atomic_exchange(&job->busy[member], true)) {
        atomic_fetch_add(&job->wrong, 1);
        return;
    }
    for (size_t i = from; i < to; i++) {
        atomic_fetch_add(&job->done[i], 1);
        if (i % 64 == 0) {
            sched_yield(); /* lets the others in */
        }
    }
    atomic_store(&job->busy[member], false);
}

static void job_check(struct team *team, size_t items, size_t piece)
{
    static struct job job;

    memset(&job, 0, sizeof job);
    job.piece = piece;
    team_run(team, items, piece, job_run, &job);
    assert_int_equal(atomic_load(&job.wrong), 0);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(atomic_load(&job.done[i]), i < items);
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_false(atomic_load(&job.busy[i])); /* all had come back */
    }
}

static void jobs_check(struct team *team)
{
    static const size_t pieces[] = {1, 3, 7, 64, ITEMS - 1, ITEMS, ITEMS + 5};

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        job_check(team, ITEMS, pieces[i]);
        job_check(team, 5, pieces[i]);
        job_check(team, 1, pieces[i]);
        job_check(team, 0, pieces[i]);
    }
}

static void test_alone(void **state)
{
    (void)state;
    jobs_check(NULL);
    team_free(NULL);
}

static void test_shared(void **state)
{
    struct team *team = NULL;

    (void)state;
    assert_int_equal(team_new(MEMBERS, &team), 0);
    for (int i = 0; i < 20; i++) {
        jobs_check(team);
    }
    team_free(team);
}

/* Members that were never needed, and members that are stopped while they wake. */
static void test_short_lives(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        struct team *team = NULL;

        assert_int_equal(team_new(2 + i % 3, &team), 0);
        if (i % 2) {
            job_check(team, ITEMS, 10);
        }
        team_free(team);
    }
}

/* A member can only be waited for if it has taken a piece: with one piece held by a member until
 * the caller's are done, all end. */
struct meeting {
    atomic_uint members; /* bit mask of who came */
};

static void meeting_run(void *user, uint32_t member, size_t from, size_t to)
{
    struct meeting *meeting = user;

    (void)from;
    (void)to;
    atomic_fetch_or(&meeting->members, 1u << member);
    for (int i = 0; i < 1000000 && atomic_load(&meeting->members) != 3; i++) {
        sched_yield(); /* until the other one is in as well */
    }
}

static void test_both_work(void **state)
{
    struct meeting meeting;
    struct team *team = NULL;

    (void)state;
    atomic_init(&meeting.members, 0);
    assert_int_equal(team_new(2, &team), 0);
    team_run(team, 2, 1, meeting_run, &meeting);
    assert_int_equal(atomic_load(&meeting.members), 3);
    team_free(team);
}

static void test_thread_limit(void **state)
{
    struct engine_context_params params = {
        .max_tokens = 1, .max_sequences = 1, .threads = LIMIT_STEP_THREADS + 1};
    struct engine_model *model = model_get("decoder_kv_f32");
    struct engine_context *context = NULL;
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    assert_int_equal(engine_context_new(model, &params, &context, error), TANDEM_EINVAL);
    assert_non_null(strstr(error, "256 threads"));
    params.threads = LIMIT_STEP_THREADS;
    assert_int_equal(engine_context_new(model, &params, &context, error), 0);
    engine_context_free(context);
    engine_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_short_lives),  cmocka_unit_test(test_both_work),
        cmocka_unit_test(test_thread_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
