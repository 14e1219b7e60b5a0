/* evaluate.c: `tandem-model evaluate FILE LIST`: how often a model is right. LIST has one example a
 * line, input and truth with a tab between them: for a picture model a picture's path (taken from
 * the list's folder) and the name or number of its class; for a token encoder token ids and as many
 * class numbers. The last line of the output is `accuracy: X`, of pictures or of tokens. */
#include "common/model/examples.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct evaluation {
    struct engine_model *model;
    const struct engine_model_info *info;
    struct engine_context *context;
    const char *list;       /* its path */
    uint32_t *ids, *truths; /* [n_context] */
    uint64_t examples, answers, right;
    double surprise; /* sum of -log of the true class' probability */
};

/* Counts one row of logits [C]. */
static void row_score(struct evaluation *evaluation, const float *logits, uint32_t truth)
{
    const uint32_t n = evaluation->info->n_class;
    uint32_t best = 0;
    double sum = 0;

    for (uint32_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - (double)logits[best]);
    }
    evaluation->answers++;
    evaluation->right += best == truth;
    evaluation->surprise += log(sum) - ((double)logits[truth] - (double)logits[best]);
}

static int picture_evaluate(const char *input, const char *truth, void *user,
                            char error[ENGINE_ERROR_BYTES])
{
    struct evaluation *evaluation = user;
    const float *logits = NULL;
    uint32_t class;
    int rc = example_class(evaluation->info, truth, &class, error);

    if (rc == 0) {
        rc = example_picture(evaluation->model, evaluation->context, evaluation->list, input,
                             &logits, error);
    }
    if (rc == 0) {
        evaluation->examples++;
        row_score(evaluation, logits, class);
    }
    return rc;
}

static int tokens_evaluate(const char *input, const char *truth, void *user,
                           char error[ENGINE_ERROR_BYTES])
{
    struct evaluation *evaluation = user;
    const struct engine_model_info *info = evaluation->info;
    const float *logits = NULL;
    size_t count = 0, truth_count = 0;
    int rc = input_tokens(input, evaluation->ids, info->n_context, &count, error);

    rc = rc ? rc : input_tokens(truth, evaluation->truths, info->n_context, &truth_count, error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < truth_count; i++) {
        if (evaluation->truths[i] >= info->n_class) {
            snprintf(error, ENGINE_ERROR_BYTES, "%u is no class of the model, which has %u",
                     evaluation->truths[i], info->n_class);
            return TANDEM_EINVAL;
        }
    }
    if (count != truth_count) {
        snprintf(error, ENGINE_ERROR_BYTES, "%zu tokens and %zu classes: there is one a token",
                 count, truth_count);
        return TANDEM_EINVAL;
    }
    rc = engine_encode_tokens(evaluation->context, evaluation->ids, (uint32_t)count, NULL, &logits);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model could not be run: %s",
                 tandem_error_text(rc));
        return rc;
    }
    evaluation->examples++;
    for (size_t i = 0; i < count; i++) {
        row_score(evaluation, logits + i * info->n_class, evaluation->truths[i]);
    }
    return 0;
}

static void result_print(const struct evaluation *evaluation, const struct tool *tool)
{
    const double accuracy = (double)evaluation->right / (double)evaluation->answers;
    const double surprise = evaluation->surprise / (double)evaluation->answers;

    if (tool->options.json) {
        fprintf(tool->out,
                "{\"examples\": %llu, \"answers\": %llu, \"right\": %llu, \"cross_entropy\": ",
                (unsigned long long)evaluation->examples, (unsigned long long)evaluation->answers,
                (unsigned long long)evaluation->right);
        fprintf(tool->out, isfinite(surprise) ? "%.6f" : "null", surprise);
        fprintf(tool->out, ", \"accuracy\": %.6f}\n", accuracy);
        return;
    }
    fprintf(tool->out, "examples: %llu\nanswers: %llu\nright: %llu\ncross-entropy: %.6f\n",
            (unsigned long long)evaluation->examples, (unsigned long long)evaluation->answers,
            (unsigned long long)evaluation->right, surprise);
    fprintf(tool->out, "accuracy: %.6f\n", accuracy);
}

int evaluate_run(struct tool *tool)
{
    struct evaluation evaluation = {
        .model = tool->model, .info = engine_model_info(tool->model), .list = tool->options.text};
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (tool->options.forms) {
        return evaluate_forms_run(tool);
    }
    if (tool->options.csv || tool->options.each) {
        return tool_say(tool, TOOL_WRONG_USE, "evaluate: --csv and --each are of --forms");
    }
    if (engine_is_decoder(evaluation.info->architecture)) {
        return tool_say(tool, TOOL_FAILED, "%s: a decoder has no classes; perplexity measures it",
                        tool->options.file);
    }
    evaluation.ids = calloc(evaluation.info->n_context, sizeof(*evaluation.ids));
    evaluation.truths = calloc(evaluation.info->n_context, sizeof(*evaluation.truths));
    if (!evaluation.ids || !evaluation.truths) {
        snprintf(error, sizeof(error), "no memory for %u tokens", evaluation.info->n_context);
        rc = TANDEM_ENOMEM;
        goto out;
    }
    rc = input_context(tool->model, evaluation.info->n_context, &evaluation.context, error);
    if (rc == 0) {
        rc = examples_each(evaluation.list, false, tool->notes,
                           evaluation.info->architecture == ENGINE_VIT ? picture_evaluate
                                                                       : tokens_evaluate,
                           &evaluation, error);
    }
    if (rc == 0) {
        result_print(&evaluation, tool);
    }
out:
    engine_context_free(evaluation.context);
    free(evaluation.truths);
    free(evaluation.ids);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
