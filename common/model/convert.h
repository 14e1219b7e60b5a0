/* convert.h: checkpoints of other programs into model files. What the converters share.
 *
 * A converter looks at names and shapes alone to tell what it has; the file's name and what a
 * checkpoint calls its variant are not believed. Every tensor of the source must be used or be one
 * of the buffers a converter names; what is left over is refused. */
#ifndef TANDEM_MODEL_CONVERT_H
#define TANDEM_MODEL_CONVERT_H

#include "common/model/target.h"

struct convert_options {
    uint32_t heads;                 /* 0: the checkpoint says */
    const char *tokenizer, *merges; /* files; NULL: none */
    const char *labels;             /* a file with one class a line; NULL: none */
    float mean[4], std[4];          /* of a picture's channels */
    uint32_t mean_count, std_count; /* 0: told by the checkpoint's task */
    const char *name, *license;     /* general.*; NULL: left out */
};

/* One conversion. */
struct convert {
    struct source *source;
    struct target *target;
    const struct convert_options *options;
    const char *architecture; /* "gpt2" */
    char prefix[32];          /* in front of every name: "transformer." or "" */
    bool rms_norm;            /* norms have no bias, and another key for their epsilon */
    uint64_t d, ff, layers, heads, kv_heads, head_dim;
    char *error; /* [ENGINE_ERROR_BYTES] */
};

/* Rows of a linear layer of the source: BASE.weight and BASE.bias. */
struct convert_rows {
    const char *base; /* without prefix */
    uint64_t first, count;
    uint64_t whole; /* rows the layer must have; 0: first + count */
};

/* Each returns 0 or TANDEM_E* with a line in convert->error. Names are printf formats of a layer's
 * number, prefix excluded. */
int convert_fail(const struct convert *convert, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* NULL when there is none; marks it used. */
struct source_tensor *convert_find(const struct convert *convert, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A tensor that must be there with this shape (`rows` 0: one dimension of `columns`). */
int convert_want(const struct convert *convert, const char *name, uint64_t rows, uint64_t columns,
                 const struct source_tensor **ret_tensor);
/* NAME.weight [in, out] and, when the source has them, NAME.bias, from rows of up to three layers
 * of the source. */
int convert_linear(const struct convert *convert, const char *name, uint64_t in,
                   const struct convert_rows *rows, uint32_t count);
/* A norm; an absent bias is written as zeros, an RMS norm has none. */
int convert_norm(const struct convert *convert, const char *name, const char *base);
/* A table of rows that is looked up, [rows, d]. */
int convert_table(const struct convert *convert, const char *name, const char *from, uint64_t rows);
/* lm_head.weight as the output matrix; left out when there is none, or when it is `table` itself.
 */
int convert_output(const struct convert *convert, const struct source_tensor *table);
/* A whole number of the checkpoint's configuration under one of the names (NULL ends them); 0 when
 * it has none. */
uint64_t convert_config_count(const struct convert *convert, const char *const *names);
double convert_config_real(const struct convert *convert, const char *name, double otherwise);
const char *convert_config_text(const struct convert *convert, const char *name); /* NULL: none */
/* heads, head_dim from options or configuration; kv_heads = heads. */
int convert_heads(struct convert *convert);
/* Pairs that every model has. */
void convert_pairs(const struct convert *convert, const char *projection, const char *activation,
                   double epsilon);

/* convert_attention.c: the projections of layer 0 tell the variant (sets kv_heads); then each layer
 * is written the same way. */
struct convert_attention {
    const char *projection;          /* "Q-K=V" */
    const char *bases[TARGET_PARTS]; /* names of the source's layers below "attn." */
    struct convert_rows rows[TARGET_PARTS];
    const char *names[TARGET_PARTS]; /* below "blk.%u." */
    uint32_t count;
    bool fused;     /* all rows into one attn_qkv */
    bool stacked_q; /* Q is the product of two layers, c_q1 and c_q2 */
};
/* `attn` is the layers' common name with a number: "h.%u.attn". `kv_is_shared`: a layer c_kv of any
 * size is both. */
int convert_attention_find(struct convert *convert, const char *attn, bool kv_is_shared,
                           struct convert_attention *ret_attention);
int convert_attention_write(const struct convert *convert,
                            const struct convert_attention *attention, const char *attn,
                            uint32_t layer);

/* The families; each is asked whether the source is one of its own. */
bool convert_is_gpt2(const struct source *source);
int convert_gpt2(struct convert *convert);
bool convert_is_llama(const struct source *source);
int convert_llama(struct convert *convert);
bool convert_is_encoder(const struct source *source); /* token encoders and vision transformers of
                                                         the paper's release */
int convert_encoder(struct convert *convert);
/* convert_vit.c; `body` and `head` are the encoder's. */
int convert_vit(struct convert *convert, int (*body)(struct convert *convert, uint64_t positions),
                int (*head_write)(const struct convert *convert, uint64_t classes));

#endif
