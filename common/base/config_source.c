#include "common/base/config_source.h"

#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SHOWN 200 /* bytes; what is wrong has to fit behind it */

int config_source_add(struct config_source *source, const struct config_key *key, const char *name,
                      int line)
{
    struct config_place *places =
        realloc(source->places, (source->count + 1) * sizeof(*source->places));

    if (!places) {
        return TANDEM_ENOMEM;
    }
    source->places = places;
    places[source->count] = (struct config_place){.key = key, .line = line};
    snprintf(places[source->count].name, sizeof(places[0].name), "%s", name);
    source->count++;
    return 0;
}

void config_source_free(struct config_source *source)
{
    free(source->path);
    free(source->places);
    *source = (struct config_source){0};
}

int config_source_line(const struct config_source *source, const char *section, const char *name,
                       const char *key)
{
    for (size_t i = 0; i < source->count; i++) {
        const struct config_place *place = &source->places[i];

        if (strcmp(place->key->section, section) == 0 && strcmp(place->key->key, key) == 0 &&
            strcmp(place->name, name) == 0) {
            return place->line;
        }
    }
    return 0;
}

int config_wrong(const struct config_source *source, const char *section, const char *name,
                 const char *key, char error[CONFIG_ERROR_BYTES], const char *format, ...)
{
    const int line = key ? config_source_line(source, section, name, key) : 0;
    char number[16] = "";
    va_list arguments;
    int bytes;

    if (line > 0) {
        snprintf(number, sizeof(number), ":%d", line);
    }
    bytes = snprintf(error, CONFIG_ERROR_BYTES, "%.*s%s: [%s%s%s]%s%s: ", PATH_SHOWN,
                     source->path ? source->path : "", number, section, name[0] ? " " : "", name,
                     key ? " " : "", key ? key : "");
    if (bytes > 0 && bytes < CONFIG_ERROR_BYTES) {
        va_start(arguments, format);
        vsnprintf(error + bytes, CONFIG_ERROR_BYTES - (size_t)bytes, format, arguments);
        va_end(arguments);
    }
    return TANDEM_ECONFIG;
}

int config_tls_check(const struct config_source *source, const char *cert, const char *key,
                     const char *ca, char error[CONFIG_ERROR_BYTES])
{
    static const char *const names[] = {"cert", "key", "ca"};
    const char *const values[] = {cert, key, ca};
    const char *given = NULL, *missing = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (values[i][0] != '\0') {
            given = names[i];
        } else {
            missing = missing ? missing : names[i];
        }
    }
    if (!given || !missing) {
        return 0;
    }
    return config_wrong(source, "tls", "", given, error,
                        "%s is missing: cert, key and ca, all three or none", missing);
}
