#include "common/base/config_value.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Each setter parses `text` into `at`; 0 or TANDEM_ECONFIG and `why`. */
typedef int value_setter(const struct config_key *key, const char *text, void *at,
                         char why[CONFIG_ERROR_BYTES]);

static int bounds_check(const struct config_key *key, double value, char why[CONFIG_ERROR_BYTES])
{
    const bool bounded = key->min < 0 || key->min > 0 || key->max < 0 || key->max > 0;
    struct buf text;

    if (!bounded || (value >= key->min && value <= key->max)) {
        return 0;
    }
    buf_init(&text, 0);
    buf_append_text(&text, "must be between ");
    config_number_print(key->type, key->min, &text);
    buf_append_text(&text, " and ");
    config_number_print(key->type, key->max, &text);
    if (key->unit && key->unit[0] != '\0') {
        buf_printf(&text, " %s", key->unit);
    }
    snprintf(why, CONFIG_ERROR_BYTES, "%.*s", (int)text.bytes, (const char *)text.data);
    buf_fini(&text);
    return TANDEM_ECONFIG;
}

static int text_set(const struct config_key *key, const char *text, void *at,
                    char why[CONFIG_ERROR_BYTES])
{
    char *copy = strdup(text);
    char *old;

    (void)key;
    if (!copy) {
        snprintf(why, CONFIG_ERROR_BYTES, "out of memory");
        return TANDEM_ECONFIG;
    }
    memcpy(&old, at, sizeof(old));
    free(old);
    memcpy(at, &copy, sizeof(copy));
    return 0;
}

static int bool_set(const struct config_key *key, const char *text, void *at,
                    char why[CONFIG_ERROR_BYTES])
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};

    (void)key;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            memcpy(at, &words[i].value, sizeof(words[i].value));
            return 0;
        }
    }
    snprintf(why, CONFIG_ERROR_BYTES, "'%.200s' is neither yes nor no", text);
    return TANDEM_ECONFIG;
}

/* INT and BYTES: a decimal number, for BYTES with a suffix. */
static int whole_set(const struct config_key *key, const char *text, void *at,
                     char why[CONFIG_ERROR_BYTES])
{
    static const char suffixes[] = "KMG";
    char *end = NULL;
    const char *suffix;
    int64_t value;
    int64_t factor = 1;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (key->type == CONFIG_BYTES && end != text && *end != '\0') {
        suffix = strchr(suffixes, *end);
        if (suffix) {
            factor = INT64_C(1) << (10 * (suffix - suffixes + 1));
            end++;
        }
    }
    if (end == text || *end != '\0') {
        snprintf(why, CONFIG_ERROR_BYTES, "'%.200s' is not a whole number%s", text,
                 key->type == CONFIG_BYTES ? " (K, M or G may follow)" : "");
        return TANDEM_ECONFIG;
    }
    if (errno != 0 || value > INT64_MAX / factor || value < INT64_MIN / factor) {
        snprintf(why, CONFIG_ERROR_BYTES, "'%.200s' is too large a number", text);
        return TANDEM_ECONFIG;
    }
    value *= factor;
    if (key->type == CONFIG_BYTES && value < 0) {
        snprintf(why, CONFIG_ERROR_BYTES, "a size cannot be negative");
        return TANDEM_ECONFIG;
    }
    if (bounds_check(key, (double)value, why) < 0) {
        return TANDEM_ECONFIG;
    }
    memcpy(at, &value, sizeof(value));
    return 0;
}

static int double_set(const struct config_key *key, const char *text, void *at,
                      char why[CONFIG_ERROR_BYTES])
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value)) {
        snprintf(why, CONFIG_ERROR_BYTES, "'%.200s' is not a number", text);
        return TANDEM_ECONFIG;
    }
    if (bounds_check(key, value, why) < 0) {
        return TANDEM_ECONFIG;
    }
    memcpy(at, &value, sizeof(value));
    return 0;
}

static int choice_set(const struct config_key *key, const char *text, void *at,
                      char why[CONFIG_ERROR_BYTES])
{
    size_t used;

    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(text, key->choices[i]) == 0) {
            memcpy(at, &i, sizeof(i));
            return 0;
        }
    }
    used = (size_t)snprintf(why, CONFIG_ERROR_BYTES, "'%.200s' is not one of", text);
    for (int i = 0; key->choices[i] && used < CONFIG_ERROR_BYTES; i++) {
        used += (size_t)snprintf(why + used, CONFIG_ERROR_BYTES - used, "%s %s", i > 0 ? "," : "",
                                 key->choices[i]);
    }
    return TANDEM_ECONFIG;
}

static const struct {
    value_setter *set;
    size_t bytes;
    bool owned; /* a char * to free */
} types[] = {
    [CONFIG_TEXT] = {text_set, sizeof(char *), true},
    [CONFIG_BOOL] = {bool_set, sizeof(bool), false},
    [CONFIG_INT] = {whole_set, sizeof(int64_t), false},
    [CONFIG_BYTES] = {whole_set, sizeof(int64_t), false},
    [CONFIG_DOUBLE] = {double_set, sizeof(double), false},
    [CONFIG_CHOICE] = {choice_set, sizeof(int), false},
    [CONFIG_LIST] = {text_set, sizeof(char *), true},
};

int config_value_set(const struct config_key *key, const char *text, void *base,
                     char why[CONFIG_ERROR_BYTES])
{
    if (strlen(text) > LIMIT_CONFIG_VALUE_BYTES) {
        snprintf(why, CONFIG_ERROR_BYTES, "the value is longer than %d bytes",
                 LIMIT_CONFIG_VALUE_BYTES);
        return TANDEM_ECONFIG;
    }
    return types[key->type].set(key, text, (char *)base + key->offset, why);
}

void config_value_clear(const struct config_key *key, void *base)
{
    char *at = (char *)base + key->offset;
    char *text;

    if (types[key->type].owned) {
        memcpy(&text, at, sizeof(text));
        free(text);
    }
    memset(at, 0, types[key->type].bytes);
}

static int bytes_print(int64_t value, struct buf *out)
{
    static const char suffixes[] = "\0KMG";
    int power = 0;

    while (power < 3 && value != 0 && value % 1024 == 0) {
        value /= 1024;
        power++;
    }
    return power > 0 ? buf_printf(out, "%" PRId64 "%c", value, suffixes[power])
                     : buf_printf(out, "%" PRId64, value);
}

int config_number_print(enum config_type type, double value, struct buf *out)
{
    char text[40];

    if (type == CONFIG_BYTES) {
        return bytes_print((int64_t)value, out);
    }
    if (type == CONFIG_INT) {
        return buf_printf(out, "%.0f", value);
    }
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value) {
        snprintf(text, sizeof(text), "%.17g", value);
    }
    return buf_append_text(out, text);
}

int config_value_print(const struct config_key *key, const void *base, struct buf *out)
{
    const char *at = (const char *)base + key->offset;
    const char *text;
    int64_t whole;
    double number;
    bool flag;
    int index;

    switch (key->type) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
        memcpy(&text, at, sizeof(text));
        return buf_append_text(out, text ? text : "");
    case CONFIG_BOOL:
        memcpy(&flag, at, sizeof(flag));
        return buf_append_text(out, flag ? "yes" : "no");
    case CONFIG_INT:
        memcpy(&whole, at, sizeof(whole));
        return buf_printf(out, "%" PRId64, whole);
    case CONFIG_BYTES:
        memcpy(&whole, at, sizeof(whole));
        return bytes_print(whole, out);
    case CONFIG_DOUBLE:
        memcpy(&number, at, sizeof(number));
        return config_number_print(key->type, number, out);
    case CONFIG_CHOICE:
        memcpy(&index, at, sizeof(index));
        return buf_append_text(out, key->choices[index]);
    }
    return TANDEM_EINTERNAL;
}
