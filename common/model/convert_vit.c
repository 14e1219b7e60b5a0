/* convert_vit.c: what a vision transformer has around its blocks: patches, class token, positions,
 * picture, labels. */
#include "common/base/limits.h"
#include "common/model/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The normalisations of the authors' experiments, by a word in what the checkpoint says its task
 * is. */
static const struct {
    const char *word;
    uint32_t channels;
    float mean[3], std[3];
} pictures[] = {
    {"fmnist", 1, {0.2860f}, {0.3530f}}, /* before mnist, which is in it */
    {"mnist", 1, {0.1307f}, {0.3081f}},
    {"cifar100", 3, {0.5071f, 0.4865f, 0.4409f}, {0.2673f, 0.2564f, 0.2762f}},
    {"cifar10", 3, {0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}},
};

static int normalisation_put(const struct convert *convert, uint32_t channels)
{
    struct gguf_writer *writer = &convert->target->writer;
    const struct convert_options *options = convert->options;
    const char *task = convert_config_text(convert, "task");

    if (options->mean_count || options->std_count) {
        if (options->mean_count != channels || options->std_count != channels) {
            return convert_fail(convert, TANDEM_EINVAL, "--mean and --std need %u numbers each",
                                channels);
        }
        gguf_put_f32s(writer, "tandem-vit.image.mean", options->mean, channels);
        gguf_put_f32s(writer, "tandem-vit.image.std", options->std, channels);
        return 0;
    }
    for (size_t i = 0; task && i < sizeof(pictures) / sizeof(pictures[0]); i++) {
        if (strstr(task, pictures[i].word) && pictures[i].channels == channels) {
            gguf_put_f32s(writer, "tandem-vit.image.mean", pictures[i].mean, channels);
            gguf_put_f32s(writer, "tandem-vit.image.std", pictures[i].std, channels);
            return 0;
        }
    }
    return convert_fail(
        convert, TANDEM_EINVAL,
        "the checkpoint does not say how its pictures were normalised: give --mean and --std, "
        "%u numbers each",
        channels);
}

static int labels_put(const struct convert *convert, uint64_t classes)
{
    char **labels = calloc(classes + 1, sizeof(*labels)), *line = NULL;
    FILE *file = fopen(convert->options->labels, "re");
    size_t room = 0;
    uint64_t count = 0;
    int result = 0;

    if (!labels || !file) {
        result =
            convert_fail(convert, TANDEM_EIO, "%.300s: cannot be read", convert->options->labels);
    }
    while (result == 0 && getline(&line, &room, file) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (count < classes && strlen(line) <= LIMIT_LABEL_BYTES &&
            !(labels[count] = strdup(line))) {
            result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the labels");
        }
        count++;
    }
    if (result == 0 && count != classes) {
        result = convert_fail(
            convert, TANDEM_EFORMAT, "%.300s: %llu labels, the model has %llu classes",
            convert->options->labels, (unsigned long long)count, (unsigned long long)classes);
    }
    for (uint64_t i = 0; result == 0 && i < classes; i++) {
        if (!labels[i]) {
            result = convert_fail(convert, TANDEM_ETOOBIG, "%.300s: label %llu is too long",
                                  convert->options->labels, (unsigned long long)i);
        }
    }
    if (result == 0) {
        gguf_put_texts(&convert->target->writer, "tandem-vit.labels", (const char *const *)labels,
                       NULL, classes);
    }
    for (uint64_t i = 0; labels && i < classes; i++) {
        free(labels[i]);
    }
    free(labels);
    free(line);
    if (file) {
        fclose(file);
    }
    return result;
}

static int patches_write(const struct convert *convert, const struct source_tensor *patches)
{
    struct target_tensor *tensor = target_add(convert->target, "stem.0.weight");
    const struct source_tensor *bias;
    int result;

    if (!tensor) {
        return convert_fail(convert, TANDEM_ENOMEM, "no memory for the table of tensors");
    }
    tensor->dimension_count = 4;
    for (uint32_t i = 0; i < 4; i++) {
        tensor->dimensions[i] = patches->shape[3 - i];
    }
    tensor->parts[0] = (struct target_part){patches, 0, convert->d};
    tensor->part_count = 1;
    result = convert_want(convert, "patch_embed.proj.bias", 0, convert->d, &bias);
    tensor = result == 0 ? target_add(convert->target, "stem.0.bias") : NULL;
    if (!tensor) {
        return result ? result
                      : convert_fail(convert, TANDEM_ENOMEM, "no memory for the table of tensors");
    }
    tensor->dimension_count = tensor->part_count = 1;
    tensor->dimensions[0] = convert->d;
    tensor->parts[0] = (struct target_part){bias, 0, convert->d};
    return 0;
}

/* A tensor [1, rows, d] or [1, 1, d] seen as [rows, d]. */
static int flat_write(const struct convert *convert, const char *name, struct source_tensor *from,
                      uint64_t rows)
{
    struct target_tensor *tensor = target_add(convert->target, "%s", name);

    if (!tensor) {
        return convert_fail(convert, TANDEM_ENOMEM, "no memory for the table of tensors");
    }
    if (from->dimension_count == 3) { /* drop the leading one */
        for (uint32_t i = 0; i < 2; i++) {
            from->shape[i] = from->shape[i + 1];
            from->stride[i] = from->stride[i + 1];
        }
        from->dimension_count = 2;
    }
    tensor->dimension_count = rows > 1 ? 2 : 1;
    tensor->dimensions[0] = convert->d;
    tensor->dimensions[1] = rows;
    tensor->parts[0] = (struct target_part){from, 0, rows};
    tensor->part_count = 1;
    return 0;
}

static int shapes_check(const struct convert *convert, const struct source_tensor *patches,
                        const struct source_tensor *positions, const struct source_tensor *cls,
                        const struct source_tensor *head)
{
    if (patches->dimension_count != 4 || patches->shape[2] != patches->shape[3] ||
        patches->shape[0] == 0 || patches->shape[0] > LIMIT_MODEL_WIDTH || patches->shape[2] == 0 ||
        (patches->shape[1] != 1 && patches->shape[1] != 3)) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor patch_embed.proj.weight: not [d, 1 or 3, p, p]");
    }
    if (!cls || cls->dimension_count != 3 || cls->elements != patches->shape[0] || !positions ||
        positions->dimension_count != 3 || positions->shape[0] != 1 || positions->shape[1] < 2 ||
        positions->shape[2] != patches->shape[0]) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensors cls and pos_emb: not [1, 1, d] and [1, n, d]");
    }
    if (!head || head->dimension_count != 2 || head->shape[0] == 0 ||
        head->shape[0] > LIMIT_MODEL_CLASSES) {
        return convert_fail(convert, TANDEM_EFORMAT, "tensor head.weight: no matrix of classes");
    }
    return 0;
}

static void picture_put(const struct convert *convert, uint32_t side, uint32_t channels,
                        uint32_t patch)
{
    struct gguf_writer *writer = &convert->target->writer;

    gguf_put_u32(writer, "tandem-vit.image.width", side);
    gguf_put_u32(writer, "tandem-vit.image.height", side);
    gguf_put_u32(writer, "tandem-vit.image.channels", channels);
    gguf_put_text(writer, "tandem-vit.stem", "patch");
    gguf_put_u32(writer, "tandem-vit.patch_size", patch);
    gguf_put_text(writer, "tandem-vit.pooling", "cls");
}

int convert_vit(struct convert *convert, int (*body)(struct convert *convert, uint64_t positions),
                int (*head_write)(const struct convert *convert, uint64_t classes))
{
    const struct source_tensor *patches = convert_find(convert, "patch_embed.proj.weight");
    const struct source_tensor *head = convert_find(convert, "head.weight");
    struct source_tensor *positions = convert_find(convert, "pos_emb"),
                         *cls = convert_find(convert, "cls");
    uint64_t count, side;
    int result = shapes_check(convert, patches, positions, cls, head);

    convert->architecture = "tandem-vit";
    if (result != 0) {
        return result;
    }
    convert->d = patches->shape[0];
    count = positions->shape[1];
    side = (uint64_t)llround(sqrt((double)(count - 1)));
    if (side * side != count - 1 || side * patches->shape[2] > LIMIT_PICTURE_SIDE_PIXELS) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor pos_emb: %llu positions are no square of patches and one",
                            (unsigned long long)count);
    }
    result = convert_heads(convert);
    result = result ? result : body(convert, count);
    if (result == 0) {
        picture_put(convert, (uint32_t)(side * patches->shape[2]), (uint32_t)patches->shape[1],
                    (uint32_t)patches->shape[2]);
        result = normalisation_put(convert, (uint32_t)patches->shape[1]);
    }
    if (result == 0 && convert->options->labels) {
        result = labels_put(convert, head->shape[0]);
    }
    result = result ? result : patches_write(convert, patches);
    result = result ? result : flat_write(convert, "cls.weight", cls, 1);
    result = result ? result : flat_write(convert, "position_embd.weight", positions, count);
    return result ? result : head_write(convert, head->shape[0]);
}
