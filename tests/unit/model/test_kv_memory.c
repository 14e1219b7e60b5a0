/* What a token costs in the cache, for all eight variants with the paper's 16 heads of 64: the page
 * pool takes exactly what the paper promises, and the process's memory agrees. */
#include "tests/bench/kv_memory.h"
#include "tests/unit/model/model_tool.h"

#include <math.h>

/* The sanitizers keep books of their own in the process's memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RESIDENT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RESIDENT 0
#endif
#endif
#ifndef RESIDENT
#define RESIDENT 1
#endif

#define TOKENS 640
#define SLACK  (32 << 10) /* bytes of the process that are not the pool's */

static struct kv_measured measure(const struct kv_variant *variant)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;
    struct kv_measured measured;

    EXPECT(TOOL_DONE, NULL, "synth", "--shape", "300M", "--layers", "1", "--vocabulary", "256",
           "--context", "640", "--projection", variant->projection, "--kv-heads", variant->kv_heads,
           work_path("m.gguf"));
    assert_int_equal(engine_model_open(work_path("m.gguf"), &model, error), 0);
    assert_int_equal(kv_memory_measure(model, TOKENS, &measured, error), 0);
    engine_model_unref(model);
    return measured;
}

static void test_cache_costs_what_the_paper_says(void **state)
{
    struct kv_measured plain = {0};

    (void)state;
    for (size_t i = 0; i < KV_VARIANTS; i++) {
        const struct kv_measured measured = measure(&kv_variants[i]);
        const double off = (measured.resident_bytes - (double)measured.computed_bytes) *
                           (double)(TOKENS - KV_CHUNK);

        plain = i == 0 ? measured : plain;
        print_message("%-8s %5llu %5llu %8.1f bytes a token\n", kv_variants[i].name,
                      (unsigned long long)measured.computed_bytes,
                      (unsigned long long)measured.allocator_bytes, measured.resident_bytes);
        assert_int_equal(measured.wrong, 0);
        assert_int_equal(measured.computed_bytes, measured.allocator_bytes);
        /* exact: all of them are sums of powers of two */
        assert_true(100 * (1 - (double)measured.allocator_bytes / (double)plain.allocator_bytes) ==
                    kv_variants[i].reduction);
        if (RESIDENT) {
            assert_true(fabs(off) <= SLACK);
            assert_true(fabs(100 * (1 - measured.resident_bytes / plain.resident_bytes) -
                             kv_variants[i].reduction) < 2);
        }
    }
    assert_int_equal(plain.allocator_bytes, 2 * 2 * 16 * 64); /* two tensors of two bytes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cache_costs_what_the_paper_says)};

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
