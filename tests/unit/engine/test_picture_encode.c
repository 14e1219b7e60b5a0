/* A picture made smaller and a JPEG again, and read back by the decoder of the same room. */
#include "common/base/limits.h"
#include "common/engine/picture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WIDTH  160
#define HEIGHT 120

static uint8_t rgb[WIDTH * HEIGHT * 3];

/* Smooth colours that differ in every channel and along both sides. */
static void picture_fill(void)
{
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) {
            uint8_t *pixel = rgb + 3 * (y * WIDTH + x);

            pixel[0] = (uint8_t)(40 + x);
            pixel[1] = (uint8_t)(30 + y);
            pixel[2] = (uint8_t)(220 - x / 2 - y / 2);
        }
    }
}

static const struct engine_picture raw = {ENGINE_PIXELS_RGB, WIDTH, HEIGHT, 0, rgb, sizeof rgb};

static struct picture_pixels encode(const struct engine_picture *picture, uint32_t width,
                                    uint32_t height, uint32_t quality, size_t *ret_bytes)
{
    struct picture_pixels pixels = {0};
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *data = NULL;

    assert_int_equal(
        engine_picture_encode(picture, width, height, quality, &data, ret_bytes, error), 0);
    assert_int_equal(picture_jpeg_decode(data, *ret_bytes, &pixels, error), 0);
    assert_int_equal(pixels.width, width);
    assert_int_equal(pixels.height, height);
    free(data);
    return pixels;
}

/* The mean distance of each value from the picture that picture_fill describes. */
static double distance(const struct picture_pixels *pixels)
{
    double sum = 0;

    for (uint32_t y = 0; y < pixels->height; y++) {
        for (uint32_t x = 0; x < pixels->width; x++) {
            const double at_x = (x + 0.5) * WIDTH / pixels->width - 0.5;
            const double at_y = (y + 0.5) * HEIGHT / pixels->height - 0.5;
            const double wanted[3] = {40 + at_x, 30 + at_y, 220 - at_x / 2 - at_y / 2};
            const uint8_t *pixel = pixels->data + 3 * ((size_t)y * pixels->width + x);

            for (int c = 0; c < 3; c++) {
                sum += fabs(pixel[c] - wanted[c]);
            }
        }
    }
    return sum / (3.0 * pixels->width * pixels->height);
}

static void test_same_size(void **state)
{
    size_t bytes;
    struct picture_pixels pixels = encode(&raw, WIDTH, HEIGHT, 90, &bytes);

    (void)state;
    assert_true(distance(&pixels) < 2);
    assert_true(bytes < sizeof rgb / 10);
    picture_pixels_fini(&pixels);
}

/* Each side shrinks by itself, whatever the kind of picture it came from. */
static void test_smaller(void **state)
{
    static const uint32_t sides[][2] = {{80, 60}, {40, 30}, {33, 47}, {8, 120}, {160, 8}};
    struct engine_picture jpeg = {ENGINE_PIXELS_ENCODED, 0, 0, 0, NULL, 0};
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *data = NULL;

    (void)state;
    assert_int_equal(engine_picture_encode(&raw, WIDTH, HEIGHT, 95, &data, &jpeg.bytes, error), 0);
    jpeg.data = data;
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        size_t bytes;
        struct picture_pixels of_raw = encode(&raw, sides[i][0], sides[i][1], 90, &bytes);
        struct picture_pixels of_jpeg = encode(&jpeg, sides[i][0], sides[i][1], 90, &bytes);

        assert_true(distance(&of_raw) < 3);
        assert_true(distance(&of_jpeg) < 4);
        picture_pixels_fini(&of_raw);
        picture_pixels_fini(&of_jpeg);
    }
    free(data);
}

static void test_quality_tells_the_bytes(void **state)
{
    size_t bytes, before = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rgb; i++) {
        rgb[i] ^= (uint8_t)(i * 2654435761u >> 27); /* something to compress */
    }
    for (uint32_t quality = 1; quality <= 100; quality += 33) {
        struct picture_pixels pixels = encode(&raw, WIDTH, HEIGHT, quality, &bytes);

        assert_true(bytes > before);
        before = bytes;
        picture_pixels_fini(&pixels);
    }
    picture_fill();
}

static void test_grey_stays_grey(void **state)
{
    static uint8_t grey[64 * 64];
    const struct engine_picture picture = {ENGINE_PIXELS_GREY, 64, 64, 0, grey, sizeof grey};
    struct picture_pixels pixels;
    size_t bytes;

    (void)state;
    memset(grey, 93, sizeof grey);
    pixels = encode(&picture, 16, 16, 75, &bytes);
    for (size_t i = 0; i < 16 * 16 * 3; i++) {
        assert_in_range(pixels.data[i], 92, 94);
    }
    picture_pixels_fini(&pixels);
}

static void refused(const struct engine_picture *picture, uint32_t width, uint32_t height,
                    uint32_t quality, int expected)
{
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *data = NULL;
    size_t bytes = 7;

    assert_int_equal(engine_picture_encode(picture, width, height, quality, &data, &bytes, error),
                     expected);
    assert_true(error[0] && !strchr(error, '\n'));
    assert_null(data);
    assert_int_equal(bytes, 7);
}

static void test_bounds(void **state)
{
    static const uint8_t words[] = "no picture at all";
    const struct engine_picture none = {ENGINE_PIXELS_ENCODED, 0, 0, 0, words, sizeof words};

    (void)state;
    refused(&raw, 0, 10, 90, TANDEM_EFORMAT);
    refused(&raw, WIDTH + 1, HEIGHT, 90, TANDEM_EINVAL);
    refused(&raw, WIDTH, HEIGHT + 1, 90, TANDEM_EINVAL);
    refused(&raw, LIMIT_PICTURE_SIDE_PIXELS + 1, 1, 90, TANDEM_ETOOBIG);
    refused(&raw, 10, 10, 0, TANDEM_EINVAL);
    refused(&raw, 10, 10, 101, TANDEM_EINVAL);
    refused(&none, 10, 10, 90, TANDEM_EFORMAT);
}

/* Damaged data ends in an error, whichever half or eighth of it was asked for. */
static void test_cut_off(void **state)
{
    struct engine_picture jpeg = {ENGINE_PIXELS_ENCODED, 0, 0, 0, NULL, 0};
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *data = NULL;

    (void)state;
    assert_int_equal(engine_picture_encode(&raw, WIDTH, HEIGHT, 90, &data, &jpeg.bytes, error), 0);
    jpeg.data = data;
    for (jpeg.bytes--; jpeg.bytes > 0; jpeg.bytes -= jpeg.bytes > 60 ? 50 : 1) {
        refused(&jpeg, 10, 8, 75, TANDEM_EFORMAT);
    }
    free(data);
}

/* A small grey copy: the eighth that still has the least sides, with the brightness of what is
 * there; a picture that has fewer comes whole, and what is no picture not at all. */
static void test_grey(void **state)
{
    static const struct {
        uint32_t least, width, height;
    } cases[] = {{15, 20, 15}, {16, 40, 30}, {31, 80, 60}, {61, 160, 120}, {500, 160, 120}};
    struct engine_picture jpeg = {ENGINE_PIXELS_ENCODED, 0, 0, 0, NULL, 0};
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *data = NULL, *grey = NULL;
    uint32_t width, height;

    (void)state;
    assert_int_equal(engine_picture_encode(&raw, WIDTH, HEIGHT, 95, &data, &jpeg.bytes, error), 0);
    jpeg.data = data;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(engine_picture_grey(&jpeg, cases[i].least, &grey, &width, &height, error),
                         0);
        assert_int_equal(width, cases[i].width);
        assert_int_equal(height, cases[i].height);
        for (uint32_t at = 0; at < width * height; at++) {
            const double x = (at % width + 0.5) * WIDTH / width - 0.5;
            const double y = (at / width + 0.5) * HEIGHT / height - 0.5;
            const double wanted =
                0.299 * (40 + x) + 0.587 * (30 + y) + 0.114 * (220 - x / 2 - y / 2);

            assert_true(fabs(grey[at] - wanted) < 5);
        }
        free(grey);
    }
    grey = NULL;
    jpeg.bytes /= 2;
    assert_int_equal(engine_picture_grey(&jpeg, 15, &grey, &width, &height, error), TANDEM_EFORMAT);
    assert_true(error[0] != '\0');
    assert_null(grey);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_size),
        cmocka_unit_test(test_smaller),
        cmocka_unit_test(test_quality_tells_the_bytes),
        cmocka_unit_test(test_grey_stays_grey),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_grey),
    };

    picture_fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
