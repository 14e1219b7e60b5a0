/* timing.h: what an open model does in a second: the tests of `tandem-model bench` and of `make
 * bench`. One thread calls; a step has as many as it is told. */
#ifndef TANDEM_MODEL_TIMING_H
#define TANDEM_MODEL_TIMING_H

#include "common/engine/engine.h"

#define TIMING_TESTS 4
#define TIMING_BATCH 8    /* sequences of batch8 */
#define TIMING_CHUNK 512  /* tokens of a step of prefill, at most */
#define TIMING_DEEP  2048 /* tokens before those of tgN@2048 */

enum timing_kind { TIMING_STEPS, TIMING_PICTURES, TIMING_ROWS };

/* One test: `count` tokens for each of `sequences`, in steps of `chunk`, after `before` tokens that
 * are not timed; or `count` pictures at once; or `count` rows of a token encoder, `chunk` tokens
 * each. */
struct timing_test {
    char name[24]; /* "pp512", "tg128", "tg128@2048", "batch8", "image" */
    enum timing_kind kind;
    uint32_t sequences, before, count, chunk;
};

/* The tests that suit the model; their number. A decoder: pp of `prompt` tokens (0: none; fewer
 * when the context is shorter, as the name then says), tg of `generate` tokens (likewise), the same
 * after 2048 tokens where they fit, and eight sequences side by side, which generate as many in
 * all. A vision model: pictures. A token encoder: pp of a row as long as it takes. Pure. */
size_t timing_tests(const struct engine_model_info *info, uint32_t prompt, uint32_t generate,
                    struct timing_test ret_tests[TIMING_TESTS]);
/* Runs the test once, with steps of `threads` (1..LIMIT_STEP_THREADS), and gives tokens (or
 * pictures) a second. 0, TANDEM_ENOMEM and what steps return, with a line. */
int timing_run(struct engine_model *model, const struct timing_test *test, uint32_t threads,
               double *ret_per_second, char error[ENGINE_ERROR_BYTES]);

#endif
