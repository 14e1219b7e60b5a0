/* forward.h: the scratch of one step and the pieces of the forward pass, between the files that
 * make it up.
 *
 * Every buffer lies in one block that engine_context_new sizes and takes; nothing here allocates.
 * One thread at a time. Letters: T tokens of this step, d width, F feed-forward width, H heads, dk
 * head width, C columns of a logit row. */
#ifndef TANDEM_ENGINE_FORWARD_H
#define TANDEM_ENGINE_FORWARD_H

#include "common/engine/model.h"
#include "common/engine/team.h"

/* Weight rows that are widened to F32 at a time. */
#define LINEAR_PANEL_ROWS 128
/* Up to this many, a product reads each weight once in its own kernel instead of BLAS, and uses so
 * many weight rows for all tokens at a time. */
#define LINEAR_FEW_TOKENS 8
#define LINEAR_FEW_ROWS   8
#define SCORE_ROWS        64     /* query rows of an encoder's scores at a time */
#define QUERY_ROWS        64     /* tokens of a chunk that look at a page together */
#define STEM_ROWS         256    /* positions of a convolution at a time */
#define TEAM_WORK         200000 /* multiplications that are worth waking the other threads for */

/* What one thread of a step needs for itself. */
struct lane {
    float *block;   /* all of the following, one after the other */
    float *rows;    /* decoder: [2, 32, dk] a page's rows of one head, widened or turned */
    float *query;   /* decoder with rotary positions: [dk] */
    float *scores;  /* encoders: [SCORE_ROWS, n] */
    float *panel;   /* [LINEAR_PANEL_ROWS, widest input] */
    float *columns; /* stem: [STEM_ROWS, widest kernel input] */
};

struct engine_context {
    struct engine_model *model; /* one reference */
    struct engine_context_params params;
    uint32_t tokens_max; /* T at most */
    uint32_t rows_max;   /* logit rows at most */
    float *block;        /* all of the following, one after the other */
    float *x;            /* [T, d] the residual stream */
    float *h;            /* [T, d] normalised input of a sub-layer; then its output */
    float *projected;    /* [T, layout.width] what attention stores and asks */
    float *mixed;        /* [T, d] heads side by side */
    float *ff;           /* [T, F] */
    float *gate;         /* [T, F], gated models only */
    float *state;        /* [T, H, 2] running maximum and sum of the streaming softmax */
    float *maps[2];      /* stem: feature maps, [h, w, channels] each */
    float *logits;       /* [rows_max, C] */
    struct lane *lanes;  /* [params.threads] */
    struct team *team;   /* NULL: one thread */
    size_t team_work;    /* TEAM_WORK; 0 in tests that want the team to work on little */
};

/* out[T, rows] = in[T, columns] * weight^T + bias; `ld_out` is the distance of two rows of `out`.
 */
void linear_apply(struct engine_context *context, const struct linear *linear, const float *in,
                  size_t tokens, float *out, size_t ld_out);
/* The team for a job of `work` multiplications: NULL when waking it takes longer. */
struct team *forward_team(const struct engine_context *context, size_t work);

/* ---- matrix.c: the stored rows of a matrix of any type ---- */

/* Rows `row` .. row + count - 1 as floats [count, columns]. */
void matrix_widen(const struct matrix *matrix, size_t row, size_t count, float *ret_values);
/* One row of a table. */
void matrix_row(const struct matrix *matrix, uint32_t row, float *ret_values);
/* ret_dots[i] = row i of them times x [columns], straight from the stored bytes. */
void matrix_dots(const struct matrix *matrix, size_t row, size_t count, const float *x,
                 float *ret_dots);

/* All blocks and the last norm over context->x [tokens, d], in place. `attend` fills context->mixed
 * from context->projected for one layer. TANDEM_ECANCELED when `abort` was set between two layers.
 */
typedef void (*attend_fn)(struct engine_context *context, uint32_t layer, void *user);
int forward_blocks(struct engine_context *context, size_t tokens, attend_fn attend, void *user,
                   const atomic_bool *abort);

/* Decoder: stores the new rows of every chunk in its pages and attends to all rows up to each
 * token's own. `user` is a struct attend_chunks. */
struct attend_chunks {
    const struct engine_chunk *chunks;
    uint32_t count;
};
void attention_cached(struct engine_context *context, uint32_t layer, void *user);
/* Encoder: `user` is a struct attend_groups: `count` sequences of `length` tokens each, every token
 * sees its whole sequence. */
struct attend_groups {
    uint32_t count, length;
};
void attention_full(struct engine_context *context, uint32_t layer, void *user);

/* The stem: one prepared picture [height, width, channels] to tokens [out_h*out_w, d] at
 * `ret_tokens`. */
void stem_run(struct engine_context *context, const float *pixels, float *ret_tokens);

#endif
