/* budget_account.h: what may be spent of one thing in any hour: what was spent, what is reserved
 * for requests under way, and a lease: how much the disk believes to be spent already. Only what
 * the lease covers may be spent, so whoever dies at any moment finds at least as much counted as
 * was spent. Pure state, one thread at a time; amounts are bytes or joule; time is an argument, on
 * the clock of budget.h. */
#ifndef TANDEM_POLICY_BUDGET_ACCOUNT_H
#define TANDEM_POLICY_BUDGET_ACCOUNT_H

#include "client/policy/budget.h"

struct budget_account {
    double limit; /* in any hour; 0: none */
    double least; /* of a lease */
    struct budget_hour hour;
    double spent;    /* since the start */
    double reserved; /* for what is under way */
    double lease;    /* `spent` may come to this; INFINITY: nothing is kept */
};
/* Nothing was spent. `kept`: there is a disk, and no lease yet. */
void budget_account_init(struct budget_account *account, double least, bool kept);
void budget_account_spend(struct budget_account *account, double amount, int64_t now_ns);
/* Within the last hour (a minute more, as budget.h says). */
double budget_account_used(const struct budget_account *account, int64_t now_ns);
/* What is neither used nor reserved; below 0 where more was spent than was allowed; INFINITY
 * without a limit. */
double budget_account_left(const struct budget_account *account, int64_t now_ns);
/* The same, reserved or not, as far as the lease covers it: what may be spent now. */
double budget_account_spendable(const struct budget_account *account, int64_t now_ns);
/* What a new lease has to be ahead of `spent`: a sixteenth of the limit, and twice what is
 * reserved; no more than is left. */
double budget_account_ahead(const struct budget_account *account, int64_t now_ns);
/* Whether a new one had better be written: less than half of that is left of the old one, or more
 * than it was spent. */
bool budget_account_lease_is_low(const struct budget_account *account, int64_t now_ns);
/* Whether the lease does not cover what is reserved, and `more`, though a new one would cover more
 * of it: what is under way would wait. A new lease covers twice what was reserved, so before it is
 * short again a sixteenth of the limit is spent or reserved. */
bool budget_account_lease_is_short(const struct budget_account *account, double more,
                                   int64_t now_ns);
/* How long until some of what is used counts no more; 0: nothing is used. */
int64_t budget_account_resets_ns(const struct budget_account *account, int64_t now_ns);

#endif
