/* model.h: an open model as the files of this room see it: numbers, weights inside the mapping,
 * tokenizer, picture target.
 *
 * Built once by model.c, immutable from then on but for the reference count; any thread may read.
 * Weights point into the mapped file (mapping.h). Letters as in engine.h; F feed-forward width.
 *
 * Who answers the public calls: model.c open/ref/unref/info; model_io.c engine_tokenize*,
 * engine_detokenize, engine_is_end_token, engine_picture_*; sampler.c engine_sample*,
 * engine_softmax; pages.c; engine.c; check.c. */
#ifndef TANDEM_ENGINE_MODEL_H
#define TANDEM_ENGINE_MODEL_H

#include "common/base/limits.h"
#include "common/engine/engine.h"
#include "common/engine/gguf.h"
#include "common/engine/picture.h"
#include "common/engine/rotation.h"
#include "common/engine/tokenizer.h"

#include <pthread.h>

/* A matrix of the file: `rows` outputs of `columns` inputs, rows contiguous. */
struct matrix {
    const void *data; /* [rows, columns] packed as `type`; NULL: absent */
    enum engine_weight_type type;
    uint32_t rows, columns;
};
struct linear {
    struct matrix weight;
    const float *bias; /* [rows] or NULL */
};
struct norm {
    const float *weight, *bias; /* [d]; RMS norms have no bias */
};

/* What a block's attention multiplies its input with. One row of the product holds what is stored,
 * side by side:
 *
 *   QKV    | Q: H*dk | K: g*dk | V: g*dk |      Q=K-V  | Q and K | V       |
 *   Q-K=V  | Q: H*dk | K and V |                Q=K=V  | Q, K and V |
 *
 * so that the variants differ in three column numbers only. */
struct projection_layout {
    uint32_t q_at, k_at, v_at; /* first column */
    uint32_t width;            /* columns */
    bool q_is_k, v_is_k;
};

struct block {
    struct norm attn_norm, ffn_norm;
    struct linear projections[3]; /* fused: one; else one per stored tensor, in column order */
    uint32_t projection_count;
    struct linear attn_output, ffn_up, ffn_down;
    struct linear ffn_gate;     /* gated models only */
    float position_scale;       /* (X)+; 1 without */
    const float *position_bias; /* [n] or NULL */
};

/* One layer of a picture's stem: a square convolution, ReLU and max pool (conv) or the convolution
 * alone (patch). */
struct stem_layer {
    struct linear weight; /* [out channels, in channels * kernel * kernel] */
    float *packed; /* owned: the weight in F32, [out channels, kernel, kernel, in channels] */
    uint32_t kernel, stride, padding, pool; /* pool 0: none */
    uint32_t in_channels, in_height, in_width;
    uint32_t out_channels, conv_height, conv_width; /* of the convolution */
    uint32_t out_height, out_width;                 /* after the pool */
};

enum activation { ACTIVATION_NONE, ACTIVATION_GELU_ERF, ACTIVATION_GELU_TANH, ACTIVATION_SILU };
enum pooling { POOLING_NONE /* one row per token */, POOLING_CLS, POOLING_SEQUENCE };

struct mapping;

struct engine_model {
    struct engine_model_info info; /* its texts are owned here */
    atomic_uint references;
    pthread_mutex_t digest_lock;
    char digest[33]; /* under the lock; "" until it is asked for */
    struct mapping *mapping;
    struct gguf *gguf;             /* kept for its texts; tensors point into the mapping */
    struct tokenizer *tokenizer;   /* owned; NULL: none */
    struct picture_target picture; /* tandem-vit only, else zeroed */
    char **labels;                 /* [n_class], owned, or NULL */

    float epsilon; /* of the norms */
    enum activation activation;
    struct projection_layout layout;
    bool rms_norm;            /* norms divide by the root mean square and have no bias */
    bool gated;               /* the feed-forward layer is activation(gate) * up */
    struct rotation rotation; /* of queries and keys; no pairs: none */
    bool relative_values;     /* K=V with rotation: a value is its key turned to the query */
    struct block *blocks;     /* [L] */
    struct norm output_norm;
    struct matrix token_embd;    /* [V, d]; absent for vit */
    struct matrix position_embd; /* [n, d]; absent: none (vit only) */
    struct linear head;          /* [C, d]: output.weight, the tied token_embd, or head.* */

    enum pooling pooling;
    struct stem_layer stem[LIMIT_STEM_LAYERS];
    uint32_t stem_count;
    bool stem_relu;         /* conv */
    const float *cls;       /* [d], POOLING_CLS */
    struct linear seq_pool; /* [1, d], POOLING_SEQUENCE */
};

/* 0, or TANDEM_EIO when the file has become shorter since it was opened. Cheap: one fstat. */
int model_file_check(const struct engine_model *model);

#endif
