/* estimate_text.h: how long this device takes to generate a text for one task: so many
 * milliseconds for a token of the prompt, so many for a token of the answer, and how many of each
 * there will be. A long prompt and a short one are two different times, and so are a request that
 * may say four tokens and one that may say a thousand. Pure state, loop thread; times in ms.
 *
 *   E[T] = prompt_bytes * E[tokens/byte] * E[ms/prompt token]
 *        + min(E[answer tokens], most) * E[ms/answer token]
 *
 * The spreads of the three are independent of each other: their squares add. */
#ifndef TANDEM_POLICY_ESTIMATE_TEXT_H
#define TANDEM_POLICY_ESTIMATE_TEXT_H

#include "client/policy/estimate_local.h"

struct estimate_rate { /* one measured quantity: its mean and its latest samples */
    struct ewma mean;
    struct quantile_window window;
};
struct estimate_text {
    struct estimate_rate density; /* tokens of the prompt a byte of the input */
    struct estimate_rate prefill; /* ms a token of the prompt */
    struct estimate_rate decode;  /* ms a token of the answer */
    struct estimate_rate answer;  /* tokens */
};
/* What was measured of one run, or of a part of it. A part that did not happen is 0 and teaches
 * nothing. */
struct estimate_text_run {
    double prompt_bytes, prompt_tokens; /* the input, and the tokens that it became */
    double prefill_tokens, prefill_ms;  /* that were computed, and in what time */
    double decode_tokens, decode_ms;
};
/* One request, before it runs. */
struct estimate_text_work {
    double prompt_bytes;
    double most_tokens; /* the answer has no more */
};
void estimate_text_init(struct estimate_text *estimate);
void estimate_text_add(struct estimate_text *estimate, const struct estimate_text_run *run);
/* An answer had so many tokens, whoever gave it. One that was cut short would have had more: it
 * counts only where it is longer than what is expected. */
void estimate_text_answer_add(struct estimate_text *estimate, double tokens, bool cut_short);
/* How many tokens an answer is expected to have. Before the first one is seen every length up to
 * `most_tokens` is as likely as any other. */
double estimate_text_answer(const struct estimate_text *estimate, double most_tokens);
/* How many tokens the prompt is expected to have; 0 before the first run. */
double estimate_text_prompt(const struct estimate_text *estimate, double prompt_bytes);
/* Run time with `wait_ms` of queue before it. False, nothing written, before both kinds of step
 * were measured. */
bool estimate_text_get(const struct estimate_text *estimate, const struct estimate_text_work *work,
                       double wait_ms, struct latency *ret_latency);
/* As estimate_local_bound_ms: every part at the worst of its window, and half as much again. NAN
 * where estimate_text_get is false. */
double estimate_text_bound_ms(const struct estimate_text *estimate,
                              const struct estimate_text_work *work);
/* The bound of one step of such a run: a token, or a chunk of the prompt of up to `chunk_tokens`.
 * NAN where estimate_text_get is false. */
double estimate_text_step_ms(const struct estimate_text *estimate,
                             const struct estimate_text_work *work, double chunk_tokens);

#endif
