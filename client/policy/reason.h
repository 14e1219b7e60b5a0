/* reason.h: why a request goes where it goes, in one clause. Pure; part of decide. All texts are
 * static or borrowed from the input. */
#ifndef TANDEM_POLICY_REASON_H
#define TANDEM_POLICY_REASON_H

#include "client/policy/cascade.h"
#include "client/policy/decide.h"

#define REASON_FORCED "forced by caller" /* what replay knows such a decision by */

/* Where no edge is a candidate: choice->trouble and needs_bytes. */
void reason_note_trouble(const struct decide_input *input, struct choice *choice);
const char *reason_of_choice(const struct decide_input *input, const struct choice *choice,
                             const struct cascade *cascade);
/* Why the edge is sent something else than what came; NULL: it is not, or is not asked. */
const char *reason_of_upload(const struct decide_input *input, const struct choice *choice);
/* Of TANDEM_ENOROUTE. */
const char *reason_of_no_route(const struct decide_input *input);

#endif
