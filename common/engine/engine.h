/* engine.h: the one door to the engine: models, the KV page pool, forward passes, tokenizers,
 * sampling, pictures.
 *
 * Main types
 *   engine_model    a memory-mapped model file, immutable once open, reference counted. Any thread
 * may read it. engine_pool     KV pages of one model's shape, with reference counts. One thread
 * owns the counts (the loop thread); the memory of a page is written only inside engine_step by the
 * thread that runs it. engine_seq      one sequence: a list of page ids and a length. Owned with
 * the pool's thread. engine_context  scratch memory for one running step. One step at a time;
 * engine_step and engine_encode allocate nothing.
 *
 * Life of a step: the pool's thread reserves pages (engine_seq_reserve), hands chunks to a compute
 * thread, which calls engine_step; when it has returned, the pool's thread goes on. Pages of a
 * sequence that is inside a running step must not be released before the step returns; the abort
 * flag makes it return at the next layer.
 *
 * Shapes: L layers, d width, H query heads, g KV heads, dk = d/H, V vocabulary, C classes, T
 * tokens. Rows are contiguous. Errors: 0 or TANDEM_E*; functions with `error` also write one line
 * of at most ENGINE_ERROR_BYTES on failure. Ownership: *returns owned* means the caller releases it
 * with the matching _free/_unref. */
#ifndef TANDEM_ENGINE_ENGINE_H
#define TANDEM_ENGINE_ENGINE_H

#include "common/base/buf.h"
#include "common/base/calibration.h"
#include "common/base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_ERROR_BYTES 512
#define ENGINE_PAGE_TOKENS 32 /* tokens in one page, every layer */

/* ---- start-up
 * ----------------------------------------------------------------------------------------------------
 */

/* Multiplies small known matrices through BLAS and our SIMD kernels and compares them with the
 * plain C reference. Returns 0, or TANDEM_EINTERNAL with a line that says which kernel is wrong and
 * what to set (old OpenBLAS picks wrong kernels on new processors). Daemons and tools call it once
 * before a model is opened. */
int engine_self_check(char error[ENGINE_ERROR_BYTES]);

/* One line: which kernels run here ("OpenBLAS 0.3.21 ... Haswell; AVX2 attention ..."). Storage of
 * the calling thread. */
const char *engine_kernels_text(void);

/* ---- models
 * ------------------------------------------------------------------------------------------------------
 */

enum engine_architecture { ENGINE_GPT2, ENGINE_VIT, ENGINE_ENCODER, ENGINE_LLAMA };
enum engine_projection {
    ENGINE_QKV,
    ENGINE_QK_SHARED /* Q=K-V */,
    ENGINE_KV_SHARED /* Q-K=V */,
    ENGINE_QKV_SHARED /* Q=K=V */
};
enum engine_kv_type { ENGINE_KV_F16, ENGINE_KV_F32 };

struct engine_model; /* opaque */

struct engine_model_info {
    const char *path;
    const char *name;              /* general.name or "" */
    const char *license;           /* general.license or "" */
    const char *architecture_text; /* "gpt2" */
    const char *projection_text;   /* "Q-K=V" */
    enum engine_architecture architecture;
    enum engine_projection projection;
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim;
    uint32_t n_context;  /* positions; vit: tokens including cls */
    uint32_t n_vocab;    /* 0 for vit */
    uint32_t n_class;    /* columns of a logit row: V for a decoder, C else */
    uint64_t parameters; /* stored numbers; a shared tensor counts once */
    uint64_t file_bytes;
    uint64_t f32_bytes, f16_bytes, bf16_bytes, q8_0_bytes, q4_0_bytes; /* weight bytes by type */
    const char *type_text;         /* the narrowest, which names the file: "Q8_0" */
    uint32_t kv_tensors_per_layer; /* 1 when K=V, 2 else, 0 for encoders */
    uint64_t kv_bytes_per_token;   /* F16 pages: 2 * tensors * L * g * dk; 0 for encoders */
    uint64_t kv_bytes_per_page;    /* 32 times that */
    uint32_t image_width, image_height, image_channels; /* vit only, else 0 */
    const char *const *labels; /* n_class names (vit with labels) or NULL */
    bool has_tokenizer;
    struct calibration calibration; /* changes nothing where the file says none */
};

/* Opens and checks `path`; every number is checked before it is used. TANDEM_EIO, EFORMAT,
 * EUNSUPPORTED, ETOOBIG with one line that names the file and what is wrong. *returns owned* (one
 * reference). */
int engine_model_open(const char *path, struct engine_model **ret_model,
                      char error[ENGINE_ERROR_BYTES]);
void engine_model_ref(struct engine_model *model);
void engine_model_unref(struct engine_model *model); /* NULL is fine; the last one unmaps */
const struct engine_model_info *
engine_model_info(const struct engine_model *model); /* lives as long as the model */
/* Whether models of this architecture generate: they have pages, sequences and steps. Pure. */
static inline bool engine_is_decoder(enum engine_architecture architecture)
{
    return architecture == ENGINE_GPT2 || architecture == ENGINE_LLAMA;
}
/* 128-bit XXH3 of the whole file as 32 hex characters: what names a model on the wire and in
 * caches. The first call reads the file once (opening alone does not), later ones remember; any
 * thread. Lives as long as the model. When the file is truncated meanwhile it names no other
 * model's bytes, and every step then ends with TANDEM_EIO. */
const char *engine_model_digest(struct engine_model *model);
/* Bytes of one token in F16 pages: 2 for K=V, else 4, times layers, KV heads and head width (facts
 * of the paper, table 4). Pure. */
uint64_t engine_kv_bytes_per_token(enum engine_projection projection, uint32_t n_layer,
                                   uint32_t n_head_kv, uint32_t head_dim);

/* ---- stored types of weights: pure, any thread ---- */

/* Numbers as in GGUF files. */
enum engine_weight_type {
    ENGINE_WEIGHT_F32 = 0,
    ENGINE_WEIGHT_F16 = 1,
    ENGINE_WEIGHT_Q4_0 = 2,
    ENGINE_WEIGHT_Q8_0 = 8,
    ENGINE_WEIGHT_BF16 = 30,
};
#define ENGINE_WEIGHT_BLOCK 32 /* numbers of a block of Q8_0 and Q4_0 */

/* "F16"; NULL for a number that is none of them. */
const char *engine_weight_text(enum engine_weight_type type);
/* The other way; false for another word. */
bool engine_weight_parse(const char *text, enum engine_weight_type *ret_type);
/* How many numbers are stored together: 32 for the quantised types, else 1; 0 for an unknown type.
 */
uint32_t engine_weight_block(enum engine_weight_type type);
/* Bytes of `count` numbers; `count` is a multiple of the block here and below. */
uint64_t engine_weight_bytes(enum engine_weight_type type, uint64_t count);
/* Floats to bytes, to the nearest value of the type; and back. */
void engine_weight_pack(enum engine_weight_type type, const float *values, size_t count,
                        void *ret_data);
void engine_weight_unpack(enum engine_weight_type type, const void *data, size_t count,
                          float *ret_values);

/* ---- a model file as it is, for tools that copy: any thread, immutable once open ---- */

struct engine_file; /* opaque */
struct engine_file_pair {
    const char *key; /* no NUL */
    size_t key_bytes;
    const void *data; /* the whole pair as the file has it: key, type and value */
    size_t bytes;
};
struct engine_file_tensor {
    const char *name; /* no NUL */
    size_t name_bytes;
    enum engine_weight_type type;
    uint32_t dimension_count;
    uint64_t dimensions[4]; /* fastest first, then 1 */
    uint64_t elements;
    const void *data; /* packed as `type`, mapped */
};
/* Checks what stands in the file as engine_model_open does, but asks nothing about what it means: a
 * model of another architecture opens too. Errors are those of engine_model_open. *returns owned*.
 */
int engine_file_open(const char *path, struct engine_file **ret_file,
                     char error[ENGINE_ERROR_BYTES]);
void engine_file_close(struct engine_file *file); /* NULL is fine */
/* In the order of the file; below the counts. What they point to lives as long as the file. */
size_t engine_file_pair_count(const struct engine_file *file);
struct engine_file_pair engine_file_pair(const struct engine_file *file, size_t index);
size_t engine_file_tensor_count(const struct engine_file *file);
struct engine_file_tensor engine_file_tensor(const struct engine_file *file, size_t index);
/* 0, or TANDEM_EIO when the file has become shorter since: what was read of it is not to be
 * believed. */
int engine_file_check(const struct engine_file *file);

/* ---- tokens
 * ------------------------------------------------------------------------------------------------------
 */

/* Text to ids. Writes up to `capacity` ids and the full count to *ret_count; TANDEM_ETOOBIG when it
 * did not fit (count is still set), TANDEM_EINVAL with a line for text the tokenizer has no token
 * for, TANDEM_EUNSUPPORTED when the model has no tokenizer. */
int engine_tokenize(const struct engine_model *model, const char *text, size_t text_bytes,
                    uint32_t *ids, size_t capacity, size_t *ret_count,
                    char error[ENGINE_ERROR_BYTES]);
/* The same for a `generate` prompt: bos if the file says so, tandem.prompt.prefix, the text,
 * tandem.prompt.suffix. */
int engine_tokenize_prompt(const struct engine_model *model, const char *text, size_t text_bytes,
                           uint32_t *ids, size_t capacity, size_t *ret_count,
                           char error[ENGINE_ERROR_BYTES]);
/* Appends the text of one id as it continues a text (`first`: nothing was appended before). Control
 * tokens append nothing. BPE tokens may end inside a UTF-8 character; the caller joins bytes.
 * TANDEM_EINVAL for an id outside the vocabulary. */
int engine_detokenize(const struct engine_model *model, uint32_t id, bool first, struct buf *out);
/* Whether the file says that a text begins with BOS, and that id. */
bool engine_bos_token(const struct engine_model *model, uint32_t *ret_id);
/* Whether generation ends at this id. */
bool engine_is_end_token(const struct engine_model *model, uint32_t id);

/* ---- sampling: pure, the state is the caller's ---- */

struct engine_sampling {
    float temperature; /* 0: greedy (the smallest id wins a tie) */
    uint32_t top_k;    /* 0: off */
    float top_p;       /* 1: off */
    uint64_t seed;
};
struct engine_sampler {
    struct engine_sampling params;
    uint64_t state;
};
void engine_sampler_init(struct engine_sampler *sampler, const struct engine_sampling *params);
/* Whether a row of logits can be chosen from: nothing in it is NaN or +infinity. */
bool engine_logits_are_sound(const float *logits, size_t n);
/* Picks an id from `n` logits. `scratch` holds n pairs of 8 bytes (borrowed for the call; may be
 * NULL when greedy). *ret_logprob (may be NULL) is the log of the id's softmax probability at
 * temperature 1 with no cut-offs. */
uint32_t engine_sample(struct engine_sampler *sampler, const float *logits, size_t n, void *scratch,
                       float *ret_logprob);
/* Softmax of logits / temperature in place; returns the index of the largest. `temperature`: over
 * 0; for the answer of a picture model its calibration's. */
size_t engine_softmax(float *logits, size_t n, double temperature);

/* ---- pages and sequences ---- */

struct engine_pool;
struct engine_pool_stats {
    uint32_t pages_total, pages_free, pages_shared; /* shared: count > 1 */
    uint64_t bytes_per_page, bytes_total;
};

/* Pages for `model` (a decoder) within `budget_bytes`, at least one sequence of context length must
 * fit, else TANDEM_ENOMEM. Takes a reference on the model. *returns owned*. */
int engine_pool_new(struct engine_model *model, enum engine_kv_type type, uint64_t budget_bytes,
                    struct engine_pool **ret_pool, char error[ENGINE_ERROR_BYTES]);
void engine_pool_free(struct engine_pool *pool); /* every sequence must be gone */
void engine_pool_stats(const struct engine_pool *pool, struct engine_pool_stats *ret_stats);

struct engine_seq {
    struct engine_pool *pool; /* borrowed */
    uint32_t *pages;          /* ids, in order */
    uint32_t page_count, page_capacity;
    uint32_t length; /* tokens whose KV rows are written */
};
void engine_seq_init(struct engine_seq *seq, struct engine_pool *pool);
void engine_seq_fini(struct engine_seq *seq); /* gives its pages back; a zeroed seq is fine */
/* Makes room for `tokens` more. TANDEM_ENOMEM when the pool has no page left (nothing changed),
 * ETOOBIG past the context length. */
int engine_seq_reserve(struct engine_seq *seq, uint32_t tokens);
/* *ret_copy becomes a second sequence with the same content: full pages are shared, the last
 * partial one is copied. */
int engine_seq_fork(const struct engine_seq *seq, struct engine_seq *ret_copy);
/* Shortens to `length` tokens; pages past it go back. A shared page that becomes the partly filled
 * last one is copied first (TANDEM_ENOMEM when there is none to copy to; nothing changed). */
int engine_seq_truncate(struct engine_seq *seq, uint32_t length);
/* The KV rows of page `index` (which must be full) as bytes with a versioned header {magic,
 * version, model digest, KV type, shape, token count, checksum}; import checks all of it against
 * the pool's model and appends one page to `seq` (which must end on a page border). */
int engine_seq_export_page(const struct engine_seq *seq, uint32_t index, struct buf *out);
int engine_seq_import_page(struct engine_seq *seq, const void *bytes, size_t size,
                           char error[ENGINE_ERROR_BYTES]);

/* ---- running
 * -----------------------------------------------------------------------------------------------------
 */

struct engine_context;
struct engine_context_params {
    uint32_t max_tokens;    /* all chunks of one step together; 1..LIMIT_BATCH_TOKENS */
    uint32_t max_sequences; /* chunks or pictures of one step; 1..LIMIT_BATCH_SEQUENCES */
    uint32_t threads;       /* of a step, with the caller's; 0: one; at most LIMIT_STEP_THREADS. The
                               others sleep between steps */
};
/* Scratch for steps of `model` (takes a reference). *returns owned*. The sizes bound memory: about
 * max_tokens * (d * 6 + F) * 4 bytes plus n_class * 4 for every logit row that is asked for plus
 * one weight panel. */
int engine_context_new(struct engine_model *model, const struct engine_context_params *params,
                       struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES]);
void engine_context_free(struct engine_context *context);

enum engine_logits { ENGINE_LOGITS_NONE, ENGINE_LOGITS_LAST, ENGINE_LOGITS_ALL };

/* One piece of one sequence: a prefill chunk or a single decode token. Positions are seq->length
 * ... */
struct engine_chunk {
    struct engine_seq *seq; /* room for `count` more reserved */
    const uint32_t *tokens; /* [count], borrowed */
    uint32_t count;
    enum engine_logits want;
    uint32_t ret_row; /* first row of this chunk's logits in *ret_logits */
};

/* Runs all chunks through the decoder in one pass and advances each seq->length. No sequence may
 * stand twice. `abort` (may be NULL) is read between layers: when set, TANDEM_ECANCELED and no
 * length has changed. *ret_logits points to [rows, V] inside the context, valid until the next
 * call. All chunks together may ask for at most max(max_tokens, max_sequences) rows (LAST: one,
 * ALL: count). TANDEM_EINVAL for ids outside the vocabulary or broken rules; TANDEM_EIO when the
 * model's file was truncated underneath. */
int engine_step(struct engine_context *context, struct engine_chunk *chunks, uint32_t chunk_count,
                const atomic_bool *abort, const float **ret_logits);

/* Encoders, no cache. Pictures: `pixels` is [count][height*width*channels] floats from
 * engine_picture_prepare, logits [count, C]. */
int engine_encode_pictures(struct engine_context *context, const float *const *pixels,
                           uint32_t count, const atomic_bool *abort, const float **ret_logits);
/* Tokens of one row to [count, C]. */
int engine_encode_tokens(struct engine_context *context, const uint32_t *tokens, uint32_t count,
                         const atomic_bool *abort, const float **ret_logits);

/* ---- pictures
 * ----------------------------------------------------------------------------------------------------
 */

enum engine_pixel_format {
    ENGINE_PIXELS_ENCODED, /* JPEG or PNG, told by its first bytes */
    ENGINE_PIXELS_RGB,
    ENGINE_PIXELS_BGR,
    ENGINE_PIXELS_GREY, /* 8 bit, rows of stride_bytes */
    ENGINE_PIXELS_NV12,
    ENGINE_PIXELS_I420,
    ENGINE_PIXELS_YUYV, /* BT.601 limited range */
};
struct engine_picture {
    enum engine_pixel_format format;
    uint32_t width, height; /* 0 for ENCODED */
    uint32_t stride_bytes;  /* of the first plane; 0: tight. I420 chroma planes have half of it */
    const uint8_t *data;    /* borrowed */
    size_t bytes;
};
/* Floats of a picture as the model wants them. */
size_t engine_picture_floats(const struct engine_model *model);
/* Decodes, resizes and normalises into `ret_pixels` [height, width, channels]. TANDEM_EFORMAT for
 * what is not a picture (one line), TANDEM_ETOOBIG over the limits, before memory for it is taken.
 * Any thread. */
int engine_picture_prepare(const struct engine_model *model, const struct engine_picture *picture,
                           float *ret_pixels, char error[ENGINE_ERROR_BYTES]);
/* The same picture as a JPEG of width x height pixels: what is sent where the whole one would take
 * too long. `quality` is libjpeg's, 1 to 100. No side grows (TANDEM_EINVAL). *returns owned* (free)
 * in `ret_data`. Errors as above, with one line. Any thread. */
int engine_picture_encode(const struct engine_picture *picture, uint32_t width, uint32_t height,
                          uint32_t quality, uint8_t **ret_data, size_t *ret_bytes,
                          char error[ENGINE_ERROR_BYTES]);
/* A small grey copy of an encoded picture, to compare it with others: of a JPEG the half, quarter
 * or eighth of its sides that is no smaller than `least_pixels` (the DCT does that for a fraction
 * of the time), of a PNG all of it. *returns owned* (free) in `ret_grey` [height, width]. Errors as
 * above, with one line. Any thread. */
int engine_picture_grey(const struct engine_picture *picture, uint32_t least_pixels,
                        uint8_t **ret_grey, uint32_t *ret_width, uint32_t *ret_height,
                        char error[ENGINE_ERROR_BYTES]);
/* Size of an encoded picture from its header alone. */
int engine_picture_size(const void *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height);

#endif
