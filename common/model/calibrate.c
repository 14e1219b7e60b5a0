/* calibrate.c: `tandem-model calibrate FILE LIST OUT`: how far the model's own confidence can be
 * believed, measured on examples that it has not been trained with, written into a copy of it.
 *
 * A line of LIST is an input, one tab and the truth: for a picture model a picture's path (taken
 * from the list's folder) and the name or number of its class; for a decoder a prompt and the whole
 * text that answers it. An input that was there before does not count. What is printed as before
 * and after is of the examples that are held out of the fit (calibration_choose.h), and after is
 * with the very numbers that are in OUT. */
#include "common/base/limits.h"
#include "common/model/answers.h"
#include "common/model/calibration_choose.h"
#include "common/model/examples.h"
#include "common/model/examples_once.h"
#include "common/model/generate.h"
#include "common/model/model_copy.h"
#include "common/model/progress.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* With fewer the share of right answers alone is not known to 13 points of 100 (two standard errors
 * at one half), and a third of them are held out. */
#define EXAMPLES_LEAST 60

/* ---- what the model answers ---- */

struct asking {
    struct tool *tool;
    const struct engine_model_info *info;
    struct engine_context *context; /* of a picture model */
    struct generate generate;       /* of a decoder */
    struct buf text;                /* its answer */
    int text_error;
    struct answers answers;
    struct examples_once once;
};

/* Whether the input counts, which is `bytes` of `content`. */
static int once_take(struct asking *asking, const void *content, size_t bytes, const char *truth,
                     bool *ret_news, char error[ENGINE_ERROR_BYTES])
{
    const int rc = examples_once_take(&asking->once, content, bytes, truth, ret_news);

    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s",
                 rc == TANDEM_EINVAL ? "the same input was there before with another truth"
                                     : tandem_error_text(rc));
    }
    return rc;
}

/* By what is in the file, whatever its name. */
static int picture_once_take(struct asking *asking, const char *input, const char *truth,
                             bool *ret_news, char error[ENGINE_ERROR_BYTES])
{
    char path[EXAMPLE_PATH_BYTES];
    struct buf file;
    int rc = example_path(asking->tool->options.text, input, path, error);

    buf_init(&file, LIMIT_PICTURE_BYTES);
    rc = rc ? rc : input_file(path, LIMIT_PICTURE_BYTES, &file, error);
    rc = rc ? rc : once_take(asking, file.data, file.bytes, truth, ret_news, error);
    buf_fini(&file);
    return rc;
}

static int picture_ask(const char *input, const char *truth, void *user,
                       char error[ENGINE_ERROR_BYTES])
{
    struct asking *asking = user;
    const float *logits = NULL;
    uint32_t class;
    bool news = true;
    int rc = example_class(asking->info, truth, &class, error);

    rc = rc ? rc : picture_once_take(asking, input, truth, &news, error);
    if (rc == 0 && news) {
        rc = example_picture(asking->tool->model, asking->context, asking->tool->options.text,
                             input, &logits, error);
    }
    if (rc != 0 || !news) {
        return rc;
    }
    if (!engine_logits_are_sound(logits, asking->info->n_class)) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model computes what is no number");
        return TANDEM_EINTERNAL;
    }
    rc = answers_add_class(&asking->answers, logits, asking->info->n_class, class);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%zu examples are kept, no more: %s",
                 asking->answers.count, tandem_error_text(rc));
    }
    return rc;
}

static void on_text(const void *text, size_t bytes, void *user)
{
    struct asking *asking = user;

    if (asking->text_error == 0) {
        asking->text_error = buf_append(&asking->text, text, bytes);
    }
}

static int text_ask(const char *input, const char *truth, void *user,
                    char error[ENGINE_ERROR_BYTES])
{
    struct asking *asking = user;
    struct generated generated;
    const float *logits = NULL;
    size_t prompt_tokens, truth_bytes = strlen(truth);
    bool right, news = true;
    int rc = once_take(asking, input, strlen(input), truth, &news, error);

    if (rc != 0 || !news) {
        return rc;
    }
    buf_clear(&asking->text);
    rc = generate_prompt(&asking->generate, input, &prompt_tokens, &logits, error);
    rc = rc ? rc
            : generate_answer(&asking->generate, logits, asking->tool->options.max_tokens, on_text,
                              asking, &generated, error);
    if (rc != 0) {
        return rc;
    }
    right = asking->text.bytes == truth_bytes &&
            (truth_bytes == 0 || memcmp(asking->text.data, truth, truth_bytes) == 0);
    rc = asking->text_error;
    rc = rc ? rc : answers_add_text(&asking->answers, exp(generated.logprob), right);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s", tandem_error_text(rc));
    }
    return rc;
}

/* Everything that LIST asks for, into asking->answers. */
static int answers_ask(struct asking *asking, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_sampling greedy = {.top_p = 1};
    const bool is_decoder = engine_is_decoder(asking->info->architecture);
    int rc = is_decoder ? generate_init(&asking->generate, asking->tool->model, &greedy, error)
                        : input_context(asking->tool->model, asking->info->n_context,
                                        &asking->context, error);

    if (rc == 0) {
        rc = examples_each(asking->tool->options.text, false, asking->tool->notes,
                           is_decoder ? text_ask : picture_ask, asking, error);
    }
    if (rc == 0 && asking->answers.count < EXAMPLES_LEAST) {
        char repeated[80] = "";

        if (asking->once.repeated > 0) {
            snprintf(repeated, sizeof(repeated), " (%zu more are inputs that were there before)",
                     asking->once.repeated);
        }
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%.250s: %zu examples are too few%s, %d are the least and some hundreds are good",
                 asking->tool->options.text, asking->answers.count, repeated, EXAMPLES_LEAST);
        rc = TANDEM_EINVAL;
    }
    return rc;
}

/* ---- the copy ---- */

/* A file of a model that is right as it is says nothing: it may have said so wrongly before. */
static void calibration_put(struct gguf_writer *writer, const struct calibration *calibration)
{
    float x[LIMIT_CALIBRATION_POINTS], y[LIMIT_CALIBRATION_POINTS];

    if (calibration->temperature != 1) {
        gguf_put_f32(writer, "tandem.calibration.temperature", (float)calibration->temperature);
    }
    for (size_t i = 0; i < calibration->count; i++) {
        x[i] = (float)calibration->x[i];
        y[i] = (float)calibration->y[i];
    }
    if (calibration->count > 0) {
        gguf_put_f32s(writer, "tandem.calibration.x", x, calibration->count);
        gguf_put_f32s(writer, "tandem.calibration.y", y, calibration->count);
    }
}

static int copy_write(const struct tool *tool, const struct calibration *calibration,
                      char error[ENGINE_ERROR_BYTES])
{
    static const char *const left_out[] = {"general.alignment", /* the writer's own */
                                           "tandem.calibration.temperature", "tandem.calibration.x",
                                           "tandem.calibration.y", NULL};
    struct engine_file *file = NULL;
    struct progress progress;
    struct target target;
    int rc;

    target_init(&target);
    rc = engine_file_open(tool->options.file, &file, error);
    if (rc == 0) {
        model_copy_pairs(file, left_out, &target.writer);
        calibration_put(&target.writer, calibration);
        rc = model_copy_tensors(file, &target, error);
    }
    if (rc == 0) {
        rc = target_write(&target, NULL, tool->options.output,
                          progress_begin(&progress, tool->notes, "MB", 1e6), &progress, error);
    }
    target_fini(&target);
    engine_file_close(file);
    return rc;
}

/* ---- what is printed ---- */

static const struct {
    const char *key;
    size_t offset;
} columns[] = {
    {"accuracy", offsetof(struct calibration_score, accuracy)},
    {"confidence", offsetof(struct calibration_score, confidence)},
    {"ece", offsetof(struct calibration_score, ece)},
    {"brier", offsetof(struct calibration_score, brier)},
    {"auc", offsetof(struct calibration_score, auc)},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static double column_of(const struct calibration_score *score, size_t column)
{
    return *(const double *)(const void *)((const char *)score + columns[column].offset);
}

/* What cannot be said is "-". */
static void cell_print(FILE *out, double value)
{
    if (isnan(value)) {
        fprintf(out, " %10s", "-");
    } else {
        fprintf(out, " %10.4f", value);
    }
}

/* "after          0.8670     0.8617 ...", without the line's end. */
static void row_print(FILE *out, const char *name, const struct calibration_score *score)
{
    fprintf(out, "%-12s", name);
    for (size_t i = 0; i < COLUMNS; i++) {
        cell_print(out, column_of(score, i));
    }
}

static void header_print(FILE *out, const char *name)
{
    fprintf(out, "%-12s", name);
    for (size_t i = 0; i < COLUMNS; i++) {
        fprintf(out, " %10s", columns[i].key);
    }
}

static void calibration_print(FILE *out, const struct calibration *calibration)
{
    if (calibration->temperature != 1) {
        fprintf(out, "temperature: %.4f\n", calibration->temperature);
    }
    if (calibration->count > 0) {
        fputs("table:", out);
        for (size_t i = 0; i < calibration->count; i++) {
            fprintf(out, " %.4f:%.4f", calibration->x[i], calibration->y[i]);
        }
        fputc('\n', out);
    }
}

static void text_print(FILE *out, const struct calibration_choice *choice, size_t repeated)
{
    fprintf(out, "examples: %zu, of them %zu held out of the fit\n", choice->examples,
            choice->held_out);
    if (repeated > 0) {
        fprintf(out, "repeated: %zu lines with an input that was there before do not count\n",
                repeated);
    }
    header_print(out, "in folds");
    fprintf(out, " %10s\n", "gain/error");
    for (size_t i = 0; i < CALIBRATION_METHODS; i++) {
        if (choice->tried[i]) {
            row_print(out, calibration_method_text((enum calibration_method)i), &choice->folds[i]);
            cell_print(out, choice->gain_errors[i]);
            fputc('\n', out);
        }
    }
    fprintf(out, "method: %s\n", calibration_method_text(choice->method));
    calibration_print(out, &choice->calibration);
    header_print(out, "held out");
    fputc('\n', out);
    row_print(out, "before", &choice->before);
    fputc('\n', out);
    row_print(out, "after", &choice->after);
    fputc('\n', out);
}

static void json_score(struct json_writer *json, const struct calibration_score *score)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        json_double(json, columns[i].key, column_of(score, i));
    }
}

static int json_print(const struct tool *tool, const struct calibration_choice *choice,
                      size_t repeated)
{
    struct json_writer json;
    struct buf buf;

    tool_json_begin(&json, &buf);
    json_uint(&json, "examples", choice->examples);
    json_uint(&json, "held_out", choice->held_out);
    json_uint(&json, "repeated", repeated);
    json_object_open(&json, "folds");
    for (size_t i = 0; i < CALIBRATION_METHODS; i++) {
        if (choice->tried[i]) {
            json_object_open(&json, calibration_method_text((enum calibration_method)i));
            json_score(&json, &choice->folds[i]);
            json_double(&json, "gain_errors", choice->gain_errors[i]);
            json_object_close(&json);
        }
    }
    json_object_close(&json);
    json_text(&json, "method", calibration_method_text(choice->method));
    json_object_open(&json, "before");
    json_score(&json, &choice->before);
    json_object_close(&json);
    json_object_open(&json, "after");
    json_score(&json, &choice->after);
    json_object_close(&json);
    return tool_json_end(tool, &json, &buf);
}

/* ---- all of it ---- */

static int model_calibrate(struct asking *asking, struct calibration_choice *choice,
                           char error[ENGINE_ERROR_BYTES])
{
    struct calibration_data data;
    int rc = answers_ask(asking, error);

    if (rc != 0) {
        return rc;
    }
    data = answers_data(&asking->answers);
    rc = calibration_choose(&data, &asking->info->calibration, choice);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for %zu examples", data.count);
        return rc;
    }
    return copy_write(asking->tool, &choice->calibration, error);
}

int calibrate_run(struct tool *tool)
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    struct asking asking = {.tool = tool, .info = info};
    struct calibration_choice choice = {.method = CALIBRATION_AS_IT_IS};
    char error[ENGINE_ERROR_BYTES] = "";
    int rc, status = TOOL_DONE;

    if (info->architecture == ENGINE_ENCODER) {
        return tool_say(tool, TOOL_FAILED,
                        "%s: the rows of a token encoder are no answers to be sure of",
                        tool->options.file);
    }
    if (tool_output_is(tool, tool->options.file) || tool_output_is(tool, tool->options.text)) {
        return tool_say_same(tool);
    }
    buf_init(&asking.text, LIMIT_ANSWER_TEXT_BYTES);
    answers_init(&asking.answers);
    examples_once_init(&asking.once);
    rc = model_calibrate(&asking, &choice, error);
    if (rc != 0) {
        status = tool_say(tool, TOOL_FAILED, "%s", error);
    } else if (tool->options.json) {
        status = json_print(tool, &choice, asking.once.repeated);
    } else {
        text_print(tool->out, &choice, asking.once.repeated);
    }
    examples_once_fini(&asking.once);
    answers_fini(&asking.answers);
    buf_fini(&asking.text);
    engine_context_free(asking.context);
    generate_fini(&asking.generate);
    return status;
}
