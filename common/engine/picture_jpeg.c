/* picture_jpeg.c: JPEG to RGB and back. The one file that knows libjpeg. Its errors end in longjmp,
 * never in exit; its warnings, which mean damaged data, are errors here: half a picture must not be
 * classified as if it were a whole one. */
#include "common/base/limits.h"
#include "common/engine/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* libjpeg hands the manager back as its first member. */
struct jpeg_trap {
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    int code; /* what to return after the jump */
    char text[JMSG_LENGTH_MAX];
};

static void trap_error(j_common_ptr info)
{
    struct jpeg_trap *trap = (struct jpeg_trap *)info->err;

    trap->manager.format_message(info, trap->text);
    trap->code = trap->manager.msg_code == JERR_OUT_OF_MEMORY ? TANDEM_ENOMEM : TANDEM_EFORMAT;
    longjmp(trap->back, 1);
}

/* Level -1 is a warning, 0 and above are traces. Cameras are known for stray bytes between markers
 * and odd version numbers; neither changes a pixel. */
static void trap_message(j_common_ptr info, int level)
{
    const int code = info->err->msg_code;

    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR &&
        code != JWRN_ADOBE_XFORM && code != JWRN_BOGUS_ICC) {
        trap_error(info);
    }
}

/* A progressive file of thousands of empty scans costs a full pass over the picture each. */
static void trap_progress(j_common_ptr info)
{
    struct jpeg_trap *trap = (struct jpeg_trap *)info->err;

    if (((j_decompress_ptr)info)->input_scan_number > LIMIT_JPEG_SCANS) {
        snprintf(trap->text, sizeof trap->text, "more than %d scans", LIMIT_JPEG_SCANS);
        trap->code = TANDEM_ETOOBIG;
        longjmp(trap->back, 1);
    }
}

static struct jpeg_error_mgr *trap_init(struct jpeg_trap *trap)
{
    memset(trap, 0, sizeof *trap);
    (void)jpeg_std_error(&trap->manager);
    trap->manager.error_exit = trap_error;
    trap->manager.emit_message = trap_message;
    trap->progress.progress_monitor = trap_progress;
    return &trap->manager;
}

/* Only the functions *_read and *_write below call setjmp. What libjpeg changes stands in structs
 * of their callers, so that nothing is lost when it jumps back. */
static int header_read(struct jpeg_decompress_struct *jpeg, struct jpeg_trap *trap,
                       const uint8_t *data, size_t bytes)
{
    if (setjmp(trap->back) != 0) {
        return trap->code;
    }
    jpeg_create_decompress(jpeg);
    jpeg->progress = &trap->progress;
    jpeg_mem_src(jpeg, data, (unsigned long)bytes);
    jpeg_read_header(jpeg, TRUE);
    return 0;
}

static int rows_read(struct jpeg_decompress_struct *jpeg, struct jpeg_trap *trap, uint8_t *data)
{
    if (setjmp(trap->back) != 0) {
        return trap->code;
    }
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = data + (size_t)jpeg->output_scanline * jpeg->output_width * 3;

        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    return 0;
}

/* Asks for the smallest picture that has the least sides; no setjmp: this computes and cannot fail.
 */
static void scale_set(struct jpeg_decompress_struct *jpeg, uint32_t least_width,
                      uint32_t least_height)
{
    unsigned denominator = 8;

    while (denominator > 1 && (jpeg->image_width / denominator < least_width ||
                               jpeg->image_height / denominator < least_height)) {
        denominator /= 2;
    }
    jpeg->scale_num = 1;
    jpeg->scale_denom = least_width > 0 ? denominator : 1;
    jpeg->out_color_space = JCS_RGB;
}

static int sides_read(struct jpeg_decompress_struct *jpeg, struct jpeg_trap *trap)
{
    if (setjmp(trap->back) != 0) {
        return trap->code;
    }
    jpeg_calc_output_dimensions(jpeg);
    return 0;
}

static int decode(struct jpeg_decompress_struct *jpeg, struct jpeg_trap *trap, const uint8_t *data,
                  size_t bytes, const uint32_t least[2], struct picture_pixels *pixels,
                  char error[ENGINE_ERROR_BYTES])
{
    int rc = header_read(jpeg, trap, data, bytes);

    if (rc != 0) {
        goto failed;
    }
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK) {
        snprintf(error, ENGINE_ERROR_BYTES, "JPEG: CMYK pictures (print) are not supported");
        return TANDEM_EUNSUPPORTED;
    }
    rc = picture_size_check(jpeg->image_width, jpeg->image_height, error);
    if (rc != 0) {
        return rc;
    }
    scale_set(jpeg, least[0], least[1]);
    rc = sides_read(jpeg, trap);
    if (rc != 0) {
        goto failed;
    }
    rc = picture_pixels_init(pixels, jpeg->output_width, jpeg->output_height, 3, error);
    if (rc != 0) {
        return rc;
    }
    rc = rows_read(jpeg, trap, pixels->data);
    if (rc == 0) {
        return 0;
    }
failed:
    snprintf(error, ENGINE_ERROR_BYTES, "JPEG: %s", trap->text);
    return rc;
}

int picture_jpeg_decode(const uint8_t *data, size_t bytes, struct picture_pixels *ret_pixels,
                        char error[ENGINE_ERROR_BYTES])
{
    return picture_jpeg_decode_least(data, bytes, 0, 0, ret_pixels, error);
}

int picture_jpeg_decode_least(const uint8_t *data, size_t bytes, uint32_t least_width,
                              uint32_t least_height, struct picture_pixels *ret_pixels,
                              char error[ENGINE_ERROR_BYTES])
{
    const uint32_t least[2] = {least_width, least_height};
    struct picture_pixels pixels = {0};
    struct jpeg_decompress_struct jpeg = {.err = NULL};
    struct jpeg_trap trap;
    int rc;

    jpeg.err = trap_init(&trap);
    rc = decode(&jpeg, &trap, data, bytes, least, &pixels, error);
    jpeg_destroy_decompress(&jpeg);
    if (rc != 0) {
        picture_pixels_fini(&pixels);
        return rc;
    }
    *ret_pixels = pixels;
    return 0;
}

int picture_jpeg_size(const uint8_t *data, size_t bytes, uint32_t *ret_width, uint32_t *ret_height)
{
    struct jpeg_decompress_struct jpeg = {.err = NULL};
    struct jpeg_trap trap;
    int rc;

    jpeg.err = trap_init(&trap);
    rc = header_read(&jpeg, &trap, data, bytes);
    if (rc == 0) {
        *ret_width = jpeg.image_width;
        *ret_height = jpeg.image_height;
    }
    jpeg_destroy_decompress(&jpeg);
    return rc;
}

/* ---- back ---- */

/* Where libjpeg puts what it writes; in a struct of the caller, for what a jump leaves behind. */
struct jpeg_output {
    unsigned char *data; /* owned */
    unsigned long bytes;
};

static int picture_write(struct jpeg_compress_struct *jpeg, struct jpeg_trap *trap,
                         const struct picture_pixels *pixels, int quality,
                         struct jpeg_output *output)
{
    if (setjmp(trap->back) != 0) {
        return trap->code;
    }
    jpeg_create_compress(jpeg);
    jpeg_mem_dest(jpeg, &output->data, &output->bytes);
    jpeg->image_width = pixels->width;
    jpeg->image_height = pixels->height;
    jpeg->input_components = (int)pixels->channels;
    jpeg->in_color_space = pixels->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    jpeg->optimize_coding = TRUE;
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row =
            pixels->data + (size_t)jpeg->next_scanline * pixels->width * pixels->channels;

        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    return 0;
}

int picture_jpeg_encode(const struct picture_pixels *pixels, uint32_t quality, uint8_t **ret_data,
                        size_t *ret_bytes, char error[ENGINE_ERROR_BYTES])
{
    struct jpeg_compress_struct jpeg = {.err = NULL};
    struct jpeg_output output = {0};
    struct jpeg_trap trap;
    int rc;

    if (quality < 1 || quality > 100) {
        snprintf(error, ENGINE_ERROR_BYTES, "JPEG: a quality of %u is not in 1..100", quality);
        return TANDEM_EINVAL;
    }
    jpeg.err = trap_init(&trap);
    rc = picture_write(&jpeg, &trap, pixels, (int)quality, &output);
    jpeg_destroy_compress(&jpeg);
    if (rc != 0) {
        free(output.data);
        snprintf(error, ENGINE_ERROR_BYTES, "JPEG: %s", trap.text);
        return rc;
    }
    *ret_data = output.data;
    *ret_bytes = output.bytes;
    return 0;
}
