/* tool.h: tandem-model, the tool for model files. One table of commands, one of options; help is
 * printed from both.
 *
 * Results go to `out` alone, progress and errors to `notes`. One thread; nothing outlives
 * tool_main. */
#ifndef TANDEM_MODEL_TOOL_H
#define TANDEM_MODEL_TOOL_H

#include "common/base/json.h"
#include "common/engine/engine.h"

#include <stdio.h>

enum tool_exit { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_WRONG_USE = 2 };

/* What the command line says; texts point into argv. */
struct tool_options {
    const char *file;                    /* what is read, for every command but synth */
    const char *output;                  /* what is written */
    const char *text;                    /* a file for perplexity, evaluate and calibrate */
    const char *prompt, *image, *tokens; /* NULL: not given */
    const char *type, *tokenizer, *merges, *labels, *mean, *std, *name, *license;
    const char *shape, *projection;
    uint64_t heads, kv_heads, ctx, layers, context, vocabulary;
    uint64_t prompt_tokens, generate_tokens, threads, rounds; /* of bench */
    bool json, csv, all, forms, each;                         /* the last two of evaluate */
    double temperature, top_p;
    uint64_t top_k, seed, max_tokens;
};

#define TOOL_TYPES "F32, F16, BF16, Q8_0, Q4_0"

struct tool {
    FILE *out, *notes; /* borrowed */
    struct tool_options options;
    struct engine_model *model; /* open while a command runs */
};

/* The whole program; returns its exit status. */
int tool_main(int argc, char **argv, FILE *out, FILE *notes);

/* ---- commands: each returns an exit status; the model is open ---- */

int info_run(struct tool *tool);    /* info.c */
int convert_run(struct tool *tool); /* convert.c; no model is open, nor in the next two */
int quantize_run(struct tool *tool);
int synth_run(struct tool *tool);
int run_run(struct tool *tool);    /* run.c */
int logits_run(struct tool *tool); /* logits.c */
int perplexity_run(struct tool *tool);
int evaluate_run(struct tool *tool);
int calibrate_run(struct tool *tool);
int evaluate_forms_run(struct tool *tool); /* evaluate --forms; evaluate_forms.c */
int bench_run(struct tool *tool);

/* ---- shared by them (tool.c, input.c) ---- */

/* Writes "tandem-model: " and the text as one line to notes, returns `status`. */
int tool_say(const struct tool *tool, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Says `error` of the command's file, named once also where the error begins with it; returns
 * TOOL_FAILED. */
int tool_say_file(const struct tool *tool, const char *error);
/* Whether the command's OUT is, by whatever name, the file open at `fd` (or the one at `path`): to
 * write it would be to lose what is read. */
bool tool_output_is_open(const struct tool *tool, int fd);
bool tool_output_is(const struct tool *tool, const char *path);
int tool_say_same(const struct tool *tool); /* says so; returns TOOL_WRONG_USE */
/* Begins the object of --json; what tool_json_end closes, prints as a line of `out` and frees. An
 * exit status, said when it is not done. */
void tool_json_begin(struct json_writer *json, struct buf *buf);
int tool_json_end(const struct tool *tool, struct json_writer *json, struct buf *buf);
/* Bytes of an F16 KV cache a token needs: 2 bytes, `tensors` a layer, g heads of dk numbers. */
uint64_t info_kv_bytes(uint32_t tensors, uint32_t layers, uint32_t kv_heads, uint32_t head_dim);
/* What sharing saves of the cache of plain QKV with all heads, in per cent: 100 * (1 - tensors*g /
 * 2H). */
double info_kv_reduction(uint32_t tensors, uint32_t kv_heads, uint32_t heads);
/* A context that uses the machine's processors. *returns owned*. */
int input_context(struct engine_model *model, uint32_t max_tokens,
                  struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES]);
/* The same for several sequences at once. */
int input_context_many(struct engine_model *model, uint32_t max_tokens, uint32_t max_sequences,
                       struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES]);
/* A whole file of at most `max_bytes` into `out`. TANDEM_EIO, ETOOBIG, ENOMEM with a line. */
int input_file(const char *path, size_t max_bytes, struct buf *out, char error[ENGINE_ERROR_BYTES]);
/* "1,2,3" to ids. TANDEM_EINVAL, ETOOBIG (over `capacity`) with a line. */
int input_tokens(const char *text, uint32_t *ids, size_t capacity, size_t *ret_count,
                 char error[ENGINE_ERROR_BYTES]);
/* Runs the model on an encoded picture; *ret_logits [n_class] lives in `context`. */
int input_encode_bytes(struct engine_model *model, struct engine_context *context,
                       const struct buf *file, const float **ret_logits,
                       char error[ENGINE_ERROR_BYTES]);
/* Reads the picture at `path` and runs the model on it; *ret_logits [n_class] lives in `context`.
 */
int input_encode_picture(struct engine_model *model, struct engine_context *context,
                         const char *path, const float **ret_logits,
                         char error[ENGINE_ERROR_BYTES]);
/* Runs `count` tokens through a decoder in chunks of at most `chunk`; *ret_logits [V] of the last
 * one. */
int input_prefill(struct engine_context *context, struct engine_seq *seq, const uint32_t *tokens,
                  size_t count, size_t chunk, const float **ret_logits);

#endif
