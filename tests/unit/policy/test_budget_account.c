/* What may be spent in an hour: used, reserved and leased, at random and at the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/budget_account.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <math.h>
#include <stdio.h>

#define START_NS  (777 * NS_PER_S + 1234567)
#define MINUTE_NS (60 * NS_PER_S)
#define LIMIT     160000.0
#define LEAST     500.0

static struct budget_account account_make(bool kept)
{
    struct budget_account account;

    budget_account_init(&account, LEAST, kept);
    account.limit = LIMIT;
    return account;
}

static void test_left(void **state)
{
    struct budget_account account = account_make(false);

    (void)state;
    assert_true(budget_account_left(&account, START_NS) == LIMIT);
    account.reserved = 1000;
    budget_account_spend(&account, 3000, START_NS);
    assert_true(budget_account_left(&account, START_NS) == LIMIT - 4000);
    assert_true(budget_account_spendable(&account, START_NS) == LIMIT - 3000);
    budget_account_spend(&account, LIMIT, START_NS);
    assert_true(budget_account_left(&account, START_NS) == -4000);
    assert_true(budget_account_spendable(&account, START_NS) == 0);
    account.reserved = 0;
    assert_true(budget_account_left(&account, START_NS + 61 * MINUTE_NS) == LIMIT);
    account.limit = 0;
    assert_true(isinf(budget_account_left(&account, START_NS)));
    assert_true(isinf(budget_account_spendable(&account, START_NS)));
    assert_false(budget_account_lease_is_low(&account, START_NS));
}

/* What is on disk ahead covers what is under way and a little more, and never more than is left. */
static void test_lease(void **state)
{
    struct budget_account account = account_make(true);

    (void)state;
    assert_true(budget_account_spendable(&account, START_NS) == 0);
    assert_true(budget_account_lease_is_low(&account, START_NS));
    assert_true(budget_account_ahead(&account, START_NS) == LIMIT / 16);
    account.lease = account.spent + budget_account_ahead(&account, START_NS);
    assert_false(budget_account_lease_is_low(&account, START_NS));
    assert_true(budget_account_spendable(&account, START_NS) == LIMIT / 16);
    budget_account_spend(&account, LIMIT / 16 - 10, START_NS);
    assert_true(budget_account_spendable(&account, START_NS) == 10);
    assert_true(budget_account_lease_is_low(&account, START_NS));
    assert_false(budget_account_lease_is_short(&account, 1000, START_NS)); /* nobody waits */
    account.reserved = 30000;
    assert_true(budget_account_lease_is_short(&account, 1000, START_NS));
    assert_true(budget_account_ahead(&account, START_NS) == LIMIT / 16 + 60000);
    budget_account_spend(&account, LIMIT - LIMIT / 16 - 90, START_NS);
    assert_true(budget_account_ahead(&account, START_NS) == 100);
    budget_account_spend(&account, 100, START_NS);
    assert_true(budget_account_ahead(&account, START_NS) == 0);
    account.lease = account.spent;
    assert_false(budget_account_lease_is_short(&account, 1000, START_NS)); /* nor would it help */
    assert_false(budget_account_lease_is_low(&account, START_NS)); /* there is nothing to lease */
    budget_account_spend(&account, 1e6, START_NS); /* more than the lease: it has to be known */
    assert_true(budget_account_lease_is_low(&account, START_NS));
    account.lease = account.spent + budget_account_ahead(&account, START_NS);
    assert_false(budget_account_lease_is_low(&account, START_NS));
    account.limit = 1600;
    account.reserved = 0;
    assert_true(budget_account_ahead(&account, START_NS + 61 * MINUTE_NS) == LEAST);
}

static void test_resets(void **state)
{
    struct budget_account account = account_make(false);
    int64_t resets_ns;

    (void)state;
    assert_int_equal(budget_account_resets_ns(&account, START_NS), 0);
    budget_account_spend(&account, 7, START_NS);
    budget_account_spend(&account, 5, START_NS + 20 * MINUTE_NS);
    resets_ns = budget_account_resets_ns(&account, START_NS + 30 * MINUTE_NS);
    assert_true(budget_account_used(&account, START_NS + 30 * MINUTE_NS + resets_ns - 1) == 12);
    assert_true(budget_account_used(&account, START_NS + 30 * MINUTE_NS + resets_ns) == 5);
}

/* Who spends only what is spendable, and dies anywhere, finds at least as much on disk as was
 * spent: the disk has what was spent when it was written, and the lease. */
static void test_never_under_counted(void **state)
{
    struct budget_account account = account_make(true);
    double on_disk = 0, total = 0;
    struct random_source random;

    (void)state;
    random_seed(&random, 11);
    for (int i = 0; i < 5000; i++) {
        const double wanted = random_unit(&random) * 4000;
        const double bytes = fmin(wanted, budget_account_spendable(&account, START_NS));

        budget_account_spend(&account, bytes, START_NS);
        total += bytes;
        assert_true(total <= on_disk + 1e-6 && on_disk <= LIMIT + 1e-6);
        if (i % 10 == 0 && budget_account_lease_is_low(&account, START_NS)) {
            on_disk =
                budget_account_used(&account, START_NS) + budget_account_ahead(&account, START_NS);
            account.lease = account.spent + budget_account_ahead(&account, START_NS);
        }
    }
    assert_true(total > LIMIT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_left), cmocka_unit_test(test_lease),
                                       cmocka_unit_test(test_resets),
                                       cmocka_unit_test(test_never_under_counted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
