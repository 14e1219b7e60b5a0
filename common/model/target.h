/* target.h: the model file that a conversion makes: its pairs, and its tensors as views of the
 * source's.
 *
 * A converter (convert_*.c) fills a target from a source; target_write streams it to a file piece
 * by piece, so that memory does not grow with the model. One thread. */
#ifndef TANDEM_MODEL_TARGET_H
#define TANDEM_MODEL_TARGET_H

#include "common/model/gguf_write.h"
#include "common/model/source.h"

#define TARGET_PARTS 3 /* Q, K and V of a fused projection */

struct target_part {
    const struct source_tensor *tensor;
    uint64_t first, count; /* rows of it */
};
struct target_tensor {
    char name[64];
    uint64_t dimensions[SOURCE_DIMENSIONS]; /* fastest first */
    uint32_t dimension_count;
    enum engine_weight_type type; /* set by target_types_choose */
    struct target_part parts[TARGET_PARTS];
    uint32_t part_count;
    float *values;        /* instead of parts: computed, owned */
    uint32_t rotary_head; /* not 0: rows of each head of so many are brought from halves to pairs */
    bool keep_type;       /* never quantised: tables that are read row by row, stems */
};
struct target {
    struct gguf_writer writer;
    struct target_tensor *tensors;
    size_t count, capacity;
};

void target_init(struct target *target);
void target_fini(struct target *target);
/* A new tensor with this name ("blk.%u.attn_q.weight", i); NULL without memory. Valid until the
 * next call. */
struct target_tensor *target_add(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The stored type of every tensor for a wish: what has one dimension stays F32; rows that are no
 * whole number of blocks, and tables marked keep_type, become F16 where a quantised type was
 * wished. */
void target_types_choose(struct target *target, enum engine_weight_type wish);
/* Called with what has been written and what there is, in bytes. */
typedef void (*target_progress_fn)(uint64_t done, uint64_t total, void *user);
/* Writes the file whole or not at all. TANDEM_EIO, ENOMEM with a line. */
int target_write(struct target *target, const struct source *source, const char *path,
                 target_progress_fn progress, void *user, char error[ENGINE_ERROR_BYTES]);

#endif
