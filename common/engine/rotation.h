/* rotation.h: rotary positions (RoPE): pairs of a head's numbers turned by an angle that grows with
 * the position.
 *
 * The angle of position p is cut in two, p = 32 * page + row, so that the tables stay small for
 * long contexts and a page's rows need one table that stays in cache: R(p) = R(32 * page) R(row).
 * Built while a model is opened, immutable from then on; any thread may read. dk: head width. */
#ifndef TANDEM_ENGINE_ROTATION_H
#define TANDEM_ENGINE_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rotation {
    uint32_t pairs;      /* of a head that turn; 0: the model has no rotary positions */
    size_t step, gap;    /* pair k is (k * step, k * step + gap) */
    float *rows, *pages; /* owned: [32, pairs, 2] and [pages, pairs, 2], cosine and sine */
};

/* The first 2 * pairs numbers of a head turn, pair k by position * base^(-k / pairs). `halves`: its
 * two numbers are `pairs` apart (NeoX), else side by side. `positions`: one more than the highest.
 * TANDEM_ENOMEM. */
int rotation_init(struct rotation *rotation, uint32_t pairs, bool halves, float base,
                  uint32_t positions);
void rotation_fini(struct rotation *rotation); /* a zeroed one is fine */

/* Turns `heads` heads side by side, [heads, dk], in place; `back`: by -position. */
void rotation_turn(const struct rotation *rotation, float *values, uint32_t heads, size_t dk,
                   uint32_t position, bool back);
/* The two halves of it, for keys that are turned when they are read: `count` rows of a page by
 * their place in it, and one query back by a page's first position, so that their product is that
 * of two turned rows. `out` is another place than `in`. */
void rotation_rows(const struct rotation *rotation, const float *in, uint32_t count, size_t dk,
                   float *out);
void rotation_query(const struct rotation *rotation, const float *in, size_t dk, uint32_t page,
                    float *out);

#endif
