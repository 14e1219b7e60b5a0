#include "common/base/picture_effects.h"

#include "common/base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES  256
#define DIGEST_HEX  32
#define QUALITY_MAX 100

const unsigned picture_scales[PICTURE_SCALES] = {1, 2, 4};
const uint32_t picture_qualities[PICTURE_QUALITIES] = {90, 75, 50};

static const char too_many[] = "too many forms";

double picture_effect_error(uint64_t pictures, uint64_t lost, uint64_t won)
{
    const double difference = (double)lost - (double)won;

    return pictures
               ? fmin(fmax(difference + sqrt((double)(lost + won) + 1), 0) / (double)pictures, 1)
               : 1;
}

/* A form is not better than one of the same size that was compressed less, whatever chance says. */
static double error_of(const struct picture_effects *effects, const struct picture_effect *effect)
{
    double most = 0;

    for (size_t i = 0; i < effects->count; i++) {
        const struct picture_effect *at = &effects->items[i];

        if (at->scale == effect->scale && at->quality >= effect->quality) {
            most = fmax(most, at->error);
        }
    }
    return most;
}

bool picture_effects_find(const struct picture_effects *effects, double scale, uint32_t quality,
                          double *ret_error)
{
    const struct picture_effect *below = NULL, *above = NULL;
    double part = 0;

    for (size_t i = 0; i < effects->count; i++) {
        const struct picture_effect *at = &effects->items[i];

        if (at->quality != quality) {
            continue;
        }
        if (at->scale <= scale && (!below || at->scale > below->scale)) {
            below = at;
        }
        if (at->scale > scale && (!above || at->scale < above->scale)) {
            above = at;
        }
    }
    if (!below) {
        return false;
    }
    *ret_error = error_of(effects, below);
    if (above) {
        part = log(scale / below->scale) / log((double)above->scale / below->scale);
        *ret_error += part * (error_of(effects, above) - *ret_error);
    }
    return true;
}

/* The accuracy, which may be empty, is for people and not read. */
static bool row_parse(const char *line, char digest[DIGEST_HEX + 1], struct picture_effect *effect,
                      uint64_t *ret_pictures)
{
    double bytes, agreement;
    int used = 0;
    const char *rest;

    if (sscanf(line, "%32[0-9a-f],%u,%" SCNu32 ",%" SCNu64 ",%lf,%lf,%n", digest, &effect->scale,
               &effect->quality, ret_pictures, &bytes, &agreement, &used) != 6 ||
        used == 0 || strlen(digest) != DIGEST_HEX) {
        return false;
    }
    rest = strchr(line + used, ','); /* behind the accuracy */
    used = 0;
    return rest && sscanf(rest, ",%lf%n", &effect->error, &used) == 1 && rest[used] == '\0' &&
           effect->error >= 0 && effect->error <= 1 && *ret_pictures > 0 &&
           effect->quality <= QUALITY_MAX && (effect->quality > 0) == (effect->scale > 0);
}

/* One line after the first; what is wrong with it, or NULL. */
static const char *row_add(struct picture_effects *effects, const char *line)
{
    struct picture_effect effect;
    char digest[DIGEST_HEX + 1];
    uint64_t pictures;

    if (!row_parse(line, digest, &effect, &pictures)) {
        return "no row of " PICTURE_EFFECTS_HEADER;
    }
    if (effects->model_digest[0] && strcmp(effects->model_digest, digest) != 0) {
        return "another model than in the rows before";
    }
    memcpy(effects->model_digest, digest, sizeof(digest));
    if (effect.scale == 0) {
        return NULL;
    }
    for (size_t i = 0; i < effects->count; i++) {
        if (effects->items[i].scale == effect.scale &&
            effects->items[i].quality == effect.quality) {
            return "this scale and quality are there twice";
        }
    }
    if (effects->count == LIMIT_PICTURE_EFFECTS) {
        return too_many;
    }
    if (effects->count == 0 || pictures < effects->pictures) {
        effects->pictures = pictures;
    }
    effects->items[effects->count++] = effect;
    return NULL;
}

static const char *rows_read(FILE *file, struct picture_effects *effects, size_t *ret_line)
{
    char line[LINE_BYTES];
    const char *wrong = NULL;

    for (*ret_line = 0; !wrong && fgets(line, sizeof(line), file);) {
        const size_t bytes = strlen(line);

        if (bytes == sizeof(line) - 1 && line[bytes - 1] != '\n') {
            wrong = "too long a line";
        }
        line[strcspn(line, "\r\n")] = '\0';
        ++*ret_line;
        if (!wrong && *ret_line == 1) {
            wrong = strcmp(line, PICTURE_EFFECTS_HEADER) == 0
                        ? NULL
                        : "the first line is not " PICTURE_EFFECTS_HEADER;
        } else if (!wrong) {
            wrong = row_add(effects, line);
        }
    }
    return wrong ? wrong : effects->count == 0 ? "no form was measured" : NULL;
}

int picture_effects_load(const char *path, struct picture_effects *ret_effects, char *error,
                         size_t error_bytes)
{
    struct picture_effects effects = {0};
    FILE *file = fopen(path, "re");
    const char *wrong;
    size_t line;
    int result = 0;

    if (!file) {
        snprintf(error, error_bytes, "%.300s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    wrong = rows_read(file, &effects, &line);
    if (ferror(file)) {
        snprintf(error, error_bytes, "%.300s: %s", path, strerror(errno));
        result = TANDEM_EIO;
    } else if (wrong) {
        snprintf(error, error_bytes, "%.300s:%zu: %s", path, line, wrong);
        result = wrong == too_many ? TANDEM_ETOOBIG : TANDEM_EFORMAT;
    } else {
        *ret_effects = effects;
    }
    (void)fclose(file);
    return result;
}
