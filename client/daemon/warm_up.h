/* warm_up.h: a model's first runs, so that READY means that it answers and that the first estimate
 * is measured. Before the runner has the model; on the calling thread. */
#ifndef TANDEM_CLIENT_WARM_UP_H
#define TANDEM_CLIENT_WARM_UP_H

#include "client/daemon/runner.h"
#include "client/policy/estimate_text.h"

#define WARM_UP_PROMPT_TOKENS 64
#define WARM_UP_ANSWER_TOKENS 16

/* A picture model sees one grey picture. A text model gets a prompt of WARM_UP_PROMPT_TOKENS tokens
 * from all over its vocabulary and is fed WARM_UP_ANSWER_TOKENS more, one by one; then the text
 * that those tokens spell goes the whole way of a request, unless the tokenizer does not take it.
 * All of it runs twice, and the second round is what the estimates learn. Given up with ECANCELED,
 * within a step, once `abort` (may be NULL) is set. 0, or TANDEM_E* with a line in `why`. */
int warm_up(struct local_model *model, struct estimate_local *estimate, struct estimate_text *text,
            const atomic_bool *abort, char why[ENGINE_ERROR_BYTES]);

#endif
