/* run.c: `tandem-model run`: a decoder continues a prompt, a vision model names a picture. */
#include "common/base/clock.h"
#include "common/model/generate.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 5

static void on_text(const void *text, size_t bytes, void *user)
{
    FILE *out = user;

    fwrite(text, 1, bytes, out);
    fflush(out);
}

static int decoder_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    const struct tool_options *options = &tool->options;
    const struct engine_sampling params = {(float)options->temperature, (uint32_t)options->top_k,
                                           (float)options->top_p, options->seed};
    struct generate generate;
    struct generated generated;
    size_t prompt_tokens = 0;
    const float *logits = NULL;
    int64_t start_ns, prompt_ns, end_ns;
    int rc = generate_init(&generate, tool->model, &params, error);

    if (rc != 0) {
        goto out;
    }
    start_ns = clock_now_ns();
    rc = generate_prompt(&generate, options->prompt, &prompt_tokens, &logits, error);
    prompt_ns = clock_now_ns();
    if (rc == 0) {
        rc = generate_answer(&generate, logits, options->max_tokens, on_text, tool->out, &generated,
                             error);
        fputc('\n', tool->out);
    }
    end_ns = clock_now_ns();
    if (rc == 0) {
        fprintf(tool->notes,
                "prompt: %zu tokens in %.1f ms; answer: %zu tokens in %.1f ms, sure to %.6f\n",
                prompt_tokens, (double)(prompt_ns - start_ns) / 1e6, generated.tokens,
                (double)(end_ns - prompt_ns) / 1e6,
                calibration_apply(&engine_model_info(tool->model)->calibration,
                                  exp(generated.logprob)));
    }
out:
    generate_fini(&generate);
    return rc;
}

/* The names of the best classes with their probabilities, best first. */
static void names_print(FILE *out, const struct engine_model_info *info, float *scores)
{
    for (uint32_t shown = 0; shown < NAMES_SHOWN && shown < info->n_class; shown++) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < info->n_class; i++) {
            best = scores[i] > scores[best] ? i : best;
        }
        if (info->labels) {
            fprintf(out, "%s %.4f\n", info->labels[best], (double)scores[best]);
        } else {
            fprintf(out, "%u %.4f\n", best, (double)scores[best]);
        }
        scores[best] = -1;
    }
}

static int picture_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    float *scores = calloc(info->n_class, sizeof *scores);
    struct engine_context *context = NULL;
    const float *logits = NULL;
    size_t best;
    int rc;

    if (!scores) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory");
        return TANDEM_ENOMEM;
    }
    rc = input_context(tool->model, info->n_context, &context, error);
    if (rc == 0) {
        rc = input_encode_picture(tool->model, context, tool->options.image, &logits, error);
    }
    if (rc == 0) {
        memcpy(scores, logits, info->n_class * sizeof *scores);
        best = engine_softmax(scores, info->n_class, info->calibration.temperature);
        fprintf(tool->notes, "sure to %.6f\n",
                calibration_apply(&info->calibration, (double)scores[best]));
        names_print(tool->out, info, scores);
    }
    engine_context_free(context);
    free(scores);
    return rc;
}

int run_run(struct tool *tool)
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (!tool->options.prompt == !tool->options.image) {
        return tool_say(tool, TOOL_WRONG_USE, "run needs either --prompt or --image");
    }
    if (info->architecture == ENGINE_ENCODER) {
        return tool_say(tool, TOOL_FAILED,
                        "%s: a token encoder has rows of numbers for an answer; see logits",
                        tool->options.file);
    }
    if ((info->architecture == ENGINE_VIT) != (tool->options.image != NULL)) {
        return tool_say(tool, TOOL_FAILED, "%s: this model takes %s", tool->options.file,
                        info->architecture == ENGINE_VIT ? "--image" : "--prompt");
    }
    rc = tool->options.image ? picture_run(tool, error) : decoder_run(tool, error);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
