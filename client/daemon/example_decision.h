/* example_decision.h: what --check-config shows of a task: the decision that a request of it would
 * get. Start-up only. */
#ifndef TANDEM_CLIENT_EXAMPLE_DECISION_H
#define TANDEM_CLIENT_EXAMPLE_DECISION_H

#include "client/daemon/requests.h"
#include "client/policy/decision.h"
#include "common/base/buf.h"

/* The decision of an empty request with the task's default deadline, with what is known now. */
void example_decision_make(struct requests *requests, const struct client_task *task,
                           int64_t now_ns, struct decision *ret_decision);
/* Appends it for a person, as comment lines of a configuration: a line for each route that is
 * possible (the chosen one with a *), and the reason. 0 or TANDEM_E*. Pure. */
int example_decision_text(const struct decision *decision, struct buf *out);
/* The same for a program: one comment line, "# json: " and the object that the status socket would
 * show. */
int example_decision_json(const struct decision *decision, struct buf *out);

#endif
