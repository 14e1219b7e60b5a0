/* picture.h: pictures of all kinds to the floats a vision model wants: decode, resize, normalise
 * (FORMAT.md, "tandem-vit").
 *
 * Pure functions; any thread. Sizes are checked from headers against limits.h before memory for
 * pixels is taken, and nothing outlives a call. Letters: h, w rows and columns, c channels (1 or
 * 3). Pixels are [h, w, c], rows contiguous. */
#ifndef TANDEM_ENGINE_PICTURE_H
#define TANDEM_ENGINE_PICTURE_H

#include "common/engine/engine.h"

#define PICTURE_CHANNELS_MAX 3

/* What a model wants: part of struct engine_model, filled and checked by model.c
 * (sides 1..LIMIT_PICTURE_SIDE_PIXELS, channels 1 or 3, every std finite and not 0). */
struct picture_target {
    uint32_t width, height, channels;
    float mean[PICTURE_CHANNELS_MAX]; /* (value/255 - mean) / std */
    float std[PICTURE_CHANNELS_MAX];
};

/* The contract of engine_picture_prepare. `ret_pixels` is [height, width, channels]. */
int picture_prepare(const struct picture_target *target, const struct engine_picture *picture,
                    float *ret_pixels, char error[ENGINE_ERROR_BYTES]);

/* ---- between the files of this module ---- */

/* An 8-bit picture in memory of its own. */
struct picture_pixels {
    uint32_t width, height, channels;
    uint8_t *data; /* [height, width, channels], owned; NULL when empty */
};
void picture_pixels_fini(struct picture_pixels *pixels);
/* Takes memory for width x height x channels. TANDEM_EFORMAT for a side of 0, TANDEM_ETOOBIG over
 * LIMIT_PICTURE_*, ENOMEM. */
int picture_pixels_init(struct picture_pixels *pixels, uint32_t width, uint32_t height,
                        uint32_t channels, char error[ENGINE_ERROR_BYTES]);
/* 0, or TANDEM_EFORMAT / TANDEM_ETOOBIG with a line. */
int picture_size_check(uint32_t width, uint32_t height, char error[ENGINE_ERROR_BYTES]);

/* Decoders. Encoded pictures become RGB (alpha is left out, 16 bits keep the high byte), raw ones
 * RGB or grey. On 0 the caller owns *ret_pixels; it stays as it was on failure. TANDEM_EFORMAT,
 * ETOOBIG, ENOMEM, EUNSUPPORTED (CMYK) with a line. */
int picture_jpeg_decode(const uint8_t *data, size_t bytes, struct picture_pixels *ret_pixels,
                        char error[ENGINE_ERROR_BYTES]);
/* The same at the half, quarter or eighth of its sides that is no smaller than `least_*` (the DCT
 * does that for a fraction of the time); as it is where that is too small. */
int picture_jpeg_decode_least(const uint8_t *data, size_t bytes, uint32_t least_width,
                              uint32_t least_height, struct picture_pixels *ret_pixels,
                              char error[ENGINE_ERROR_BYTES]);
/* RGB or grey to a JPEG in memory, 4:2:0, with Huffman tables of its own (a small picture is mostly
 * tables). *returns owned* in `ret_data` (free). TANDEM_EINVAL for a quality outside 1..100,
 * ENOMEM, with a line. */
int picture_jpeg_encode(const struct picture_pixels *pixels, uint32_t quality, uint8_t **ret_data,
                        size_t *ret_bytes, char error[ENGINE_ERROR_BYTES]);
int picture_jpeg_size(const uint8_t *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height);
int picture_png_decode(const uint8_t *data, size_t bytes, struct picture_pixels *ret_pixels,
                       char error[ENGINE_ERROR_BYTES]);
int picture_png_size(const uint8_t *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height);
int picture_raw_decode(const struct engine_picture *picture, struct picture_pixels *ret_pixels,
                       char error[ENGINE_ERROR_BYTES]);

/* Resamples to target_width x target_height as FORMAT.md says, in floats 0..255 [target_height,
 * target_width, channels]. TANDEM_ENOMEM. The same size is copied, not resampled. */
int picture_resize(const struct picture_pixels *pixels, uint32_t target_width,
                   uint32_t target_height, float *ret_values);

#endif
