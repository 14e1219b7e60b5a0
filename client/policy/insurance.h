/* insurance.h: the promises that local runs are kept free for. Pure; part of decide. */
#ifndef TANDEM_POLICY_INSURANCE_H
#define TANDEM_POLICY_INSURANCE_H

#include "client/policy/decide.h"

/* Plans when the local run of a request that goes to an edge starts. `hedge_ns`: local starts then
 * even where the deadline would leave more time; 0: not. Writes choice->plan, and choice->reason
 * where no promise can be given. */
void insurance_plan(const struct decide_input *input, struct choice *choice, int64_t hedge_ns);

#endif
