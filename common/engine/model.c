/* model.c: opening a model: shape keys, the tensor table with the shapes they must have, and
 * everything derived from both. */
#include "common/engine/opening.h"

#include "common/engine/mapping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char *const projection_words[] = {"QKV", "Q=K-V", "Q-K=V", "Q=K=V", NULL};
static const char *const activation_words[] = {"none", "gelu_erf", "gelu_tanh", "silu",
                                               NULL}; /* order of enum activation */

/* A gated layer has SiLU, the others one of the two GELUs. */
static int activation_read(struct opening *open)
{
    struct engine_model *model = open->model;
    uint32_t word = model->gated                              ? ACTIVATION_SILU
                    : model->info.architecture == ENGINE_GPT2 ? ACTIVATION_GELU_TANH
                                                              : ACTIVATION_GELU_ERF;
    const int code = opening_word(open, "activation", activation_words, &word);

    if (code) {
        return code;
    }
    if (word == ACTIVATION_NONE || (word == ACTIVATION_SILU) != model->gated) {
        return opening_fail(open, TANDEM_EUNSUPPORTED,
                            "key %s.activation is \"%s\", which is not supported", open->prefix,
                            activation_words[word]);
    }
    model->activation = (enum activation)word;
    return 0;
}

static int shape_read(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    char name[KEY_BYTES];
    uint32_t word;
    int code;

    if ((code = opening_u32(open, "block_count", 1, LIMIT_MODEL_LAYERS, &info->n_layer)) ||
        (code = opening_u32(open, "embedding_length", 1, LIMIT_MODEL_WIDTH, &info->n_embd)) ||
        (code = opening_u32(open, "feed_forward_length", 1, LIMIT_MODEL_WIDTH, &info->n_ff)) ||
        (code = opening_u32(open, "attention.head_count", 1, LIMIT_MODEL_HEADS, &info->n_head))) {
        return code;
    }
    info->n_head_kv = info->n_head;
    opening_key(open, "attention.head_count_kv", name);
    if (gguf_has(open->gguf, name) &&
        (code = opening_u32(open, "attention.head_count_kv", 1, info->n_head, &info->n_head_kv))) {
        return code;
    }
    if (info->n_embd % info->n_head || info->n_head % info->n_head_kv) {
        return opening_fail(open, TANDEM_EFORMAT,
                            "width %u, %u heads and %u KV heads do not divide each other",
                            info->n_embd, info->n_head, info->n_head_kv);
    }
    info->head_dim = info->n_embd / info->n_head;
    opening_key(open,
                open->model->rms_norm ? "attention.layer_norm_rms_epsilon"
                                      : "attention.layer_norm_epsilon",
                name);
    if ((code = gguf_get_f32(open->gguf, name, &open->model->epsilon, open->error))) {
        return TANDEM_EFORMAT;
    }
    if (!(open->model->epsilon > 0 && open->model->epsilon < 1)) {
        return opening_fail(open, TANDEM_EFORMAT, "key %s must be above 0 and below 1", name);
    }
    word = ENGINE_QKV;
    if ((code = opening_word(open, "attention.projection", projection_words, &word))) {
        return code;
    }
    info->projection = (enum engine_projection)word;
    info->projection_text = projection_words[word];
    return activation_read(open);
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
        return opening_fail(
            open, TANDEM_EUNSUPPORTED,
            "%s with %u KV heads for %u heads: a key that is the query needs as many",
            info->projection_text, info->n_head_kv, info->n_head);
    }
    layout->q_at = 0;
    layout->k_at = layout->q_is_k ? 0 : info->n_embd;
    layout->v_at = layout->v_is_k ? layout->k_at : layout->k_at + kv_width;
    layout->width = layout->v_at + kv_width;
    return 0;
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
            return opening_fail(open, TANDEM_EFORMAT, "tensor %s in a model whose projection is %s",
                                name, info->projection_text);
        }
        snprintf(name, sizeof(name), "blk.%u.attn_qkv", layer);
        block->projection_count = 1;
        return opening_linear(open, name, layout->width, info->n_embd, &block->projections[0]);
    }
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].stored) {
            snprintf(name, sizeof(name), "blk.%u.attn_%s", layer, parts[i].letter);
            code = opening_linear(open, name, parts[i].width, info->n_embd,
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
        {"ffn_gate", &block->ffn_gate, info->n_ff, info->n_embd},
    };
    const size_t linear_count =
        sizeof(linears) / sizeof(linears[0]) - !open->model->gated; /* the gate is the last */
    char name[KEY_BYTES];
    const float *scale = NULL;
    int code;

    snprintf(name, sizeof(name), "blk.%u.attn_norm", layer);
    if ((code = opening_norm(open, name, &block->attn_norm))) {
        return code;
    }
    snprintf(name, sizeof(name), "blk.%u.ffn_norm", layer);
    if ((code = opening_norm(open, name, &block->ffn_norm)) ||
        (code = projections_find(open, layer, block))) {
        return code;
    }
    for (size_t i = 0; i < linear_count; i++) {
        snprintf(name, sizeof(name), "blk.%u.%s", layer, linears[i].part);
        if ((code = opening_linear(open, name, linears[i].out, linears[i].in, linears[i].linear))) {
            return code;
        }
    }
    block->position_scale = 1;
    if (!position_2d) {
        return 0;
    }
    snprintf(name, sizeof(name), "blk.%u.attn_pos.scale", layer);
    if ((code = opening_vector(open, name, 1, &scale))) {
        return code;
    }
    block->position_scale = *scale;
    snprintf(name, sizeof(name), "blk.%u.attn_pos.bias", layer);
    return opening_vector(open, name, info->n_context, &block->position_bias);
}

static int blocks_find(struct opening *open)
{
    struct engine_model *model = open->model;
    bool position_2d = false;
    char name[KEY_BYTES];
    int code;

    opening_key(open, "attention.position_2d", name);
    if ((code = opening_optional(gguf_get_bool(open->gguf, name, &position_2d, open->error)))) {
        return code;
    }
    if (position_2d && engine_is_decoder(model->info.architecture)) {
        return opening_fail(open, TANDEM_EUNSUPPORTED,
                            "the (X)+ term is for encoders, not for a causal decoder");
    }
    model->blocks = calloc(model->info.n_layer, sizeof(*model->blocks));
    if (!model->blocks) {
        return opening_fail(open, TANDEM_ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i < model->info.n_layer; i++) {
        if ((code = block_find(open, i, position_2d))) {
            return code;
        }
    }
    return opening_norm(open, "output_norm", &model->output_norm);
}

/* ---- architectures ---- */

static int tokens_find(struct opening *open)
{
    struct engine_model *model = open->model;
    struct engine_model_info *info = &model->info;
    int code;

    if ((code = opening_u32(open, "context_length", 1, LIMIT_MODEL_CONTEXT_TOKENS,
                            &info->n_context)) ||
        (code = opening_rows(open, "token_embd.weight", LIMIT_MODEL_VOCABULARY, &info->n_vocab))) {
        return code;
    }
    return opening_table(open, "token_embd.weight", info->n_vocab, info->n_embd,
                         &model->token_embd);
}

static int embeddings_find(struct opening *open)
{
    struct engine_model *model = open->model;
    int code = tokens_find(open);

    return code ? code
                : opening_table(open, "position_embd.weight", model->info.n_context,
                                model->info.n_embd, &model->position_embd);
}

/* A matrix of its own, or the token table once more. */
static int output_find(struct opening *open)
{
    struct engine_model *model = open->model;

    model->info.n_class = model->info.n_vocab;
    model->head.weight = model->token_embd;
    return opening_optional(opening_table(open, "output.weight", model->info.n_vocab,
                                          model->info.n_embd, &model->head.weight));
}

static int gpt2_find(struct opening *open)
{
    int code = embeddings_find(open);

    return code ? code : output_find(open);
}

static int llama_find(struct opening *open)
{
    int code = tokens_find(open);

    code = code ? code : output_find(open);
    return code ? code : rotation_find(open);
}

static int encoder_find(struct opening *open)
{
    int code = embeddings_find(open);

    return code ? code : opening_class_head(open);
}

static const struct {
    const char *name;
    enum engine_architecture architecture;
    int (*find)(struct opening *open);
    bool rms_norm, gated;
} architectures[] = {
    {"gpt2", ENGINE_GPT2, gpt2_find, false, false},
    {"llama", ENGINE_LLAMA, llama_find, true, true},
    {"tandem-vit", ENGINE_VIT, vit_find, false, false},
    {"tandem-encoder", ENGINE_ENCODER, encoder_find, false, false},
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
        return opening_fail(open, code, "key %s cannot be read", key);
    }
    *ret_text = copy;
    return 0;
}

static uint64_t *bytes_of(struct engine_model_info *info, enum engine_weight_type type)
{
    switch (type) {
    case ENGINE_WEIGHT_F16:
        return &info->f16_bytes;
    case ENGINE_WEIGHT_BF16:
        return &info->bf16_bytes;
    case ENGINE_WEIGHT_Q8_0:
        return &info->q8_0_bytes;
    case ENGINE_WEIGHT_Q4_0:
        return &info->q4_0_bytes;
    case ENGINE_WEIGHT_F32:
        break;
    }
    return &info->f32_bytes;
}

static void info_sum(struct opening *open)
{
    enum engine_weight_type narrowest = ENGINE_WEIGHT_F32;
    struct engine_model_info *info = &open->model->info;

    for (size_t i = 0; i < gguf_tensor_count(open->gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(open->gguf, i);

        info->parameters += tensor->elements;
        *bytes_of(info, tensor->type) += tensor->bytes;
        if (engine_weight_bytes(tensor->type, ENGINE_WEIGHT_BLOCK) <
            engine_weight_bytes(narrowest, ENGINE_WEIGHT_BLOCK)) {
            narrowest = tensor->type;
        }
    }
    info->type_text = engine_weight_text(narrowest);
    info->file_bytes = mapping_bytes(open->model->mapping);
    info->has_tokenizer = open->model->tokenizer != NULL;
    if (engine_is_decoder(info->architecture)) {
        info->kv_tensors_per_layer = open->model->layout.v_is_k ? 1 : 2;
        info->kv_bytes_per_token = engine_kv_bytes_per_token(info->projection, info->n_layer,
                                                             info->n_head_kv, info->head_dim);
        info->kv_bytes_per_page = ENGINE_PAGE_TOKENS * info->kv_bytes_per_token;
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
        model->rms_norm = architectures[i].rms_norm;
        model->gated = architectures[i].gated;
        if ((code = shape_read(open)) || (code = layout_make(open)) ||
            (code = architectures[i].find(open)) || (code = blocks_find(open))) {
            return code == TANDEM_ENOTFOUND ? TANDEM_EFORMAT : code;
        }
        if (model->info.n_vocab && (code = tokenizer_load(open->gguf, model->info.n_vocab,
                                                          &model->tokenizer, open->error))) {
            return code;
        }
        code = calibration_find(open);
        return code ? code : opening_rest_check(open);
    }
    return opening_fail(open, TANDEM_EUNSUPPORTED, "architecture \"%.*s\" is not supported",
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
    pthread_mutex_init(&model->digest_lock, NULL);
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
    for (uint32_t i = 0; i < model->stem_count; i++) {
        free(model->stem[i].packed);
    }
    free(model->blocks);
    rotation_fini(&model->rotation);
    tokenizer_free(model->tokenizer);
    gguf_free(model->gguf);
    mapping_close(model->mapping);
    free((char *)(uintptr_t)model->info.path);
    free((char *)(uintptr_t)model->info.name);
    free((char *)(uintptr_t)model->info.license);
    pthread_mutex_destroy(&model->digest_lock);
    free(model);
}

const char *engine_model_digest(struct engine_model *model)
{
    pthread_mutex_lock(&model->digest_lock);
    if (!model->digest[0]) {
        XXH128_canonical_t canonical;

        XXH128_canonicalFromHash(
            &canonical, XXH3_128bits(mapping_data(model->mapping), mapping_bytes(model->mapping)));
        for (size_t i = 0; i < sizeof(canonical.digest); i++) {
            snprintf(model->digest + 2 * i, 3, "%02x", canonical.digest[i]);
        }
    }
    pthread_mutex_unlock(&model->digest_lock);
    return model->digest;
}

const struct engine_model_info *engine_model_info(const struct engine_model *model)
{
    return &model->info;
}

int model_file_check(const struct engine_model *model)
{
    return mapping_truncated(model->mapping) ? TANDEM_EIO : 0;
}
