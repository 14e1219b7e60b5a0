/* Answers that are given again: what is found, what is not, what is thrown out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/result_cache.h"
#include "common/base/clock.h"

#include <string.h>

static const struct result_bounds anything = {0, 4, NS_PER_S};
static const struct result_key scope = {77, 78};

static struct result_key key_of(uint64_t n)
{
    return (struct result_key){n * 0x9e3779b97f4a7c15u, n};
}

static void put(struct result_cache *cache, uint64_t n, char *label,
                const struct frame_print *print, int64_t now_ns)
{
    struct answer_label labels[] = {{label, 0.9}};
    const struct answer answer = {
        .kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1, .confidence = 0.9};
    const struct result_origin origin = {"edge:hall", "abc", 0.1, 0.1, now_ns, "objects", n};

    assert_int_equal(result_cache_put(cache, key_of(n), scope, print, &answer, &origin), 0);
}

static void flat_print(uint8_t brightness, struct frame_print *ret_print)
{
    ret_print->width = ret_print->height = 8;
    memset(ret_print->cells, brightness, sizeof(ret_print->cells));
}

static void test_repeat_is_found(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    struct result_hit hit;

    (void)state;
    put(cache, 1, "cat", NULL, 5);
    assert_true(result_cache_find(cache, key_of(1), scope, NULL, &anything, 9, &hit));
    assert_true(hit.exact);
    assert_string_equal(hit.answer->labels[0].label, "cat");
    assert_string_equal(hit.origin->route, "edge:hall");
    assert_false(result_cache_find(cache, key_of(2), scope, NULL, &anything, 9, &hit));
    put(cache, 1, "dog", NULL, 10); /* in its place */
    assert_true(result_cache_find(cache, key_of(1), scope, NULL, &anything, 11, &hit));
    assert_string_equal(hit.answer->labels[0].label, "dog");
    result_cache_clear(cache);
    assert_false(result_cache_find(cache, key_of(1), scope, NULL, &anything, 11, &hit));
    result_cache_free(cache);
}

/* Two keys that share half of the digest, and so the bucket, are two. */
static void test_keys_are_whole(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    const struct result_key other = {key_of(1).low, key_of(1).high + 1};
    struct result_hit hit;

    (void)state;
    put(cache, 1, "cat", NULL, 5);
    assert_false(result_cache_find(cache, other, scope, NULL, &anything, 9, &hit));
    result_cache_free(cache);
}

static void test_repeat_grows_old(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    const struct result_bounds second = {NS_PER_S, 0, 0};
    struct result_hit hit;

    (void)state;
    put(cache, 1, "cat", NULL, 0);
    assert_true(result_cache_find(cache, key_of(1), scope, NULL, &second, NS_PER_S, &hit));
    assert_false(result_cache_find(cache, key_of(1), scope, NULL, &second, NS_PER_S + 1, &hit));
    result_cache_free(cache);
}

/* The nearest frame of the same scope, within both bounds; being found makes it no younger. */
static void test_similar_frames(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    const struct result_key elsewhere = {1, 1};
    struct result_bounds bounds = anything;
    struct frame_print print;
    struct result_hit hit;

    (void)state;
    flat_print(100, &print);
    put(cache, 1, "far", &print, 0);
    flat_print(105, &print);
    put(cache, 2, "near", &print, 0);
    flat_print(103, &print);
    assert_true(result_cache_find(cache, key_of(3), scope, &print, &bounds, NS_PER_S, &hit));
    assert_false(hit.exact);
    assert_string_equal(hit.answer->labels[0].label, "near");
    assert_float_equal((float)hit.distance, 2, 0.001);
    assert_false(result_cache_find(cache, key_of(3), elsewhere, &print, &bounds, 0, &hit));
    assert_false(result_cache_find(cache, key_of(3), scope, NULL, &bounds, 0, &hit));
    assert_false(result_cache_find(cache, key_of(3), scope, &print, &bounds, NS_PER_S + 1, &hit));
    bounds.distance_max = 1.9;
    assert_false(result_cache_find(cache, key_of(3), scope, &print, &bounds, 0, &hit));
    result_cache_free(cache);
}

/* No more frames of a scope are compared than the bound says: the newest. */
static void test_similar_is_bounded(void **state)
{
    struct result_cache *cache = result_cache_new(4 << 20);
    struct frame_print print;
    struct result_hit hit;

    (void)state;
    flat_print(100, &print);
    put(cache, 0, "wanted", &print, 0);
    flat_print(200, &print);
    for (uint64_t n = 1; n < LIMIT_RESULT_SIMILAR; n++) {
        put(cache, n, "other", &print, 0);
    }
    flat_print(100, &print);
    assert_true(result_cache_find(cache, key_of(999), scope, &print, &anything, 0, &hit));
    flat_print(200, &print);
    for (uint64_t n = 100; n < 100 + LIMIT_RESULT_SIMILAR; n++) {
        put(cache, n, "other", &print, 0);
    }
    flat_print(100, &print);
    assert_false(result_cache_find(cache, key_of(999), scope, &print, &anything, 0, &hit));
    result_cache_free(cache);
}

/* Bytes are bounded, and what was used last stays. */
static void test_least_used_goes(void **state)
{
    struct result_cache *cache = result_cache_new(20000);
    struct result_counts counts;
    struct result_hit hit;

    (void)state;
    for (uint64_t n = 0; n < 200; n++) {
        put(cache, n, "cat", NULL, 0);
        assert_true(result_cache_find(cache, key_of(0), scope, NULL, &anything, 0, &hit));
        result_cache_counts(cache, &counts);
        assert_true(counts.bytes <= 20000);
    }
    assert_true(counts.entries > 10);
    assert_int_equal(counts.evictions, 200 - counts.entries);
    assert_false(result_cache_find(cache, key_of(1), scope, NULL, &anything, 0, &hit));
    assert_true(result_cache_find(cache, key_of(199), scope, NULL, &anything, 0, &hit));
    result_cache_free(cache);
}

static void test_entries_are_bounded(void **state)
{
    struct result_cache *cache = result_cache_new(256u << 20);
    struct result_counts counts;

    (void)state;
    for (uint64_t n = 0; n < LIMIT_RESULT_ENTRIES + 5; n++) {
        put(cache, n, "cat", NULL, 0);
    }
    result_cache_counts(cache, &counts);
    assert_int_equal(counts.entries, LIMIT_RESULT_ENTRIES);
    assert_int_equal(counts.evictions, 5);
    result_cache_free(cache);
}

/* Nothing is thrown out for an answer that could never stay. */
static void test_too_large_is_not_kept(void **state)
{
    struct result_cache *cache = result_cache_new(2000);
    static char text[4000];
    const struct answer answer = {
        .kind = WIRE_GENERATE, .text = text, .text_bytes = sizeof(text) - 1};
    const struct result_origin origin = {"local", "", 0, 0, 0, "objects", 0};
    struct result_counts counts;

    (void)state;
    put(cache, 1, "cat", NULL, 0);
    memset(text, 'a', sizeof(text) - 1);
    assert_int_equal(result_cache_put(cache, key_of(2), scope, NULL, &answer, &origin), 0);
    result_cache_counts(cache, &counts);
    assert_int_equal(counts.entries, 1);
    assert_int_equal(counts.evictions, 0);
    result_cache_free(cache);
}

/* A forced local run does not push out the edge's answer. */
static void test_better_stays(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    const struct answer answer = {.kind = WIRE_CLASSIFY};
    const struct result_origin worse = {"local", "def", 0.4, 0.4, 7, "objects", 0};
    struct result_hit hit;

    (void)state;
    put(cache, 1, "cat", NULL, 5);
    assert_int_equal(result_cache_put(cache, key_of(1), scope, NULL, &answer, &worse), 0);
    assert_true(result_cache_find(cache, key_of(1), scope, NULL, &anything, 9, &hit));
    assert_string_equal(hit.origin->route, "edge:hall");
    result_cache_free(cache);
}

/* The same bytes have the same print, also where nobody made it a second time. */
static void test_a_print_stays(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    struct frame_print print, near;
    struct result_counts before, after;
    struct result_hit hit;

    (void)state;
    flat_print(100, &print);
    flat_print(102, &near);
    assert_false(result_cache_has(cache, key_of(1)));
    put(cache, 1, "cat", &print, 5);
    assert_true(result_cache_has(cache, key_of(1)));
    result_cache_counts(cache, &before);
    put(cache, 1, "dog", NULL, 6);
    result_cache_counts(cache, &after);
    assert_int_equal(after.bytes, before.bytes);
    assert_int_equal(after.misses, before.misses); /* a look is no use */
    assert_true(result_cache_find(cache, key_of(2), scope, &near, &anything, 9, &hit));
    assert_string_equal(hit.answer->labels[0].label, "dog");
    result_cache_free(cache);
}

static void put_as(struct result_cache *cache, uint64_t n, const char *task, const char *route)
{
    struct answer_label labels[] = {{(char *)(uintptr_t) "cat", 0.9}};
    const struct answer answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1};
    struct result_origin origin = {.decision = n};

    strcpy(origin.task, task);
    strcpy(origin.route, route);
    assert_int_equal(
        result_cache_put(cache, key_of(n), (struct result_key){n, n}, NULL, &answer, &origin), 0);
}

/* The answers of one task, or of one task by one route, and no others. */
static void test_a_task_is_forgotten(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);

    (void)state;
    put_as(cache, 1, "objects", "local");
    put_as(cache, 2, "objects", "edge:den");
    put_as(cache, 3, "objects", "edge:hall");
    put_as(cache, 4, "people", "edge:den");
    result_cache_forget(cache, "objects", "edge:den");
    assert_false(result_cache_has(cache, key_of(2)));
    assert_true(result_cache_has(cache, key_of(1)) && result_cache_has(cache, key_of(3)));
    assert_true(result_cache_has(cache, key_of(4)));
    result_cache_forget(cache, "objects", NULL);
    assert_false(result_cache_has(cache, key_of(1)) || result_cache_has(cache, key_of(3)));
    assert_true(result_cache_has(cache, key_of(4)));
    result_cache_free(cache);
}

/* What is kept counts in full, labels and boxes too, against the bound. */
static void test_bytes_are_counted(void **state)
{
    static char name[] = "a label of some bytes";
    struct answer_label labels[3] = {{name, 0.5}, {name, 0.3}, {name, 0.2}};
    struct answer_box boxes[2] = {{.label = name}, {.label = name}};
    struct answer answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1};
    const struct result_origin origin = {.task = "objects"};
    const size_t label_bytes = sizeof(labels[0]) + sizeof(name),
                 box_bytes = sizeof(boxes[0]) + sizeof(name);
    struct result_cache *cache = result_cache_new(1 << 20);
    struct result_counts one, more;

    (void)state;
    assert_int_equal(result_cache_put(cache, key_of(1), scope, NULL, &answer, &origin), 0);
    result_cache_counts(cache, &one);
    answer.label_count = 3;
    answer.boxes = boxes;
    answer.box_count = 2;
    assert_int_equal(result_cache_put(cache, key_of(1), scope, NULL, &answer, &origin), 0);
    result_cache_counts(cache, &more);
    assert_int_equal(more.bytes - one.bytes, 2 * label_bytes + 2 * box_bytes);
    result_cache_free(cache);
    cache = result_cache_new(one.bytes); /* just as large as the one, and a byte too small */
    answer.label_count = 1;
    answer.box_count = 0;
    assert_int_equal(result_cache_put(cache, key_of(1), scope, NULL, &answer, &origin), 0);
    assert_true(result_cache_has(cache, key_of(1)));
    result_cache_free(cache);
    cache = result_cache_new(one.bytes - 1);
    assert_int_equal(result_cache_put(cache, key_of(1), scope, NULL, &answer, &origin), 0);
    assert_false(result_cache_has(cache, key_of(1)));
    result_cache_free(cache);
}

/* Without a bound on the distance nothing is similar, however like it is. */
static void test_similar_is_off(void **state)
{
    static const struct result_bounds exact = {0, 0, NS_PER_S};
    struct result_cache *cache = result_cache_new(1 << 20);
    struct frame_print print;
    struct result_hit hit;

    (void)state;
    flat_print(100, &print);
    put(cache, 1, "cat", &print, 5);
    assert_false(result_cache_find(cache, key_of(2), scope, &print, &exact, 9, &hit));
    assert_true(result_cache_find(cache, key_of(1), scope, &print, &exact, 9, &hit));
    result_cache_free(cache);
}

static void test_looks_are_counted(void **state)
{
    struct result_cache *cache = result_cache_new(1 << 20);
    struct frame_print print;
    struct result_counts counts;
    struct result_hit hit;

    (void)state;
    flat_print(100, &print);
    put(cache, 1, "cat", &print, 5);
    (void)result_cache_find(cache, key_of(1), scope, &print, &anything, 9, &hit);
    (void)result_cache_find(cache, key_of(2), scope, &print, &anything, 9, &hit);
    (void)result_cache_find(cache, key_of(2), scope, &print, &anything, 9, &hit);
    (void)result_cache_find(cache, key_of(2), scope, NULL, &anything, 9, &hit);
    result_cache_counts(cache, &counts);
    assert_int_equal(counts.exact_hits, 1);
    assert_int_equal(counts.similar_hits, 2);
    assert_int_equal(counts.misses, 1);
    result_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_task_is_forgotten), cmocka_unit_test(test_looks_are_counted),
        cmocka_unit_test(test_bytes_are_counted),   cmocka_unit_test(test_similar_is_off),
        cmocka_unit_test(test_a_print_stays),       cmocka_unit_test(test_repeat_is_found),
        cmocka_unit_test(test_keys_are_whole),      cmocka_unit_test(test_repeat_grows_old),
        cmocka_unit_test(test_similar_frames),      cmocka_unit_test(test_similar_is_bounded),
        cmocka_unit_test(test_least_used_goes),     cmocka_unit_test(test_entries_are_bounded),
        cmocka_unit_test(test_better_stays),        cmocka_unit_test(test_too_large_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
