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
struct target_tensor;
/* Numbers first .. first + count - 1 of a tensor; the same whatever the pieces are. */
typedef void (*target_make_fn)(const struct target_tensor *tensor, uint64_t first, float *values,
                               uint64_t count);
struct target_tensor {
    char name[64];
    uint64_t dimensions[SOURCE_DIMENSIONS]; /* fastest first */
    uint32_t dimension_count;
    enum engine_weight_type type; /* set by target_types_choose */
    struct target_part parts[TARGET_PARTS];
    uint32_t part_count;
    float *values;      /* instead of parts: computed, owned */
    const void *packed; /* instead of parts: numbers as another model file has them, borrowed */
    enum engine_weight_type packed_type;
    target_make_fn make;  /* instead of parts: made when they are written */
    uint64_t seed;        /* of `make` */
    uint32_t rotary_head; /* not 0: rows of each head of so many are brought from halves to pairs */
};
struct target {
    struct gguf_writer writer;
    struct target_tensor *tensors;
    size_t count, capacity;
    const struct engine_file *file; /* where packed numbers come from, borrowed; NULL: nowhere */
};

void target_init(struct target *target);
void target_fini(struct target *target);
/* A new tensor with this name ("blk.%u.attn_q.weight", i); NULL without memory. Valid until the
 * next call. */
struct target_tensor *target_add(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The stored type of every tensor for a wish, by name and shape alone: what has one dimension stays
 * F32; where a quantised type is wished, rows that are no whole number of blocks, the table of
 * positions and a picture's stem become F16. FORMAT.md has the rule. Writes general.file_type of
 * the wish too. */
void target_types_choose(struct target *target, enum engine_weight_type wish);
/* Called with what has been written and what there is, in bytes. */
typedef void (*target_progress_fn)(uint64_t done, uint64_t total, void *user);
/* Writes the file whole or not at all. `source` may be NULL when no tensor has parts. TANDEM_EIO,
 * ENOMEM with a line. */
int target_write(struct target *target, const struct source *source, const char *path,
                 target_progress_fn progress, void *user, char error[ENGINE_ERROR_BYTES]);

#endif
