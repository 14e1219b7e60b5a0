#include "client/policy/estimate_text.h"

#include <math.h>

#define ALPHA  0.2
#define WINDOW 64
#define TAIL   0.95

static void rate_init(struct estimate_rate *rate)
{
    ewma_init(&rate->mean, ALPHA);
    quantile_window_init(&rate->window, WINDOW);
}

static void rate_add(struct estimate_rate *rate, double sample)
{
    ewma_add(&rate->mean, sample);
    quantile_window_add(&rate->window, sample);
}

/* How far the tail lies above the mean, as estimate_local_get sees it. */
static double rate_spread(const struct estimate_rate *rate)
{
    return fmax(quantile_window_get(&rate->window, TAIL) - rate->mean.mean,
                2 * rate->mean.deviation);
}

static double rate_worst(const struct estimate_rate *rate)
{
    return quantile_window_get(&rate->window, 1);
}

void estimate_text_init(struct estimate_text *estimate)
{
    rate_init(&estimate->density);
    rate_init(&estimate->prefill);
    rate_init(&estimate->decode);
    rate_init(&estimate->answer);
}

void estimate_text_add(struct estimate_text *estimate, const struct estimate_text_run *run)
{
    if (run->prompt_bytes > 0 && run->prompt_tokens > 0) {
        rate_add(&estimate->density, run->prompt_tokens / run->prompt_bytes);
    }
    if (run->prefill_tokens > 0) {
        rate_add(&estimate->prefill, run->prefill_ms / run->prefill_tokens);
    }
    if (run->decode_tokens > 0) {
        rate_add(&estimate->decode, run->decode_ms / run->decode_tokens);
    }
}

void estimate_text_answer_add(struct estimate_text *estimate, double tokens, bool cut_short)
{
    if (!cut_short || (estimate->answer.mean.count > 0 && tokens > estimate->answer.mean.mean)) {
        rate_add(&estimate->answer, tokens);
    }
}

double estimate_text_answer(const struct estimate_text *estimate, double most_tokens)
{
    return estimate->answer.mean.count > 0 ? fmin(estimate->answer.mean.mean, most_tokens)
                                           : most_tokens / 2;
}

double estimate_text_prompt(const struct estimate_text *estimate, double prompt_bytes)
{
    return estimate->density.mean.count > 0 ? prompt_bytes * estimate->density.mean.mean : 0;
}

/* The tail of the answer's length above what is expected. */
static double answer_spread(const struct estimate_text *estimate, double most_tokens)
{
    const double expected = estimate_text_answer(estimate, most_tokens);
    const double spread = estimate->answer.mean.count > 0 ? rate_spread(&estimate->answer)
                                                          : TAIL * most_tokens - expected;

    return fmin(spread, most_tokens - expected);
}

static bool is_known(const struct estimate_text *estimate)
{
    return estimate->density.mean.count > 0 && estimate->prefill.mean.count > 0 &&
           estimate->decode.mean.count > 0;
}

bool estimate_text_get(const struct estimate_text *estimate, const struct estimate_text_work *work,
                       double wait_ms, struct latency *ret_latency)
{
    const double prompt = estimate_text_prompt(estimate, work->prompt_bytes);
    const double answer = estimate_text_answer(estimate, work->most_tokens);
    double mean_ms, prefill, decode, length;

    if (!is_known(estimate)) {
        return false;
    }
    mean_ms = prompt * estimate->prefill.mean.mean + answer * estimate->decode.mean.mean;
    prefill = prompt * rate_spread(&estimate->prefill);
    decode = answer * rate_spread(&estimate->decode);
    length = answer_spread(estimate, work->most_tokens) * estimate->decode.mean.mean;
    ret_latency->mean_ms = wait_ms + mean_ms;
    ret_latency->p95_ms =
        wait_ms + mean_ms + sqrt(prefill * prefill + decode * decode + length * length);
    return true;
}

double estimate_text_bound_ms(const struct estimate_text *estimate,
                              const struct estimate_text_work *work)
{
    double prompt, answer;

    if (!is_known(estimate)) {
        return NAN;
    }
    prompt = work->prompt_bytes * rate_worst(&estimate->density);
    answer = estimate->answer.mean.count > 0
                 ? fmin(rate_worst(&estimate->answer), work->most_tokens)
                 : work->most_tokens;
    return estimate_bound_ms(prompt * rate_worst(&estimate->prefill) +
                             answer * rate_worst(&estimate->decode));
}

double estimate_text_step_ms(const struct estimate_text *estimate,
                             const struct estimate_text_work *work, double chunk_tokens)
{
    double prompt;

    if (!is_known(estimate)) {
        return NAN;
    }
    prompt = work->prompt_bytes * rate_worst(&estimate->density);
    return estimate_bound_ms(fmax(rate_worst(&estimate->decode),
                                  fmin(prompt, chunk_tokens) * rate_worst(&estimate->prefill)));
}
