/* model.c: opening a model: shape keys, the tensor table with the shapes they must have, and
 * everything derived from both. */
#include "common/engine/model.h"

#include "common/base/limits.h"
#include "common/engine/mapping.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define KEY_BYTES 128

/* What is at hand while a model is opened. `error` gets one line without the path;
 * engine_model_open puts that in front. */
struct opening {
    struct engine_model *model;
    const struct gguf *gguf;
    const char *prefix; /* "gpt2" */
    char *error;
};

static int fail(struct opening *open, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct opening *open, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(open->error, ENGINE_ERROR_BYTES, format, args);
    va_end(args);
    return code;
}

/* ---- keys ---- */

static void key_name(const struct opening *open, const char *key, char name[KEY_BYTES])
{
    snprintf(name, KEY_BYTES, "%s.%s", open->prefix, key);
}

static int need_u32(struct opening *open, const char *key, uint32_t min, uint32_t max,
                    uint32_t *ret_value)
{
    char name[KEY_BYTES];
    int code;

    key_name(open, key, name);
    code = gguf_get_u32(open->gguf, name, ret_value, open->error);
    if (code) {
        return TANDEM_EFORMAT;
    }
    if (*ret_value < min || *ret_value > max) {
        return fail(open, TANDEM_EFORMAT, "key %s is %u; it must be from %u to %u", name,
                    *ret_value, min, max);
    }
    return 0;
}

/* An optional key keeps *value; a key of the wrong kind is an error. */
static int optional(int code)
{
    return code == TANDEM_ENOTFOUND ? 0 : code;
}

/* The index of an optional text key among `words` (NULL-terminated); *value is untouched without
 * the key. */
static int optional_word(struct opening *open, const char *key, const char *const *words,
                         uint32_t *value)
{
    char name[KEY_BYTES];
    struct gguf_text text;
    int code;

    key_name(open, key, name);
    code = gguf_get_text(open->gguf, name, &text, open->error);
    if (code) {
        return optional(code);
    }
    for (uint32_t i = 0; words[i]; i++) {
        if (gguf_text_is(text, words[i])) {
            *value = i;
            return 0;
        }
    }
    return fail(open, TANDEM_EUNSUPPORTED, "key %s is \"%.*s\", which is not supported", name,
                (int)(text.bytes < 64 ? text.bytes : 64), text.data);
}

static const char *const projection_words[] = {"QKV", "Q=K-V", "Q-K=V", "Q=K=V", NULL};
static const char *const activation_words[] = {"none", "gelu_erf", "gelu_tanh",
                                               NULL}; /* order of enum activation */
static const char *const pooling_words[] = {"none", "cls", "sequence",
                                            NULL}; /* order of enum pooling */
static const char *const stem_words[] = {"patch", "conv", NULL};

static int shape_read(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    char name[KEY_BYTES];
    uint32_t word;
    int code;

    if ((code = need_u32(open, "block_count", 1, LIMIT_MODEL_LAYERS, &info->n_layer)) ||
        (code = need_u32(open, "embedding_length", 1, LIMIT_MODEL_WIDTH, &info->n_embd)) ||
        (code = need_u32(open, "feed_forward_length", 1, LIMIT_MODEL_WIDTH, &info->n_ff)) ||
        (code = need_u32(open, "attention.head_count", 1, LIMIT_MODEL_HEADS, &info->n_head))) {
        return code;
    }
    info->n_head_kv = info->n_head;
    key_name(open, "attention.head_count_kv", name);
    if (gguf_has(open->gguf, name) &&
        (code = need_u32(open, "attention.head_count_kv", 1, info->n_head, &info->n_head_kv))) {
        return code;
    }
    if (info->n_embd % info->n_head || info->n_head % info->n_head_kv) {
        return fail(open, TANDEM_EFORMAT,
                    "width %u, %u heads and %u KV heads do not divide each other", info->n_embd,
                    info->n_head, info->n_head_kv);
    }
    info->head_dim = info->n_embd / info->n_head;
    key_name(open, "attention.layer_norm_epsilon", name);
    if ((code = gguf_get_f32(open->gguf, name, &open->model->epsilon, open->error))) {
        return TANDEM_EFORMAT;
    }
    if (!(open->model->epsilon > 0 && open->model->epsilon < 1)) {
        return fail(open, TANDEM_EFORMAT, "key %s must be above 0 and below 1", name);
    }
    word = ENGINE_QKV;
    if ((code = optional_word(open, "attention.projection", projection_words, &word))) {
        return code;
    }
    info->projection = (enum engine_projection)word;
    info->projection_text = projection_words[word];
    word = info->architecture == ENGINE_GPT2 ? ACTIVATION_GELU_TANH : ACTIVATION_GELU_ERF;
    if ((code = optional_word(open, "activation", activation_words, &word))) {
        return code;
    }
    open->model->activation = (enum activation)word;
    return 0;
}

/* Column numbers of the product with the attention input; see the drawing in model.h. */
static int layout_make(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    struct projection_layout *layout = &open->model->layout;
    uint32_t kv_width = info->n_head_kv * info->head_dim;

    layout->q_is_k = info->projection == ENGINE_QK_SHARED || info->projection == ENGINE_QKV_SHARED;
    layout->v_is_k = info->projection == ENGINE_KV_SHARED || info->projection == ENGINE_QKV_SHARED;
    if (layout->q_is_k && info->n_head_kv != info->n_head) {
        return fail(open, TANDEM_EUNSUPPORTED,
                    "%s with %u KV heads for %u heads: a key that is the query needs as many",
                    info->projection_text, info->n_head_kv, info->n_head);
    }
    layout->q_at = 0;
    layout->k_at = layout->q_is_k ? 0 : info->n_embd;
    layout->v_at = layout->v_is_k ? layout->k_at : layout->k_at + kv_width;
    layout->width = layout->v_at + kv_width;
    return 0;
}

/* ---- tensors ---- */

/* Finds a tensor and checks its shape: dims[0] fastest. TANDEM_ENOTFOUND when it is not there. */
static int tensor_find(struct opening *open, const char *name, uint32_t count, const uint64_t *dims,
                       const struct gguf_tensor **ret)
{
    size_t index = gguf_tensor_find(open->gguf, name);
    const struct gguf_tensor *tensor;
    char found[96] = "", wanted[96] = "";
    size_t used_found = 0, used_wanted = 0;
    bool same = true;

    if (index == SIZE_MAX) {
        return fail(open, TANDEM_ENOTFOUND, "tensor %s is missing", name);
    }
    tensor = gguf_tensor_at(open->gguf, index);
    for (uint32_t i = 0; i < GGUF_DIMENSIONS; i++) {
        uint64_t want = i < count ? dims[i] : 1;

        same = same && tensor->dimensions[i] == want;
        used_found += (size_t)snprintf(found + used_found, sizeof(found) - used_found, "%s%llu",
                                       i ? "," : "", (unsigned long long)tensor->dimensions[i]);
        used_wanted += (size_t)snprintf(wanted + used_wanted, sizeof(wanted) - used_wanted,
                                        "%s%llu", i ? "," : "", (unsigned long long)want);
    }
    if (!same) {
        return fail(open, TANDEM_EFORMAT, "tensor %s is [%s]; it must be [%s]", name, found,
                    wanted);
    }
    *ret = tensor;
    return 0;
}

static int vector_find(struct opening *open, const char *name, uint64_t n, const float **ret_vector)
{
    const struct gguf_tensor *tensor = NULL;
    int code = tensor_find(open, name, 1, &n, &tensor);

    if (code) {
        return code;
    }
    if (tensor->type != GGUF_TENSOR_F32) {
        return fail(open, TANDEM_EFORMAT, "tensor %s must be F32", name);
    }
    *ret_vector = tensor->data;
    return 0;
}

/* [columns, rows] in GGUF order; `dims` gives the tensor's own shape when it has more than two
 * dimensions. */
static int matrix_find(struct opening *open, const char *name, uint32_t dim_count,
                       const uint64_t *dims, uint32_t rows, uint32_t columns,
                       struct matrix *ret_matrix)
{
    const struct gguf_tensor *tensor = NULL;
    int code = tensor_find(open, name, dim_count, dims, &tensor);

    if (!code) {
        *ret_matrix = (struct matrix){tensor->data, tensor->type, rows, columns};
    }
    return code;
}

static int table_find(struct opening *open, const char *name, uint32_t rows, uint32_t columns,
                      struct matrix *ret_matrix)
{
    const uint64_t dims[] = {columns, rows};

    return matrix_find(open, name, 2, dims, rows, columns, ret_matrix);
}

/* `base`.weight [in, out] and, if there is one, `base`.bias [out]. */
static int linear_find(struct opening *open, const char *base, uint32_t out, uint32_t in,
                       struct linear *ret_linear)
{
    char name[KEY_BYTES];
    int code;

    snprintf(name, sizeof(name), "%s.weight", base);
    if ((code = table_find(open, name, out, in, &ret_linear->weight))) {
        return code;
    }
    snprintf(name, sizeof(name), "%s.bias", base);
    return optional(vector_find(open, name, out, &ret_linear->bias));
}

static int norm_find(struct opening *open, const char *base, struct norm *ret_norm)
{
    char name[KEY_BYTES];
    int code;

    snprintf(name, sizeof(name), "%s.weight", base);
    if ((code = vector_find(open, name, open->model->info.n_embd, &ret_norm->weight))) {
        return code;
    }
    snprintf(name, sizeof(name), "%s.bias", base);
    return vector_find(open, name, open->model->info.n_embd, &ret_norm->bias);
}

/* The fused tensor of QKV, or each stored one in column order. */
static int projections_find(struct opening *open, uint32_t layer, struct block *block)
{
    const struct engine_model_info *info = &open->model->info;
    const struct projection_layout *layout = &open->model->layout;
    uint32_t kv_width = info->n_head_kv * info->head_dim;
    const struct {
        const char *letter;
        bool stored;
        uint32_t width;
    } parts[] = {{"q", true, info->n_embd},
                 {"k", !layout->q_is_k, kv_width},
                 {"v", !layout->v_is_k, kv_width}};
    char name[KEY_BYTES];
    int code;

    snprintf(name, sizeof(name), "blk.%u.attn_qkv.weight", layer);
    if (gguf_tensor_find(open->gguf, name) != SIZE_MAX) {
        if (info->projection != ENGINE_QKV) {
            return fail(open, TANDEM_EFORMAT, "tensor %s in a model whose projection is %s", name,
                        info->projection_text);
        }
        snprintf(name, sizeof(name), "blk.%u.attn_qkv", layer);
        block->projection_count = 1;
        return linear_find(open, name, layout->width, info->n_embd, &block->projections[0]);
    }
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].stored) {
            snprintf(name, sizeof(name), "blk.%u.attn_%s", layer, parts[i].letter);
            code = linear_find(open, name, parts[i].width, info->n_embd,
                               &block->projections[block->projection_count++]);
            if (code) {
                return code;
            }
        }
    }
    return 0;
}

static int block_find(struct opening *open, uint32_t layer, bool position_2d)
{
    const struct engine_model_info *info = &open->model->info;
    struct block *block = &open->model->blocks[layer];
    const struct {
        const char *part;
        struct linear *linear;
        uint32_t out, in;
    } linears[] = {
        {"attn_output", &block->attn_output, info->n_embd, info->n_embd},
        {"ffn_up", &block->ffn_up, info->n_ff, info->n_embd},
        {"ffn_down", &block->ffn_down, info->n_embd, info->n_ff},
    };
    char name[KEY_BYTES];
    const float *scale = NULL;
    int code;

    snprintf(name, sizeof(name), "blk.%u.attn_norm", layer);
    if ((code = norm_find(open, name, &block->attn_norm))) {
        return code;
    }
    snprintf(name, sizeof(name), "blk.%u.ffn_norm", layer);
    if ((code = norm_find(open, name, &block->ffn_norm)) ||
        (code = projections_find(open, layer, block))) {
        return code;
    }
    for (size_t i = 0; i < sizeof(linears) / sizeof(linears[0]); i++) {
        snprintf(name, sizeof(name), "blk.%u.%s", layer, linears[i].part);
        if ((code = linear_find(open, name, linears[i].out, linears[i].in, linears[i].linear))) {
            return code;
        }
    }
    block->position_scale = 1;
    if (!position_2d) {
        return 0;
    }
    snprintf(name, sizeof(name), "blk.%u.attn_pos.scale", layer);
    if ((code = vector_find(open, name, 1, &scale))) {
        return code;
    }
    block->position_scale = *scale;
    snprintf(name, sizeof(name), "blk.%u.attn_pos.bias", layer);
    return vector_find(open, name, info->n_context, &block->position_bias);
}

static int blocks_find(struct opening *open)
{
    struct engine_model *model = open->model;
    bool position_2d = false;
    char name[KEY_BYTES];
    int code;

    key_name(open, "attention.position_2d", name);
    if ((code = optional(gguf_get_bool(open->gguf, name, &position_2d, open->error)))) {
        return code;
    }
    if (position_2d && model->info.architecture == ENGINE_GPT2) {
        return fail(open, TANDEM_EUNSUPPORTED,
                    "the (X)+ term is for encoders, not for a causal decoder");
    }
    model->blocks = calloc(model->info.n_layer, sizeof(*model->blocks));
    if (!model->blocks) {
        return fail(open, TANDEM_ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i < model->info.n_layer; i++) {
        if ((code = block_find(open, i, position_2d))) {
            return code;
        }
    }
    return norm_find(open, "output_norm", &model->output_norm);
}

/* ---- architectures ---- */

/* Rows of the second dimension of `name`, within `max`. */
static int rows_of(struct opening *open, const char *name, uint32_t max, uint32_t *ret_rows)
{
    size_t index = gguf_tensor_find(open->gguf, name);
    uint64_t rows;

    if (index == SIZE_MAX) {
        return fail(open, TANDEM_EFORMAT, "tensor %s is missing", name);
    }
    rows = gguf_tensor_at(open->gguf, index)->dimensions[1];
    if (rows > max) {
        return fail(open, TANDEM_ETOOBIG, "tensor %s has %llu rows; at most %u are read", name,
                    (unsigned long long)rows, max);
    }
    *ret_rows = (uint32_t)rows;
    return 0;
}

static int embeddings_find(struct opening *open)
{
    struct engine_model *model = open->model;
    struct engine_model_info *info = &model->info;
    int code;

    if ((code =
             need_u32(open, "context_length", 1, LIMIT_MODEL_CONTEXT_TOKENS, &info->n_context)) ||
        (code = rows_of(open, "token_embd.weight", LIMIT_MODEL_VOCABULARY, &info->n_vocab)) ||
        (code = table_find(open, "token_embd.weight", info->n_vocab, info->n_embd,
                           &model->token_embd))) {
        return code;
    }
    return table_find(open, "position_embd.weight", info->n_context, info->n_embd,
                      &model->position_embd);
}

static int gpt2_find(struct opening *open)
{
    struct engine_model *model = open->model;
    int code = embeddings_find(open);

    if (code) {
        return code;
    }
    model->info.n_class = model->info.n_vocab;
    model->head.weight = model->token_embd;
    return optional(table_find(open, "output.weight", model->info.n_vocab, model->info.n_embd,
                               &model->head.weight));
}

static int class_head_find(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    int code = rows_of(open, "head.weight", LIMIT_MODEL_CLASSES, &info->n_class);

    return code ? code : linear_find(open, "head", info->n_class, info->n_embd, &open->model->head);
}

static int encoder_find(struct opening *open)
{
    int code = embeddings_find(open);

    return code ? code : class_head_find(open);
}

static int picture_target_read(struct opening *open)
{
    struct picture_target *target = &open->model->picture;
    char name[KEY_BYTES];
    size_t count = 0;
    int code;

    if ((code = need_u32(open, "image.width", 1, LIMIT_PICTURE_SIDE_PIXELS, &target->width)) ||
        (code = need_u32(open, "image.height", 1, LIMIT_PICTURE_SIDE_PIXELS, &target->height)) ||
        (code = need_u32(open, "image.channels", 1, PICTURE_CHANNELS_MAX, &target->channels))) {
        return code;
    }
    if (target->channels == 2) {
        return fail(open, TANDEM_EFORMAT, "pictures have 1 or 3 channels");
    }
    key_name(open, "image.mean", name);
    if ((code = gguf_get_f32s(open->gguf, name, target->mean, target->channels, &count,
                              open->error)) ||
        count != target->channels) {
        return code ? code
                    : fail(open, TANDEM_EFORMAT, "key %s needs one number per channel", name);
    }
    key_name(open, "image.std", name);
    if ((code =
             gguf_get_f32s(open->gguf, name, target->std, target->channels, &count, open->error)) ||
        count != target->channels) {
        return code ? code
                    : fail(open, TANDEM_EFORMAT, "key %s needs one number per channel", name);
    }
    for (size_t i = 0; i < target->channels; i++) {
        if (target->std[i] == 0) {
            return fail(open, TANDEM_EFORMAT, "key %s has a zero", name);
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
        return fail(open, TANDEM_EFORMAT, "stem layer %u leaves nothing of the picture", index);
    }
    {
        const uint64_t dims[] = {layer->kernel, layer->kernel, layer->in_channels,
                                 layer->out_channels};

        snprintf(name, sizeof(name), "stem.%u.weight", index);
        code =
            matrix_find(open, name, 4, dims, layer->out_channels,
                        layer->in_channels * layer->kernel * layer->kernel, &layer->weight.weight);
    }
    if (code) {
        return code;
    }
    snprintf(name, sizeof(name), "stem.%u.bias", index);
    return optional(vector_find(open, name, layer->out_channels, &layer->weight.bias));
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
            return fail(open, TANDEM_EFORMAT, "key %s needs one number per stem layer", name);
        }
        model->stem_count = (uint32_t)count;
        for (size_t j = 0; j < count; j++) {
            if (values[i][j] < keys[i].min || values[i][j] > keys[i].max) {
                return fail(open, TANDEM_EFORMAT, "key %s has %u; it must be from %u to %u", name,
                            values[i][j], keys[i].min, keys[i].max);
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
    int code = optional_word(open, "stem", stem_words, &word);

    if (code) {
        return code;
    }
    if (word == 0) {
        uint32_t patch = 0;

        if ((code = need_u32(open, "patch_size", 1, LIMIT_PICTURE_SIDE_PIXELS, &patch))) {
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
        return fail(open, TANDEM_EFORMAT, "key %s.stem is missing", open->prefix);
    }
    for (uint32_t i = 0; i < model->stem_count; i++) {
        if ((code = stem_layer_find(open, i))) {
            return code;
        }
    }
    if (model->stem[model->stem_count - 1].out_channels != model->info.n_embd) {
        return fail(open, TANDEM_EFORMAT, "the stem ends with %u channels; the width is %u",
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

    key_name(open, "labels", name);
    code = gguf_get_array(open->gguf, name, &array, open->error);
    if (code) {
        return optional(code);
    }
    if (array.count != model->info.n_class) {
        return fail(open, TANDEM_EFORMAT, "key %s has %zu names for %u classes", name, array.count,
                    model->info.n_class);
    }
    model->labels = calloc(model->info.n_class, sizeof(*model->labels));
    if (!model->labels) {
        return fail(open, TANDEM_ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i < model->info.n_class; i++) {
        if (!gguf_next_text(&array, &text) || text.bytes > LIMIT_LABEL_BYTES) {
            return fail(open, TANDEM_EFORMAT, "key %s needs texts of at most %u bytes", name,
                        LIMIT_LABEL_BYTES);
        }
        if ((code = gguf_text_copy(text, &model->labels[i]))) {
            return fail(open, code, "key %s: a label cannot be read", name);
        }
    }
    model->info.labels = (const char *const *)model->labels;
    return 0;
}

static int vit_find(struct opening *open)
{
    struct engine_model *model = open->model;
    struct engine_model_info *info = &model->info;
    const struct stem_layer *last;
    uint32_t word = POOLING_NONE;
    uint64_t tokens;
    int code;

    if ((code = picture_target_read(open)) || (code = stem_find(open)) ||
        (code = optional_word(open, "pooling", pooling_words, &word))) {
        return code;
    }
    model->pooling = (enum pooling)word;
    if (word == POOLING_NONE) {
        return fail(open, TANDEM_EFORMAT, "key %s.pooling must be cls or sequence", open->prefix);
    }
    last = &model->stem[model->stem_count - 1];
    tokens = (uint64_t)last->out_height * last->out_width + (word == POOLING_CLS);
    if (tokens > LIMIT_BATCH_TOKENS) {
        return fail(open, TANDEM_ETOOBIG, "a picture becomes %llu tokens; at most %u are run",
                    (unsigned long long)tokens, LIMIT_BATCH_TOKENS);
    }
    info->n_context = (uint32_t)tokens;
    if (word == POOLING_CLS &&
        (code = vector_find(open, "cls.weight", info->n_embd, &model->cls))) {
        return code;
    }
    if (word == POOLING_SEQUENCE &&
        (code = linear_find(open, "seq_pool", 1, info->n_embd, &model->seq_pool))) {
        return code;
    }
    if ((code = optional(table_find(open, "position_embd.weight", info->n_context, info->n_embd,
                                    &model->position_embd))) ||
        (code = class_head_find(open))) {
        return code;
    }
    return labels_read(open);
}

static const struct {
    const char *name;
    enum engine_architecture architecture;
    int (*find)(struct opening *open);
} architectures[] = {
    {"gpt2", ENGINE_GPT2, gpt2_find},
    {"tandem-vit", ENGINE_VIT, vit_find},
    {"tandem-encoder", ENGINE_ENCODER, encoder_find},
};

/* ---- the rest of the info ---- */

static int optional_text(struct opening *open, const char *key, const char **ret_text)
{
    struct gguf_text text;
    char *copy = NULL;
    int code = gguf_get_text(open->gguf, key, &text, open->error);

    if (code && code != TANDEM_ENOTFOUND) {
        return code;
    }
    code = gguf_text_copy(code ? (struct gguf_text){"", 0} : text, &copy);
    if (code) {
        return fail(open, code, "key %s cannot be read", key);
    }
    *ret_text = copy;
    return 0;
}

static void info_sum(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    XXH128_hash_t digest;
    XXH128_canonical_t canonical;

    for (size_t i = 0; i < gguf_tensor_count(open->gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(open->gguf, i);

        info->parameters += tensor->elements;
        *(tensor->type == GGUF_TENSOR_F16 ? &info->f16_bytes : &info->f32_bytes) += tensor->bytes;
    }
    info->file_bytes = mapping_bytes(open->model->mapping);
    info->has_tokenizer = open->model->tokenizer != NULL;
    if (info->architecture == ENGINE_GPT2) {
        info->kv_tensors_per_layer = open->model->layout.v_is_k ? 1 : 2;
        info->kv_bytes_per_token = engine_kv_bytes_per_token(info->projection, info->n_layer,
                                                             info->n_head_kv, info->head_dim);
        info->kv_bytes_per_page = ENGINE_PAGE_TOKENS * info->kv_bytes_per_token;
    }
    digest = XXH3_128bits(mapping_data(open->model->mapping), mapping_bytes(open->model->mapping));
    XXH128_canonicalFromHash(&canonical, digest);
    for (size_t i = 0; i < sizeof(canonical.digest); i++) {
        snprintf(info->digest + 2 * i, 3, "%02x", canonical.digest[i]);
    }
}

uint64_t engine_kv_bytes_per_token(enum engine_projection projection, uint32_t n_layer,
                                   uint32_t n_head_kv, uint32_t head_dim)
{
    bool one = projection == ENGINE_KV_SHARED || projection == ENGINE_QKV_SHARED;

    return (uint64_t)2 * (one ? 1 : 2) * n_layer * n_head_kv * head_dim;
}

static int model_read(struct opening *open)
{
    struct engine_model *model = open->model;
    struct gguf_text word;
    int code = gguf_get_text(open->gguf, "general.architecture", &word, open->error);

    if (code) {
        return TANDEM_EFORMAT;
    }
    for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++) {
        if (!gguf_text_is(word, architectures[i].name)) {
            continue;
        }
        open->prefix = model->info.architecture_text = architectures[i].name;
        model->info.architecture = architectures[i].architecture;
        if ((code = shape_read(open)) || (code = layout_make(open)) ||
            (code = architectures[i].find(open)) || (code = blocks_find(open))) {
            return code == TANDEM_ENOTFOUND ? TANDEM_EFORMAT : code;
        }
        return model->info.n_vocab
                   ? tokenizer_load(open->gguf, model->info.n_vocab, &model->tokenizer, open->error)
                   : 0;
    }
    return fail(open, TANDEM_EUNSUPPORTED, "architecture \"%.*s\" is not supported",
                (int)(word.bytes < 64 ? word.bytes : 64), word.data);
}

int engine_model_open(const char *path, struct engine_model **ret_model,
                      char error[ENGINE_ERROR_BYTES])
{
    struct engine_model *model = calloc(1, sizeof(*model));
    char line[ENGINE_ERROR_BYTES] = "no memory";
    struct opening open = {.model = model, .error = line};
    char *path_copy = strdup(path);
    int code = TANDEM_ENOMEM;

    if (!model || !path_copy) {
        free(path_copy);
        goto out;
    }
    atomic_init(&model->references, 1);
    model->info.path = path_copy;
    if ((code = mapping_open(path, &model->mapping, error))) {
        engine_model_unref(model);
        return code;
    }
    if ((code = gguf_load(mapping_data(model->mapping), mapping_bytes(model->mapping), &model->gguf,
                          line))) {
        goto out;
    }
    open.gguf = model->gguf;
    if ((code = model_read(&open)) ||
        (code = optional_text(&open, "general.name", &model->info.name)) ||
        (code = optional_text(&open, "general.license", &model->info.license))) {
        goto out;
    }
    info_sum(&open);
    if ((code = model_file_check(model))) {
        snprintf(line, sizeof(line), "the file became shorter while it was read");
        goto out;
    }
    *ret_model = model;
    return 0;
out:
    snprintf(error, ENGINE_ERROR_BYTES, "%.200s: %.300s", path, line);
    engine_model_unref(model);
    return code;
}

void engine_model_ref(struct engine_model *model)
{
    atomic_fetch_add(&model->references, 1);
}

void engine_model_unref(struct engine_model *model)
{
    if (!model ||
        (atomic_load(&model->references) && atomic_fetch_sub(&model->references, 1) != 1)) {
        return;
    }
    for (uint32_t i = 0; model->labels && i < model->info.n_class; i++) {
        free(model->labels[i]);
    }
    free(model->labels);
    free(model->blocks);
    tokenizer_free(model->tokenizer);
    gguf_free(model->gguf);
    mapping_close(model->mapping);
    free((char *)(uintptr_t)model->info.path);
    free((char *)(uintptr_t)model->info.name);
    free((char *)(uintptr_t)model->info.license);
    free(model);
}

const struct engine_model_info *engine_model_info(const struct engine_model *model)
{
    return &model->info;
}

int model_file_check(const struct engine_model *model)
{
    return mapping_truncated(model->mapping) ? TANDEM_EIO : 0;
}
