/* convert_llama.c: decoders with rotary positions, by Hugging Face's names. Their rows of queries
 * and keys hold the halves of all pairs; the model file has pair after pair, as other engines want
 * it. */
#include "common/base/limits.h"
#include "common/model/convert.h"
#include "common/model/llama2c.h"
#include "common/model/tokenizer_files.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

bool convert_is_llama(const struct source *source)
{
    return source_find(source, "model.embed_tokens.weight") ||
           source_find(source, "embed_tokens.weight");
}

/* ---- the configuration ---- */

static const cJSON *config_item(const struct convert *convert, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(convert->source->config, name);

    return item && !cJSON_IsNull(item) ? item : NULL;
}

/* A text that may only say one of two things. */
static int text_check(const struct convert *convert, const char *name, const char *one,
                      const char *other)
{
    const cJSON *item = config_item(convert, name);

    if (!item || (cJSON_IsString(item) &&
                  (strcmp(item->valuestring, one) == 0 || strcmp(item->valuestring, other) == 0))) {
        return 0;
    }
    return convert_fail(convert, TANDEM_EUNSUPPORTED, "config.json: %s %.60s is not supported",
                        name, cJSON_IsString(item) ? item->valuestring : "of this kind");
}

static int number_check(const struct convert *convert, const char *name, double only)
{
    const cJSON *item = config_item(convert, name);

    if (!item || (cJSON_IsNumber(item) && item->valuedouble == only)) {
        return 0;
    }
    return convert_fail(convert, TANDEM_EUNSUPPORTED, "config.json: %s must be %g", name, only);
}

/* Positions that are scaled are another model; newer files keep all of it in rope_parameters. */
static int positions_read(const struct convert *convert, double *ret_base)
{
    static const char *const sections[] = {"rope_scaling", "rope_parameters"};

    *ret_base = convert_config_real(convert, "rope_theta", 10000);
    for (size_t i = 0; i < 2; i++) {
        const cJSON *section = config_item(convert, sections[i]);
        const cJSON *type = cJSON_GetObjectItemCaseSensitive(section, "rope_type");
        const cJSON *base = cJSON_GetObjectItemCaseSensitive(section, "rope_theta");

        type = type ? type : cJSON_GetObjectItemCaseSensitive(section, "type");
        if (section && (!cJSON_IsString(type) || strcmp(type->valuestring, "default") != 0)) {
            return convert_fail(convert, TANDEM_EUNSUPPORTED,
                                "config.json: %s: scaled positions are not supported", sections[i]);
        }
        *ret_base = cJSON_IsNumber(base) ? base->valuedouble : *ret_base;
    }
    return 0;
}

static int config_check(const struct convert *convert, uint64_t context)
{
    const cJSON *window = config_item(convert, "sliding_window");
    int result = text_check(convert, "model_type", "llama", "mistral");

    result = result ? result : text_check(convert, "hidden_act", "silu", "swish");
    result = result ? result : number_check(convert, "head_dim", (double)convert->head_dim);
    result = result ? result : number_check(convert, "partial_rotary_factor", 1);
    if (result == 0 && window &&
        !(cJSON_IsNumber(window) && window->valuedouble >= (double)context)) {
        result = convert_fail(convert, TANDEM_EUNSUPPORTED,
                              "config.json: sliding_window: attention over a window is not "
                              "supported");
    }
    return result;
}

/* ---- tensors ---- */

static uint64_t rows_of(const struct convert *convert, const char *name)
{
    const struct source_tensor *tensor = convert_find(convert, "%s", name);

    return tensor && tensor->dimension_count == 2 ? tensor->shape[0] : 0;
}

static int shape_find(struct convert *convert)
{
    uint64_t keys;
    int result = convert_heads(convert);

    if (result != 0) {
        return result;
    }
    while (convert->layers < LIMIT_MODEL_LAYERS &&
           convert_find(convert, "layers.%u.input_layernorm.weight", (unsigned)convert->layers)) {
        convert->layers++;
    }
    convert->ff = rows_of(convert, "layers.0.mlp.gate_proj.weight");
    keys = rows_of(convert, "layers.0.self_attn.k_proj.weight");
    convert->kv_heads = keys / convert->head_dim;
    if (convert->layers == 0 || convert->ff == 0 || convert->ff > LIMIT_MODEL_WIDTH) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "there are no layers %slayers.0.* with an input_layernorm and a "
                            "mlp.gate_proj",
                            convert->prefix);
    }
    if (keys == 0 || keys % convert->head_dim != 0 || convert->heads % convert->kv_heads != 0) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor %slayers.0.self_attn.k_proj.weight has %llu rows, no number of "
                            "heads of width %llu that divides %llu",
                            convert->prefix, (unsigned long long)keys,
                            (unsigned long long)convert->head_dim,
                            (unsigned long long)convert->heads);
    }
    return 0;
}

static int layer_write(const struct convert *convert, uint32_t i)
{
    const uint64_t d = convert->d, kv = convert->kv_heads * convert->head_dim;
    const struct {
        const char *name, *base;
        uint64_t in, out; /* out 0: a norm */
        bool turns;       /* its rows make pairs */
    } parts[] = {
        {"attn_norm", "input_layernorm", d, 0, false},
        {"attn_q", "self_attn.q_proj", d, d, true},
        {"attn_k", "self_attn.k_proj", d, kv, true},
        {"attn_v", "self_attn.v_proj", d, kv, false},
        {"attn_output", "self_attn.o_proj", d, d, false},
        {"ffn_norm", "post_attention_layernorm", d, 0, false},
        {"ffn_gate", "mlp.gate_proj", d, convert->ff, false},
        {"ffn_up", "mlp.up_proj", d, convert->ff, false},
        {"ffn_down", "mlp.down_proj", convert->ff, d, false},
    };
    int result = 0;

    for (size_t j = 0; result == 0 && j < sizeof(parts) / sizeof(parts[0]); j++) {
        const size_t first = convert->target->count;
        char name[64], base[96];
        const struct convert_rows rows = {.base = base, .count = parts[j].out};

        snprintf(name, sizeof(name), "blk.%u.%s", i, parts[j].name);
        snprintf(base, sizeof(base), "layers.%u.%s", i, parts[j].base);
        result = parts[j].out ? convert_linear(convert, name, parts[j].in, &rows, 1)
                              : convert_norm(convert, name, base);
        for (size_t k = first;
             parts[j].turns && !convert->source->pairs_adjacent && k < convert->target->count;
             k++) {
            convert->target->tensors[k].rotary_head = (uint32_t)convert->head_dim;
        }
    }
    (void)convert_find(convert, "layers.%u.self_attn.rotary_emb.inv_freq", i);
    return result;
}

static int pairs_write(const struct convert *convert)
{
    static const char *const contexts[] = {"max_position_embeddings", NULL};
    struct gguf_writer *writer = &convert->target->writer;
    const uint64_t context = convert_config_count(convert, contexts);
    double base;
    int result;

    if (context == 0 || context > LIMIT_MODEL_CONTEXT_TOKENS || convert->head_dim % 2 != 0) {
        return convert_fail(
            convert, TANDEM_EFORMAT,
            "config.json: max_position_embeddings from 1 to %u and heads of an even "
            "width are needed",
            LIMIT_MODEL_CONTEXT_TOKENS);
    }
    result = config_check(convert, context);
    result = result ? result : positions_read(convert, &base);
    if (result != 0) {
        return result;
    }
    convert_pairs(convert, "QKV", "silu", convert_config_real(convert, "rms_norm_eps", 1e-6));
    gguf_put_u32(writer, "llama.context_length", (uint32_t)context);
    gguf_put_u32(writer, "llama.rope.dimension_count", (uint32_t)convert->head_dim);
    gguf_put_f32(writer, "llama.rope.freq_base", (float)base);
    return 0;
}

int convert_llama(struct convert *convert)
{
    const bool bare = source_find(convert->source, "embed_tokens.weight") != NULL;
    struct source_tensor *table, *head = source_find(convert->source, "lm_head.weight");
    int result;

    convert->architecture = "llama";
    convert->rms_norm = true;
    snprintf(convert->prefix, sizeof(convert->prefix), "%s", bare ? "" : "model.");
    table = convert_find(convert, "embed_tokens.weight");
    if (table->dimension_count != 2 || table->shape[0] == 0 || table->shape[1] == 0 ||
        table->shape[0] > LIMIT_MODEL_VOCABULARY || table->shape[1] > LIMIT_MODEL_WIDTH) {
        return convert_fail(convert, TANDEM_ETOOBIG,
                            "tensor %s: no table within the bounds of a model", table->name);
    }
    convert->d = table->shape[1];
    result = shape_find(convert);
    result = result ? result : pairs_write(convert);
    if (result == 0) {
        result = convert->source->pairs_adjacent
                     ? llama2c_tokenizer_put(convert, (uint32_t)table->shape[0])
                     : tokenizer_files_put(convert, (uint32_t)table->shape[0]);
    }
    result = result ? result
                    : convert_table(convert, "token_embd.weight", "embed_tokens.weight",
                                    table->shape[0]);
    for (uint32_t i = 0; result == 0 && i < convert->layers; i++) {
        result = layer_write(convert, i);
    }
    result = result ? result : convert_norm(convert, "output_norm", "norm");
    if (result == 0 && !head && cJSON_IsFalse(config_item(convert, "tie_word_embeddings"))) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "there is no tensor lm_head.weight, and "
                            "config.json says that it is not the token "
                            "table");
    }
    return result ? result : convert_output(convert, table);
}
