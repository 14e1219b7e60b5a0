/* What a model file says and nothing reads: what could change the answers is refused by name, what
 * cannot is passed over. */
#include "tests/unit/engine/gguf_edit.h"

static void expect(struct gguf_edit *edit, const char *model, int wanted, const char *word)
{
    char error[ENGINE_ERROR_BYTES] = "";
    const int code = edit_open(edit, model, error);

    if (code != wanted || (word && !strstr(error, word)) || strchr(error, '\n')) {
        fail_msg("%s with %s: code %d, wanted %d: %s", model, word ? word : "?", code, wanted,
                 error);
    }
}

static void test_unchanged(void **state)
{
    struct gguf_edit edit = {0};

    (void)state;
    expect(&edit, "decoder_qkv_f32", 0, NULL);
    expect(&edit, "bpe", 0, NULL);
    expect(&edit, "vit_conv_seq", 0, NULL);
}

static void test_tensors(void **state)
{
    static const struct {
        const char *model, *tensor;
    } cases[] = {
        {"decoder_qkv_f32", "blk.0.attn_q_norm.weight"},
        {"decoder_qkv_f32", "blk.2.attn_norm.weight"}, /* a block that is not there */
        {"decoder_qkv_f32", "blk.0.attn_q.weight"},    /* beside the fused one */
        {"decoder_kv_f32", "blk.0.attn_v.weight"},     /* V is K */
        {"decoder_q_f32", "blk.1.attn_k.weight"},      /* K is Q */
        {"decoder_qkv_f32", "blk.0.attn_pos.bias"},    /* (X)+ without its key */
        {"decoder_qkv_f32", "rope_freqs.weight"},
        {"vit_patch_cls", "seq_pool.weight"}, /* pooled by cls */
        {"vit_conv_seq", "cls.weight"},
        {"vit_patch_cls", "stem.1.weight"},
        {"encoder_qkv", "output.weight"},
        {"encoder_qkv", "two\nlines"},
        {"llama_qkv", "position_embd.weight"},
        {"llama_qkv", "rope_freqs.weight"}, /* scaled positions */
        {"llama_qkv", "output_norm.bias"},  /* an RMS norm has none */
        {"llama_kv", "blk.1.attn_v.weight"},
        {"decoder_qkv_f32", "blk.0.ffn_gate.weight"},
    };
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        edit_put_tensor(&edit, cases[i].tensor, 4, 4);
        expect(&edit, cases[i].model, TANDEM_EUNSUPPORTED,
               strchr(cases[i].tensor, '\n') ? "two?lines" : cases[i].tensor);
    }
    edit_put_tensor(&edit, "output.weight", 32, 41); /* a head of its own: that has a place */
    expect(&edit, "decoder_qkv_f32", 0, NULL);
}

/* Keys that other engines read and this one does not: only the value that changes nothing passes.
 */
static void test_numbers(void **state)
{
    static const struct {
        const char *model, *key;
        uint32_t fine, wrong;
    } cases[] = {
        {"decoder_qkv_f32", "gpt2.vocab_size", 41, 42},
        {"decoder_qkv_f32", "gpt2.attention.key_length", 8, 16},
        {"decoder_qkv_f32", "gpt2.attention.value_length", 8, 4},
        {"decoder_qkv_f32", "gpt2.expert_count", 0, 8},
        {"decoder_qkv_f32", "split.count", 1, 2},
        {"decoder_qkv_f32", "split.no", 0, 1},
        {"llama_qkv", "llama.expert_used_count", 0, 2},
    };
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        keys_put_u32(&edit.keys, cases[i].key, cases[i].fine);
        expect(&edit, cases[i].model, 0, NULL);
        keys_put_u32(&edit.keys, cases[i].key, cases[i].wrong);
        expect(&edit, cases[i].model, TANDEM_EUNSUPPORTED, cases[i].key);
        keys_put_text(&edit.keys, cases[i].key, "1");
        expect(&edit, cases[i].model, TANDEM_EFORMAT, cases[i].key);
    }
}

static void test_flags(void **state)
{
    static const struct {
        const char *model, *key;
        bool fine;
    } cases[] = {
        {"decoder_qkv_f32", "gpt2.attention.causal", true},
        {"encoder_qkv", "tandem-encoder.attention.causal", false},
        {"decoder_qkv_f32", "gpt2.use_parallel_residual", false},
        {"bpe", "tokenizer.ggml.add_eos_token", false},
        {"bpe", "tokenizer.ggml.add_sep_token", false},
        {"bpe", "tokenizer.ggml.add_space_prefix", false},
        {"bpe", "tokenizer.ggml.remove_extra_whitespaces", false},
    };
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        keys_put_bool(&edit.keys, cases[i].key, cases[i].fine);
        expect(&edit, cases[i].model, 0, NULL);
        keys_put_bool(&edit.keys, cases[i].key, !cases[i].fine);
        expect(&edit, cases[i].model, TANDEM_EUNSUPPORTED, cases[i].key);
    }
}

static void test_words(void **state)
{
    static const struct {
        const char *model, *key, *fine, *wrong;
    } cases[] = {
        {"decoder_qkv_f32", "general.type", "model", "adapter"},
        {"bpe", "tokenizer.ggml.pre", "gpt-2", "llama-bpe"},
        {"scored", "tokenizer.ggml.pre", "default", "llama-bpe"},
        {"llama_qkv", "llama.rope.scaling.type", "none", "yarn"},
        {"llama_qkv", "llama.activation", "silu", "gelu_erf"},
    };
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        keys_put_text(&edit.keys, cases[i].key, cases[i].fine);
        expect(&edit, cases[i].model, 0, NULL);
        keys_put_text(&edit.keys, cases[i].key, cases[i].wrong);
        expect(&edit, cases[i].model, TANDEM_EUNSUPPORTED, cases[i].wrong);
    }
}

/* Rotary positions and the feed-forward layer: what is not computed here is refused. */
static void test_llama_keys(void **state)
{
    static const char *const reals[] = {"llama.rope.scaling.factor", "llama.rope.scale_linear",
                                        "llama.rope.scaling.attn_factor"};
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        keys_put_f32(&edit.keys, reals[i], 1);
        expect(&edit, "llama_qkv", 0, NULL);
        keys_put_f32(&edit.keys, reals[i], 4);
        expect(&edit, "llama_qkv", TANDEM_EUNSUPPORTED, reals[i]);
    }
    keys_put_text(&edit.keys, "llama.attention.shared_value", "unrotated");
    expect(&edit, "llama_kv", 0, NULL);
    keys_put_text(&edit.keys, "llama.attention.shared_value", "sometimes");
    expect(&edit, "llama_kv", TANDEM_EUNSUPPORTED, "sometimes");
    keys_put_text(&edit.keys, "llama.attention.shared_value", "unrotated");
    expect(&edit, "llama_qkv", TANDEM_EFORMAT, "llama.attention.shared_value");
    keys_put_text(&edit.keys, "llama.rope.pairing", "thirds");
    expect(&edit, "llama_qkv", TANDEM_EUNSUPPORTED, "thirds");
}

static void test_unknown_keys(void **state)
{
    static const struct {
        const char *model, *key;
    } cases[] = {
        {"decoder_qkv_f32", "gpt2.attention.sliding_window"},
        {"decoder_qkv_f32", "gpt2.final_logit_softcapping"},
        {"decoder_qkv_f32", "gpt2.rope.freq_base"},
        {"llama_qkv", "llama.rope.scaling.original_context_length"},
        {"llama_qkv", "llama.attention.sliding_window"},
        {"decoder_qkv_f32", "tandem.prompt.before"},
        {"decoder_qkv_f32", "tokenizer.ggml.merges"}, /* no tokenizer.ggml.model */
        {"bpe", "tokenizer.ggml.precompiled_charsmap"},
        {"vit_patch_cls", "tandem-vit.stem.conv.kernel"}, /* the stem is patch */
        {"vit_conv_seq", "tandem-vit.patch_size"},
        {"vit_conv_seq", "tokenizer.ggml.model"}, /* pictures have no words */
    };
    struct gguf_edit edit = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        keys_put_u32(&edit.keys, cases[i].key, 4);
        expect(&edit, cases[i].model, TANDEM_EUNSUPPORTED, cases[i].key);
    }
}

static void test_harmless_keys(void **state)
{
    struct gguf_edit edit = {0};

    (void)state;
    keys_put_text(&edit.keys, "general.quantized_by", "somebody");
    keys_put_u32(&edit.keys, "general.file_type", 1);
    keys_put_text(&edit.keys, "tokenizer.chat_template", "{{ messages }}");
    keys_put_u32(&edit.keys, "tokenizer.ggml.padding_token_id", 1);
    keys_put_u32(&edit.keys, "llama.rope.freq_base", 3);
    expect(&edit, "bpe", 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchanged),     cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_flags),
        cmocka_unit_test(test_words),         cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_harmless_keys), cmocka_unit_test(test_llama_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
