/* Any bytes as an encoded picture, and as a raw one whose format, size and stride are its first
 * bytes. */
#include "common/engine/picture.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void prepare(const struct engine_picture *picture)
{
    static const struct picture_target colour = {9, 7, 3, {0, 0, 0}, {1, 1, 1}},
                                       grey = {5, 12, 1, {0}, {1}};
    char error[ENGINE_ERROR_BYTES] = "";
    float pixels[9 * 7 * 3];
    const int rc = picture_prepare(&colour, picture, pixels, error);

    assert(rc == 0 || (error[0] != '\0' && !strchr(error, '\n')));
    assert(picture_prepare(&grey, picture, pixels, error) == rc);
    for (size_t i = 0; rc == 0 && i < 60; i++) {
        assert(pixels[i] > -0.01f && pixels[i] < 1.01f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct engine_picture picture = {.format = ENGINE_PIXELS_ENCODED, .data = data, .bytes = bytes};
    uint32_t width, height;

    prepare(&picture);
    (void)engine_picture_size(data, bytes, &width, &height);
    if (bytes > 4) {
        picture.format = (enum engine_pixel_format)(data[0] % 8);
        picture.width = data[1] % 64;
        picture.height = data[2] % 64;
        picture.stride_bytes = data[3];
        picture.data = data + 4;
        picture.bytes = bytes - 4;
        prepare(&picture);
        picture.bytes = (size_t)picture.stride_bytes *
                        picture.height; /* often the right size, so that rows are read */
        if (picture.bytes <= bytes - 4) {
            prepare(&picture);
        }
    }
    return 0;
}
