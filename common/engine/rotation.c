#include "common/engine/rotation.h"

#include "common/base/error.h"
#include "common/engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* [count, pairs, 2] of the angles of positions 0, distance, 2 * distance ... */
static float *table_make(uint32_t count, uint32_t distance, uint32_t pairs, float base)
{
    float *table = malloc((size_t)count * pairs * 2 * sizeof(*table));

    for (uint32_t k = 0; table && k < pairs; k++) {
        const double frequency = pow((double)base, -(double)k / pairs);

        for (uint32_t i = 0; i < count; i++) {
            const double angle = (double)i * distance * frequency;
            float *turn = table + ((size_t)i * pairs + k) * 2;

            turn[0] = (float)cos(angle);
            turn[1] = (float)sin(angle);
        }
    }
    return table;
}

int rotation_init(struct rotation *rotation, uint32_t pairs, bool halves, float base,
                  uint32_t positions)
{
    *rotation = (struct rotation){
        .pairs = pairs,
        .step = halves ? 1 : 2,
        .gap = halves ? pairs : 1,
        .rows = table_make(ENGINE_PAGE_TOKENS, 1, pairs, base),
        .pages = table_make((positions + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS,
                            ENGINE_PAGE_TOKENS, pairs, base),
    };
    if (!rotation->rows || !rotation->pages) {
        rotation_fini(rotation);
        return TANDEM_ENOMEM;
    }
    return 0;
}

void rotation_fini(struct rotation *rotation)
{
    free(rotation->rows);
    free(rotation->pages);
    memset(rotation, 0, sizeof(*rotation));
}

/* One head by one line of a table; `out` may be `in`. */
static void head_turn(const struct rotation *rotation, const float *turns, const float *in,
                      float *out, bool back)
{
    const float sign = back ? -1.0f : 1.0f;

    for (size_t k = 0, at = 0; k < rotation->pairs; k++, at += rotation->step) {
        const float cosine = turns[2 * k], sine = sign * turns[2 * k + 1];
        const float a = in[at], b = in[at + rotation->gap];

        out[at] = a * cosine - b * sine;
        out[at + rotation->gap] = a * sine + b * cosine;
    }
}

void rotation_turn(const struct rotation *rotation, float *values, uint32_t heads, size_t dk,
                   uint32_t position, bool back)
{
    const size_t line = 2 * (size_t)rotation->pairs;
    const float *page = rotation->pages + position / ENGINE_PAGE_TOKENS * line;
    const float *row = rotation->rows + position % ENGINE_PAGE_TOKENS * line;

    for (uint32_t head = 0; head < heads; head++, values += dk) {
        head_turn(rotation, page, values, values, back);
        head_turn(rotation, row, values, values, back);
    }
}

/* What does not turn is copied. */
static void rest_copy(const struct rotation *rotation, const float *in, size_t dk, float *out)
{
    const size_t turned = 2 * (size_t)rotation->pairs;

    memcpy(out + turned, in + turned, (dk - turned) * sizeof(*out));
}

void rotation_rows(const struct rotation *rotation, const float *in, uint32_t count, size_t dk,
                   float *out)
{
    for (uint32_t row = 0; row < count; row++, in += dk, out += dk) {
        head_turn(rotation, rotation->rows + 2 * (size_t)rotation->pairs * row, in, out, false);
        rest_copy(rotation, in, dk, out);
    }
}

void rotation_query(const struct rotation *rotation, const float *in, size_t dk, uint32_t page,
                    float *out)
{
    head_turn(rotation, rotation->pages + 2 * (size_t)rotation->pairs * page, in, out, true);
    rest_copy(rotation, in, dk, out);
}
