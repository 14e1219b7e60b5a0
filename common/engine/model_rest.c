/* model_rest.c: what a file says that nothing has read. A key or a tensor that is passed over in
 * silence may be what makes the model's answers right, so each is expected to say what this engine
 * does anyway, is known to be harmless, or is refused. */
#include "common/engine/opening.h"

#include <stdio.h>

/* Keys of other engines that may only say one thing, because nothing else is done here. */
struct expected {
    const char *key; /* whole, or below the architecture */
    bool is_bool;
    uint32_t value; /* the only one */
};

static int expected_check(struct opening *open, const char *name, const struct expected *expected)
{
    uint32_t value = 0;
    bool flag = false;
    int code;

    if (!gguf_has(open->gguf, name)) {
        return 0;
    }
    code = expected->is_bool ? gguf_get_bool(open->gguf, name, &flag, open->error)
                             : gguf_get_u32(open->gguf, name, &value, open->error);
    if (code) {
        return code;
    }
    value = expected->is_bool ? flag : value;
    if (value == expected->value) {
        return 0;
    }
    return opening_fail(open, TANDEM_EUNSUPPORTED, "key %s is %u; only %u is supported", name,
                        value, expected->value);
}

static int shape_check(struct opening *open)
{
    const struct engine_model_info *info = &open->model->info;
    const struct expected shape[] = {
        {"attention.causal", true, engine_is_decoder(info->architecture)},
        {"attention.key_length", false, info->head_dim},
        {"attention.value_length", false, info->head_dim},
        {"expert_count", false, 0},
        {"expert_used_count", false, 0},
        {"use_parallel_residual", true, 0},
        {"vocab_size", false, info->n_vocab},
    };

    for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++) {
        char name[KEY_BYTES];
        int code;

        opening_key(open, shape[i].key, name);
        if ((code = expected_check(open, name, &shape[i]))) {
            return code;
        }
    }
    return 0;
}

/* An optional text that may only be `word`. */
static int word_check(struct opening *open, const char *key, const char *word)
{
    struct gguf_text text;
    int code = gguf_get_text(open->gguf, key, &text, open->error);

    if (code || gguf_text_is(text, word)) {
        return opening_optional(code);
    }
    return opening_fail(open, TANDEM_EUNSUPPORTED, "key %s is \"%.*s\"; only \"%s\" is supported",
                        key, (int)(text.bytes < 64 ? text.bytes : 64), text.data, word);
}

static int general_check(struct opening *open)
{
    static const struct expected keys[] = {
        {"tokenizer.ggml.add_eos_token", true, 0},
        {"tokenizer.ggml.add_sep_token", true, 0},
        {"tokenizer.ggml.remove_extra_whitespaces", true, 0},
        {"split.no", false, 0},
        {"split.count", false, 1},
    };
    int code;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if ((code = expected_check(open, keys[i].key, &keys[i]))) {
            return code;
        }
    }
    if (!tokenizer_is_scored(open->model->tokenizer)) { /* else it is the tokenizer's own key */
        static const struct expected space = {"tokenizer.ggml.add_space_prefix", true, 0};

        if ((code = expected_check(open, space.key, &space))) {
            return code;
        }
    }
    code = word_check(open, "general.type", "model");
    return code ? code
                : word_check(open, "tokenizer.ggml.pre",
                             tokenizer_is_scored(open->model->tokenizer) ? "default" : "gpt-2");
}

/* Names for prompts and training that files of other engines carry; nothing here inserts or looks
 * for them. */
static const char *const harmless[] = {
    "tokenizer.chat_template",           "tokenizer.chat_templates",
    "tokenizer.ggml.cls_token_id",       "tokenizer.ggml.fim_mid_token_id",
    "tokenizer.ggml.fim_pad_token_id",   "tokenizer.ggml.fim_pre_token_id",
    "tokenizer.ggml.fim_rep_token_id",   "tokenizer.ggml.fim_sep_token_id",
    "tokenizer.ggml.fim_suf_token_id",   "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.padding_token_id",   "tokenizer.ggml.scores",
    "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.token_type_count",
    "tokenizer.huggingface.json",
};

static int unread_check(struct opening *open)
{
    char own[KEY_BYTES];
    const char *const prefixes[] = {own, "tandem.", "tokenizer."};
    struct gguf_text name;

    opening_key(open, "", own);
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        (void)gguf_has(open->gguf, harmless[i]);
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (gguf_unasked_key(open->gguf, prefixes[i], &name)) {
            return opening_fail(
                open, TANDEM_EUNSUPPORTED,
                "key %.*s has no meaning in this model; without it the answers could be wrong",
                (int)(name.bytes < 200 ? name.bytes : 200), name.data);
        }
    }
    if (gguf_unasked_tensor(open->gguf, &name)) {
        return opening_fail(
            open, TANDEM_EUNSUPPORTED,
            "tensor %.*s has no place in this model; without it the answers could be wrong",
            (int)(name.bytes < 200 ? name.bytes : 200), name.data);
    }
    return 0;
}

int opening_rest_check(struct opening *open)
{
    int code = shape_check(open);

    if (!code) {
        code = general_check(open);
    }
    return code ? code : unread_check(open);
}
