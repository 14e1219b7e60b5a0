/* picture_effects.h: what it costs in answers to send pictures smaller or more compressed than they
 * came: the file that `tandem-model evaluate MODEL LIST --forms --csv` writes and a task's
 * `[edge] upload_effects` names. It is measured for one model, and its digest says which: nothing
 * is known of another.
 *
 * A row is one form: `scale`, how large a picture is against what the model looks at (of both sides
 * the smaller ratio), and `quality`, libjpeg's. The row of scale 0 is the pictures as they came,
 * what the others are compared with; quality and error are 0 there. `error` is what a decision
 * counts, how many more answers are wrong: what was measured and one standard error of it, so that
 * few pictures are not believed more than they show (picture_effect_error). Start-up and reload;
 * what was read is plain data. */
#ifndef TANDEM_BASE_PICTURE_EFFECTS_H
#define TANDEM_BASE_PICTURE_EFFECTS_H

#include "common/base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The forms that are measured, and that policy chooses from: every scale with every quality. */
#define PICTURE_SCALES    3
#define PICTURE_QUALITIES 3
extern const unsigned picture_scales[PICTURE_SCALES];
extern const uint32_t picture_qualities[PICTURE_QUALITIES];

/* The first line of the file. `pictures` of the list were large enough for this form; `agreement`
 * is the share whose answer is that to the original; `accuracy` is empty without truths. */
#define PICTURE_EFFECTS_HEADER "model_digest,scale,quality,pictures,bytes,agreement,accuracy,error"

struct picture_effect {
    unsigned scale;
    uint32_t quality;
    double error; /* 0..1 */
};
struct picture_effects {
    char model_digest[33]; /* "": nothing was measured */
    uint64_t pictures;     /* the fewest of any form */
    size_t count;
    struct picture_effect items[LIMIT_PICTURE_EFFECTS]; /* without the row of scale 0 */
};

/* 0, or TANDEM_EIO, TANDEM_EFORMAT or TANDEM_ETOOBIG with one line (of `error_bytes`) that names
 * file and line; *ret_effects is untouched then. */
int picture_effects_load(const char *path, struct picture_effects *ret_effects, char *error,
                         size_t error_bytes);
/* The error of a picture that is `scale` times as large as what the model looks at, at this
 * quality: as measured, and never below that of a better quality of the same scale (chance alone
 * has it so); between two measured scales between theirs, by the logarithm; above the largest that
 * of the largest. False: none was measured that is not larger. */
bool picture_effects_find(const struct picture_effects *effects, double scale, uint32_t quality,
                          double *ret_error);
/* Of `pictures`, `lost` are answered wrong only in the form, `won` only as they came: the
 * difference of two proportions of the same pictures, and its standard error with one more that
 * changed than did (0 of 10 is no proof that it is 0 of 1000). 0..1. */
double picture_effect_error(uint64_t pictures, uint64_t lost, uint64_t won);

#endif
