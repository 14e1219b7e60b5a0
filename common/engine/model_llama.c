/* model_llama.c: the keys of rotary positions. Scaled ones (longer contexts than a model was
 * trained for) are refused, because each kind of scaling is another model. */
#include "common/engine/opening.h"

#include <math.h>
#include <stdio.h>

static const char *const pairing_words[] = {"adjacent", "halves", NULL};
static const char *const value_words[] = {"unrotated", "relative", NULL};

/* An optional number; *value is untouched without the key. */
static int real_read(struct opening *open, const char *key, float *value)
{
    char name[KEY_BYTES];

    opening_key(open, key, name);
    return opening_optional(gguf_get_f32(open->gguf, name, value, open->error));
}

static int scaling_check(struct opening *open)
{
    static const char *const factors[] = {"rope.scaling.factor", "rope.scale_linear",
                                          "rope.scaling.attn_factor"};
    static const char *const none[] = {"none", NULL};
    uint32_t word = 0;
    int code = opening_word(open, "rope.scaling.type", none, &word);

    for (size_t i = 0; code == 0 && i < sizeof(factors) / sizeof(factors[0]); i++) {
        float factor = 1;

        code = real_read(open, factors[i], &factor);
        if (code == 0 && factor != 1) {
            code = opening_fail(open, TANDEM_EUNSUPPORTED, "key %s.%s is %g; only 1 is supported",
                                open->prefix, factors[i], (double)factor);
        }
    }
    return code;
}

int rotation_find(struct opening *open)
{
    struct engine_model *model = open->model;
    const struct engine_model_info *info = &model->info;
    uint32_t numbers = info->head_dim, pairing = 0, value = 0;
    float base = 10000;
    char name[KEY_BYTES];
    int code = scaling_check(open);

    opening_key(open, "rope.dimension_count", name);
    if (code == 0 && gguf_has(open->gguf, name)) {
        code = opening_u32(open, "rope.dimension_count", 1, info->head_dim, &numbers);
    }
    if (code || (code = real_read(open, "rope.freq_base", &base)) ||
        (code = opening_word(open, "rope.pairing", pairing_words, &pairing)) ||
        (code = opening_word(open, "attention.shared_value", value_words, &value))) {
        return code;
    }
    if (numbers % 2 || !(base >= 1)) {
        return opening_fail(open, TANDEM_EFORMAT,
                            "%u rotated numbers of a head with a base of %g: they turn in pairs, "
                            "and the base is at least 1",
                            numbers, (double)base);
    }
    opening_key(open, "attention.shared_value", name);
    if (gguf_has(open->gguf, name) && !model->layout.v_is_k) {
        return opening_fail(open, TANDEM_EFORMAT, "key %s in a model whose projection is %s", name,
                            info->projection_text);
    }
    model->relative_values = value == 1;
    code = rotation_init(&model->rotation, numbers / 2, pairing == 1, base, info->n_context);
    return code ? opening_fail(open, code, "no memory for the table of positions") : 0;
}
