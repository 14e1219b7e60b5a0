/* The first runs of a model: enough of both kinds of step to predict a long text and a short one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/daemon/warm_up.h"
#include "common/base/clock.h"
#include "common/base/error.h"

static int64_t fake_ns;

/* One millisecond a look: a step, looked at before and after, takes one. */
static int64_t fake_now(void *user)
{
    (void)user;
    fake_ns += NS_PER_MS;
    return fake_ns;
}

static int clock_back(void **state)
{
    (void)state;
    clock_set_fake(NULL, NULL);
    return 0;
}

static void warm(const char *path, uint32_t kind, struct estimate_local *estimate,
                 struct estimate_text *text)
{
    struct engine_pool_stats stats;
    struct local_model model;
    char why[ENGINE_ERROR_BYTES] = "";

    estimate_local_init(estimate);
    estimate_text_init(text);
    assert_int_equal(local_model_open(path, kind, 1, 1u << 20, &model, why), 0);
    clock_set_fake(fake_now, NULL);
    assert_int_equal(warm_up(&model, estimate, text, NULL, why), 0);
    if (model.pool) {
        engine_pool_stats(model.pool, &stats);
        assert_int_equal(stats.pages_free, stats.pages_total);
    }
    local_model_close(&model);
}

/* The shipped model's context is 64 tokens: the prompt gets its share, 64 of 80, and every decode
 * step is measured for itself. */
static void test_text(void **state)
{
    struct estimate_local estimate;
    struct estimate_text text;
    const struct estimate_text_work few = {10, 8}, many = {100, 8}, long_answer = {10, 64};
    struct latency short_one, long_prompt, long_text;

    (void)state;
    warm("deploy/models/commands-local.gguf", WIRE_GENERATE, &estimate, &text);
    assert_int_equal(estimate.run.count, 1);
    assert_float_equal(text.prefill.mean.mean, 1.0 / 52, 1e-9);
    assert_float_equal(text.decode.mean.mean, 1, 1e-9);
    assert_int_equal(text.answer.mean.count, 0); /* nonsense says nothing of a real answer */
    assert_true(text.density.mean.mean > 0.05 && text.density.mean.mean < 1);
    assert_true(estimate_text_get(&text, &few, 0, &short_one));
    assert_true(estimate_text_get(&text, &many, 0, &long_prompt));
    assert_true(estimate_text_get(&text, &long_answer, 0, &long_text));
    assert_true(long_prompt.mean_ms > short_one.mean_ms);
    assert_true(long_text.mean_ms > short_one.mean_ms);
}

/* Who gives it up before its first layer gets no estimate, and all pages back. */
static void test_given_up(void **state)
{
    static const atomic_bool give_up = true;
    static const struct {
        const char *path;
        uint32_t kind;
    } models[] = {{"deploy/models/commands-local.gguf", WIRE_GENERATE},
                  {"deploy/models/objects-local.gguf", WIRE_CLASSIFY}};

    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        struct engine_pool_stats stats = {0};
        struct estimate_local estimate;
        struct estimate_text text;
        struct local_model model;
        char why[ENGINE_ERROR_BYTES] = "";

        estimate_local_init(&estimate);
        estimate_text_init(&text);
        assert_int_equal(local_model_open(models[i].path, models[i].kind, 1, 1u << 20, &model, why),
                         0);
        assert_int_equal(warm_up(&model, &estimate, &text, &give_up, why), TANDEM_ECANCELED);
        assert_true(why[0] != '\0');
        assert_int_equal(estimate.run.count, 0);
        assert_int_equal(text.decode.mean.count, 0);
        if (model.pool) {
            engine_pool_stats(model.pool, &stats);
        }
        assert_int_equal(stats.pages_free, stats.pages_total);
        local_model_close(&model);
    }
}

static void test_picture(void **state)
{
    struct estimate_local estimate;
    struct estimate_text text;

    (void)state;
    warm("deploy/models/objects-local.gguf", WIRE_CLASSIFY, &estimate, &text);
    assert_int_equal(estimate.run.count, 1);
    assert_int_equal(text.prefill.mean.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_text, clock_back),
                                       cmocka_unit_test(test_given_up),
                                       cmocka_unit_test_teardown(test_picture, clock_back)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
