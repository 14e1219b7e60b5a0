/* evaluate_forms.c: `tandem-model evaluate FILE LIST --forms`: what it costs in answers to send the
 * pictures smaller or more compressed than they came. Every picture is run as it came and in each
 * form that an upload may have (common/base/picture_effects.h), made by the same function as the
 * client daemon makes it. A form as large as the picture counts, one that is larger does not exist.
 *
 * A line of LIST is a path, with the truth behind a tab where it is known: then an answer is lost
 * that was right and is wrong in the form. Without, every answer that differs counts as lost, which
 * is the most that it can be. `--csv` is the file that a task names as upload_effects. */
#include "common/base/limits.h"
#include "common/base/picture_effects.h"
#include "common/model/examples.h"
#include "common/model/tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMS    (1 + PICTURE_SCALES * PICTURE_QUALITIES) /* the first: as it came */
#define NO_TRUTH UINT32_MAX

struct form {
    unsigned scale;
    uint32_t quality;
    uint64_t pictures, bytes, agree, truths, right, lost, won;
};
struct forms {
    struct engine_model *model;
    const struct engine_model_info *info;
    struct engine_context *context;
    const char *list;
    FILE *each; /* NULL: only the sums are wanted */
    uint64_t pictures;
    struct form items[FORMS];
};

static void forms_init(struct forms *forms)
{
    for (size_t i = 1; i < FORMS; i++) {
        forms->items[i].scale = picture_scales[(i - 1) / PICTURE_QUALITIES];
        forms->items[i].quality = picture_qualities[(i - 1) % PICTURE_QUALITIES];
    }
}

static int class_of(const struct forms *forms, const struct buf *picture, uint32_t *ret_class,
                    char error[ENGINE_ERROR_BYTES])
{
    const float *logits = NULL;
    uint32_t best = 0;
    int rc = input_encode_bytes(forms->model, forms->context, picture, &logits, error);

    for (uint32_t i = 1; rc == 0 && i < forms->info->n_class; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    *ret_class = best;
    return rc;
}

/* What is learned of one form from one picture. */
static void form_count(struct form *form, uint64_t bytes, uint32_t answer, uint32_t original,
                       uint32_t truth)
{
    form->pictures++;
    form->bytes += bytes;
    form->agree += answer == original;
    if (truth == NO_TRUTH) {
        form->lost += answer != original;
        return;
    }
    form->truths++;
    form->right += answer == truth;
    form->lost += original == truth && answer != truth;
    form->won += original != truth && answer == truth;
}

static void each_print(const struct forms *forms, const struct form *form, uint64_t bytes,
                       uint32_t answer, uint32_t truth)
{
    if (!forms->each) {
        return;
    }
    fprintf(forms->each, "%" PRIu64 ",%u,%" PRIu32 ",%" PRIu64 ",%" PRIu32 ",", forms->pictures,
            form->scale, form->quality, bytes, answer);
    if (truth != NO_TRUTH) {
        fprintf(forms->each, "%" PRIu32, truth);
    }
    fputc('\n', forms->each);
}

/* The sides of the form; false where the picture is smaller. */
static bool sides_of(const struct forms *forms, const struct form *form, uint32_t width,
                     uint32_t height, uint32_t *ret_width, uint32_t *ret_height)
{
    const double factor = form->scale * fmax((double)forms->info->image_width / width,
                                             (double)forms->info->image_height / height);

    *ret_width = (uint32_t)fmax(round(factor * width), 1);
    *ret_height = (uint32_t)fmax(round(factor * height), 1);
    return factor <= 1;
}

static int form_try(struct forms *forms, struct form *form, const struct buf *file,
                    const uint32_t sides[2], uint32_t original, uint32_t truth,
                    char error[ENGINE_ERROR_BYTES])
{
    const struct engine_picture picture = {
        .format = ENGINE_PIXELS_ENCODED, .data = file->data, .bytes = file->bytes};
    struct buf made = {0};
    uint32_t width, height, answer;
    int rc;

    if (!sides_of(forms, form, sides[0], sides[1], &width, &height)) {
        return 0;
    }
    rc = engine_picture_encode(&picture, width, height, form->quality, &made.data, &made.bytes,
                               error);
    rc = rc ? rc : class_of(forms, &made, &answer, error);
    if (rc == 0) {
        form_count(form, made.bytes, answer, original, truth);
        each_print(forms, form, made.bytes, answer, truth);
    }
    free(made.data);
    return rc;
}

static int picture_try(struct forms *forms, const struct buf *file, uint32_t truth,
                       char error[ENGINE_ERROR_BYTES])
{
    uint32_t sides[2], original;
    int rc = engine_picture_size(file->data, file->bytes, &sides[0], &sides[1]);

    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "neither a JPEG nor a PNG picture");
        return rc;
    }
    rc = class_of(forms, file, &original, error);
    if (rc == 0) {
        form_count(&forms->items[0], file->bytes, original, original, truth);
        each_print(forms, &forms->items[0], file->bytes, original, truth);
    }
    for (size_t i = 1; rc == 0 && i < FORMS; i++) {
        rc = form_try(forms, &forms->items[i], file, sides, original, truth, error);
    }
    forms->pictures++;
    return rc;
}

static int line_try(const char *input, const char *named, void *user,
                    char error[ENGINE_ERROR_BYTES])
{
    struct forms *forms = user;
    char path[EXAMPLE_PATH_BYTES], why[ENGINE_ERROR_BYTES] = "";
    uint32_t truth = NO_TRUTH;
    struct buf file;
    int rc = 0;

    if (named) {
        rc = example_class(forms->info, named, &truth, error);
    }
    buf_init(&file, LIMIT_PICTURE_BYTES);
    rc = rc ? rc : example_path(forms->list, input, path, error);
    rc = rc ? rc : input_file(path, LIMIT_PICTURE_BYTES, &file, error);
    if (rc == 0) {
        rc = picture_try(forms, &file, truth, why);
        if (rc != 0) {
            snprintf(error, ENGINE_ERROR_BYTES, "%.255s: %.250s", path, why);
        }
    }
    buf_fini(&file);
    return rc;
}

static void csv_print(const struct forms *forms, FILE *out)
{
    fprintf(out, PICTURE_EFFECTS_HEADER "\n");
    for (size_t i = 0; i < FORMS; i++) {
        const struct form *form = &forms->items[i];

        if (form->pictures == 0) {
            continue;
        }
        fprintf(out, "%s,%u,%" PRIu32 ",%" PRIu64 ",%.0f,%.4f,", engine_model_digest(forms->model),
                form->scale, form->quality, form->pictures,
                (double)form->bytes / (double)form->pictures,
                (double)form->agree / (double)form->pictures);
        if (form->truths == form->pictures) {
            fprintf(out, "%.4f", (double)form->right / (double)form->truths);
        }
        fprintf(out, ",%.4f\n",
                i == 0 ? 0 : picture_effect_error(form->pictures, form->lost, form->won));
    }
}

static void table_print(const struct forms *forms, FILE *out)
{
    fprintf(out, "%-26s %8s %9s %10s %9s %7s\n", "form", "pictures", "bytes", "agreement",
            "accuracy", "error");
    for (size_t i = 0; i < FORMS; i++) {
        const struct form *form = &forms->items[i];
        char name[64] = "as they came";

        if (form->pictures == 0) {
            continue;
        }
        if (i > 0) {
            snprintf(name, sizeof(name), "%ux the model, quality %" PRIu32, form->scale,
                     form->quality);
        }
        fprintf(out, "%-26s %8" PRIu64 " %9.0f %9.2f%%", name, form->pictures,
                (double)form->bytes / (double)form->pictures,
                100 * (double)form->agree / (double)form->pictures);
        if (form->truths == form->pictures) {
            fprintf(out, " %8.2f%%", 100 * (double)form->right / (double)form->truths);
        } else {
            fprintf(out, " %9s", "-");
        }
        fprintf(out, " %7.4f\n",
                i == 0 ? 0 : picture_effect_error(form->pictures, form->lost, form->won));
    }
}

int evaluate_forms_run(struct tool *tool)
{
    struct forms forms = {.model = tool->model,
                          .info = engine_model_info(tool->model),
                          .list = tool->options.text,
                          .each = tool->options.each ? tool->out : NULL};
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (forms.info->image_width == 0) {
        return tool_say(tool, TOOL_FAILED, "%s: --forms is for models that look at pictures",
                        tool->options.file);
    }
    forms_init(&forms);
    if (forms.each) {
        fprintf(forms.each, "picture,scale,quality,bytes,answer,truth\n");
    }
    rc = input_context(tool->model, forms.info->n_context, &forms.context, error);
    rc = rc ? rc : examples_each(forms.list, true, tool->notes, line_try, &forms, error);
    if (rc == 0 && forms.items[1].pictures == 0) {
        snprintf(error, sizeof(error),
                 "%.300s: no picture is as large as the %u x %u pixels that the model looks at",
                 forms.list, forms.info->image_width, forms.info->image_height);
        rc = TANDEM_EFORMAT;
    }
    if (rc == 0 && !forms.each) {
        (tool->options.csv ? csv_print : table_print)(&forms, tool->out);
    }
    engine_context_free(forms.context);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
