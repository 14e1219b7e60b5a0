/* upload.h: the forms in which a picture may be sent to an edge: as it came, or made smaller and
 * encoded again as JPEG. What each costs in bytes, in time to make it and in accuracy. Pure state,
 * one for each task; loop thread.
 *
 * A form is a row of one table (upload_prior.c): how large it is against what the edge's model
 * looks at, and how strongly it is compressed. No form is larger than the picture, and no side of a
 * smaller one is below that many times the model's, so the picture keeps its shape:
 *
 *   factor = max(scale * model_width / width, scale * model_height / height), below 1
 *
 *   bytes   = UPLOAD_HEADER_BYTES + width * height * bits per pixel / 8   * what was learned
 *   prepare = source pixels * time to read one + pixels * time to write one   * what was learned
 *
 * Bits per pixel and times of the table are estimates, corrected by every picture that was really
 * made. What a form costs in answers is never guessed: it was measured for the edge's model
 * (common/base/picture_effects.h), and a form that was not measured is none. */
#ifndef TANDEM_POLICY_UPLOAD_H
#define TANDEM_POLICY_UPLOAD_H

#include "common/base/limits.h"
#include "common/base/picture_effects.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UPLOAD_ROWS         12
#define UPLOAD_HEADER_BYTES 330 /* of a colour JPEG with Huffman tables of its own */

enum upload_source_kind { UPLOAD_RAW, UPLOAD_JPEG, UPLOAD_PNG, UPLOAD_SOURCE_KINDS };

struct upload_prior {
    unsigned scale; /* times the model's side; 0: as large as it came */
    uint32_t quality;
    double bits_per_pixel;
};
extern const struct upload_prior upload_priors[UPLOAD_ROWS];

struct upload_state {            /* what was learned; zeroed: nothing */
    double bytes_log;            /* of all forms, and */
    double row_log[UPLOAD_ROWS]; /* of each besides: the logarithm of the factor */
    double time_log;             /* the same of the time to make them */
    double row_time_log[UPLOAD_ROWS];
    unsigned times; /* pictures that were made, and of each row */
    unsigned row_times[UPLOAD_ROWS];
};
struct upload_form {
    uint32_t width, height; /* 0: as it came */
    uint32_t quality;
    uint32_t row; /* of upload_priors */
    double bytes;
    double prepare_ms;
    double error; /* added to the edge's own, measured */
};
struct upload_source {
    enum upload_source_kind kind;
    uint32_t width, height; /* 0: not known, then it goes as it came */
    uint64_t bytes;
    bool too_big; /* as it came, for the wire */
};
struct upload_terms {         /* what a form is weighed by */
    uint32_t width, height;   /* what the edge's model looks at; 0: not known */
    double ms_per_byte;       /* of the link, and what a byte is worth; 0: not known */
    double ms_per_prepare_ms; /* 1, and what the energy of it is worth */
    double one_error_ms;
};
/* The forms worth thinking about, of those that `effects` tells of (which are of the model that
 * will answer; what came needs none): none is worse than another in bytes, time and error. The one
 * that these terms find cheapest comes first, what came (unless it is too big) first or second. At
 * most LIMIT_UPLOAD_FORMS; 0 where nothing can be sent. */
size_t upload_forms(const struct upload_state *state, const struct picture_effects *effects,
                    const struct upload_source *source, const struct upload_terms *terms,
                    struct upload_form ret_forms[LIMIT_UPLOAD_FORMS]);
/* A picture was made: it has `bytes` and took `ms`. */
void upload_made(struct upload_state *state, const struct upload_source *source,
                 const struct upload_form *form, uint64_t bytes, double ms);

#endif
