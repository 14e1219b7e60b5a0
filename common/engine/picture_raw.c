/* picture_raw.c: what cameras hand over, to RGB or grey in memory of our own. Every format is one
 * row of a table: the planes it has and the function that turns one row into pixels. */
#include "common/engine/picture.h"

#include <stdio.h>
#include <string.h>

/* One row: `luma` is row y of the first plane; `chroma[0..1]` the rows of the other planes that
 * belong to y. */
typedef void row_function(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                          uint8_t *ret_row);

struct raw_format {
    const char *name;
    uint32_t pixel_bytes; /* of the first plane */
    uint32_t
        chroma_planes; /* at half height: 0, 1 (interleaved, full stride) or 2 (half stride each) */
    uint32_t even_width, even_height; /* 1: must be even */
    uint32_t channels;                /* of the result */
    row_function *row;
};

static uint8_t clamp_byte(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* BT.601, limited range (Y 16..235, chroma 16..240), in 1/65536: 1.164383, 1.596027, -0.391762,
 * -0.812968, 2.017232. */
static void yuv_pixel(uint8_t y, uint8_t u, uint8_t v, uint8_t *ret_rgb)
{
    const int32_t luma = 76309 * ((int32_t)y - 16) + 32768;
    const int32_t cb = (int32_t)u - 128, cr = (int32_t)v - 128;

    ret_rgb[0] = clamp_byte((luma + 104597 * cr) >> 16);
    ret_rgb[1] = clamp_byte((luma - 25675 * cb - 53279 * cr) >> 16);
    ret_rgb[2] = clamp_byte((luma + 132201 * cb) >> 16);
}

static void row_rgb(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                    uint8_t *ret_row)
{
    (void)chroma;
    memcpy(ret_row, luma, (size_t)width * 3);
}

static void row_bgr(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                    uint8_t *ret_row)
{
    (void)chroma;
    for (size_t x = 0; x < width; x++) {
        ret_row[3 * x] = luma[3 * x + 2];
        ret_row[3 * x + 1] = luma[3 * x + 1];
        ret_row[3 * x + 2] = luma[3 * x];
    }
}

static void row_grey(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                     uint8_t *ret_row)
{
    (void)chroma;
    memcpy(ret_row, luma, width);
}

static void row_nv12(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                     uint8_t *ret_row)
{
    for (size_t x = 0; x < width; x++) {
        yuv_pixel(luma[x], chroma[0][x & ~(size_t)1], chroma[0][x | 1], ret_row + 3 * x);
    }
}

static void row_i420(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                     uint8_t *ret_row)
{
    for (size_t x = 0; x < width; x++) {
        yuv_pixel(luma[x], chroma[0][x / 2], chroma[1][x / 2], ret_row + 3 * x);
    }
}

static void row_yuyv(const uint8_t *luma, const uint8_t *const chroma[2], uint32_t width,
                     uint8_t *ret_row)
{
    (void)chroma;
    for (size_t x = 0; x < width; x++) {
        const uint8_t *pair = luma + (x / 2) * 4;

        yuv_pixel(luma[2 * x], pair[1], pair[3], ret_row + 3 * x);
    }
}

static const struct raw_format raw_formats[] = {
    [ENGINE_PIXELS_RGB] = {"RGB", 3, 0, 0, 0, 3, row_rgb},
    [ENGINE_PIXELS_BGR] = {"BGR", 3, 0, 0, 0, 3, row_bgr},
    [ENGINE_PIXELS_GREY] = {"GREY", 1, 0, 0, 0, 1, row_grey},
    [ENGINE_PIXELS_NV12] = {"NV12", 1, 1, 1, 1, 3, row_nv12},
    [ENGINE_PIXELS_I420] = {"I420", 1, 2, 1, 1, 3, row_i420},
    [ENGINE_PIXELS_YUYV] = {"YUYV", 2, 0, 1, 0, 3, row_yuyv},
};

/* Checks everything the rows will touch. `ret_stride` is that of the first plane. */
static int raw_check(const struct raw_format *format, const struct engine_picture *picture,
                     size_t *ret_stride, char error[ENGINE_ERROR_BYTES])
{
    const size_t row_bytes = (size_t)picture->width * format->pixel_bytes;
    const size_t stride = picture->stride_bytes ? picture->stride_bytes : row_bytes;
    const size_t whole =
        stride * picture->height + (format->chroma_planes ? stride * (picture->height / 2) : 0);
    /* A window into a larger picture ends with its last pixel, not with the stride. */
    const size_t without_end = format->chroma_planes ? whole : whole - stride + row_bytes;

    if ((format->even_width && picture->width % 2) ||
        (format->even_height && picture->height % 2)) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s picture of %u x %u: its sides must be even",
                 format->name, picture->width, picture->height);
        return TANDEM_EFORMAT;
    }
    if (stride < row_bytes || (format->chroma_planes == 2 && stride % 2)) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%s picture: a stride of %zu bytes does not hold rows of %zu", format->name,
                 stride, row_bytes);
        return TANDEM_EFORMAT;
    }
    if (picture->bytes != whole && picture->bytes != without_end) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%s picture of %u x %u with a stride of %zu has %zu bytes, not %zu", format->name,
                 picture->width, picture->height, stride, picture->bytes, whole);
        return TANDEM_EFORMAT;
    }
    *ret_stride = stride;
    return 0;
}

int picture_raw_decode(const struct engine_picture *picture, struct picture_pixels *ret_pixels,
                       char error[ENGINE_ERROR_BYTES])
{
    const size_t known = sizeof raw_formats / sizeof raw_formats[0];
    const struct raw_format *format;
    size_t stride = 0;
    int rc;

    if ((size_t)picture->format >= known || !raw_formats[picture->format].row) {
        snprintf(error, ENGINE_ERROR_BYTES, "unknown pixel format %d", (int)picture->format);
        return TANDEM_EUNSUPPORTED;
    }
    format = &raw_formats[picture->format];
    rc = picture_size_check(picture->width, picture->height, error);
    if (rc == 0) {
        rc = raw_check(format, picture, &stride, error);
    }
    if (rc == 0) {
        rc = picture_pixels_init(ret_pixels, picture->width, picture->height, format->channels,
                                 error);
    }
    if (rc != 0) {
        return rc;
    }
    for (uint32_t y = 0; y < picture->height; y++) {
        const size_t chroma_stride = format->chroma_planes == 2 ? stride / 2 : stride;
        const size_t first = stride * picture->height + (y / 2) * chroma_stride;
        const uint8_t *const chroma[2] = {
            format->chroma_planes > 0 ? picture->data + first : NULL,
            format->chroma_planes > 1
                ? picture->data + first + chroma_stride * (picture->height / 2)
                : NULL,
        };

        format->row(picture->data + y * stride, chroma, picture->width,
                    ret_pixels->data + (size_t)y * picture->width * format->channels);
    }
    return 0;
}
