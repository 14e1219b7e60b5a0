#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/picture.h"

#include "common/engine/picture.h"

#include <stdio.h>
#include <stdlib.h>

#define SIDE      32u
#define ROWS      24u
#define FIRST_ROW 4u
#define BYTES_MAX 65536
#define QUALITY   90

static void sample_read(const char *path, struct picture_pixels *ret_pixels)
{
    static uint8_t data[BYTES_MAX];
    char error[ENGINE_ERROR_BYTES];
    FILE *file = fopen(path, "rbe");
    size_t bytes;

    assert_non_null(file);
    bytes = fread(data, 1, sizeof(data), file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(picture_jpeg_decode(data, bytes, ret_pixels, error), 0);
    assert_true(ret_pixels->width == SIDE && ret_pixels->height == SIDE);
}

size_t picture_enlarge(const char *sample, unsigned times, const char *path)
{
    const uint32_t width = SIDE * times, height = ROWS * times;
    struct picture_pixels small = {0}, large = {0};
    char error[ENGINE_ERROR_BYTES];
    uint8_t *data = NULL;
    size_t bytes = 0;
    FILE *file;

    sample_read(sample, &small);
    assert_int_equal(picture_pixels_init(&large, width, height, 3, error), 0);
    for (uint32_t i = 0; i < width * height; i++) {
        const size_t x = i % width / times, y = FIRST_ROW + i / width / times;
        const uint32_t grain = i * 2654435761u % 97 % 13;

        for (size_t c = 0; c < 3; c++) {
            large.data[3 * i + c] =
                (uint8_t)(small.data[3 * (y * SIDE + x) + c] * 15u / 16u + grain);
        }
    }
    assert_int_equal(picture_jpeg_encode(&large, QUALITY, &data, &bytes, error), 0);
    picture_pixels_fini(&small);
    picture_pixels_fini(&large);
    file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    free(data);
    return bytes;
}
