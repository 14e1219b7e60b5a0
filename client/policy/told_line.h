/* told_line.h: what a decision's line keeps of its answers, so that an application can say after a
 * restart, too, what they were: who asked, whose models answered, how sure the local one was. No
 * content, and of a yes/no question nothing: there, how sure local was is the answer. Pure; works
 * on the text of lines. */
#ifndef TANDEM_POLICY_TOLD_LINE_H
#define TANDEM_POLICY_TOLD_LINE_H

#include "client/policy/told.h"
#include "common/base/json.h"

/* The member `answers`; none where there was no answer, and of a question. */
void told_answers_json(const struct told_answers *answers, struct json_writer *json);
/* Reads it from a decision's line (its end is a NUL). `decision` and `task` are the caller's.
 * False: it is not there, or not whole. */
bool told_answers_read(const char *line, struct told_answers *ret_answers);
/* What a later line (amendment.h) says of its decision's answers: `correct`, which was learned
 * from, and `forgotten`, which is not any more. False: it says something else. */
bool told_amend(const char *line, struct told_answers *answers);

#endif
