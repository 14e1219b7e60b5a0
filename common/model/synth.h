/* synth.h: random decoders of given shapes, for benchmarks: right in every size, wrong in every
 * answer. */
#ifndef TANDEM_MODEL_SYNTH_H
#define TANDEM_MODEL_SYNTH_H

#include "common/model/target.h"

struct synth_options {
    const char *shape;                    /* "300M", "1.2B": the paper's; "tiny" */
    const char *projection;               /* "Q-K=V" */
    uint32_t kv_heads;                    /* 0: all */
    uint32_t layers, context, vocabulary; /* in place of the shape's; 0: the shape's */
    uint64_t seed;
};

/* Pairs and tensors of the model into `target`; nothing is made until target_write asks for it. The
 * same options give the same bytes. TANDEM_EINVAL for a shape that does not exist or a combination
 * that makes no sense, ENOMEM, with a line. */
int synth_describe(const struct synth_options *options, struct target *target,
                   char error[ENGINE_ERROR_BYTES]);

#endif
