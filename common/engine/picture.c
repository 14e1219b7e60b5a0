/* picture.c: which decoder, and what comes after it. */
#include "common/engine/picture.h"

#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct encoding {
    uint8_t magic[8];
    size_t magic_bytes;
    int (*decode)(const uint8_t *, size_t, struct picture_pixels *, char[ENGINE_ERROR_BYTES]);
    int (*size)(const uint8_t *, size_t, uint32_t *, uint32_t *);
};

static const struct encoding encodings[] = {
    {{0xFF, 0xD8, 0xFF}, 3, picture_jpeg_decode, picture_jpeg_size},
    {{0x89, 'P', 'N', 'G', 0x0D, 0x0A, 0x1A, 0x0A}, 8, picture_png_decode, picture_png_size},
};

static const struct encoding *encoding_find(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        if (bytes >= encodings[i].magic_bytes &&
            memcmp(data, encodings[i].magic, encodings[i].magic_bytes) == 0) {
            return &encodings[i];
        }
    }
    return NULL;
}

int picture_size_check(uint32_t width, uint32_t height, char error[ENGINE_ERROR_BYTES])
{
    if (width == 0 || height == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "a picture of %u x %u pixels has none", width, height);
        return TANDEM_EFORMAT;
    }
    if (width > LIMIT_PICTURE_SIDE_PIXELS || height > LIMIT_PICTURE_SIDE_PIXELS ||
        (uint64_t)width * height > LIMIT_PICTURE_PIXELS) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "a picture of %u x %u pixels is over the limit of %u a side, %u together", width,
                 height, LIMIT_PICTURE_SIDE_PIXELS, LIMIT_PICTURE_PIXELS);
        return TANDEM_ETOOBIG;
    }
    return 0;
}

int picture_pixels_init(struct picture_pixels *pixels, uint32_t width, uint32_t height,
                        uint32_t channels, char error[ENGINE_ERROR_BYTES])
{
    const int rc = picture_size_check(width, height, error);
    uint8_t *data;

    if (rc != 0) {
        return rc;
    }
    data = malloc((size_t)width * height * channels);
    if (!data) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for a picture of %u x %u pixels", width,
                 height);
        return TANDEM_ENOMEM;
    }
    *pixels = (struct picture_pixels){width, height, channels, data};
    return 0;
}

void picture_pixels_fini(struct picture_pixels *pixels)
{
    free(pixels->data);
    *pixels = (struct picture_pixels){0};
}

/* `least_*`: a picture that comes smaller than it is, but no smaller than that, will do; 0: none.
 */
static int pixels_decode(const struct engine_picture *picture, uint32_t least_width,
                         uint32_t least_height, struct picture_pixels *ret_pixels,
                         char error[ENGINE_ERROR_BYTES])
{
    const struct encoding *encoding;

    if (!picture->data || picture->bytes == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "an empty picture");
        return TANDEM_EFORMAT;
    }
    if (picture->format != ENGINE_PIXELS_ENCODED) {
        return picture_raw_decode(picture, ret_pixels, error);
    }
    if (picture->bytes > LIMIT_PICTURE_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "an encoded picture of %zu bytes is over the limit of %u", picture->bytes,
                 LIMIT_PICTURE_BYTES);
        return TANDEM_ETOOBIG;
    }
    encoding = encoding_find(picture->data, picture->bytes);
    if (!encoding) {
        snprintf(error, ENGINE_ERROR_BYTES, "neither a JPEG nor a PNG picture");
        return TANDEM_EFORMAT;
    }
    if (encoding->decode == picture_jpeg_decode && least_width > 0) {
        return picture_jpeg_decode_least(picture->data, picture->bytes, least_width, least_height,
                                         ret_pixels, error);
    }
    return encoding->decode(picture->data, picture->bytes, ret_pixels, error);
}

/* In place: three channels to one (0.299, 0.587, 0.114 in 1/65536, rounded), or one to three into
 * new memory. */
static int pixels_convert(struct picture_pixels *pixels, uint32_t channels,
                          char error[ENGINE_ERROR_BYTES])
{
    const size_t count = (size_t)pixels->width * pixels->height;
    struct picture_pixels wide = {0};
    int rc;

    if (pixels->channels == channels) {
        return 0;
    }
    if (channels == 1) {
        for (size_t i = 0; i < count; i++) {
            const uint8_t *rgb = pixels->data + 3 * i;

            pixels->data[i] =
                (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
        }
        pixels->channels = 1;
        return 0;
    }
    rc = picture_pixels_init(&wide, pixels->width, pixels->height, 3, error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < 3 * count; i++) {
        wide.data[i] = pixels->data[i / 3];
    }
    picture_pixels_fini(pixels);
    *pixels = wide;
    return 0;
}

int picture_prepare(const struct picture_target *target, const struct engine_picture *picture,
                    float *ret_pixels, char error[ENGINE_ERROR_BYTES])
{
    const size_t values = (size_t)target->width * target->height * target->channels;
    struct picture_pixels pixels = {0};
    int rc;

    rc = pixels_decode(picture, 0, 0, &pixels, error);
    if (rc == 0) {
        rc = pixels_convert(&pixels, target->channels, error);
    }
    if (rc != 0) {
        goto out;
    }
    rc = picture_resize(&pixels, target->width, target->height, ret_pixels);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory to resize a picture");
        goto out;
    }
    for (size_t i = 0; i < values; i++) {
        const size_t c = i % target->channels;

        ret_pixels[i] = (ret_pixels[i] / 255.0f - target->mean[c]) / target->std[c];
    }
out:
    picture_pixels_fini(&pixels);
    return rc;
}

/* In place, to width x height; no side grows. */
static int pixels_shrink(struct picture_pixels *pixels, uint32_t width, uint32_t height,
                         char error[ENGINE_ERROR_BYTES])
{
    const size_t count = (size_t)width * height * pixels->channels;
    float *values;
    int rc;

    if (pixels->width == width && pixels->height == height) {
        return 0;
    }
    values = malloc(count * sizeof *values);
    rc = values ? picture_resize(pixels, width, height, values) : TANDEM_ENOMEM;
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory to resize a picture");
    } else {
        for (size_t i = 0; i < count; i++) {
            pixels->data[i] = (uint8_t)(values[i] + 0.5f); /* a mean of bytes is one */
        }
        pixels->width = width;
        pixels->height = height;
    }
    free(values);
    return rc;
}

int engine_picture_encode(const struct engine_picture *picture, uint32_t width, uint32_t height,
                          uint32_t quality, uint8_t **ret_data, size_t *ret_bytes,
                          char error[ENGINE_ERROR_BYTES])
{
    struct picture_pixels pixels = {0};
    int rc = picture_size_check(width, height, error);

    if (rc == 0) {
        /* the DCT's half is taken where a half is still left to the filter */
        rc = pixels_decode(picture, 2 * width, 2 * height, &pixels, error);
    }
    if (rc == 0 && (width > pixels.width || height > pixels.height)) {
        snprintf(error, ENGINE_ERROR_BYTES, "a picture of %u x %u pixels does not grow to %u x %u",
                 pixels.width, pixels.height, width, height);
        rc = TANDEM_EINVAL;
    }
    if (rc == 0) {
        rc = pixels_shrink(&pixels, width, height, error);
    }
    if (rc == 0) {
        rc = picture_jpeg_encode(&pixels, quality, ret_data, ret_bytes, error);
    }
    picture_pixels_fini(&pixels);
    return rc;
}

int engine_picture_grey(const struct engine_picture *picture, uint32_t least_pixels,
                        uint8_t **ret_grey, uint32_t *ret_width, uint32_t *ret_height,
                        char error[ENGINE_ERROR_BYTES])
{
    struct picture_pixels pixels = {0};
    int rc = pixels_decode(picture, least_pixels, least_pixels, &pixels, error);

    rc = rc ? rc : pixels_convert(&pixels, 1, error);
    if (rc != 0) {
        picture_pixels_fini(&pixels);
        return rc;
    }
    *ret_grey = pixels.data;
    *ret_width = pixels.width;
    *ret_height = pixels.height;
    return 0;
}

int engine_picture_size(const void *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height)
{
    const struct encoding *encoding = encoding_find(data, bytes);

    return encoding ? encoding->size(data, bytes, ret_width, ret_height) : TANDEM_EFORMAT;
}
