/* model_calibration.c: what a file says of how far its model's own confidence can be believed
 * (`tandem-model calibrate` writes it). A number that makes no sense is refused, not mended: the
 * decisions of a whole device would rest on it. */
#include "common/engine/opening.h"

#define KEY_TEMPERATURE "tandem.calibration.temperature"
#define KEY_X           "tandem.calibration.x"
#define KEY_Y           "tandem.calibration.y"

/* Divides the logits of a picture; a text's probabilities are its tokens', which are not touched.
 */
static int temperature_read(struct opening *open, struct calibration *calibration)
{
    float read = 1;
    int code;

    if (open->model->info.architecture != ENGINE_VIT) {
        return 0; /* unread: refused by name with the rest */
    }
    code = opening_optional(gguf_get_f32(open->gguf, KEY_TEMPERATURE, &read, open->error));
    calibration->temperature = (double)read;
    if (code == 0 && (calibration->temperature < CALIBRATION_TEMPERATURE_MIN ||
                      calibration->temperature > CALIBRATION_TEMPERATURE_MAX)) {
        code = opening_fail(
            open, TANDEM_EFORMAT, "key " KEY_TEMPERATURE " is %g; it must be from %g to %g",
            calibration->temperature, CALIBRATION_TEMPERATURE_MIN, CALIBRATION_TEMPERATURE_MAX);
    }
    return code;
}

static int points_read(struct opening *open, const char *key, double *values, size_t *ret_count)
{
    float read[LIMIT_CALIBRATION_POINTS];
    int code =
        gguf_get_f32s(open->gguf, key, read, LIMIT_CALIBRATION_POINTS, ret_count, open->error);

    for (size_t i = 0; code == 0 && i < *ret_count; i++) {
        values[i] = (double)read[i];
    }
    return code;
}

/* Both of its keys, or neither. */
static int table_read(struct opening *open, struct calibration *calibration)
{
    size_t y_count = 0;
    int code;

    if (!gguf_has(open->gguf, KEY_X) && !gguf_has(open->gguf, KEY_Y)) {
        return 0;
    }
    if ((code = points_read(open, KEY_X, calibration->x, &calibration->count)) ||
        (code = points_read(open, KEY_Y, calibration->y, &y_count))) {
        return code == TANDEM_ENOTFOUND ? TANDEM_EFORMAT : code;
    }
    if (calibration->count == 0 || calibration->count != y_count) {
        return opening_fail(open, TANDEM_EFORMAT,
                            "keys " KEY_X " and " KEY_Y
                            " have %zu and %zu numbers; both must have the same, 1 to %d",
                            calibration->count, y_count, LIMIT_CALIBRATION_POINTS);
    }
    if (!calibration_is_sound(calibration)) {
        return opening_fail(open, TANDEM_EFORMAT,
                            "keys " KEY_X " and " KEY_Y " must lie within 0 to 1, the one rising, "
                            "the other never falling");
    }
    return 0;
}

int calibration_find(struct opening *open)
{
    struct calibration *calibration = &open->model->info.calibration;
    int code;

    calibration_init(calibration);
    if (open->model->info.architecture == ENGINE_ENCODER) {
        return 0; /* its rows of numbers are no answer that could be right or wrong */
    }
    code = temperature_read(open, calibration);
    return code ? code : table_read(open, calibration);
}
