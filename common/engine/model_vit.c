/* model_vit.c: opening an image encoder: picture, stem, pooling, labels. */
#include "common/engine/forward.h"
#include "common/engine/opening.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const pooling_words[] = {"none", "cls", "sequence",
                                            NULL}; /* order of enum pooling */
static const char *const stem_words[] = {"patch", "conv", NULL};

static int picture_target_read(struct opening *open)
{
    struct picture_target *target = &open->model->picture;
    char name[KEY_BYTES];
    size_t count = 0;
    int code;

    if ((code = opening_u32(open, "image.width", 1, LIMIT_PICTURE_SIDE_PIXELS, &target->width)) ||
        (code = opening_u32(open, "image.height", 1, LIMIT_PICTURE_SIDE_PIXELS, &target->height)) ||
        (code = opening_u32(open, "image.channels", 1, PICTURE_CHANNELS_MAX, &target->channels))) {
        return code;
    }
    if (target->channels == 2) {
        return opening_fail(open, TANDEM_EFORMAT, "pictures have 1 or 3 channels");
    }
    opening_key(open, "image.mean", name);
    if ((code = gguf_get_f32s(open->gguf, name, target->mean, target->channels, &count,
                              open->error)) ||
        count != target->channels) {
        return code ? code
                    : opening_fail(open, TANDEM_EFORMAT, "key %s needs one number per channel",
                                   name);
    }
    opening_key(open, "image.std", name);
    if ((code =
             gguf_get_f32s(open->gguf, name, target->std, target->channels, &count, open->error)) ||
        count != target->channels) {
        return code ? code
                    : opening_fail(open, TANDEM_EFORMAT, "key %s needs one number per channel",
                                   name);
    }
    for (size_t i = 0; i < target->channels; i++) {
        if (target->std[i] == 0) {
            return opening_fail(open, TANDEM_EFORMAT, "key %s has a zero", name);
        }
    }
    open->model->info.image_width = target->width;
    open->model->info.image_height = target->height;
    open->model->info.image_channels = target->channels;
    return 0;
}

/* Sizes of one stem layer from the layer before; false when nothing would be left. */
static bool stem_layer_sizes(struct stem_layer *layer)
{
    uint32_t pad2 = 2 * layer->padding, pool_pad2 = layer->pool ? (layer->pool - 1) / 2 * 2 : 0;

    if (layer->in_height + pad2 < layer->kernel || layer->in_width + pad2 < layer->kernel) {
        return false;
    }
    layer->conv_height = layer->out_height =
        (layer->in_height + pad2 - layer->kernel) / layer->stride + 1;
    layer->conv_width = layer->out_width =
        (layer->in_width + pad2 - layer->kernel) / layer->stride + 1;
    if (layer->pool) {
        if (layer->conv_height + pool_pad2 < layer->pool ||
            layer->conv_width + pool_pad2 < layer->pool) {
            return false;
        }
        layer->out_height = (layer->conv_height + pool_pad2 - layer->pool) / 2 + 1;
        layer->out_width = (layer->conv_width + pool_pad2 - layer->pool) / 2 + 1;
    }
    return true;
}

/* The file has channels first; a window of a picture is copied faster with channels last. A stem is
 * small beside its model, so the copy is of F32 and spares the widening too. */
static int stem_layer_pack(struct opening *open, struct stem_layer *layer)
{
    const struct matrix *weight = &layer->weight.weight;
    const size_t area = (size_t)layer->kernel * layer->kernel, channels = layer->in_channels;
    float *row = malloc((size_t)weight->columns * sizeof(float));

    layer->packed = malloc((size_t)weight->rows * weight->columns * sizeof(float));
    if (!row || !layer->packed) {
        free(row);
        return opening_fail(open, TANDEM_ENOMEM, "no memory for the stem");
    }
    for (uint32_t i = 0; i < weight->rows; i++) {
        float *out = layer->packed + (size_t)i * weight->columns;

        matrix_row(weight, i, row);
        for (size_t at = 0; at < weight->columns; at++) {
            out[at % area * channels + at / area] = row[at];
        }
    }
    free(row);
    return 0;
}

static int stem_layer_find(struct opening *open, uint32_t index)
{
    struct engine_model *model = open->model;
    struct stem_layer *layer = &model->stem[index];
    const struct stem_layer *before = index ? &model->stem[index - 1] : NULL;
    char name[KEY_BYTES];
    int code;

    layer->in_channels = before ? before->out_channels : model->picture.channels;
    layer->in_height = before ? before->out_height : model->picture.height;
    layer->in_width = before ? before->out_width : model->picture.width;
    if (!stem_layer_sizes(layer)) {
        return opening_fail(open, TANDEM_EFORMAT, "stem layer %u leaves nothing of the picture",
                            index);
    }
    {
        const uint64_t dims[] = {layer->kernel, layer->kernel, layer->in_channels,
                                 layer->out_channels};

        snprintf(name, sizeof(name), "stem.%u.weight", index);
        code = opening_matrix(open, name, 4, dims, layer->out_channels,
                              layer->in_channels * layer->kernel * layer->kernel,
                              &layer->weight.weight);
    }
    if (code) {
        return code;
    }
    snprintf(name, sizeof(name), "stem.%u.bias", index);
    code = opening_optional(opening_vector(open, name, layer->out_channels, &layer->weight.bias));
    return code ? code : stem_layer_pack(open, layer);
}

static int stem_numbers_read(struct opening *open)
{
    struct engine_model *model = open->model;
    static const struct {
        const char *key;
        uint32_t min, max;
    } keys[] = {{"channels", 1, LIMIT_MODEL_WIDTH},
                {"kernel", 1, 32},
                {"stride", 1, 32},
                {"padding", 0, 31},
                {"pool", 0, 32}};
    uint32_t values[5][LIMIT_STEM_LAYERS];
    char name[KEY_BYTES];

    for (size_t i = 0; i < 5; i++) {
        size_t count = 0;
        int code;

        snprintf(name, sizeof(name), "%s.stem.conv.%s", open->prefix, keys[i].key);
        code = gguf_get_u32s(open->gguf, name, values[i], LIMIT_STEM_LAYERS, &count, open->error);
        if (code) {
            return TANDEM_EFORMAT;
        }
        if (count == 0 || (i && count != model->stem_count)) {
            return opening_fail(open, TANDEM_EFORMAT, "key %s needs one number per stem layer",
                                name);
        }
        model->stem_count = (uint32_t)count;
        for (size_t j = 0; j < count; j++) {
            if (values[i][j] < keys[i].min || values[i][j] > keys[i].max) {
                return opening_fail(open, TANDEM_EFORMAT, "key %s has %u; it must be from %u to %u",
                                    name, values[i][j], keys[i].min, keys[i].max);
            }
        }
    }
    for (uint32_t j = 0; j < model->stem_count; j++) {
        model->stem[j] = (struct stem_layer){.out_channels = values[0][j],
                                             .kernel = values[1][j],
                                             .stride = values[2][j],
                                             .padding = values[3][j],
                                             .pool = values[4][j]};
    }
    return 0;
}

static int stem_find(struct opening *open)
{
    struct engine_model *model = open->model;
    uint32_t word = UINT32_MAX;
    int code = opening_word(open, "stem", stem_words, &word);

    if (code) {
        return code;
    }
    if (word == 0) {
        uint32_t patch = 0;

        if ((code = opening_u32(open, "patch_size", 1, LIMIT_PICTURE_SIDE_PIXELS, &patch))) {
            return code;
        }
        model->stem_count = 1;
        model->stem[0] = (struct stem_layer){
            .out_channels = model->info.n_embd, .kernel = patch, .stride = patch};
    } else if (word == 1) {
        model->stem_relu = true;
        if ((code = stem_numbers_read(open))) {
            return code;
        }
    } else {
        return opening_fail(open, TANDEM_EFORMAT, "key %s.stem is missing", open->prefix);
    }
    for (uint32_t i = 0; i < model->stem_count; i++) {
        if ((code = stem_layer_find(open, i))) {
            return code;
        }
    }
    if (model->stem[model->stem_count - 1].out_channels != model->info.n_embd) {
        return opening_fail(open, TANDEM_EFORMAT, "the stem ends with %u channels; the width is %u",
                            model->stem[model->stem_count - 1].out_channels, model->info.n_embd);
    }
    return 0;
}

static int labels_read(struct opening *open)
{
    struct engine_model *model = open->model;
    struct gguf_array array;
    struct gguf_text text;
    char name[KEY_BYTES];
    int code;

    opening_key(open, "labels", name);
    code = gguf_get_array(open->gguf, name, &array, open->error);
    if (code) {
        return opening_optional(code);
    }
    if (array.count != model->info.n_class) {
        return opening_fail(open, TANDEM_EFORMAT, "key %s has %zu names for %u classes", name,
                            array.count, model->info.n_class);
    }
    model->labels = calloc(model->info.n_class, sizeof(*model->labels));
    if (!model->labels) {
        return opening_fail(open, TANDEM_ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i < model->info.n_class; i++) {
        if (!gguf_next_text(&array, &text) || text.bytes > LIMIT_LABEL_BYTES) {
            return opening_fail(open, TANDEM_EFORMAT, "key %s needs texts of at most %u bytes",
                                name, LIMIT_LABEL_BYTES);
        }
        if ((code = gguf_text_copy(text, &model->labels[i]))) {
            return opening_fail(open, code, "key %s: a label cannot be read", name);
        }
    }
    model->info.labels = (const char *const *)model->labels;
    return 0;
}

int vit_find(struct opening *open)
{
    struct engine_model *model = open->model;
    struct engine_model_info *info = &model->info;
    const struct stem_layer *last;
    uint32_t word = POOLING_NONE;
    uint64_t tokens;
    int code;

    if ((code = picture_target_read(open)) || (code = stem_find(open)) ||
        (code = opening_word(open, "pooling", pooling_words, &word))) {
        return code;
    }
    model->pooling = (enum pooling)word;
    if (word == POOLING_NONE) {
        return opening_fail(open, TANDEM_EFORMAT, "key %s.pooling must be cls or sequence",
                            open->prefix);
    }
    last = &model->stem[model->stem_count - 1];
    tokens = (uint64_t)last->out_height * last->out_width + (word == POOLING_CLS);
    if (tokens > LIMIT_BATCH_TOKENS) {
        return opening_fail(open, TANDEM_ETOOBIG,
                            "a picture becomes %llu tokens; at most %u are run",
                            (unsigned long long)tokens, LIMIT_BATCH_TOKENS);
    }
    info->n_context = (uint32_t)tokens;
    if (word == POOLING_CLS &&
        (code = opening_vector(open, "cls.weight", info->n_embd, &model->cls))) {
        return code;
    }
    if (word == POOLING_SEQUENCE &&
        (code = opening_linear(open, "seq_pool", 1, info->n_embd, &model->seq_pool))) {
        return code;
    }
    if ((code = opening_optional(opening_table(open, "position_embd.weight", info->n_context,
                                               info->n_embd, &model->position_embd))) ||
        (code = opening_class_head(open))) {
        return code;
    }
    return labels_read(open);
}
