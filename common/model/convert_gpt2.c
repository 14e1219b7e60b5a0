/* convert_gpt2.c: decoders with learned positions: the paper's eight language models (training
 * dictionary or release), other code with the same names, and GPT-2 in the Hugging Face layout,
 * whose matrices lie the other way round. */
#include "common/base/limits.h"
#include "common/model/convert.h"
#include "common/model/tokenizer_files.h"

#include <stdio.h>
#include <string.h>

#define ATTENTION "h.%u.attn"

bool convert_is_gpt2(const struct source *source)
{
    return source_find(source, "wte.weight") || source_find(source, "transformer.wte.weight");
}

/* [in, out] seen as [out, in]. */
static void matrix_turn(struct source_tensor *tensor)
{
    const uint64_t rows = tensor->shape[0], stride = tensor->stride[0];

    tensor->shape[0] = tensor->shape[1];
    tensor->stride[0] = tensor->stride[1];
    tensor->shape[1] = rows;
    tensor->stride[1] = stride;
}

static int layers_count(struct convert *convert)
{
    while (convert->layers < LIMIT_MODEL_LAYERS &&
           convert_find(convert, "h.%u.ln_1.weight", (unsigned)convert->layers)) {
        convert->layers++;
    }
    return convert->layers > 0
               ? 0
               : convert_fail(convert, TANDEM_EFORMAT, "there is no tensor %sh.0.ln_1.weight",
                              convert->prefix);
}

/* Hugging Face's GPT-2 stores its layers as [in, out]; the feed-forward layer, which is not square,
 * tells. */
static int layout_find(struct convert *convert)
{
    static const char *const layers[] = {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"};
    const struct source_tensor *up = convert_find(convert, "h.0.mlp.c_fc.weight");

    if (!up || up->dimension_count != 2 ||
        (up->shape[0] != convert->d && up->shape[1] != convert->d)) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor %sh.0.mlp.c_fc.weight: no matrix of width %llu",
                            convert->prefix, (unsigned long long)convert->d);
    }
    if (up->shape[1] == convert->d) {
        convert->ff = up->shape[0];
        return 0;
    }
    convert->ff = up->shape[1];
    for (uint32_t i = 0; i < convert->layers; i++) {
        for (size_t j = 0; j < sizeof(layers) / sizeof(layers[0]); j++) {
            struct source_tensor *tensor = convert_find(convert, "h.%u.%s.weight", i, layers[j]);

            if (tensor && tensor->dimension_count == 2) {
                matrix_turn(tensor);
            }
        }
    }
    return 0;
}

static int layer_write(const struct convert *convert, const struct convert_attention *attention,
                       uint32_t i)
{
    static const struct {
        const char *name, *base;
        char kind; /* n: norm, a: attention, and the layers' widths: o d to d, u d to ff, d ff to d
                    */
    } parts[] = {
        {"attn_norm", "ln_1", 'n'},          {NULL, NULL, 'a'},
        {"attn_output", "attn.c_proj", 'o'}, {"ffn_norm", "ln_2", 'n'},
        {"ffn_up", "mlp.c_fc", 'u'},         {"ffn_down", "mlp.c_proj", 'd'},
    };
    int result = 0;

    for (size_t j = 0; result == 0 && j < sizeof(parts) / sizeof(parts[0]); j++) {
        char name[64], base[64];
        struct convert_rows rows = {.base = base,
                                    .count = parts[j].kind == 'u' ? convert->ff : convert->d};

        if (parts[j].kind == 'a') {
            result = convert_attention_write(convert, attention, ATTENTION, i);
            continue;
        }
        snprintf(name, sizeof(name), "blk.%u.%s", i, parts[j].name);
        snprintf(base, sizeof(base), "h.%u.%s", i, parts[j].base);
        result = parts[j].kind == 'n'
                     ? convert_norm(convert, name, base)
                     : convert_linear(convert, name,
                                      parts[j].kind == 'd' ? convert->ff : convert->d, &rows, 1);
    }
    /* Causal masks that training code keeps as buffers. */
    (void)convert_find(convert, "h.%u.attn.bias", i);
    (void)convert_find(convert, "h.%u.attn.masked_bias", i);
    return result;
}

/* What the names of Hugging Face's configuration mean; code without one is the paper's or alike:
 * the exact GELU. */
static const char *activation_find(const struct convert *convert)
{
    const char *said = convert_config_text(convert, "activation_function");
    const char *family = convert_config_text(convert, "model_type");

    if (!said) {
        return family && strcmp(family, "gpt2") == 0 ? "gelu_tanh" : "gelu_erf";
    }
    if (strcmp(said, "gelu") == 0) {
        return "gelu_erf";
    }
    return strcmp(said, "gelu_new") == 0 || strcmp(said, "gelu_pytorch_tanh") == 0 ? "gelu_tanh"
                                                                                   : NULL;
}

int convert_gpt2(struct convert *convert)
{
    struct convert_attention attention;
    const struct source_tensor *wte, *wpe;
    const char *activation;
    int result;

    convert->architecture = "gpt2";
    snprintf(convert->prefix, sizeof(convert->prefix), "%s",
             source_find(convert->source, "wte.weight") ? "" : "transformer.");
    wte = convert_find(convert, "wte.weight");
    wpe = convert_find(convert, "wpe.weight");
    activation = activation_find(convert);
    if (!wpe || wte->dimension_count != 2 || wpe->dimension_count != 2) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensors %swte.weight and wpe.weight must be tables", convert->prefix);
    }
    if (!activation) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "activation_function %.60s is not supported",
                            convert_config_text(convert, "activation_function"));
    }
    if (wte->shape[0] == 0 || wte->shape[0] > LIMIT_MODEL_VOCABULARY || wpe->shape[0] == 0 ||
        wpe->shape[0] > LIMIT_MODEL_CONTEXT_TOKENS || wte->shape[1] == 0 ||
        wte->shape[1] > LIMIT_MODEL_WIDTH) {
        return convert_fail(convert, TANDEM_ETOOBIG,
                            "tensors %s and %s: outside the bounds of a model", wte->name,
                            wpe->name);
    }
    convert->d = wte->shape[1];
    result = convert_heads(convert);
    result = result ? result : layers_count(convert);
    result = result ? result : layout_find(convert);
    result = result ? result : convert_attention_find(convert, ATTENTION, false, &attention);
    if (result != 0) {
        return result;
    }
    convert_pairs(convert, attention.projection, activation,
                  convert_config_real(convert, "layer_norm_epsilon", 1e-5));
    gguf_put_u32(&convert->target->writer, "gpt2.context_length", (uint32_t)wpe->shape[0]);
    result = tokenizer_files_put(convert, (uint32_t)wte->shape[0]);
    result =
        result ? result : convert_table(convert, "token_embd.weight", "wte.weight", wte->shape[0]);
    result = result ? result
                    : convert_table(convert, "position_embd.weight", "wpe.weight", wpe->shape[0]);
    for (uint32_t i = 0; result == 0 && i < convert->layers; i++) {
        result = layer_write(convert, &attention, i);
    }
    result = result ? result : convert_norm(convert, "output_norm", "ln_f");
    return result ? result : convert_output(convert, wte);
}
