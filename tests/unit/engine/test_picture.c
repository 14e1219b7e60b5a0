#include "common/base/limits.h"
#include "common/engine/picture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* 2 x 2 RGB, 8 bit: red, green / blue, white (made by python3-pil). */
static const uint8_t png_2x2[] = {
    137, 80,  78,  71, 13,  10,  26,  10,  0,   0,   0,   13,  73,  72,  68,  82,  0,   0,  0,   2,
    0,   0,   0,   2,  8,   2,   0,   0,   0,   253, 212, 154, 115, 0,   0,   0,   22,  73, 68,  65,
    84,  120, 156, 99, 248, 207, 192, 192, 240, 159, 129, 145, 129, 225, 255, 255, 255, 12, 0,   30,
    246, 4,   253, 9,  237, 52,  62,  0,   0,   0,   0,   73,  69,  78,  68,  174, 66,  96, 130,
};
/* 8 x 8 grey 200, JPEG. */
static const uint8_t jpeg_8x8[] = {
    255, 216, 255, 224, 0,   16,  74,  70,  73,  70,  0,   1,   1,   0,   0,   1,   0,   1,   0,
    0,   255, 219, 0,   67,  0,   3,   2,   2,   3,   2,   2,   3,   3,   3,   3,   4,   3,   3,
    4,   5,   8,   5,   5,   4,   4,   5,   10,  7,   7,   6,   8,   12,  10,  12,  12,  11,  10,
    11,  11,  13,  14,  18,  16,  13,  14,  17,  14,  11,  11,  16,  22,  16,  17,  19,  20,  21,
    21,  21,  12,  15,  23,  24,  22,  20,  24,  18,  20,  21,  20,  255, 192, 0,   11,  8,   0,
    8,   0,   8,   1,   1,   17,  0,   255, 196, 0,   31,  0,   0,   1,   5,   1,   1,   1,   1,
    1,   1,   0,   0,   0,   0,   0,   0,   0,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,
    10,  11,  255, 196, 0,   181, 16,  0,   2,   1,   3,   3,   2,   4,   3,   5,   5,   4,   4,
    0,   0,   1,   125, 1,   2,   3,   0,   4,   17,  5,   18,  33,  49,  65,  6,   19,  81,  97,
    7,   34,  113, 20,  50,  129, 145, 161, 8,   35,  66,  177, 193, 21,  82,  209, 240, 36,  51,
    98,  114, 130, 9,   10,  22,  23,  24,  25,  26,  37,  38,  39,  40,  41,  42,  52,  53,  54,
    55,  56,  57,  58,  67,  68,  69,  70,  71,  72,  73,  74,  83,  84,  85,  86,  87,  88,  89,
    90,  99,  100, 101, 102, 103, 104, 105, 106, 115, 116, 117, 118, 119, 120, 121, 122, 131, 132,
    133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152, 153, 154, 162, 163, 164, 165,
    166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186, 194, 195, 196, 197, 198,
    199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218, 225, 226, 227, 228, 229, 230,
    231, 232, 233, 234, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 255, 218, 0,   8,   1,
    1,   0,   0,   63,  0,   251, 2,   191, 255, 217,
};

static const struct picture_target as_is = {
    2, 2, 3, {0, 0, 0}, {1.0f / 255, 1.0f / 255, 1.0f / 255}};

static int prepare(const struct picture_target *target, enum engine_pixel_format format,
                   uint32_t width, uint32_t height, uint32_t stride, const void *data, size_t bytes,
                   float *ret_pixels)
{
    const struct engine_picture picture = {format, width, height, stride, data, bytes};
    char error[ENGINE_ERROR_BYTES] = "";
    const int rc = picture_prepare(target, &picture, ret_pixels, error);

    assert_true(rc == 0 || (error[0] && !strchr(error, '\n')));
    return rc;
}

static void close_to(const float *values, const float *expected, size_t count, float tolerance)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i] - expected[i]) <= tolerance)) {
            fail_msg("value %zu is %g, not %g", i, (double)values[i], (double)expected[i]);
        }
    }
}

static void test_png(void **state)
{
    const float expected[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    float pixels[12];
    uint32_t width = 0, height = 0;

    (void)state;
    assert_int_equal(
        prepare(&as_is, ENGINE_PIXELS_ENCODED, 0, 0, 0, png_2x2, sizeof png_2x2, pixels), 0);
    close_to(pixels, expected, 12, 1e-3f);
    assert_int_equal(engine_picture_size(png_2x2, sizeof png_2x2, &width, &height), 0);
    assert_int_equal(width * 10 + height, 22);
    assert_int_equal(engine_picture_size("GIF89a", 6, &width, &height), TANDEM_EFORMAT);
}

static void test_jpeg(void **state)
{
    const struct picture_target grey = {8, 8, 1, {0.5f}, {0.25f}};
    float pixels[64];
    uint32_t width = 0, height = 0;

    (void)state;
    assert_int_equal(
        prepare(&grey, ENGINE_PIXELS_ENCODED, 0, 0, 0, jpeg_8x8, sizeof jpeg_8x8, pixels), 0);
    for (int i = 0; i < 64; i++) {
        assert_true(fabsf(pixels[i] - (200 / 255.0f - 0.5f) / 0.25f) < 0.03f);
    }
    assert_int_equal(engine_picture_size(jpeg_8x8, sizeof jpeg_8x8, &width, &height), 0);
    assert_int_equal(width * 10 + height, 88);
}

/* Every cut of both files is refused: what is missing must not be made up. */
static void test_cut_off(void **state)
{
    float pixels[64 * 3];
    const struct picture_target target = {8, 8, 3, {0, 0, 0}, {1, 1, 1}};

    (void)state;
    for (size_t bytes = 0; bytes + 2 < sizeof jpeg_8x8; bytes++) {
        assert_int_equal(prepare(&target, ENGINE_PIXELS_ENCODED, 0, 0, 0, jpeg_8x8, bytes, pixels),
                         TANDEM_EFORMAT);
    }
    for (size_t bytes = 0; bytes + 16 < sizeof png_2x2;
         bytes++) { /* past IDAT only its end mark is missing */
        assert_int_equal(prepare(&target, ENGINE_PIXELS_ENCODED, 0, 0, 0, png_2x2, bytes, pixels),
                         TANDEM_EFORMAT);
    }
    assert_int_equal(prepare(&target, ENGINE_PIXELS_ENCODED, 0, 0, 0, "no picture", 10, pixels),
                     TANDEM_EFORMAT);
}

/* The size in the header decides, before memory is taken. */
static void test_limits(void **state)
{
    uint8_t *huge = malloc(LIMIT_PICTURE_BYTES + 1);
    uint8_t jpeg[sizeof jpeg_8x8];
    const uint8_t *frame;
    float pixels[12];

    (void)state;
    memset(huge, 0, LIMIT_PICTURE_BYTES + 1);
    memcpy(huge, jpeg_8x8, 3);
    assert_int_equal(
        prepare(&as_is, ENGINE_PIXELS_ENCODED, 0, 0, 0, huge, LIMIT_PICTURE_BYTES + 1, pixels),
        TANDEM_ETOOBIG);
    free(huge);
    memcpy(jpeg, jpeg_8x8, sizeof jpeg);
    frame = memmem(jpeg, sizeof jpeg, "\xFF\xC0",
                   2); /* SOF0: marker, length, precision, height, width */
    assert_non_null(frame);
    jpeg[frame - jpeg + 5] = 0x20;
    jpeg[frame - jpeg + 6] = 0x01; /* 8193 rows */
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_ENCODED, 0, 0, 0, jpeg, sizeof jpeg, pixels),
                     TANDEM_ETOOBIG);
    assert_int_equal(
        prepare(&as_is, ENGINE_PIXELS_GREY, LIMIT_PICTURE_SIDE_PIXELS + 1, 1, 0, jpeg, 1, pixels),
        TANDEM_ETOOBIG);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_GREY, 8192, 8192, 0, jpeg, 1, pixels),
                     TANDEM_ETOOBIG); /* 64 Mi pixels */
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_GREY, 0, 4, 0, jpeg, 1, pixels), TANDEM_EFORMAT);
    assert_int_equal(prepare(&as_is, (enum engine_pixel_format)77, 2, 2, 0, jpeg, 4, pixels),
                     TANDEM_EUNSUPPORTED);
}

static void test_raw(void **state)
{
    const uint8_t rgb[] = {1, 2, 3, 4, 5, 6, 99, 99, 7, 8, 9, 10, 11, 12, 99, 99};
    const float as_rgb[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                as_bgr[] = {3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10};
    const uint8_t grey[] = {5, 6, 7, 8};
    const float as_grey[] = {5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8};
    float pixels[12];

    (void)state;
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_RGB, 2, 2, 8, rgb, 16, pixels), 0);
    close_to(pixels, as_rgb, 12, 1e-4f);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_RGB, 2, 2, 8, rgb, 14, pixels),
                     0); /* a window's last row */
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_BGR, 2, 2, 8, rgb, 16, pixels), 0);
    close_to(pixels, as_bgr, 12, 1e-4f);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_GREY, 2, 2, 0, grey, 4, pixels), 0);
    close_to(pixels, as_grey, 12, 1e-4f);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_RGB, 2, 2, 8, rgb, 15, pixels), TANDEM_EFORMAT);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_RGB, 2, 2, 8, rgb, 13, pixels), TANDEM_EFORMAT);
    assert_int_equal(prepare(&as_is, ENGINE_PIXELS_RGB, 2, 2, 5, rgb, 10, pixels), TANDEM_EFORMAT);
}

/* BT.601, limited range: black, white, and the red of Y 81, U 90, V 240. */
static void test_yuv(void **state)
{
    const struct picture_target target = {4, 2, 3, {0, 0, 0}, {1.0f / 255, 1.0f / 255, 1.0f / 255}};
    const uint8_t nv12[] = {81, 81, 16, 235, 81, 81, 16, 235, 90, 240, 128, 128};
    const uint8_t i420[] = {81, 81, 16, 235, 81, 81, 16, 235, 90, 128, 240, 128};
    const uint8_t yuyv[] = {81, 90, 81, 240, 16, 128, 235, 128, 81, 90, 81, 240, 16, 128, 235, 128};
    const float row[] = {254, 0, 0, 254, 0, 0, 0, 0, 0, 255, 255, 255};
    const struct {
        enum engine_pixel_format format;
        const uint8_t *data;
        size_t bytes;
    } cases[] = {{ENGINE_PIXELS_NV12, nv12, 12},
                 {ENGINE_PIXELS_I420, i420, 12},
                 {ENGINE_PIXELS_YUYV, yuyv, 16}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        float pixels[24];

        assert_int_equal(
            prepare(&target, cases[i].format, 4, 2, 0, cases[i].data, cases[i].bytes, pixels), 0);
        close_to(pixels, row, 12, 1.1f);
        close_to(pixels + 12, row, 12, 1.1f);
        assert_int_equal(
            prepare(&target, cases[i].format, 4, 2, 0, cases[i].data, cases[i].bytes - 1, pixels),
            TANDEM_EFORMAT);
        assert_int_equal(
            prepare(&target, cases[i].format, 3, 2, 0, cases[i].data, cases[i].bytes, pixels),
            TANDEM_EFORMAT);
    }
}

static void test_resize_keeps_flat_and_mean(void **state)
{
    const struct picture_target target = {3, 5, 3, {0, 0, 0}, {1.0f / 255, 1.0f / 255, 1.0f / 255}};
    uint8_t flat[7 * 4 * 3], stripes[16 * 3];
    float pixels[45], expected[45];

    (void)state;
    memset(flat, 77, sizeof flat);
    assert_int_equal(prepare(&target, ENGINE_PIXELS_RGB, 7, 4, 0, flat, sizeof flat, pixels), 0);
    for (int i = 0; i < 45; i++) {
        expected[i] = 77;
    }
    close_to(pixels, expected, 45, 1e-3f);
    for (int i = 0; i < 48;
         i++) { /* 16 x 1, black and white by turns, to 2 x 1: grey, not one of the two */
        stripes[i] = i / 3 % 2 ? 255 : 0;
    }
    assert_int_equal(prepare(&(struct picture_target){2, 1, 3, {0, 0, 0}, {1, 1, 1}},
                             ENGINE_PIXELS_RGB, 16, 1, 0, stripes, 48, pixels),
                     0);
    for (int i = 0; i < 6; i++) {
        assert_true(pixels[i] > 0.45f && pixels[i] < 0.55f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_yuv),
        cmocka_unit_test(test_resize_keeps_flat_and_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
