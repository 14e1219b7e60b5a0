#include "client/policy/frame_print.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 6u /* a side of a cell, at most */
#define BLOCK   4u /* cells a side */

static unsigned brightness(const struct frame_view *view, size_t x, size_t y)
{
    const uint8_t *pixel = view->data + y * view->row_bytes + x * view->pixel_bytes;

    /* Green twice, and the same for RGB and BGR. */
    return view->colours == 3 ? (pixel[0] + 2u * pixel[1] + pixel[2]) / 4u : pixel[0];
}

/* The mean brightness of the pixels [x0, x1) x [y0, y1), from an even choice of them. */
static uint8_t cell_mean(const struct frame_view *view, size_t x0, size_t x1, size_t y0, size_t y1)
{
    const size_t across = x1 - x0 < SAMPLES ? x1 - x0 : SAMPLES;
    const size_t down = y1 - y0 < SAMPLES ? y1 - y0 : SAMPLES;
    unsigned sum = 0;

    for (size_t j = 0; j < down; j++) {
        for (size_t i = 0; i < across; i++) {
            sum += brightness(view, x0 + (2 * i + 1) * (x1 - x0) / (2 * across),
                              y0 + (2 * j + 1) * (y1 - y0) / (2 * down));
        }
    }
    return (uint8_t)((sum + across * down / 2) / (across * down));
}

void frame_print_make(const struct frame_view *view, struct frame_print *ret_print)
{
    const size_t width = view->width < FRAME_PRINT_CELLS ? view->width : FRAME_PRINT_CELLS;
    const size_t height = view->height < FRAME_PRINT_CELLS ? view->height : FRAME_PRINT_CELLS;

    memset(ret_print, 0, sizeof(*ret_print));
    if (width == 0 || height == 0) {
        return;
    }
    ret_print->width = (uint8_t)width;
    ret_print->height = (uint8_t)height;
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            ret_print->cells[y * width + x] =
                cell_mean(view, x * view->width / width, (x + 1) * view->width / width,
                          y * view->height / height, (y + 1) * view->height / height);
        }
    }
}

static double block_change(const struct frame_print *a, const struct frame_print *b, size_t x0,
                           size_t y0)
{
    const size_t x1 = x0 + BLOCK < a->width ? x0 + BLOCK : a->width;
    const size_t y1 = y0 + BLOCK < a->height ? y0 + BLOCK : a->height;
    unsigned sum = 0;

    for (size_t y = y0; y < y1; y++) {
        for (size_t x = x0; x < x1; x++) {
            sum += (unsigned)abs((int)a->cells[y * a->width + x] - (int)b->cells[y * a->width + x]);
        }
    }
    return (double)sum / (double)((x1 - x0) * (y1 - y0));
}

double frame_print_distance(const struct frame_print *a, const struct frame_print *b)
{
    double most = 0;

    if (a->width == 0 || a->width != b->width || a->height != b->height) {
        return INFINITY;
    }
    for (size_t y = 0; y < a->height; y += BLOCK) {
        for (size_t x = 0; x < a->width; x += BLOCK) {
            most = fmax(most, block_change(a, b, x, y));
        }
    }
    return most;
}
