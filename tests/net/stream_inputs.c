#include "tests/net/stream.h"

#include "common/engine/picture.h"

#include <stdlib.h>
#include <string.h>

#define FILE_BYTES (1u << 16)

/* The picture at `path`, each pixel repeated. NULL with a line. */
static uint8_t *picture_make(const char *path, uint32_t side)
{
    struct picture_pixels small = {0};
    char error[ENGINE_ERROR_BYTES] = "cannot be read";
    uint8_t *data = malloc(FILE_BYTES), *pixels = malloc((size_t)side * side * 3);
    FILE *file = fopen(path, "rb");
    const size_t bytes = file && data ? fread(data, 1, FILE_BYTES, file) : 0;

    if (bytes > 0 && pixels && picture_jpeg_decode(data, bytes, &small, error) == 0) {
        for (uint32_t y = 0; y < side; y++) {
            for (uint32_t x = 0; x < side; x++) {
                const size_t from = (size_t)(y * small.height / side) * small.width +
                                    (size_t)(x * small.width / side);

                memcpy(&pixels[((size_t)y * side + x) * 3], &small.data[3 * from], 3);
            }
        }
    } else {
        fprintf(stderr, "stream: %s: %s\n", path, error);
        free(pixels);
        pixels = NULL;
    }
    if (file) {
        (void)fclose(file);
    }
    picture_pixels_fini(&small);
    free(data);
    return pixels;
}

/* labels.csv: a header line, then file,label. */
static bool pictures_read(struct stream_inputs *inputs, const char *folder)
{
    char path[1024], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/labels.csv", folder);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof(line), file)) {
        perror(path);
        return false;
    }
    while (inputs->picture_count < STREAM_INPUTS && fgets(line, sizeof(line), file)) {
        const char *name = strtok(line, ",\r\n"), *label = strtok(NULL, ",\r\n");
        uint8_t *pixels;

        if (!name || !label) {
            break;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        pixels = picture_make(path, inputs->side);
        if (!pixels) {
            break;
        }
        snprintf(inputs->pictures[inputs->picture_count].label, sizeof(inputs->pictures[0].label),
                 "%s", label);
        inputs->pictures[inputs->picture_count++].pixels = pixels;
    }
    (void)fclose(file);
    return inputs->picture_count > 0;
}

/* commands.txt: command TAB actions. */
static bool commands_read(struct stream_inputs *inputs, const char *folder)
{
    char path[1024], line[2048];
    FILE *file;

    snprintf(path, sizeof(path), "%s/commands.txt", folder);
    file = fopen(path, "r");
    if (!file) {
        perror(path);
        return false;
    }
    while (inputs->command_count < STREAM_INPUTS && fgets(line, sizeof(line), file)) {
        const char *text = strtok(line, "\t\r\n"), *actions = strtok(NULL, "\t\r\n");

        if (text && actions) {
            snprintf(inputs->commands[inputs->command_count].text, sizeof(inputs->commands[0].text),
                     "%s", text);
            snprintf(inputs->commands[inputs->command_count++].actions,
                     sizeof(inputs->commands[0].actions), "%s", actions);
        }
    }
    (void)fclose(file);
    return inputs->command_count > 0;
}

bool stream_inputs_read(struct stream_inputs *inputs, const char *folder, uint32_t side)
{
    *inputs = (struct stream_inputs){.side = side};
    return pictures_read(inputs, folder) && commands_read(inputs, folder);
}

void stream_inputs_free(struct stream_inputs *inputs)
{
    for (size_t i = 0; i < inputs->picture_count; i++) {
        free(inputs->pictures[i].pixels);
    }
}
