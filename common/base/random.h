/* random.h: bytes that cannot be guessed, from the kernel, and a small seeded generator for jitter,
 * sampling and tests, where the seed enters as an argument. A source is owned by one thread. */
#ifndef TANDEM_BASE_RANDOM_H
#define TANDEM_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills `out` from getrandom(2). 0, or TANDEM_EIO. Any thread. */
int random_bytes(void *out, size_t bytes);

/* xoshiro256++, seeded through splitmix64: the same seed gives the same numbers on every machine.
 */
struct random_source {
    uint64_t state[4];
};
void random_seed(struct random_source *source, uint64_t seed);
uint64_t random_next(struct random_source *source);
/* In [0, 1), 53 bits. */
double random_unit(struct random_source *source);
/* In [0, bound), without bias; 0 when bound is 0. */
uint64_t random_below(struct random_source *source, uint64_t bound);

#endif
