/* What counts as nearly the same frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/frame_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH  320u
#define HEIGHT 240u

static uint8_t frame[WIDTH * HEIGHT];

static void scene(uint8_t *pixels)
{
    for (size_t y = 0; y < HEIGHT; y++) {
        for (size_t x = 0; x < WIDTH; x++) {
            pixels[y * WIDTH + x] = (uint8_t)(40 + x / 4 + y / 3);
        }
    }
}

static void grey_print(const uint8_t *pixels, struct frame_print *ret_print)
{
    const struct frame_view view = {pixels, WIDTH, HEIGHT, WIDTH, 1, 1};

    frame_print_make(&view, ret_print);
}

static void test_same_is_zero(void **state)
{
    struct frame_print print;

    (void)state;
    scene(frame);
    grey_print(frame, &print);
    assert_int_equal(print.width, FRAME_PRINT_CELLS);
    assert_true(frame_print_distance(&print, &print) == 0);
}

/* A whole picture that is 5 steps brighter is 5 away. */
static void test_distance_is_brightness(void **state)
{
    struct frame_print before, after;

    (void)state;
    scene(frame);
    grey_print(frame, &before);
    for (size_t i = 0; i < sizeof(frame); i++) {
        frame[i] = (uint8_t)(frame[i] + 5);
    }
    grey_print(frame, &after);
    assert_float_equal((float)frame_print_distance(&before, &after), 5, 0.01);
    assert_true(frame_print_distance(&before, &after) == frame_print_distance(&after, &before));
}

/* The noise of a sensor stays under 2 steps, an object of a hundredth of the frame far above. */
static void test_noise_and_objects(void **state)
{
    struct frame_print before, noisy, moved;
    uint32_t random = 1;

    (void)state;
    scene(frame);
    grey_print(frame, &before);
    for (size_t i = 0; i < sizeof(frame); i++) {
        random = random * 1664525u + 1013904223u;
        frame[i] = (uint8_t)(frame[i] + (random >> 24) % 13u - 6u);
    }
    grey_print(frame, &noisy);
    assert_true(frame_print_distance(&before, &noisy) < 2);
    scene(frame);
    for (size_t y = 100; y < 130; y++) {
        memset(frame + y * WIDTH + 170, 250, 26);
    }
    grey_print(frame, &moved);
    assert_true(frame_print_distance(&before, &moved) > 20);
}

/* RGB, BGR and YUYV of a grey scene are the grey scene; rows may be padded. */
static void test_formats(void **state)
{
    static uint8_t colours[HEIGHT * (WIDTH * 3 + 8)], yuyv[WIDTH * HEIGHT * 2];
    const struct frame_view rgb = {colours, WIDTH, HEIGHT, WIDTH * 3 + 8, 3, 3};
    const struct frame_view luma = {yuyv, WIDTH, HEIGHT, WIDTH * 2, 2, 1};
    struct frame_print grey, other;

    (void)state;
    scene(frame);
    grey_print(frame, &grey);
    memset(colours, 7, sizeof(colours));
    memset(yuyv, 128, sizeof(yuyv));
    for (size_t y = 0; y < HEIGHT; y++) {
        for (size_t x = 0; x < WIDTH; x++) {
            memset(colours + y * rgb.row_bytes + 3 * x, frame[y * WIDTH + x], 3);
            yuyv[(y * WIDTH + x) * 2] = frame[y * WIDTH + x];
        }
    }
    frame_print_make(&rgb, &other);
    assert_true(frame_print_distance(&grey, &other) == 0);
    frame_print_make(&luma, &other);
    assert_true(frame_print_distance(&grey, &other) == 0);
}

static void test_small_and_empty(void **state)
{
    static const uint8_t pixels[6] = {1, 2, 3, 4, 5, 6};
    const struct frame_view tiny = {pixels, 3, 2, 3, 1, 1}, none = {pixels, 0, 2, 3, 1, 1},
                            narrow = {pixels, 2, 2, 3, 1, 1}, flat = {pixels, 3, 1, 3, 1, 1};
    struct frame_print a, b;

    (void)state;
    frame_print_make(&tiny, &a);
    assert_int_equal(a.width, 3);
    assert_int_equal(a.height, 2);
    assert_int_equal(a.cells[5], 6);
    frame_print_make(&none, &b);
    assert_int_equal(b.width, 0);
    assert_true(isinf(frame_print_distance(&a, &b)));
    assert_true(isinf(frame_print_distance(&b, &b)));
    frame_print_make(&narrow, &b);
    assert_true(isinf(frame_print_distance(&a, &b)) && isinf(frame_print_distance(&b, &a)));
    frame_print_make(&flat, &b);
    assert_true(isinf(frame_print_distance(&a, &b)) && isinf(frame_print_distance(&b, &a)));
}

static void hall_read(int number, struct frame_print *ret_print)
{
    static uint8_t pixels[192 * 108];
    char path[64], size[16];
    struct frame_view view = {pixels, 192, 108, 192, 1, 1};
    FILE *file;

    snprintf(path, sizeof(path), "tests/unit/policy/data/hall_%d.pgm", number);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "P5 %15[0-9 ]", size), 1);
    assert_string_equal(size, "192 108");
    assert_int_equal(fscanf(file, " %15[0-9]%*c", size), 1);
    assert_int_equal(fread(pixels, 1, sizeof(pixels), file), sizeof(pixels));
    fclose(file);
    frame_print_make(&view, ret_print);
}

/* A real camera: the empty hall half a second later is the same, somebody who comes in is not. */
static void test_real_frames(void **state)
{
    struct frame_print empty, later, somebody;

    (void)state;
    hall_read(40, &empty);
    hall_read(45, &later);
    hall_read(61, &somebody);
    assert_true(frame_print_distance(&empty, &later) < 3);
    assert_true(frame_print_distance(&empty, &somebody) > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_is_zero),      cmocka_unit_test(test_distance_is_brightness),
        cmocka_unit_test(test_noise_and_objects), cmocka_unit_test(test_formats),
        cmocka_unit_test(test_small_and_empty),   cmocka_unit_test(test_real_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
