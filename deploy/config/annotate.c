/* annotate.c: prints what one configuration table says, the same table that parses the file: the
 * annotated example, or with --man the keys as a part of tandem.conf(5). `make configs` builds it
 * once per table, with SCHEMA naming the table. */
#include "common/base/config.h"
#include "common/base/config_value.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

extern const struct config_schema SCHEMA;

/* Keeps the first failure. */
struct page {
    struct buf text;
    int result;
};

static void put(struct page *page, const char *text)
{
    if (page->result == 0) {
        page->result = buf_append_text(&page->text, text);
    }
}

/* Text in which nothing is a request or an escape of roff. */
static void put_words(struct page *page, const char *text)
{
    for (; *text; text++) {
        const char one[2] = {*text, '\0'};

        put(page, *text == '\\' ? "\\e" : *text == '-' ? "\\-" : one);
    }
}

/* A line of text; roff wants every sentence to begin a line. */
static void put_sentences(struct page *page, const char *text)
{
    const char *end;

    for (; (end = strstr(text, ". ")) != NULL; text = end + 2) {
        char sentence[CONFIG_ERROR_BYTES];

        snprintf(sentence, sizeof(sentence), "%.*s", (int)(end + 1 - text), text);
        put_words(page, sentence);
        put(page, "\n");
    }
    put_words(page, text);
    put(page, "\n");
}

static void put_number(struct page *page, enum config_type type, double value)
{
    if (page->result == 0) {
        page->result = config_number_print(type, value, &page->text);
    }
}

static bool is_bounded(const struct config_key *key)
{
    return key->min < 0 || key->min > 0 || key->max < 0 || key->max > 0;
}

/* What may stand behind the equals sign. */
static void put_kind(struct page *page, const struct config_key *key)
{
    static const char *const kinds[] = {
        [CONFIG_TEXT] = "\\fItext\\fR",      [CONFIG_BOOL] = "yes|no",
        [CONFIG_INT] = "\\fInumber\\fR",     [CONFIG_BYTES] = "\\fInumber\\fR[K|M|G]",
        [CONFIG_DOUBLE] = "\\fInumber\\fR",  [CONFIG_CHOICE] = "",
        [CONFIG_LIST] = "\\fIword\\fR, ...",
    };

    put(page, kinds[key->type]);
    for (size_t i = 0; key->type == CONFIG_CHOICE && key->choices[i]; i++) {
        put(page, i == 0 ? "" : "|");
        put_words(page, key->choices[i]);
    }
}

/* "1 to 256 ms; default 5." */
static void put_bounds(struct page *page, const struct config_key *key)
{
    const bool has_unit = key->unit && key->unit[0];

    put(page, ".br\n");
    if (is_bounded(key)) {
        put_number(page, key->type, key->min);
        put(page, " to ");
        put_number(page, key->type, key->max);
        put(page, has_unit ? " " : "; ");
    }
    if (has_unit) {
        put_words(page, key->unit);
        put(page, "; ");
    }
    if (!key->default_text) {
        put(page, "Required.\n");
        return;
    }
    put(page, is_bounded(key) || has_unit ? "default: " : "Default: ");
    put_words(page, key->default_text[0] ? key->default_text : "empty");
    put(page, ".\n");
}

static void put_key(struct page *page, const struct config_key *key)
{
    put(page, ".TP\n.BR ");
    put_words(page, key->key);
    put(page, " \" = ");
    put_kind(page, key);
    put(page, "\"\n");
    put_sentences(page, key->help);
    put_bounds(page, key);
}

static bool is_repeated(const char *section)
{
    for (size_t i = 0; i < SCHEMA.repeated_count; i++) {
        if (strcmp(SCHEMA.repeated[i].section, section) == 0) {
            return true;
        }
    }
    return false;
}

static void put_manual(struct page *page)
{
    const char *section = "";

    for (size_t i = 0; i < SCHEMA.key_count; i++) {
        const struct config_key *key = &SCHEMA.keys[i];

        if (strcmp(key->section, section) != 0) {
            section = key->section;
            put(page, ".SS [");
            put_words(page, section);
            put(page, is_repeated(section)
                          ? " NAME]\nAny number of these, each with a name of its own.\n"
                          : "]\n");
        }
        put_key(page, key);
    }
}

int main(int argc, char **argv)
{
    struct page page = {.result = 0};

    buf_init(&page.text, 0);
    if (argc == 2 && strcmp(argv[1], "--man") == 0) {
        put_manual(&page);
    } else {
        page.result = argc == 1 ? config_annotate(&SCHEMA, &page.text) : -1;
    }
    if (page.result == 0 &&
        (fwrite(page.text.data, 1, page.text.bytes, stdout) != page.text.bytes ||
         fflush(stdout) != 0)) {
        page.result = -1;
    }
    buf_fini(&page.text);
    return page.result == 0 ? 0 : 1;
}
