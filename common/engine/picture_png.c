/* picture_png.c: PNG to RGB. The one file that knows libspng. */
#include "common/base/limits.h"
#include "common/engine/picture.h"

#include <spng.h>
#include <stdio.h>

/* Text, colour profiles and other extras: read past, within these. */
#define PNG_CHUNK_BYTES  (1u << 20)
#define PNG_CHUNKS_BYTES (4u << 20)

static int png_fail(int code, char error[ENGINE_ERROR_BYTES])
{
    snprintf(error, ENGINE_ERROR_BYTES, "PNG: %s", spng_strerror(code));
    return code == SPNG_EMEM ? TANDEM_ENOMEM : TANDEM_EFORMAT;
}

/* A context that has read the header. *returns owned* in *ret_png on 0. */
static int png_open(const uint8_t *data, size_t bytes, spng_ctx **ret_png,
                    struct spng_ihdr *ret_header, char error[ENGINE_ERROR_BYTES])
{
    spng_ctx *png = spng_ctx_new(0);
    int code = SPNG_EMEM;

    if (png) {
        code = spng_set_chunk_limits(png, PNG_CHUNK_BYTES, PNG_CHUNKS_BYTES);
    }
    if (code == 0) {
        code = spng_set_png_buffer(png, data, bytes);
    }
    if (code == 0) {
        code = spng_get_ihdr(png, ret_header);
    }
    if (code != 0) {
        spng_ctx_free(png);
        return png_fail(code, error);
    }
    *ret_png = png;
    return 0;
}

int picture_png_decode(const uint8_t *data, size_t bytes, struct picture_pixels *ret_pixels,
                       char error[ENGINE_ERROR_BYTES])
{
    struct picture_pixels pixels = {0};
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    int code, rc;

    rc = png_open(data, bytes, &png, &header, error);
    if (rc != 0) {
        return rc;
    }
    rc = picture_pixels_init(&pixels, header.width, header.height, 3, error);
    if (rc != 0) {
        goto out;
    }
    code = spng_decode_image(png, pixels.data, (size_t)pixels.width * pixels.height * 3,
                             SPNG_FMT_RGB8, 0);
    if (code != 0) {
        rc = png_fail(code, error);
        goto out;
    }
    *ret_pixels = pixels;
    pixels.data = NULL;
out:
    picture_pixels_fini(&pixels);
    spng_ctx_free(png);
    return rc;
}

int picture_png_size(const uint8_t *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height)
{
    char error[ENGINE_ERROR_BYTES];
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    const int rc = png_open(data, bytes, &png, &header, error);

    if (rc == 0) {
        *ret_width = header.width;
        *ret_height = header.height;
        spng_ctx_free(png);
    }
    return rc;
}
