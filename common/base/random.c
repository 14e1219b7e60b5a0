#include "common/base/random.h"

#include "common/base/error.h"

#include <errno.h>
#include <sys/random.h>

int random_bytes(void *out, size_t bytes)
{
    uint8_t *at = out;

    while (bytes > 0) {
        const ssize_t got = getrandom(at, bytes, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return TANDEM_EIO;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}

static uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void random_seed(struct random_source *source, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        source->state[i] = splitmix_next(&seed);
    }
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

uint64_t random_next(struct random_source *source)
{
    uint64_t *s = source->state;
    const uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    const uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double random_unit(struct random_source *source)
{
    return (double)(random_next(source) >> 11) * 0x1.0p-53;
}

uint64_t random_below(struct random_source *source, uint64_t bound)
{
    uint64_t reject;
    uint64_t value;

    if (bound == 0) {
        return 0;
    }
    reject = -bound % bound; /* 2^64 mod bound: the values below it would come once too often */
    do {
        value = random_next(source);
    } while (value < reject);
    return value % bound;
}
