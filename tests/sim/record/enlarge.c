/* enlarge.c: pictures as a camera would have taken them of what recorded thumbnails show: each side
 * FACTOR times as long, with a sensor's noise, as JPEG of quality 90. Shrunk as a model's input is,
 * each is the thumbnail again: what is between its pixels is made up, but nothing of it is lost, so
 * a model that knows the thumbnail knows the picture. Each is exposed a little darker than the
 * thumbnail, by another part: CIFAR's thumbnails are JPEGs of quality 75 themselves, and what was
 * rounded once is not rounded when the same is done again, which no camera's picture enjoys. For
 * record_forms.py and for measuring upload forms; the same input gives the same bytes.
 *
 *     sim-enlarge LIST OUT_FOLDER FACTOR NOISE
 *
 * LIST has a path and, behind a tab, its truth a line; OUT_FOLDER gets the pictures and a list.tsv
 * of the same order. NOISE is the deviation of every pixel in steps of brightness. */
#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/engine/picture.h"
#include "common/model/examples.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUALITY    90
#define ROUNDS     5
#define DARKER_MAX 0.15
#define PI         3.14159265358979323846

struct work {
    const char *list, *folder;
    uint32_t factor;
    double noise;
    FILE *out; /* the new list */
    unsigned count;
    struct random_source random;
};

static double noise_next(struct work *work)
{
    const double radius = sqrt(-2 * log(1 - random_unit(&work->random)));

    return work->noise * radius * cos(2 * PI * random_unit(&work->random));
}

/* Between the four pixels of `values` [height, width, channels] that are nearest. */
static float between(const float *values, const struct picture_pixels *small, double x, double y,
                     uint32_t c)
{
    const double xs = fmin(fmax(x, 0), small->width - 1), ys = fmin(fmax(y, 0), small->height - 1);
    const size_t x0 = (size_t)xs, y0 = (size_t)ys;
    const size_t x1 = x0 + (x0 + 1 < small->width), y1 = y0 + (y0 + 1 < small->height);
    const double across = xs - (double)x0, down = ys - (double)y0;
    const size_t row = (size_t)small->width * small->channels;

    values += c;
    return (float)((1 - down) * ((1 - across) * values[y0 * row + x0 * small->channels] +
                                 across * values[y0 * row + x1 * small->channels]) +
                   down * ((1 - across) * values[y1 * row + x0 * small->channels] +
                           across * values[y1 * row + x1 * small->channels]));
}

static uint8_t byte_of(double value)
{
    return (uint8_t)(fmin(fmax(value, 0), 255) + 0.5);
}

static void spread(const struct work *work, const float *values, const struct picture_pixels *small,
                   struct picture_pixels *large)
{
    for (size_t i = 0; i < (size_t)large->width * large->height * large->channels; i++) {
        const size_t pixel = i / large->channels;
        const double x = ((double)(pixel % large->width) + 0.5) / work->factor - 0.5;
        const double y = ((double)(pixel / large->width) + 0.5) / work->factor - 0.5;

        large->data[i] =
            byte_of((double)between(values, small, x, y, (uint32_t)(i % large->channels)));
    }
}

/* What is spread is corrected by what shrinking it leaves of the thumbnail, again and again. */
static int enlarge(struct work *work, const struct picture_pixels *small,
                   struct picture_pixels *large, char error[ENGINE_ERROR_BYTES])
{
    const uint32_t width = small->width * work->factor, height = small->height * work->factor;
    const size_t count = (size_t)small->width * small->height * small->channels;
    const float exposure = (float)(1 - DARKER_MAX * random_unit(&work->random));
    float *values = malloc(sizeof(*values) * 3 * count);
    float *shrunk = values ? values + count : NULL, *wanted = values ? values + 2 * count : NULL;
    int rc =
        values ? picture_pixels_init(large, width, height, small->channels, error) : TANDEM_ENOMEM;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        values[i] = wanted[i] = exposure * (float)small->data[i];
    }
    for (int round = 0; rc == 0 && round < ROUNDS; round++) {
        spread(work, values, small, large);
        rc = picture_resize(large, small->width, small->height, shrunk);
        for (size_t i = 0; rc == 0 && i < count; i++) {
            values[i] += wanted[i] - shrunk[i];
        }
    }
    for (size_t i = 0; rc == 0 && i < (size_t)width * height; i++) {
        const double noise = noise_next(work); /* of brightness: cameras take it out of colours */

        for (uint32_t c = 0; c < small->channels; c++) {
            uint8_t *at = &large->data[i * small->channels + c];

            *at = byte_of(*at + noise);
        }
    }
    free(values);
    return rc;
}

static int picture_write(const char *path, const struct picture_pixels *large,
                         char error[ENGINE_ERROR_BYTES])
{
    uint8_t *data = NULL;
    size_t bytes = 0;
    FILE *file = NULL;
    int rc = picture_jpeg_encode(large, QUALITY, &data, &bytes, error);

    if (rc == 0) {
        file = fopen(path, "we");
        rc = file && fwrite(data, 1, bytes, file) == bytes ? 0 : TANDEM_EIO;
        if (file && fclose(file) != 0) {
            rc = TANDEM_EIO;
        }
    }
    free(data);
    return rc;
}

static int on_example(const char *input, const char *truth, void *user,
                      char error[ENGINE_ERROR_BYTES])
{
    struct work *work = user;
    struct picture_pixels small = {0}, large = {0};
    char path[EXAMPLE_PATH_BYTES];
    struct buf file;
    int rc;

    buf_init(&file, LIMIT_PICTURE_BYTES);
    rc = example_path(work->list, input, path, error);
    rc = rc ? rc : input_file(path, LIMIT_PICTURE_BYTES, &file, error);
    rc = rc ? rc : picture_jpeg_decode(file.data, file.bytes, &small, error);
    rc = rc ? rc : enlarge(work, &small, &large, error);
    snprintf(path, sizeof(path), "%s/%05u.jpg", work->folder, work->count);
    rc = rc ? rc : picture_write(path, &large, error);
    if (rc == 0) {
        fprintf(work->out, "%05u.jpg%s%s\n", work->count++, truth ? "\t" : "", truth ? truth : "");
    }
    picture_pixels_fini(&small);
    picture_pixels_fini(&large);
    buf_fini(&file);
    return rc;
}

int main(int argc, char **argv)
{
    struct work work = {0};
    char path[EXAMPLE_PATH_BYTES], error[ENGINE_ERROR_BYTES] = "cannot write";
    int rc;

    if (argc != 5 || atoi(argv[3]) < 1) {
        fprintf(stderr, "usage: sim-enlarge LIST OUT_FOLDER FACTOR NOISE\n");
        return 2;
    }
    work.list = argv[1];
    work.folder = argv[2];
    work.factor = (uint32_t)atoi(argv[3]);
    work.noise = atof(argv[4]);
    random_seed(&work.random, 1);
    snprintf(path, sizeof(path), "%s/list.tsv", work.folder);
    work.out = fopen(path, "we");
    rc = work.out ? examples_each(work.list, true, stderr, on_example, &work, error) : TANDEM_EIO;
    if (work.out && fclose(work.out) != 0) {
        rc = TANDEM_EIO;
    }
    if (rc != 0) {
        fprintf(stderr, "sim-enlarge: %s\n", error);
    }
    return rc != 0;
}
