/* runner_parts.h: between the files of the runner. The thread that runs the steps, or a test. */
#ifndef TANDEM_CLIENT_RUNNER_PARTS_H
#define TANDEM_CLIENT_RUNNER_PARTS_H

#include "client/daemon/runner.h"

/* runner_classify.c: the whole picture. 0 or TANDEM_E*, with the answer or the job's `why`. */
int classify_run(struct runner_job *job);

/* runner_generate.c. A job has a generation from generation_begin until generation_free (NULL is
 * fine). */
/* Makes tokens of the input. 0, EINVAL for an empty text, ETOOBIG for one that fills the context.
 */
int generation_begin(struct runner_job *job);
enum step_kind generation_next(const struct runner_job *job);
bool generation_has_text(const struct runner_job *job); /* some tokens have none */
/* How sure its text is so far, 0..1, and of how many tokens (the end's too). */
double generation_sure(const struct runner_job *job, uint32_t *ret_tokens);
bool generation_has_pages(const struct runner_job *job);
/* Pages for the next step. ENOMEM: the pool has none left; nothing changed. */
int generation_reserve(struct runner_job *job);
/* Gives all pages back; the next steps compute their rows again. */
void generation_drop(struct runner_job *job);
/* One step, reserved before. *ret_more false: it was the last, and generation_finish is next. */
int generation_step(struct runner_job *job, bool *ret_more);
/* The text that came since the last call. Borrowed until the next step. */
const uint8_t *generation_text(struct runner_job *job, size_t *ret_bytes);
/* Makes the answer of what there is. `deadline`: it was cut short. */
int generation_finish(struct runner_job *job, bool deadline);
void generation_free(struct runner_job *job);

/* runner_queue.c: which job runs its next step, and when one ends. */
struct runner_queue {
    struct runner_job *first;   /* in the order they came */
    struct runner_job *stepped; /* the one that had the last step; NULL: none, or it has ended */
};
void runner_queue_add(struct runner_queue *queue, struct runner_job *job);
/* What is due now: one job's end or one job's step. Returns the job that has ended (no longer in
 * the queue, error or answer set) or NULL. */
struct runner_job *runner_queue_step(struct runner_queue *queue);

#endif
