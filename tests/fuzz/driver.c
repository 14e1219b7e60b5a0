/* driver.c: runs a fuzz target (LLVMFuzzerTestOneInput) without libFuzzer, for the short fuzz of
 * `make check`: every seed as it is, then mutations of the seeds until the time is over. The random
 * seed is fixed and printed, so a crash comes back. fuzz_NAME [-max_total_time=SECONDS] [-seed=N]
 * [-runs=N] [FILE | FOLDER]... */
#include "common/base/clock.h"
#include "common/base/random.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SEEDS_MAX       1024
#define INPUT_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct input {
    uint8_t *data;
    size_t bytes;
};

struct corpus {
    struct input seeds[SEEDS_MAX];
    size_t count;
};

static void file_add(struct corpus *corpus, const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_BYTES_MAX);

    if (file && data && corpus->count < SEEDS_MAX) {
        corpus->seeds[corpus->count].data = data;
        corpus->seeds[corpus->count].bytes = fread(data, 1, INPUT_BYTES_MAX, file);
        corpus->count++;
        data = NULL;
    }
    free(data);
    if (file) {
        fclose(file);
    }
}

static void path_add(struct corpus *corpus, const char *path)
{
    char name[4096];
    struct stat status;
    struct dirent *entry;
    DIR *folder;

    if (stat(path, &status) != 0) {
        return; /* a target without seeds starts from nothing */
    }
    if (!S_ISDIR(status.st_mode)) {
        file_add(corpus, path);
        return;
    }
    folder = opendir(path);
    while (folder && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            file_add(corpus, name);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

/* Values that parsers like to get wrong. */
static uint8_t byte_pick(struct random_source *random)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, '\n', '"', '{', '%'};

    return random_below(random, 2) ? edges[random_below(random, sizeof(edges))]
                                   : (uint8_t)random_next(random);
}

/* Changes `data` in place: overwrites, inserts, removes, cuts off, or takes a piece of another
 * seed. Returns the new size. */
static size_t mutate(const struct corpus *corpus, struct random_source *random, uint8_t *data,
                     size_t bytes)
{
    const size_t at = (size_t)random_below(random, bytes + 1);
    const size_t span = (size_t)random_below(random, 16) + 1;
    const struct input *other = &corpus->seeds[random_below(random, corpus->count)];

    switch (random_below(random, 6)) {
    case 0:
        return at;
    case 1:
        if (bytes + span <= INPUT_BYTES_MAX) {
            memmove(data + at + span, data + at, bytes - at);
            memset(data + at, byte_pick(random), span);
            return bytes + span;
        }
        return bytes;
    case 2:
        if (bytes - at > span) {
            memmove(data + at, data + at + span, bytes - at - span);
            return bytes - span;
        }
        return bytes;
    case 3:
        if (other->bytes > 0) {
            const size_t from = (size_t)random_below(random, other->bytes);
            size_t piece = (size_t)random_below(random, other->bytes - from) + 1;

            piece = piece > INPUT_BYTES_MAX - at ? INPUT_BYTES_MAX - at : piece;
            memcpy(data + at, other->data + from, piece);
            return at + piece > bytes ? at + piece : bytes;
        }
        return bytes;
    case 4:
        if (at < bytes) {
            data[at] ^= (uint8_t)(1u << random_below(random, 8));
        }
        return bytes;
    default:
        for (size_t i = at; i < bytes && i < at + span; i++) {
            data[i] = byte_pick(random);
        }
        return bytes;
    }
}

static void corpus_free(struct corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++) {
        free(corpus->seeds[i].data);
    }
    free(corpus);
}

static void fuzz(const struct corpus *corpus, int64_t end_ns, uint64_t runs_max, uint64_t seed)
{
    struct random_source random;
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    uint64_t runs = 0;

    random_seed(&random, seed);
    for (; data && runs < corpus->count; runs++) {
        LLVMFuzzerTestOneInput(corpus->seeds[runs].data, corpus->seeds[runs].bytes);
    }
    while (data && runs < runs_max && clock_now_ns() < end_ns) {
        const struct input *from = &corpus->seeds[random_below(&random, corpus->count)];
        size_t bytes = from->bytes;
        uint8_t *exact;

        memcpy(data, from->data, bytes);
        for (uint64_t i = random_below(&random, 8) + 1; i > 0; i--) {
            bytes = mutate(corpus, &random, data, bytes);
        }
        exact =
            malloc(bytes ? bytes : 1); /* so that the sanitizer sees a read one byte past the end */
        if (!exact) {
            break;
        }
        memcpy(exact, data, bytes);
        LLVMFuzzerTestOneInput(exact, bytes);
        free(exact);
        runs++;
    }
    free(data);
    printf("%llu inputs\n", (unsigned long long)runs);
}

int main(int argc, char **argv)
{
    struct corpus *corpus = calloc(1, sizeof(*corpus));
    long seconds = 3;
    uint64_t seed = 1;
    uint64_t runs_max = UINT64_MAX;

    if (!corpus) {
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-max_total_time=", 16) == 0) {
            seconds = strtol(argv[i] + 16, NULL, 10);
        } else if (strncmp(argv[i], "-seed=", 6) == 0) {
            seed = strtoull(argv[i] + 6, NULL, 10);
        } else if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs_max = strtoull(argv[i] + 6, NULL, 10);
        } else {
            path_add(corpus, argv[i]);
        }
    }
    if (corpus->count == 0) {
        corpus->seeds[0].data = calloc(1, 64);
        corpus->seeds[0].bytes = corpus->seeds[0].data ? 64 : 0;
        corpus->count = 1;
    }
    printf("%zu seeds, random seed %llu\n", corpus->count, (unsigned long long)seed);
    fflush(stdout);
    fuzz(corpus, clock_now_ns() + seconds * NS_PER_S, runs_max, seed);
    corpus_free(corpus);
    return 0;
}
