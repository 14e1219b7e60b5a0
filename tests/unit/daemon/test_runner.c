/* Local compute in steps: the order, what is set aside and goes on, deadlines, pages, bad inputs,
 * and the thread around it. The shipped small models, real steps, a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/daemon/runner_parts.h"
#include "common/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define STOPPED_JOBS    64
#define MODEL_BYTES_MAX (8u << 20)
#define BROKEN_BYTES    256
#define LONG_TEXT       "jump around left twice and walk around right thrice"
#define OTHER_TEXT      "walk opposite right thrice after run around left thrice"
#define WORDS_MODEL     "deploy/models/commands-local.gguf" /* a context of 64 tokens: 2 pages */

static struct local_model words, pictures;
static int64_t fake_ns, fake_step_ns;

/* Every look at the clock moves it. */
static int64_t fake_now(void *user)
{
    (void)user;
    fake_ns += fake_step_ns;
    return fake_ns;
}

static int clock_take(void **state)
{
    (void)state;
    fake_ns = NS_PER_S;
    fake_step_ns = 0;
    clock_set_fake(fake_now, NULL);
    memset(words.step_ns, 0, sizeof(words.step_ns));
    memset(pictures.step_ns, 0, sizeof(pictures.step_ns));
    return 0;
}

static int clock_back(void **state)
{
    struct engine_pool_stats stats;

    (void)state;
    clock_set_fake(NULL, NULL);
    engine_pool_stats(words.pool, &stats);
    assert_int_equal(stats.pages_free, stats.pages_total); /* whatever happened */
    return 0;
}

static struct runner_job text_job(const char *text, int64_t deadline_ns)
{
    return (struct runner_job){.model = &words,
                               .input = (const uint8_t *)text,
                               .input_bytes = strlen(text),
                               .sampling = {.top_p = 1},
                               .max_new_tokens = 64,
                               .deadline_ns = deadline_ns};
}

static const uint8_t grey[32 * 32];

static struct runner_job picture_job(int64_t deadline_ns)
{
    return (struct runner_job){.model = &pictures,
                               .input = grey,
                               .input_bytes = sizeof(grey),
                               .picture = {ENGINE_PIXELS_GREY, 32, 32, 0},
                               .deadline_ns = deadline_ns};
}

/* The answer's text of a job that has the runner for itself; freed by the caller. */
static char *text_alone(const char *text, float temperature, uint32_t *ret_tokens)
{
    struct runner_job job = text_job(text, 0);
    char *copy;

    job.sampling.temperature = temperature;
    job.sampling.seed = 5;
    runner_run_now(&job, NULL);
    assert_int_equal(job.error, 0);
    if (ret_tokens) {
        *ret_tokens = job.answer.tokens;
    }
    copy = strdup(job.answer.text);
    answer_fini(&job.answer);
    return copy;
}

static struct runner_job *until_end(struct runner_queue *queue)
{
    struct runner_job *ended = NULL;

    for (int i = 0; !ended && i < 10000; i++) {
        ended = runner_queue_step(queue);
    }
    assert_non_null(ended);
    return ended;
}

static void steps(struct runner_queue *queue, int count)
{
    while (count-- > 0) {
        assert_null(runner_queue_step(queue));
    }
}

static void test_order(void **state)
{
    struct runner_job jobs[9] = {picture_job(0),
                                 picture_job(3 * NS_PER_S),
                                 picture_job(0),
                                 text_job("walk", 2 * NS_PER_S),
                                 picture_job(3 * NS_PER_S),
                                 picture_job(3 * NS_PER_S),
                                 picture_job(2 * NS_PER_S),
                                 picture_job(3 * NS_PER_S),
                                 text_job("walk", 0)};
    static const size_t order[9] = {3, 1, 4, 0, 2, 6, 5, 7, 8};
    struct runner_queue queue = {.first = NULL};

    (void)state;
    jobs[5].yields = jobs[6].yields = true; /* however soon they are due */
    jobs[7].shadow = jobs[8].shadow = true;
    for (size_t i = 9; i-- > 7;) {
        runner_queue_add(&queue, &jobs[i]);
    }
    for (size_t i = 0; i < 7; i++) {
        runner_queue_add(&queue, &jobs[i]);
    }
    for (size_t i = 0; i < 9; i++) {
        assert_ptr_equal(until_end(&queue), &jobs[order[i]]);
        assert_int_equal(jobs[order[i]].error, 0);
        answer_fini(&jobs[order[i]].answer);
    }
    assert_null(queue.first);
    assert_null(runner_queue_step(&queue));
}

/* Set aside for a text and for a picture, it says what it would have said; sampled text too. */
static void test_set_aside(void **state)
{
    static const float temperatures[] = {0, 1};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct runner_job first = text_job(LONG_TEXT, 0),
                          second = text_job(OTHER_TEXT, 9 * NS_PER_S),
                          third = picture_job(8 * NS_PER_S);
        char *alone = text_alone(LONG_TEXT, temperatures[i], NULL);
        char *other = text_alone(OTHER_TEXT, 0, NULL);
        struct runner_queue queue = {.first = NULL};
        uint32_t tokens;

        first.sampling.temperature = temperatures[i];
        first.sampling.seed = 5;
        runner_queue_add(&queue, &first);
        steps(&queue, 6);
        tokens = first.answer.tokens;
        assert_int_equal(tokens, 6);
        runner_queue_add(&queue, &second);
        steps(&queue, 3);
        runner_queue_add(&queue, &third);
        assert_ptr_equal(until_end(&queue), &third);
        assert_int_equal(second.answer.tokens, 3);
        assert_ptr_equal(until_end(&queue), &second);
        assert_int_equal(first.answer.tokens, tokens);
        assert_ptr_equal(until_end(&queue), &first);
        assert_string_equal(first.answer.text, alone);
        assert_string_equal(second.answer.text, other);
        assert_int_equal(third.answer.label_count, 10);
        answer_fini(&first.answer);
        answer_fini(&second.answer);
        answer_fini(&third.answer);
        free(alone);
        free(other);
    }
}

static void test_cancel(void **state)
{
    struct runner_job running = text_job(LONG_TEXT, 0), aside = text_job(OTHER_TEXT, 0);
    struct runner_queue queue = {.first = NULL};

    (void)state;
    runner_queue_add(&queue, &running);
    runner_queue_add(&queue, &aside);
    steps(&queue, 5);
    atomic_store(&aside.abort, true); /* not its turn, and yet at once */
    assert_ptr_equal(runner_queue_step(&queue), &aside);
    assert_int_equal(aside.error, TANDEM_ECANCELED);
    steps(&queue, 2);
    atomic_store(&running.abort, true);
    assert_ptr_equal(runner_queue_step(&queue), &running);
    assert_int_equal(running.error, TANDEM_ECANCELED);
    assert_null(running.answer.text);
}

static void expect_partial(struct runner_job *job, const char *whole)
{
    assert_int_equal(job->error, 0);
    assert_int_equal(job->answer.finish, WIRE_FINISH_DEADLINE);
    assert_true(job->answer.tokens > 0 && job->answer.text_bytes > 0);
    assert_true(job->answer.text_bytes < strlen(whole));
    assert_memory_equal(job->answer.text, whole, job->answer.text_bytes);
    assert_true(job->answer.confidence > 0 && job->answer.confidence <= 1);
    answer_fini(&job->answer);
}

static void test_deadline_partial(void **state)
{
    char *whole = text_alone(LONG_TEXT, 0, NULL);
    struct runner_queue queue = {.first = NULL};
    struct runner_job job = text_job(LONG_TEXT, 0);

    (void)state;
    fake_step_ns = NS_PER_MS;
    job.deadline_ns = fake_ns + 30 * NS_PER_MS;
    runner_queue_add(&queue, &job);
    (void)until_end(&queue);
    /* Two steps of 1 ms and the 2 ms of the way back stay free, and not much more. */
    assert_true(job.ended_ns + 4 * NS_PER_MS >= job.deadline_ns - 3 * NS_PER_MS);
    assert_true(job.ended_ns <= job.deadline_ns - LIMIT_HANDOVER_US * NS_PER_US);
    expect_partial(&job, whole);
    free(whole);
}

/* Another job with an earlier deadline has the runner; the one set aside still ends in time. */
static void test_deadline_while_aside(void **state)
{
    char *whole = text_alone(OTHER_TEXT, 0, NULL);
    struct runner_job aside = text_job(OTHER_TEXT, 0), busy = text_job(LONG_TEXT, 0);
    struct runner_queue queue = {.first = NULL};

    (void)state;
    fake_step_ns = NS_PER_MS;
    aside.deadline_ns = fake_ns + 50 * NS_PER_MS;
    busy.deadline_ns = fake_ns + 40 * NS_PER_MS;
    busy.deliver_late = true;
    runner_queue_add(&queue, &aside);
    steps(&queue, 4);
    runner_queue_add(&queue, &busy);
    assert_ptr_equal(until_end(&queue), &aside);
    assert_true(aside.ended_ns <= aside.deadline_ns - LIMIT_HANDOVER_US * NS_PER_US);
    expect_partial(&aside, whole);
    assert_ptr_equal(until_end(&queue), &busy); /* late is welcome: to its own end */
    assert_int_equal(busy.answer.finish, WIRE_FINISH_END);
    assert_true(busy.ended_ns > busy.deadline_ns);
    answer_fini(&busy.answer);
    free(whole);
}

static void test_deadline_without_text(void **state)
{
    struct runner_job late[2] = {text_job(LONG_TEXT, 0), picture_job(0)};
    struct runner_queue queue = {.first = NULL};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        late[i].deadline_ns = fake_ns;
        runner_queue_add(&queue, &late[i]);
        assert_ptr_equal(runner_queue_step(&queue), &late[i]);
        assert_int_equal(late[i].error, TANDEM_ELATE);
        assert_true(late[i].why[0]);
    }
}

/* A pool of one context and two texts that need all of it. */
static void test_pages_taken_and_computed_again(void **state)
{
    char *alone = text_alone(LONG_TEXT, 0, NULL), *other = text_alone(OTHER_TEXT, 0, NULL);
    struct runner_job first = text_job(LONG_TEXT, 0), second = text_job(OTHER_TEXT, 9 * NS_PER_S);
    struct runner_queue queue = {.first = NULL};
    struct engine_pool_stats stats;

    (void)state;
    engine_pool_stats(words.pool, &stats);
    assert_int_equal(stats.pages_total, 2);
    runner_queue_add(&queue, &first);
    steps(&queue, 30);
    engine_pool_stats(words.pool, &stats);
    assert_int_equal(stats.pages_free, 0);
    runner_queue_add(&queue, &second);
    steps(&queue, 1);
    assert_false(generation_has_pages(&first));
    assert_true(generation_has_pages(&second));
    assert_ptr_equal(until_end(&queue), &second);
    assert_int_equal(first.answer.tokens, 30);
    assert_ptr_equal(until_end(&queue), &first);
    assert_string_equal(first.answer.text, alone);
    assert_string_equal(second.answer.text, other);
    answer_fini(&first.answer);
    answer_fini(&second.answer);
    free(alone);
    free(other);
}

static void test_bad_inputs(void **state)
{
    char much[64 * 5 + 1] = "", full[63 * 5 + 1] = "";
    const uint8_t noise[64] = "this is not a picture";
    struct runner_job jobs[5] = {text_job("", 0), text_job(much, 0), text_job(full, 0),
                                 text_job("fly", 0), picture_job(0)};
    static const int errors[5] = {TANDEM_EINVAL, TANDEM_ETOOBIG, TANDEM_ETOOBIG, TANDEM_EINVAL,
                                  TANDEM_EFORMAT};

    (void)state;
    for (int i = 0; i < 64; i++) {
        strcat(much, "walk ");
    }
    memcpy(full, much, sizeof(full) - 1); /* with the prompt's own token not one is left */
    jobs[1].input_bytes = strlen(much);
    jobs[2].input_bytes = strlen(full);
    jobs[4].input = noise;
    jobs[4].input_bytes = sizeof(noise);
    jobs[4].picture = (struct wire_picture){.format = ENGINE_PIXELS_ENCODED};
    for (size_t i = 0; i < 5; i++) {
        runner_run_now(&jobs[i], NULL);
        if (jobs[i].error != errors[i] || jobs[i].why[0] == '\0') {
            fail_msg("input %zu: error %d, \"%s\"", i, jobs[i].error, jobs[i].why);
        }
        assert_null(jobs[i].answer.text);
    }
    assert_non_null(strstr(jobs[3].why, "fly")); /* which its caller may read, but nobody keep */
    assert_non_null(jobs[3].why_kept);
    assert_null(strstr(jobs[3].why_kept, "fly"));
    assert_null(jobs[1].why_kept);
}

/* A prompt that leaves room for two tokens: the context ends the answer, not an error. */
static void test_full_context(void **state)
{
    char much[64 * 5 + 1] = "";
    struct runner_job job = text_job(much, 0);

    (void)state;
    for (int i = 0; i < 61; i++) {
        strcat(much, "walk ");
    }
    job.input_bytes = strlen(much);
    runner_run_now(&job, NULL);
    assert_int_equal(job.error, 0);
    assert_true(job.answer.finish == WIRE_FINISH_END || job.answer.tokens == 3);
    answer_fini(&job.answer);
    job.max_new_tokens = 1;
    runner_run_now(&job, NULL);
    assert_int_equal(job.answer.tokens, 1);
    assert_int_equal(job.answer.finish, WIRE_FINISH_LENGTH);
    answer_fini(&job.answer);
}

/* A model with weights that are no numbers: its file's end, the last tensor's, is all ones. */
static void broken_model_open(struct local_model *ret_model)
{
    char path[] = "/tmp/tandem-runner-XXXXXX", error[ENGINE_ERROR_BYTES] = "";
    unsigned char *bytes = malloc(MODEL_BYTES_MAX);
    const int fd = mkstemp(path);
    FILE *file = fopen(WORDS_MODEL, "rb");
    size_t count;

    assert_non_null(bytes);
    assert_non_null(file);
    assert_true(fd >= 0);
    count = fread(bytes, 1, MODEL_BYTES_MAX, file);
    assert_in_range(count, BROKEN_BYTES, MODEL_BYTES_MAX - 1);
    memset(bytes + count - BROKEN_BYTES, 0xff, BROKEN_BYTES);
    assert_int_equal(write(fd, bytes, count), count);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(close(fd), 0);
    free(bytes);
    assert_int_equal(local_model_open(path, WIRE_GENERATE, 1, 1u << 20, ret_model, error), 0);
    assert_int_equal(unlink(path), 0);
}

/* What is no number is no answer: a stated error, greedy and drawn alike. */
static void test_no_numbers(void **state)
{
    struct local_model broken;

    (void)state;
    broken_model_open(&broken);
    for (int drawn = 0; drawn < 2; drawn++) {
        struct runner_job job = text_job("walk", 0);

        job.model = &broken;
        job.sampling.temperature = (float)drawn;
        runner_run_now(&job, NULL);
        assert_int_equal(job.error, TANDEM_EINTERNAL);
        assert_string_equal(job.why, "the model computes what is no number");
        assert_null(job.answer.text);
    }
    local_model_close(&broken);
}

/* Each token is counted once, with the kind of step that computed it. */
static void test_work_is_counted(void **state)
{
    struct runner_job job = text_job(LONG_TEXT, 0);

    (void)state;
    fake_step_ns = NS_PER_MS;
    runner_run_now(&job, NULL);
    assert_int_equal(job.error, 0);
    assert_true(job.work.prompt_tokens >= 9); /* the words, at least */
    assert_int_equal(job.work.prefill_tokens, job.work.prompt_tokens);
    assert_int_equal(job.work.prefill_ns, NS_PER_MS); /* one chunk */
    assert_int_equal(job.answer.finish, WIRE_FINISH_END);
    assert_int_equal(job.work.decode_tokens, job.answer.tokens);
    assert_int_equal(job.work.decode_ns, job.answer.tokens * NS_PER_MS);
    answer_fini(&job.answer);
}

/* ---- the thread ---- */

struct heard {
    struct buf text;
    int pieces, ends;
};

static void on_text(struct runner_job *job, const uint8_t *text, size_t bytes, void *user)
{
    struct heard *heard = user;

    assert_true(job->stream);
    assert_int_equal(heard->ends, 0);
    assert_true(bytes > 0);
    assert_int_equal(buf_append(&heard->text, text, bytes), 0);
    heard->pieces++;
}

static void on_done(struct runner_job *job, void *user)
{
    (void)job;
    ((struct heard *)user)->ends++;
}

/* What a model's file would say; the answer of `job` with it. */
static double sure_with(struct runner_job job, const struct calibration *calibration)
{
    struct engine_model_info *info =
        (struct engine_model_info *)(uintptr_t)engine_model_info(job.model->model);
    const struct calibration kept = info->calibration;
    double sure;

    info->calibration = *calibration;
    runner_run_now(&job, NULL);
    info->calibration = kept;
    assert_int_equal(job.error, 0);
    sure = job.answer.confidence;
    answer_fini(&job.answer);
    return sure;
}

/* A text's product and a picture's best score go through the table; a picture's scores are those
 * of its temperature. */
static void test_calibration(void **state)
{
    struct calibration none, warm, half, both;
    double text_raw, picture_raw, picture_warm;

    (void)state;
    calibration_init(&none);
    warm = half = none;
    warm.temperature = 4;
    half.count = 2;
    half.x[1] = 1;
    half.y[1] = 0.5;
    both = half;
    both.temperature = 4;
    text_raw = sure_with(text_job(LONG_TEXT, 0), &none);
    picture_raw = sure_with(picture_job(0), &none);
    picture_warm = sure_with(picture_job(0), &warm);
    assert_true(text_raw > 0.1 && picture_raw > 0.1);
    assert_true(fabs(sure_with(text_job(LONG_TEXT, 0), &half) - text_raw / 2) < 1e-9);
    assert_true(fabs(sure_with(picture_job(0), &half) - picture_raw / 2) < 1e-9);
    assert_true(picture_warm < picture_raw && picture_warm > 0.1); /* of ten: over one in ten */
    assert_true(fabs(sure_with(picture_job(0), &both) - picture_warm / 2) < 1e-9);
}

/* Who doubts is told once, and lets it go. */
static struct {
    int count;
    uint32_t tokens;
    double sure;
} doubts;

static void on_doubt(struct runner_job *job, uint32_t tokens, double confidence, void *user)
{
    (void)user;
    doubts.count++;
    doubts.tokens = tokens;
    doubts.sure = confidence;
    atomic_store(&job->abort, true);
}

static const struct runner_callbacks callbacks = {on_text, on_done, on_doubt};

/* How sure the model is of LONG_TEXT's answer after each token falls from token to token; what is
 * less sure than wanted before the end is said to be, with what it had said. */
static void test_doubt(void **state)
{
    struct runner_job whole = text_job(LONG_TEXT, 0), doubted = whole, never = whole;
    struct heard heard = {.ends = 0};
    struct runner *runner;
    uv_loop_t loop;

    (void)state;
    runner_run_now(&whole, NULL);
    assert_int_equal(whole.error, 0);
    assert_true(whole.answer.confidence < 0.9);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(runner_new(&loop, &callbacks, &heard, &runner), 0);
    never.doubt_below = whole.answer.confidence; /* it is not less, at its last token either */
    runner_submit(runner, &never);
    while (heard.ends < 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(never.error, 0);
    assert_int_equal(doubts.count, 0);
    doubted.doubt_below = 0.999;
    doubted.deadline_ns = 0;
    runner_submit(runner, &doubted);
    while (heard.ends < 2) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(doubts.count, 1);
    assert_true(doubts.tokens > 0 && doubts.tokens < whole.answer.tokens);
    assert_true(doubts.sure < 0.999 && doubts.sure >= whole.answer.confidence);
    if (doubted.error == TANDEM_ECANCELED) { /* it may have ended meanwhile */
        assert_true(doubted.answer.tokens >= doubts.tokens);
        assert_true(doubted.answer.confidence <= doubts.sure);
        assert_memory_equal(doubted.answer.text, whole.answer.text, doubted.answer.text_bytes);
    } else {
        assert_int_equal(doubted.error, 0);
    }
    answer_fini(&whole.answer);
    answer_fini(&never.answer);
    answer_fini(&doubted.answer);
    runner_free(runner);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_thread(void **state)
{
    struct runner_job loud = text_job(LONG_TEXT, 0), quiet = text_job(OTHER_TEXT, 0),
                      gone = text_job(OTHER_TEXT, 0);
    struct heard heard = {.ends = 0};
    struct runner *runner;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(runner_new(&loop, &callbacks, &heard, &runner), 0);
    loud.stream = true;
    atomic_store(&gone.abort, true);
    runner_submit(runner, &loud);
    while (heard.ends < 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(loud.error, 0);
    assert_true(loud.answer.text_bytes >= heard.text.bytes);
    assert_memory_equal(loud.answer.text, heard.text.data, heard.text.bytes);
    assert_true(heard.pieces > 0);
    runner_submit(runner, &quiet);
    runner_submit(runner, &gone);
    heard.ends = 0;
    while (heard.ends < 2) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(quiet.error, 0);
    assert_int_equal(gone.error, TANDEM_ECANCELED);
    answer_fini(&loud.answer);
    answer_fini(&quiet.answer);
    buf_fini(&heard.text);
    runner_free(runner);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* The clock stands still in the middle of the thread's step until it is let go. */
static struct {
    uv_thread_t loop_thread;
    uv_sem_t inside, go_on;
    atomic_int looks;
} hang;

static int64_t hanging_now(void *user)
{
    const uv_thread_t self = uv_thread_self();

    (void)user;
    /* the thread's looks: before the step, at its start, before the model */
    if (!uv_thread_equal(&self, &hang.loop_thread) && ++hang.looks == 3) {
        uv_sem_post(&hang.inside);
        uv_sem_wait(&hang.go_on);
    }
    return NS_PER_S;
}

/* A step that does not end is seen from the loop; one that ends in time, or no step, is not. */
static void test_hang(void **state)
{
    const int64_t bound_ns = NS_PER_S + LIMIT_STEP_MS * NS_PER_MS;
    struct runner_job job = text_job("walk", 0);
    struct heard heard = {.ends = 0};
    struct runner *runner;
    uv_loop_t loop;

    (void)state;
    hang.loop_thread = uv_thread_self();
    hang.looks = 0;
    assert_int_equal(uv_sem_init(&hang.inside, 0), 0);
    assert_int_equal(uv_sem_init(&hang.go_on, 0), 0);
    clock_set_fake(hanging_now, NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(runner_new(&loop, &callbacks, &heard, &runner), 0);
    assert_false(runner_is_stuck(runner, INT64_MAX));
    runner_submit(runner, &job);
    uv_sem_wait(&hang.inside);
    assert_false(runner_is_stuck(runner, bound_ns));
    assert_true(runner_is_stuck(runner, bound_ns + 1));
    assert_int_equal(runner_busy_ns(runner, 3 * NS_PER_S), 2 * NS_PER_S); /* the step that runs */
    uv_sem_post(&hang.go_on);
    while (heard.ends < 1) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(job.error, 0);
    assert_false(runner_is_stuck(runner, INT64_MAX));
    answer_fini(&job.answer);
    runner_free(runner);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    uv_sem_destroy(&hang.inside);
    uv_sem_destroy(&hang.go_on);
}

/* A millisecond passes with every look, and the first step waits until it is let go. */
static int64_t ticking_now(void *user)
{
    static atomic_int ticks;

    return hanging_now(user) + ++ticks * NS_PER_MS;
}

/* What a job waited for others' steps is told apart from what handing it over took. */
static void test_others(void **state)
{
    struct runner_job first = text_job(LONG_TEXT, 0), behind = text_job("walk", 0);
    struct heard heard = {.ends = 0};
    struct runner *runner;
    uv_loop_t loop;

    (void)state;
    hang.loop_thread = uv_thread_self();
    hang.looks = 0;
    assert_int_equal(uv_sem_init(&hang.inside, 0), 0);
    assert_int_equal(uv_sem_init(&hang.go_on, 0), 0);
    clock_set_fake(ticking_now, NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(runner_new(&loop, &callbacks, &heard, &runner), 0);
    runner_submit(runner, &first);
    uv_sem_wait(&hang.inside);
    runner_submit(runner, &behind); /* while the first step of the other one runs */
    uv_sem_post(&hang.go_on);
    while (heard.ends < 2) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(first.error, 0);
    assert_int_equal(behind.error, 0);
    assert_true(first.run_ns > 10 * NS_PER_MS);
    assert_true(behind.others_ns > first.run_ns / 2);
    assert_true(behind.others_ns + behind.run_ns <= behind.ended_ns - behind.queued_ns);
    answer_fini(&first.answer);
    answer_fini(&behind.answer);
    runner_free(runner);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    uv_sem_destroy(&hang.inside);
    uv_sem_destroy(&hang.go_on);
}

/* Stopped when the first text has begun: whoever was not back by then is the caller's again. */
static void test_stop_while_running(void **state)
{
    struct runner_job *jobs = calloc(STOPPED_JOBS, sizeof(*jobs));
    struct heard heard = {.ends = 0};
    struct runner *runner;
    uv_loop_t loop;

    (void)state;
    assert_non_null(jobs);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(runner_new(&loop, &callbacks, &heard, &runner), 0);
    for (size_t i = 0; i < STOPPED_JOBS; i++) {
        jobs[i] = text_job(i % 2 ? LONG_TEXT : OTHER_TEXT, 0);
        jobs[i].stream = i == 0;
        runner_submit(runner, &jobs[i]);
    }
    while (heard.pieces == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    runner_free(runner);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < STOPPED_JOBS; i++) {
        assert_null(jobs[i].generation);
        assert_int_equal(jobs[i].error, i < (size_t)heard.ends ? 0 : TANDEM_ECANCELED);
        assert_true((jobs[i].answer.text != NULL) == (jobs[i].error == 0));
        answer_fini(&jobs[i].answer);
    }
    buf_fini(&heard.text);
    free(jobs);
}

/* The texts share a pool of one context. */
static int words_open(char *error)
{
    struct engine_pool_stats stats;
    int result = local_model_open(WORDS_MODEL, WIRE_GENERATE, 1, 1u << 20, &words, error);

    if (result == 0) {
        engine_pool_stats(words.pool, &stats);
        local_model_close(&words);
        result = local_model_open(WORDS_MODEL, WIRE_GENERATE, 1, 2 * stats.bytes_per_page, &words,
                                  error);
    }
    return result;
}

static int models_open(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    if (words_open(error) != 0 || local_model_open("deploy/models/objects-local.gguf",
                                                   WIRE_CLASSIFY, 1, 0, &pictures, error) != 0) {
        print_error("%s\n", error);
        return -1;
    }
    return 0;
}

static int models_close(void **state)
{
    (void)state;
    local_model_close(&words);
    local_model_close(&pictures);
    return 0;
}

#define STEPPED(test) cmocka_unit_test_setup_teardown(test, clock_take, clock_back)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPPED(test_order),
        STEPPED(test_set_aside),
        STEPPED(test_cancel),
        STEPPED(test_deadline_partial),
        STEPPED(test_deadline_while_aside),
        STEPPED(test_deadline_without_text),
        STEPPED(test_pages_taken_and_computed_again),
        STEPPED(test_bad_inputs),
        STEPPED(test_full_context),
        STEPPED(test_work_is_counted),
        STEPPED(test_no_numbers),
        STEPPED(test_others),
        STEPPED(test_hang),
        STEPPED(test_calibration),
        cmocka_unit_test_teardown(test_thread, clock_back),
        cmocka_unit_test_setup_teardown(test_doubt, clock_take, clock_back),
        cmocka_unit_test_teardown(test_stop_while_running, clock_back),
    };

    return cmocka_run_group_tests(tests, models_open, models_close);
}
