/* learn.h: what requests teach, where it is kept, and when it holds no more. What is learned
 * belongs to models: to the local one's digest, and what concerns an edge to the digest of the
 * edge's model for the task. Where a digest changes, what was learned with the old one is forgotten
 * and one line says so. Loop thread. */
#ifndef TANDEM_CLIENT_LEARN_H
#define TANDEM_CLIENT_LEARN_H

#include "client/daemon/learned.h"
#include "client/daemon/request.h"

/* This number names another edge now. */
void learn_edge_fresh(struct requests *all, size_t edge);
/* The edge says which model it has for task `task`. */
void learn_edge_model(struct requests *all, size_t edge, size_t task, const char *digest);
/* Whether the edge's answer came from the model that it has now, as far as known. */
bool learn_edge_model_is(const struct request *request);
/* Both sides answered: whether they agreed; of a task with a positive label, how probable it was
 * to local, and whether the edge found it the likeliest; of boxes CONFIDENCE_NOTHING where local
 * found nothing. An answer of another model than the edge
 * now has teaches nothing. */
void learn_agreement(struct request *request, double confidence, bool agreed);
void learn_agreement_of(struct client_task *task, size_t edge, const char *digest,
                        uint64_t decision, double confidence, bool agreed);
/* The application says that the delivered answer was right, or wrong (`tell`), or does not say it
 * any more: what that says of the answer of `side`. What models answered that are no longer there
 * teaches nothing. */
void learn_told(struct requests *all, const struct told_answers *answers, enum job_side side,
                bool correct, bool tell);
/* Names what `confidence` of told_answers is of: 0, or the positive label and what its errors cost.
 */
uint64_t learn_question(const struct client_task *task);
/* A copy of all that is kept over a restart. *returns owned* in *ret_learned; 0 or TANDEM_ENOMEM.
 */
int learn_take(const struct requests *all, struct learned *ret_learned);
/* Puts into force what was kept: of tasks of the same name, kind and local model, of edges of the
 * same name and url. Before the first edge is connected. */
void learn_give(struct requests *all, const struct learned *learned);
/* Forgets all that was learned of a task, and its cached answers. 0, or TANDEM_ENOTASK. */
int learn_forget(struct requests *all, const char *task);

#endif
