/* convert_attention.c: which of the paper's variants a checkpoint is, told by the layers below
 * "attn." and their shapes. */
#include "common/model/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HAS_ATTN = 1,
    HAS_Q = 2,
    HAS_K = 4,
    HAS_V = 8,
    HAS_KV = 16,
    HAS_QK = 32,
    HAS_QKV = 64,
    HAS_Q1 = 128,
    HAS_Q2 = 256
};

static const struct {
    const char *name;
    unsigned bit;
} layers[] = {
    {"c_attn", HAS_ATTN}, {"c_q", HAS_Q},     {"c_k", HAS_K},   {"c_v", HAS_V},   {"c_kv", HAS_KV},
    {"c_qk", HAS_QK},     {"c_qkv", HAS_QKV}, {"c_q1", HAS_Q1}, {"c_q2", HAS_Q2},
};
#define LAYERS (sizeof(layers) / sizeof(layers[0]))

/* Rows of a projection: all heads, the KV heads, or what is left of a fused layer. */
enum rows { ROWS_NONE, ROWS_Q, ROWS_KV };

/* What a set of layers means. `shared`: c_kv is one tensor for both, not K above V. */
static const struct meaning {
    unsigned has;
    bool shared;
    const char *projection;
    struct {
        const char *base, *name;
        enum rows rows;
    } parts[TARGET_PARTS];
} meanings[] = {
    {HAS_ATTN,
     false,
     "QKV",
     {{"c_attn", "attn_q", ROWS_Q}, {"c_attn", "attn_k", ROWS_KV}, {"c_attn", "attn_v", ROWS_KV}}},
    {HAS_Q | HAS_K | HAS_V,
     false,
     "QKV",
     {{"c_q", "attn_q", ROWS_Q}, {"c_k", "attn_k", ROWS_KV}, {"c_v", "attn_v", ROWS_KV}}},
    {HAS_Q | HAS_KV,
     false,
     "QKV",
     {{"c_q", "attn_q", ROWS_Q}, {"c_kv", "attn_k", ROWS_KV}, {"c_kv", "attn_v", ROWS_KV}}},
    {HAS_KV, false, "Q=K-V", {{"c_kv", "attn_q", ROWS_Q}, {"c_kv", "attn_v", ROWS_KV}}},
    {HAS_QK | HAS_V, false, "Q=K-V", {{"c_qk", "attn_q", ROWS_Q}, {"c_v", "attn_v", ROWS_KV}}},
    {HAS_Q | HAS_K, false, "Q-K=V", {{"c_q", "attn_q", ROWS_Q}, {"c_k", "attn_k", ROWS_KV}}},
    {HAS_Q | HAS_KV, true, "Q-K=V", {{"c_q", "attn_q", ROWS_Q}, {"c_kv", "attn_k", ROWS_KV}}},
    {HAS_Q1 | HAS_Q2 | HAS_V,
     false,
     "Q-K=V",
     {{"c_q2", "attn_q", ROWS_Q}, {"c_v", "attn_k", ROWS_KV}}},
    {HAS_K, false, "Q=K=V", {{"c_k", "attn_q", ROWS_Q}}},
    {HAS_QKV, false, "Q=K=V", {{"c_qkv", "attn_q", ROWS_Q}}},
};
#define MEANINGS (sizeof(meanings) / sizeof(meanings[0]))

static const struct source_tensor *layer_find(const struct convert *convert, const char *attn,
                                              uint32_t layer, const char *name)
{
    char base[96];

    snprintf(base, sizeof(base), attn, layer);
    return convert_find(convert, "%s.%s.weight", base, name);
}

/* KV heads of a layer that holds `parts` projections of them; 0 when its rows are no whole number
 * of heads. */
static uint64_t kv_heads_of(const struct convert *convert, uint64_t rows, uint64_t parts)
{
    return rows % (parts * convert->head_dim) == 0 ? rows / (parts * convert->head_dim) : 0;
}

/* How many KV heads the K of this meaning has, by the rows of layer 0. */
static uint64_t kv_heads_find(const struct convert *convert, const char *attn,
                              const struct meaning *meaning)
{
    const char *last = NULL;
    const struct source_tensor *tensor;
    uint64_t rows, parts = 0;

    for (uint32_t i = 0; i < TARGET_PARTS && meaning->parts[i].base; i++) {
        last = meaning->parts[i].rows == ROWS_KV ? meaning->parts[i].base : last;
    }
    if (!last) {
        return convert->heads; /* Q=K=V */
    }
    tensor = layer_find(convert, attn, 0, last);
    rows = tensor->dimension_count ? tensor->shape[0] : 0;
    for (uint32_t i = 0; i < TARGET_PARTS && meaning->parts[i].base; i++) {
        if (strcmp(meaning->parts[i].base, last) == 0) {
            if (meaning->parts[i].rows == ROWS_Q) {
                rows = rows > convert->d ? rows - convert->d : 0;
            } else {
                parts++;
            }
        }
    }
    return kv_heads_of(convert, rows, parts);
}

static const struct meaning *meaning_find(const struct convert *convert, const char *attn,
                                          bool kv_is_shared)
{
    unsigned has = 0;

    for (size_t i = 0; i < LAYERS; i++) {
        has |= layer_find(convert, attn, 0, layers[i].name) ? layers[i].bit : 0;
    }
    if (has == (HAS_Q | HAS_KV) && !kv_is_shared) {
        /* One head in all of c_kv is the paper's Q-MQA: K and V cannot be half a head each. */
        kv_is_shared = layer_find(convert, attn, 0, "c_kv")->shape[0] == convert->head_dim;
    }
    for (size_t i = 0; i < MEANINGS; i++) {
        if (meanings[i].has == has &&
            (has != (HAS_Q | HAS_KV) || meanings[i].shared == kv_is_shared)) {
            return &meanings[i];
        }
    }
    return NULL;
}

int convert_attention_find(struct convert *convert, const char *attn, bool kv_is_shared,
                           struct convert_attention *ret_attention)
{
    const struct meaning *meaning = meaning_find(convert, attn, kv_is_shared);
    struct convert_attention attention = {0};
    char base[96];

    snprintf(base, sizeof(base), attn, 0);
    if (!meaning) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "the layers below %s%s are those of no known variant", convert->prefix,
                            base);
    }
    convert->kv_heads = kv_heads_find(convert, attn, meaning);
    if (convert->kv_heads == 0 || convert->heads % convert->kv_heads != 0) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "the keys of %s%s are no whole number of heads of width %llu",
                            convert->prefix, base, (unsigned long long)convert->head_dim);
    }
    attention.projection = meaning->projection;
    attention.fused = strcmp(meaning->projection, "QKV") == 0;
    attention.stacked_q = (meaning->has & HAS_Q1) != 0;
    for (; attention.count < TARGET_PARTS && meaning->parts[attention.count].base;
         attention.count++) {
        const uint32_t i = attention.count;
        uint64_t first = 0;

        if (i > 0 && strcmp(meaning->parts[i].base, meaning->parts[i - 1].base) == 0) {
            first = attention.rows[i - 1].first + attention.rows[i - 1].count;
        }
        attention.bases[i] = meaning->parts[i].base;
        attention.names[i] = meaning->parts[i].name;
        attention.rows[i] = (struct convert_rows){
            .first = first,
            .count = meaning->parts[i].rows == ROWS_Q ? convert->d
                                                      : convert->kv_heads * convert->head_dim};
    }
    for (uint32_t i = 0; i < attention.count;
         i++) { /* the last part of a layer that is cut says how large it is */
        for (uint32_t j = 0; j < attention.count; j++) {
            if (strcmp(attention.bases[i], attention.bases[j]) == 0) {
                attention.rows[i].whole = attention.rows[j].first + attention.rows[j].count;
            }
        }
    }
    *ret_attention = attention;
    return 0;
}

/* W2 W1 and W2 b1 + b2: two stacked layers without anything between them are one. */
static int stacked_write(const struct convert *convert, const char *base, uint32_t layer)
{
    const uint64_t d = convert->d;
    const struct source_tensor *w1, *w2, *b1 = NULL, *b2 = NULL;
    struct target_tensor *weight, *bias = NULL;
    float *first = malloc(d * d * sizeof(*first)), *row = malloc(d * sizeof(*row)),
          *b1_values = calloc(d, sizeof(*b1_values));
    char name[128];
    int result = first && row && b1_values
                     ? 0
                     : convert_fail(convert, TANDEM_ENOMEM, "no memory to join two layers");

    snprintf(name, sizeof(name), "%s.c_q1.weight", base);
    result = result ? result : convert_want(convert, name, d, d, &w1);
    snprintf(name, sizeof(name), "%s.c_q2.weight", base);
    result = result ? result : convert_want(convert, name, d, d, &w2);
    snprintf(name, sizeof(name), "%s.c_q1.bias", base);
    result = result ? result : convert_want(convert, name, 0, d, &b1);
    snprintf(name, sizeof(name), "%s.c_q2.bias", base);
    result = result ? result : convert_want(convert, name, 0, d, &b2);
    if (result == 0 && (source_rows(convert->source, w1, 0, d, first) != 0 ||
                        source_rows(convert->source, b1, 0, d, b1_values) != 0)) {
        result = convert_fail(convert, TANDEM_EIO, "cannot read %s", w1->name);
    }
    weight = result == 0 ? target_add(convert->target, "blk.%u.attn_q.weight", layer) : NULL;
    if (result != 0) {
        goto out;
    }
    if (!weight || !(weight->values = calloc(d * d, sizeof(float)))) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory to join two layers");
        goto out;
    }
    weight->dimension_count = 2;
    weight->dimensions[0] = weight->dimensions[1] = d;
    {
        float *const joined = weight->values;

        bias = target_add(convert->target, "blk.%u.attn_q.bias", layer);
        if (!bias || !(bias->values = calloc(d, sizeof(float)))) {
            result = convert_fail(convert, TANDEM_ENOMEM, "no memory to join two layers");
            goto out;
        }
        bias->dimension_count = 1;
        bias->dimensions[0] = d;
        result = source_rows(convert->source, b2, 0, d, bias->values);
        for (uint64_t i = 0; result == 0 && i < d; i++) {
            result = source_rows(convert->source, w2, i, 1, row);
            for (uint64_t k = 0; result == 0 && k < d; k++) {
                for (uint64_t j = 0; j < d; j++) {
                    joined[i * d + j] += row[k] * first[k * d + j];
                }
                bias->values[i] += row[k] * b1_values[k];
            }
        }
    }
    if (result != 0) {
        result = convert_fail(convert, TANDEM_EIO, "cannot read %s", w2->name);
    }
out:
    free(first);
    free(row);
    free(b1_values);
    return result;
}

int convert_attention_write(const struct convert *convert,
                            const struct convert_attention *attention, const char *attn,
                            uint32_t layer)
{
    char base[96], bases[TARGET_PARTS][128], name[64];
    struct convert_rows rows[TARGET_PARTS];
    int result = 0;

    snprintf(base, sizeof(base), attn, layer);
    for (uint32_t i = 0; i < attention->count; i++) {
        snprintf(bases[i], sizeof(bases[i]), "%s.%s", base, attention->bases[i]);
        rows[i] = attention->rows[i];
        rows[i].base = bases[i];
    }
    if (attention->fused) {
        snprintf(name, sizeof(name), "blk.%u.attn_qkv", layer);
        return convert_linear(convert, name, convert->d, rows, attention->count);
    }
    for (uint32_t i = 0; result == 0 && i < attention->count; i++) {
        if (i == 0 && attention->stacked_q) {
            result = stacked_write(convert, base, layer);
            continue;
        }
        snprintf(name, sizeof(name), "blk.%u.%s", layer, attention->names[i]);
        result = convert_linear(convert, name, convert->d, &rows[i], 1);
    }
    return result;
}
