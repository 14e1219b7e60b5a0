#include "common/base/config.h"

#include "common/base/config_source.h"
#include "common/base/config_value.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a line may have beside its value: the key, the equals sign, spaces. */
#define LINE_BYTES    (LIMIT_CONFIG_VALUE_BYTES + 256)
#define SECTION_BYTES (LIMIT_NAME_BYTES + 64)

/* One run over one text. inih splits lines into keys and values; the reader below counts the lines,
 * because Debian's inih does not hand them over, and follows the sections, because inih cuts their
 * names at 49 bytes without a word. */
struct parse {
    const struct config_schema *schema;
    const char *name;
    const char *at; /* the rest of the text */
    int line;
    void *target;
    char section[SECTION_BYTES];            /* as written between the brackets */
    const struct config_repeated *repeated; /* of the present section, or NULL */
    int section_line;
    struct config_source *source; /* may be NULL */
    bool *seen; /* one per key: of the file for plain sections, of the present item for repeated
                   ones */
    char *error;
    int result;
};

static int fail(struct parse *parse, int line, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Keeps the first error: "FILE:LINE: [section] key: what". `line` 0 and `key` NULL leave their part
 * out. Returns the error code. */
static int fail(struct parse *parse, int line, const char *key, const char *format, ...)
{
    struct buf text;
    char what[CONFIG_ERROR_BYTES];
    va_list arguments;

    if (parse->result < 0) {
        return parse->result;
    }
    parse->result = TANDEM_ECONFIG;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    buf_init(&text, 0);
    buf_printf(&text, "%s:", parse->name);
    if (line > 0) {
        buf_printf(&text, "%d:", line);
    }
    if (parse->section[0] != '\0') {
        buf_printf(&text, " [%s]", parse->section);
    }
    if (key) {
        buf_printf(&text, " %s:", key);
    }
    buf_printf(&text, " %s", what);
    snprintf(parse->error, CONFIG_ERROR_BYTES, "%.*s", (int)text.bytes, (const char *)text.data);
    buf_fini(&text);
    return parse->result;
}

static const struct config_repeated *repeated_find(const struct config_schema *schema,
                                                   const char *word, size_t bytes)
{
    for (size_t i = 0; i < schema->repeated_count; i++) {
        const char *section = schema->repeated[i].section;

        if (strlen(section) == bytes && strncmp(section, word, bytes) == 0) {
            return &schema->repeated[i];
        }
    }
    return NULL;
}

static bool key_is_repeated(const struct config_schema *schema, const struct config_key *key)
{
    return repeated_find(schema, key->section, strlen(key->section)) != NULL;
}

/* ---- repeated items: the array belongs to the target, so it is read and written as bytes ---- */

static void *items_get(const struct config_repeated *repeated, const void *target,
                       size_t *ret_count)
{
    void *items;

    memcpy(&items, (const char *)target + repeated->offset_items, sizeof(items));
    memcpy(ret_count, (const char *)target + repeated->offset_count, sizeof(*ret_count));
    return items;
}

static void items_set(const struct config_repeated *repeated, void *target, void *items,
                      size_t count)
{
    memcpy((char *)target + repeated->offset_items, &items, sizeof(items));
    memcpy((char *)target + repeated->offset_count, &count, sizeof(count));
}

static char *item_name(const void *item)
{
    char *name;

    memcpy(&name, item, sizeof(name));
    return name;
}

static void *item_at(const struct config_repeated *repeated, void *items, size_t index)
{
    return (char *)items + index * repeated->item_bytes;
}

/* The struct that the present section's keys live in. */
static void *section_struct(const struct parse *parse)
{
    size_t count;
    void *items;

    if (!parse->repeated) {
        return parse->target;
    }
    items = items_get(parse->repeated, parse->target, &count);
    return item_at(parse->repeated, items, count - 1);
}

/* Fills the defaults of one struct: the target's plain sections (`repeated` NULL) or a new item's.
 */
static int defaults_fill(struct parse *parse, const struct config_repeated *repeated, void *base)
{
    char why[CONFIG_ERROR_BYTES];

    for (size_t i = 0; i < parse->schema->key_count; i++) {
        const struct config_key *key = &parse->schema->keys[i];

        if (repeated_find(parse->schema, key->section, strlen(key->section)) != repeated ||
            !key->default_text) {
            continue;
        }
        if (config_value_set(key, key->default_text, base, why) < 0) {
            return fail(parse, 0, key->key, "built-in default: %s", why);
        }
    }
    return 0;
}

static int item_add(struct parse *parse, const struct config_repeated *repeated, const char *name)
{
    size_t count;
    char *items = items_get(repeated, parse->target, &count);
    char *copy;
    void *item;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(item_name(item_at(repeated, items, i)), name) == 0) {
            return fail(parse, parse->line, NULL, "this section stands twice");
        }
    }
    if (count >= repeated->count_max) {
        return fail(parse, parse->line, NULL, "more than %zu [%s NAME] sections",
                    repeated->count_max, repeated->section);
    }
    copy = strdup(name);
    items = copy ? realloc(items, (count + 1) * repeated->item_bytes) : NULL;
    if (!items) {
        free(copy);
        return fail(parse, parse->line, NULL, "out of memory");
    }
    item = item_at(repeated, items, count);
    memset(item, 0, repeated->item_bytes);
    memcpy(item, &copy, sizeof(copy));
    items_set(repeated, parse->target, items, count + 1);
    for (size_t i = 0; i < parse->schema->key_count; i++) {
        const struct config_key *key = &parse->schema->keys[i];

        if (strcmp(key->section, repeated->section) == 0) {
            parse->seen[i] = false;
        }
    }
    return defaults_fill(parse, repeated, item);
}

/* ---- sections ---- */

/* Every required key of the section that ends here must have come. For the file's plain sections,
 * at its end. */
static int required_check(struct parse *parse, const struct config_repeated *repeated)
{
    for (size_t i = 0; i < parse->schema->key_count; i++) {
        const struct config_key *key = &parse->schema->keys[i];

        if (key->default_text || parse->seen[i] ||
            repeated_find(parse->schema, key->section, strlen(key->section)) != repeated) {
            continue;
        }
        if (!repeated) {
            snprintf(parse->section, sizeof(parse->section), "%s", key->section);
        }
        return fail(parse, repeated ? parse->section_line : 0, key->key, "required, but missing");
    }
    return 0;
}

static int section_enter(struct parse *parse)
{
    const char *space = strchr(parse->section, ' ');
    const char *name;

    parse->section_line = parse->line;
    if (space) {
        name = space + strspn(space, " \t");
        parse->repeated =
            repeated_find(parse->schema, parse->section, (size_t)(space - parse->section));
        if (!parse->repeated) {
            return fail(parse, parse->line, NULL, "unknown section");
        }
        if (!name_is_valid(name)) {
            return fail(
                parse, parse->line, NULL,
                "a name is 1 to %d characters of A-Z a-z 0-9 . _ -, not beginning with a dot",
                LIMIT_NAME_BYTES);
        }
        return item_add(parse, parse->repeated, name);
    }
    if (repeated_find(parse->schema, parse->section, strlen(parse->section))) {
        return fail(parse, parse->line, NULL, "needs a name: [%s NAME]", parse->section);
    }
    for (size_t i = 0; i < parse->schema->key_count; i++) {
        if (strcmp(parse->schema->keys[i].section, parse->section) == 0) {
            return 0;
        }
    }
    return fail(parse, parse->line, NULL, "unknown section");
}

/* Looks at a line before inih does: a section's header is taken here. */
static int line_look(struct parse *parse, const char *line)
{
    const char *start = line + strspn(line, " \t");
    const char *end = strchr(start, ']');
    const char *rest;
    size_t bytes;

    if (*start != '[' || !end) {
        return 0; /* a header without its end is inih's to refuse */
    }
    if (parse->repeated && required_check(parse, parse->repeated) < 0) {
        return parse->result;
    }
    parse->repeated = NULL;
    rest = end + 1 + strspn(end + 1, " \t\r\n");
    start += 1 + strspn(start + 1, " \t");
    while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    bytes = (size_t)(end - start);
    if (bytes == 0 || bytes >= sizeof(parse->section) ||
        (*rest != '\0' && *rest != ';' && *rest != '#')) {
        parse->section[0] = '\0';
        return fail(parse, parse->line, NULL,
                    "a section is written [name] and stands alone on its line");
    }
    memcpy(parse->section, start, bytes);
    parse->section[bytes] = '\0';
    return section_enter(parse);
}

/* inih's fgets: one whole line, or NULL at the end and after an error. */
static char *line_read(char *line, int capacity, void *user)
{
    struct parse *parse = user;
    size_t bytes = strcspn(parse->at, "\n");

    if (parse->result < 0 || *parse->at == '\0') {
        return NULL;
    }
    bytes += parse->at[bytes] == '\n';
    parse->line++;
    if (bytes + 1 > (size_t)capacity) {
        fail(parse, parse->line, NULL, "the line is longer than %d bytes", capacity - 2);
        return NULL;
    }
    memcpy(line, parse->at, bytes);
    line[bytes] = '\0';
    parse->at += bytes;
    return line_look(parse, line) < 0 ? NULL : line;
}

/* "hall" of [edge hall]; "" of a plain section. */
static const char *section_name(const struct parse *parse)
{
    const char *space = strchr(parse->section, ' ');

    return space ? space + strspn(space, " \t") : "";
}

static int pair_take(void *user, const char *section, const char *name, const char *value)
{
    struct parse *parse = user;
    char why[CONFIG_ERROR_BYTES];
    const char *space = strchr(parse->section, ' ');
    const size_t word_bytes = space ? (size_t)(space - parse->section) : strlen(parse->section);

    (void)section; /* cut at 49 bytes; ours is whole */
    if (word_bytes == 0) {
        return fail(parse, parse->line, name, "stands before any [section]") == 0;
    }
    for (size_t i = 0; i < parse->schema->key_count; i++) {
        const struct config_key *key = &parse->schema->keys[i];

        if (strcmp(key->key, name) != 0 || strlen(key->section) != word_bytes ||
            strncmp(key->section, parse->section, word_bytes) != 0) {
            continue;
        }
        if (parse->seen[i]) {
            return fail(parse, parse->line, name, "stands twice in this section") == 0;
        }
        parse->seen[i] = true;
        if (parse->source &&
            config_source_add(parse->source, key, section_name(parse), parse->line) != 0) {
            return fail(parse, parse->line, name, "out of memory") == 0;
        }
        if (*value == ';') { /* printed with a space before it, it would be a comment */
            return fail(parse, parse->line, name, "begins with ';', which begins a comment") == 0;
        }
        if (!key->default_text && *value == '\0') {
            return fail(parse, parse->line, name, "required, so it must not be empty") == 0;
        }
        if (config_value_set(key, value, section_struct(parse), why) < 0) {
            return fail(parse, parse->line, name, "%s", why) == 0;
        }
        return 1;
    }
    return fail(parse, parse->line, name, "unknown key") == 0;
}

/* Debian builds inih with its settings as variables of the library. */
static void inih_set_up(void)
{
    ini_use_stack = false;
    ini_initial_alloc = LINE_BYTES;
    ini_max_line = LINE_BYTES;
    ini_allow_realloc = false;
    ini_allow_multiline = false; /* an indented line is a key, not more of the value above */
    ini_stop_on_first_error = true;
}

static int text_parse(const struct config_schema *schema, const char *name, const char *text,
                      void *target, struct config_source *source, char error[CONFIG_ERROR_BYTES])
{
    struct parse parse = {.schema = schema,
                          .name = name,
                          .at = text,
                          .target = target,
                          .source = source,
                          .error = error};
    int bad_line;

    error[0] = '\0';
    parse.seen = calloc(schema->key_count + 1, sizeof(*parse.seen));
    if (!parse.seen) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", name);
        return TANDEM_ENOMEM;
    }
    if (strncmp(parse.at, "\xef\xbb\xbf", 3) == 0) {
        parse.at += 3; /* some editors' byte order mark */
    }
    if (defaults_fill(&parse, NULL, target) == 0) {
        inih_set_up();
        bad_line = ini_parse_stream(line_read, &parse, pair_take, &parse);
        if (parse.result == 0 && bad_line != 0) {
            parse.section[0] = '\0';
            fail(&parse, bad_line > 0 ? bad_line : parse.line, NULL, "%s",
                 bad_line > 0 ? "not 'key = value', '[section]' or a comment" : "out of memory");
        }
        if (parse.repeated) {
            required_check(&parse, parse.repeated);
        }
        required_check(&parse, NULL);
    }
    free(parse.seen);
    return parse.result;
}

int config_parse(const struct config_schema *schema, const char *name, const char *text,
                 void *target, char error[CONFIG_ERROR_BYTES])
{
    return text_parse(schema, name, text, target, NULL, error);
}

/* Reads at most LIMIT_CONFIG_FILE_BYTES; a file with a NUL inside is no text. */
static int file_read(const char *path, struct buf *text, char error[CONFIG_ERROR_BYTES])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = 0;
    ssize_t got = 0;

    if (fd < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: cannot be opened: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    do {
        result = buf_reserve(text, 4096);
        if (result < 0) {
            break;
        }
        got = read(fd, text->data + text->bytes, 4096);
        text->bytes += got > 0 ? (size_t)got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (got < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: cannot be read: %s", path, strerror(errno));
        result = TANDEM_EIO;
    } else if (result == TANDEM_ETOOBIG || text->bytes > LIMIT_CONFIG_FILE_BYTES) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: larger than %u bytes", path,
                 LIMIT_CONFIG_FILE_BYTES);
        result = TANDEM_ECONFIG;
    } else if (result == 0 && memchr(text->data, '\0', text->bytes)) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: not a text file", path);
        result = TANDEM_ECONFIG;
    } else if (result < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", path);
    }
    close(fd);
    return result;
}

int config_load_source(const struct config_schema *schema, const char *path, void *target,
                       struct config_source *source, char error[CONFIG_ERROR_BYTES])
{
    struct buf text;
    int result;

    buf_init(&text, LIMIT_CONFIG_FILE_BYTES + 8192);
    result = file_read(path, &text, error);
    if (result == 0) {
        result = buf_append_u8(&text, 0);
    }
    if (result == 0 && source && !(source->path = strdup(path))) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", path);
        result = TANDEM_ENOMEM;
    }
    if (result == 0) {
        result = text_parse(schema, path, (const char *)text.data, target, source, error);
    }
    buf_fini(&text);
    return result;
}

int config_load(const struct config_schema *schema, const char *path, void *target,
                char error[CONFIG_ERROR_BYTES])
{
    return config_load_source(schema, path, target, NULL, error);
}

void config_free(const struct config_schema *schema, void *target)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        if (!key_is_repeated(schema, &schema->keys[i])) {
            config_value_clear(&schema->keys[i], target);
        }
    }
    for (size_t r = 0; r < schema->repeated_count; r++) {
        const struct config_repeated *repeated = &schema->repeated[r];
        size_t count;
        void *items = items_get(repeated, target, &count);

        for (size_t n = 0; n < count; n++) {
            void *item = item_at(repeated, items, n);

            for (size_t i = 0; i < schema->key_count; i++) {
                if (strcmp(schema->keys[i].section, repeated->section) == 0) {
                    config_value_clear(&schema->keys[i], item);
                }
            }
            free(item_name(item));
        }
        free(items);
        items_set(repeated, target, NULL, 0);
    }
}
