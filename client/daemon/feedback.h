/* feedback.h: what applications say of answers that they got: who may say it, of which decision,
 * and what is learned from it. Loop thread. */
#ifndef TANDEM_CLIENT_FEEDBACK_H
#define TANDEM_CLIENT_FEEDBACK_H

#include "client/daemon/requests.h"

/* A request has ended: of the last LIMIT_FEEDBACK_KEPT something may be said. */
void feedback_keep(struct requests *all, const struct told_answers *answers);

/* Finds again what decisions under `state_dir` ("": none) may still be said of: at the start,
 * before there are requests. */
void feedback_load(struct requests *all, const char *state_dir);

/* User `uid` says that the answer of decision `id` was right, or wrong. The last word counts: what
 * an earlier one has taught is taken back, and so is what was said of an earlier answer of the same
 * model to the same content (as far back as LIMIT_FEEDBACK_KEPT): one content counts once. What is
 * said of an answer from the cache that was given to the same bytes is said of the one that it
 * repeats; an answer that is said to be wrong is not given again. (What is said of an answer that
 * was given to a similar frame says nothing of that frame.) all->on_amended hears of every decision
 * of which something new was said. 0, or with a line (static): TANDEM_EINVAL where there is no
 * answer, TANDEM_ENOTFOUND, TANDEM_EAUTH, TANDEM_EBUSY where the word of this answer has changed
 * LIMIT_FEEDBACK_TURNS times already. */
int feedback_take(struct requests *all, uid_t uid, uint64_t id, bool correct, const char **ret_why);

/* Only now both sides have whole answers (a shadow run): of the local model `local_digest` with
 * this confidence, and of `edge` and its model; whether they are the same. What was said of the
 * delivered one before then judges the other, too. */
void feedback_both(struct requests *all, uint64_t id, const char *local_digest, double confidence,
                   const char *edge, const char *edge_digest, bool agreed);

/* A task's knowledge was reset: what was said of its answers before is not to be taken back from
 * it. */
void feedback_forget(struct requests *all, const char *task);

#endif
