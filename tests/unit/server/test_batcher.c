/* test_batcher.c: order, budget, fairness and admission, with times that the test makes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "server/batcher.h"

#define MS(x) ((x)*NS_PER_MS)

static struct batcher_item item(uint64_t tenant, int64_t urgency_ns, uint32_t prefill)
{
    return (struct batcher_item){
        .tenant = tenant, .urgency_ns = urgency_ns, .prefill = prefill, .user = NULL};
}

static uint32_t taken_of(const struct batcher_item *items, size_t count, int64_t urgency_ns)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].urgency_ns == urgency_ns) {
            return items[i].ret_take;
        }
    }
    fail();
    return 0;
}

static void test_decode_comes_before_prefill(void **state)
{
    struct batcher batcher;
    struct batcher_item items[] = {item(1, 10, 100), item(1, 99, 0), item(1, 98, 0)};

    (void)state;
    batcher_init(&batcher);
    assert_int_equal(batcher_pick(&batcher, items, 3, 16, 8), 3);
    assert_int_equal(taken_of(items, 3, 99), 1);
    assert_int_equal(taken_of(items, 3, 98), 1);
    assert_int_equal(taken_of(items, 3, 10), 14); /* what the budget leaves */
}

static void test_earliest_first_within_the_budget(void **state)
{
    struct batcher batcher;
    struct batcher_item items[] = {item(1, 30, 10), item(1, 10, 10), item(1, 20, 10)};

    (void)state;
    batcher_init(&batcher);
    assert_int_equal(batcher_pick(&batcher, items, 3, 15, 8), 2);
    assert_int_equal(taken_of(items, 3, 10), 10);
    assert_int_equal(taken_of(items, 3, 20), 5);
    assert_int_equal(taken_of(items, 3, 30), 0);
}

static void test_places_are_bounded(void **state)
{
    struct batcher batcher;
    struct batcher_item items[] = {item(1, 1, 0), item(1, 2, 0), item(1, 3, 0), item(1, 4, 5)};

    (void)state;
    batcher_init(&batcher);
    assert_int_equal(batcher_pick(&batcher, items, 4, 100, 2), 2);
    assert_int_equal(taken_of(items, 4, 3), 0);
    assert_int_equal(taken_of(items, 4, 4), 0);
    assert_int_equal(batcher_pick(&batcher, items, 0, 100, 2), 0);
}

static void test_short_overtakes_and_nobody_starves(void **state)
{
    const int64_t long_one = batcher_urgency(0, 0, MS(1000)),
                  short_one = batcher_urgency(MS(100), 0, MS(10));

    (void)state;
    assert_true(short_one < long_one);
    /* A short one that comes long after does not overtake any more. */
    assert_true(batcher_urgency(MS(5000), 0, MS(10)) > long_one);
    assert_int_equal(batcher_urgency(MS(7), MS(9), MS(1)), MS(9)); /* a deadline is the urgency */
}

/* One tenant floods with urgent requests; the other still gets half of every step. */
static void test_tenants_share(void **state)
{
    struct batcher batcher;
    struct batcher_item items[21];
    uint32_t flood = 0, quiet = 0;

    (void)state;
    batcher_init(&batcher);
    for (int i = 0; i < 20; i++) {
        items[i] = item(1, i, 10);
    }
    items[20] = item(2, 1000, 100);
    (void)batcher_pick(&batcher, items, 21, 40, 32);
    for (int i = 0; i < 21; i++) {
        *(items[i].tenant == 1 ? &flood : &quiet) += items[i].ret_take;
    }
    assert_int_equal(quiet, 20);
    assert_int_equal(flood, 20);
}

/* With one place a step, tenants take turns although one is always more urgent. */
static void test_tenants_take_turns(void **state)
{
    struct batcher batcher;
    unsigned quiet = 0;

    (void)state;
    batcher_init(&batcher);
    for (int round = 0; round < 10; round++) {
        struct batcher_item items[] = {item(1, 1, 1), item(1, 2, 1), item(2, 1000, 1)};

        assert_int_equal(batcher_pick(&batcher, items, 3, 1, 1), 1);
        quiet += taken_of(items, 3, 1000);
    }
    assert_int_equal(quiet, 5);
}

/* A tenant that was away does not get to catch up. */
static void test_newcomer_begins_level(void **state)
{
    struct batcher batcher;
    unsigned newcomer = 0;

    (void)state;
    batcher_init(&batcher);
    for (int i = 0; i < 100; i++) {
        struct batcher_item items[] = {item(1, 1, 1), item(2, 2, 1)};

        (void)batcher_pick(&batcher, items, 2, 1, 1);
    }
    for (int i = 0; i < 30; i++) {
        struct batcher_item items[] = {item(1, 1, 1), item(2, 2, 1), item(3, 3, 1)};

        (void)batcher_pick(&batcher, items, 3, 1, 1);
        newcomer += taken_of(items, 3, 3);
    }
    assert_in_range(newcomer, 9, 11);
}

static void test_more_tenants_than_can_be_told_apart(void **state)
{
    struct batcher batcher;

    (void)state;
    batcher_init(&batcher);
    for (uint64_t tenant = 0; tenant < LIMIT_TENANTS * 2; tenant++) {
        struct batcher_item items[] = {item(tenant, 1, 4), item(tenant + 1, 2, 4)};

        assert_int_equal(batcher_pick(&batcher, items, 2, 8, 2), 2);
        assert_int_equal(items[0].ret_take + items[1].ret_take, 8);
        assert_true(batcher.tenant_count <= LIMIT_TENANTS);
    }
    assert_int_equal(batcher.tenant_count, LIMIT_TENANTS);
}

static void test_admission(void **state)
{
    const struct batcher_load idle = {0, MS(10)}, busy = {MS(100), MS(10)};
    uint64_t retry_ms = 0;

    (void)state;
    assert_int_equal(batcher_admit(&idle, MS(10), &retry_ms), 0);
    assert_int_equal(batcher_admit(&busy, 0, &retry_ms), 0); /* no deadline */
    assert_int_equal(batcher_admit(&busy, MS(110), &retry_ms), 0);
    assert_int_equal(retry_ms, 0);
    assert_int_equal(batcher_admit(&busy, MS(50), &retry_ms), TANDEM_EBUSY);
    assert_int_equal(retry_ms, 60); /* then 40 ms are ahead, and 10 of its own fit into 50 */
    assert_int_equal(batcher_admit(&idle, MS(9), &retry_ms), TANDEM_ELATE);
    assert_int_equal(batcher_admit(&busy, MS(110) - 1, &retry_ms), TANDEM_EBUSY);
    assert_int_equal(retry_ms, 1);
}

static void test_rates(void **state)
{
    struct batcher_rates rates = {0};

    (void)state;
    assert_int_equal(batcher_service_ns(&rates, 5, 100, 100), 0); /* unknown predicts nothing */
    batcher_rate_add(&rates.prefill_ns, 100);
    batcher_rate_add(&rates.picture_ns, 5000);
    batcher_rate_add(&rates.decode_ns, 1000);
    assert_int_equal(batcher_service_ns(&rates, 1, 10, 2), 5000 + 1000 + 2000);
    for (int i = 0; i < 100; i++) {
        batcher_rate_add(&rates.prefill_ns, 300);
    }
    assert_in_range((uint64_t)rates.prefill_ns, 299, 300);
}

/* Running sequences go on although the prefills of several tenants would take the whole step. */
static void test_decode_comes_before_shares(void **state)
{
    struct batcher batcher;
    struct batcher_item items[] = {item(1, 1, 100), item(2, 2, 100), item(1, 3, 0)};

    (void)state;
    batcher_init(&batcher);
    assert_int_equal(batcher_pick(&batcher, items, 3, 10, 8), 3);
    assert_int_equal(taken_of(items, 3, 3), 1);
    assert_int_equal(taken_of(items, 3, 1),
                     5); /* an equal part, and what is left goes by urgency */
    assert_int_equal(taken_of(items, 3, 2), 4);
}

/* Many short requests of one tenant do not take the other's places. */
static void test_tenants_share_places(void **state)
{
    struct batcher batcher;
    struct batcher_item items[] = {item(1, 1, 1), item(1, 2, 1), item(1, 3, 1), item(1, 4, 1),
                                   item(1, 5, 1), item(2, 6, 1), item(2, 7, 1)};

    (void)state;
    batcher_init(&batcher);
    assert_int_equal(batcher_pick(&batcher, items, 7, 100, 4), 4);
    assert_int_equal(taken_of(items, 7, 2), 1);
    assert_int_equal(taken_of(items, 7, 3), 0);
    assert_int_equal(taken_of(items, 7, 6), 1);
    assert_int_equal(taken_of(items, 7, 7), 1);
}

/* Who comes new stands beside the least served tenant, not behind the one that took the most. */
static void test_newcomer_stands_with_the_least_served(void **state)
{
    struct batcher batcher;
    struct batcher_item much[] = {item(1, 1, 1000)}, little[] = {item(2, 1, 10)};
    unsigned turns = 0;

    (void)state;
    batcher_init(&batcher);
    (void)batcher_pick(&batcher, little, 1, 2000, 1);
    (void)batcher_pick(&batcher, much, 1, 2000, 1);
    for (int i = 0; i < 4; i++) {
        struct batcher_item items[] = {item(2, 1, 10), item(3, 2, 10)};

        assert_int_equal(batcher_pick(&batcher, items, 2, 10, 1), 1);
        turns += taken_of(items, 2, 2) > 0;
    }
    assert_int_equal(turns, 2);
}

/* Work that takes exactly the time there is can still be done, only not behind other work. */
static void test_admission_to_the_nanosecond(void **state)
{
    uint64_t retry_ms = 0;

    (void)state;
    assert_int_equal(batcher_admit(&(struct batcher_load){0, MS(10)}, MS(10), &retry_ms), 0);
    assert_int_equal(batcher_admit(&(struct batcher_load){1, MS(10)}, MS(10), &retry_ms),
                     TANDEM_EBUSY);
    assert_int_equal(retry_ms, 1);
    assert_int_equal(batcher_admit(&(struct batcher_load){0, MS(10) + 1}, MS(10), &retry_ms),
                     TANDEM_ELATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_comes_before_shares),
        cmocka_unit_test(test_tenants_share_places),
        cmocka_unit_test(test_newcomer_stands_with_the_least_served),
        cmocka_unit_test(test_admission_to_the_nanosecond),
        cmocka_unit_test(test_decode_comes_before_prefill),
        cmocka_unit_test(test_earliest_first_within_the_budget),
        cmocka_unit_test(test_places_are_bounded),
        cmocka_unit_test(test_short_overtakes_and_nobody_starves),
        cmocka_unit_test(test_tenants_share),
        cmocka_unit_test(test_tenants_take_turns),
        cmocka_unit_test(test_newcomer_begins_level),
        cmocka_unit_test(test_more_tenants_than_can_be_told_apart),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_rates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
