#include "common/base/config.h"

#include "common/base/config_value.h"

#include <string.h>

static const struct config_repeated *repeated_of(const struct config_schema *schema,
                                                 const char *section)
{
    for (size_t i = 0; i < schema->repeated_count; i++) {
        if (strcmp(schema->repeated[i].section, section) == 0) {
            return &schema->repeated[i];
        }
    }
    return NULL;
}

/* Keeps the first failure, so that a page with a hole in it is never taken for whole. */
struct printer {
    struct buf *out;
    int result;
};

#define PUT(printer, ...)                                                                          \
    do {                                                                                           \
        if ((printer)->result == 0) {                                                              \
            (printer)->result = buf_printf((printer)->out, __VA_ARGS__);                           \
        }                                                                                          \
    } while (0)

static void put_number(struct printer *printer, enum config_type type, double value)
{
    if (printer->result == 0) {
        printer->result = config_number_print(type, value, printer->out);
    }
}

/* Whether key `index` is the first one of its section in the table. */
static bool section_begins(const struct config_schema *schema, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(schema->keys[i].section, schema->keys[index].section) == 0) {
            return false;
        }
    }
    return true;
}

static void section_print(const struct config_schema *schema, const char *section, const char *name,
                          const void *base, struct printer *printer)
{
    PUT(printer, "%s[%s%s%s]\n", printer->out->bytes > 0 ? "\n" : "", section, name ? " " : "",
        name ? name : "");
    for (size_t i = 0; i < schema->key_count; i++) {
        if (strcmp(schema->keys[i].section, section) == 0) {
            PUT(printer, "%s = ", schema->keys[i].key);
            if (printer->result == 0) {
                printer->result = config_value_print(&schema->keys[i], base, printer->out);
            }
            PUT(printer, "\n");
        }
    }
}

int config_print(const struct config_schema *schema, const void *target, struct buf *out)
{
    struct printer printer = {.out = out};

    for (size_t i = 0; i < schema->key_count; i++) {
        const char *section = schema->keys[i].section;
        const struct config_repeated *repeated = repeated_of(schema, section);
        const char *items;
        const char *name;
        size_t count;

        if (!section_begins(schema, i)) {
            continue;
        }
        if (!repeated) {
            section_print(schema, section, NULL, target, &printer);
            continue;
        }
        memcpy(&items, (const char *)target + repeated->offset_items, sizeof(items));
        memcpy(&count, (const char *)target + repeated->offset_count, sizeof(count));
        for (size_t n = 0; n < count; n++) {
            memcpy(&name, items + n * repeated->item_bytes, sizeof(name));
            section_print(schema, section, name, items + n * repeated->item_bytes, &printer);
        }
    }
    return printer.result;
}

/* "# one of: a, b. ms, 1 to 500. Default: 20" */
static void note_print(const struct config_key *key, struct printer *printer)
{
    PUT(printer, "#   ");
    if (key->type == CONFIG_BOOL) {
        PUT(printer, "yes or no; ");
    }
    if (key->type == CONFIG_LIST) {
        PUT(printer, "words with commas between them; ");
    }
    for (size_t i = 0; key->type == CONFIG_CHOICE && key->choices[i]; i++) {
        PUT(printer, "%s%s", key->choices[i], key->choices[i + 1] ? " | " : "; ");
    }
    if (key->min < 0 || key->min > 0 || key->max < 0 || key->max > 0) {
        put_number(printer, key->type, key->min);
        PUT(printer, " to ");
        put_number(printer, key->type, key->max);
        PUT(printer, "%s%s; ", key->unit && key->unit[0] ? " " : "", key->unit ? key->unit : "");
    } else if (key->unit && key->unit[0]) {
        PUT(printer, "%s; ", key->unit);
    }
    if (!key->default_text) {
        PUT(printer, "required\n");
    } else {
        PUT(printer, "default: %s\n", key->default_text[0] ? key->default_text : "empty");
    }
}

int config_annotate(const struct config_schema *schema, struct buf *out)
{
    struct printer printer = {.out = out};

    PUT(&printer, "# %s\n#\n", schema->title);
    PUT(&printer,
        "# Lines that begin with # are comments, and so is the rest of a line after a space and a\n"
        "# semicolon. What is commented out below shows the value that holds without it.\n");
    for (size_t i = 0; i < schema->key_count; i++) {
        const char *section = schema->keys[i].section;
        const struct config_repeated *repeated = repeated_of(schema, section);

        if (!section_begins(schema, i)) {
            continue;
        }
        PUT(&printer, "\n");
        if (repeated) {
            PUT(&printer, "# Any number of these, at most %zu, each with a name of its own.\n",
                repeated->count_max);
        }
        PUT(&printer, "%s[%s%s]\n", repeated ? "#" : "", section, repeated ? " NAME" : "");
        for (size_t k = i; k < schema->key_count; k++) {
            const struct config_key *key = &schema->keys[k];

            if (strcmp(key->section, section) != 0) {
                continue;
            }
            PUT(&printer, "\n# %s\n", key->help);
            note_print(key, &printer);
            PUT(&printer, "%s%s =%s%s\n", key->default_text || repeated ? "#" : "", key->key,
                key->default_text && key->default_text[0] ? " " : "",
                key->default_text ? key->default_text : "");
        }
    }
    return printer.result;
}
