#include "client/policy/budget_account.h"

#include "common/base/clock.h"

#include <math.h>
#include <string.h>

#define LEASE_PART  16
#define LEASE_AGAIN 2 /* what is reserved is followed by as much */
#define MINUTE_NS   (60 * NS_PER_S)
#define TINY        1e-9 /* sums of fractions are not exact */

void budget_account_init(struct budget_account *account, double least, bool kept)
{
    memset(account, 0, sizeof(*account));
    account->least = least;
    account->lease = kept ? 0 : INFINITY;
}

void budget_account_spend(struct budget_account *account, double amount, int64_t now_ns)
{
    if (amount > 0) {
        account->spent += amount;
        budget_hour_add(&account->hour, amount, now_ns);
    }
}

double budget_account_used(const struct budget_account *account, int64_t now_ns)
{
    return budget_hour_sum(&account->hour, now_ns);
}

double budget_account_left(const struct budget_account *account, int64_t now_ns)
{
    return account->limit > 0
               ? account->limit - budget_account_used(account, now_ns) - account->reserved
               : INFINITY;
}

double budget_account_spendable(const struct budget_account *account, int64_t now_ns)
{
    if (account->limit == 0) {
        return INFINITY;
    }
    return fmax(fmin(account->limit - budget_account_used(account, now_ns),
                     account->lease - account->spent),
                0);
}

double budget_account_ahead(const struct budget_account *account, int64_t now_ns)
{
    const double left = account->limit - budget_account_used(account, now_ns);
    const double wanted =
        fmax(account->limit / LEASE_PART, account->least) + LEASE_AGAIN * account->reserved;

    return fmax(fmin(wanted, left), 0);
}

bool budget_account_lease_is_low(const struct budget_account *account, int64_t now_ns)
{
    const double ahead = budget_account_ahead(account, now_ns);
    const double leased = account->lease - account->spent;

    return account->limit > 0 && (leased < -TINY || (ahead > TINY && leased < ahead / 2));
}

bool budget_account_lease_is_short(const struct budget_account *account, double more,
                                   int64_t now_ns)
{
    const double ahead = budget_account_ahead(account, now_ns);
    const double leased = account->lease - account->spent;

    return account->limit > 0 && account->reserved > 0 &&
           leased < fmin(account->reserved + more, ahead) - TINY;
}

int64_t budget_account_resets_ns(const struct budget_account *account, int64_t now_ns)
{
    for (int age = BUDGET_MINUTES - 1; age >= 0; age--) {
        if (budget_hour_at(&account->hour, age, now_ns) > 0) {
            return (now_ns / MINUTE_NS - age + BUDGET_MINUTES) * MINUTE_NS - now_ns;
        }
    }
    return 0;
}
