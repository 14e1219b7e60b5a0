/* budgets_text.h: what state_dir/budgets holds, as text, line by line:
 *
 *   budgets 1
 *   at BOOT NS NS        the boot's id, the time since it began, and the wall clock
 *   bytes AHEAD AMOUNT:AGE ...     what may be spent before the next writing, and what was spent
 *   joule AHEAD AMOUNT:AGE ...     how many minutes before
 *
 * Any thread. */
#ifndef TANDEM_CLIENT_BUDGETS_TEXT_H
#define TANDEM_CLIENT_BUDGETS_TEXT_H

#include "client/policy/budget_account.h"
#include "common/base/buf.h"

enum budget_kind { BUDGET_BYTES, BUDGET_JOULE, BUDGETS };

struct budgets_kept {
    struct budget_moment moment;
    double ahead[BUDGETS];
    double spent[BUDGETS][BUDGET_MINUTES]; /* by age in minutes at `moment` */
};
/* Appends. 0 or an error of the buffer. */
int budgets_text_write(const struct budgets_kept *kept, struct buf *out);
/* 0, or TANDEM_EFORMAT for what _write would not have written. */
int budgets_text_read(const char *text, size_t bytes, struct budgets_kept *ret_kept);

#endif
