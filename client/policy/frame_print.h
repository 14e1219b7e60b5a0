/* frame_print.h: whether two frames of one camera show nearly the same. A print is a frame's
 * brightness on a grid of at most 32 x 32 cells; the distance of two prints is the largest mean
 * change of any block of 4 x 4 cells, so that something small that moves counts as much as a change
 * of the whole picture, and the noise of a sensor, which averages out within a block, does not.
 * Pure, no memory. */
#ifndef TANDEM_POLICY_FRAME_PRINT_H
#define TANDEM_POLICY_FRAME_PRINT_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_PRINT_CELLS 32 /* a side, at most */

/* Raw pixels, the first plane: a plane of brightness (`colours` 1: grey, NV12, I420; YUYV with
 * `pixel_bytes` 2) or interleaved colours (`colours` 3: RGB, BGR). */
struct frame_view {
    const uint8_t *data; /* borrowed; row_bytes * (height - 1) + pixel_bytes * width bytes */
    uint32_t width, height;
    size_t row_bytes, pixel_bytes;
    unsigned colours;
};
struct frame_print {
    uint8_t width, height; /* cells; 0: no print */
    uint8_t cells[FRAME_PRINT_CELLS * FRAME_PRINT_CELLS];
};

/* At most 36 pixels of each cell are looked at, whatever the size of the frame. A frame without
 * pixels has no print. */
void frame_print_make(const struct frame_view *view, struct frame_print *ret_print);
/* 0 (the same) to 255, in steps of brightness; INFINITY where the grids differ or one is no print.
 */
double frame_print_distance(const struct frame_print *a, const struct frame_print *b);

#endif
