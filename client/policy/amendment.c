#include "client/policy/amendment.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

void amendments_init(struct amendments *amendments)
{
    *amendments = (struct amendments){.items = NULL};
    buf_init(&amendments->texts, LIMIT_AMENDMENTS_BYTES);
}

void amendments_fini(struct amendments *amendments)
{
    buf_fini(&amendments->texts);
    free(amendments->items);
    amendments_init(amendments);
}

/* What stands behind `character` and blanks around it; NULL: it does not stand at `at`. */
static const char *past(const char *at, char character)
{
    if (!at) {
        return NULL;
    }
    at += strspn(at, BLANKS);
    return *at == character ? at + 1 + strspn(at + 1, BLANKS) : NULL;
}

/* Behind the member `"id": "DIGITS"`; NULL: there is none. A text inside the line cannot look like
 * it: there a quote has a backslash before it. */
static const char *past_id(const char *line, uint64_t *ret_id)
{
    static const char key[] = "\"id\"";
    const char *at = strstr(line, key);
    size_t digits;

    at = past(past(at ? at + sizeof(key) - 1 : NULL, ':'), '"');
    digits = at ? strspn(at, "0123456789") : 0;
    if (digits == 0 || at[digits] != '"') {
        return NULL;
    }
    *ret_id = strtoull(at, NULL, 10);
    return at + digits + 1;
}

uint64_t amendment_id(const char *line)
{
    uint64_t id = 0;

    return past_id(line, &id) ? id : 0;
}

/* Where the object that ends the line is closed; NULL: it is not. */
static const char *object_end(const char *line)
{
    const char *end = line + strlen(line);

    while (end > line && strchr(BLANKS, end[-1])) {
        end--;
    }
    return end > line && end[-1] == '}' ? end - 1 : NULL;
}

/* The member of an amendment, from its key to its value's end. False: it is none. */
static bool member_find(const char *line, uint64_t *ret_id, const char **ret_text,
                        size_t *ret_bytes)
{
    const char *end = object_end(line), *at = past(past_id(line, ret_id), ',');

    if (!at || !end || *at != '"' || strstr(line, "\"task\"")) {
        return false;
    }
    *ret_text = at;
    *ret_bytes = (size_t)(end - at);
    return true;
}

bool amendment_is(const char *line, uint64_t *ret_id)
{
    const char *text;
    size_t bytes;

    return member_find(line, ret_id, &text, &bytes);
}

int amendments_add(struct amendments *amendments, const char *line)
{
    struct amendment item = {.at = amendments->texts.bytes};
    const char *text;
    int result;

    if (!member_find(line, &item.id, &text, &item.bytes)) {
        return TANDEM_EINVAL;
    }
    if (amendments->count == amendments->capacity) {
        const size_t capacity = amendments->capacity ? 2 * amendments->capacity : 64;
        struct amendment *items = realloc(amendments->items, capacity * sizeof(*items));

        if (!items) {
            return TANDEM_ENOMEM;
        }
        amendments->items = items;
        amendments->capacity = capacity;
    }
    result = buf_append(&amendments->texts, text, item.bytes);
    if (result == 0) {
        amendments->items[amendments->count++] = item;
        amendments->sorted = false;
    }
    return result;
}

static int item_compare(const void *a, const void *b)
{
    const struct amendment *x = a, *y = b;

    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->at > y->at) - (x->at < y->at);
}

/* The first item of this decision, or where it would stand. */
static size_t items_find(struct amendments *amendments, uint64_t id)
{
    size_t low = 0, high = amendments->count;

    if (!amendments->sorted && amendments->count > 1) {
        qsort(amendments->items, amendments->count, sizeof(*amendments->items), item_compare);
    }
    amendments->sorted = true;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (amendments->items[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const char *item_text(const struct amendments *amendments, size_t at)
{
    return (const char *)amendments->texts.data + amendments->items[at].at;
}

/* Bytes of the key with its quotes; no key of ours has a quote in it. */
static size_t key_bytes(const struct amendments *amendments, size_t at)
{
    const char *text = item_text(amendments, at);
    const char *quote = memchr(text + 1, '"', amendments->items[at].bytes - 1);

    return quote ? (size_t)(quote - text) + 1 : amendments->items[at].bytes;
}

/* Whether a later line of the same decision says it anew. */
static bool is_outdated(const struct amendments *amendments, size_t at)
{
    const size_t bytes = key_bytes(amendments, at);

    for (size_t later = at + 1;
         later < amendments->count && amendments->items[later].id == amendments->items[at].id;
         later++) {
        if (key_bytes(amendments, later) == bytes &&
            memcmp(item_text(amendments, later), item_text(amendments, at), bytes) == 0) {
            return true;
        }
    }
    return false;
}

int amendments_apply(struct amendments *amendments, const char *line, struct buf *out)
{
    const uint64_t id = amendment_id(line);
    const char *end = object_end(line);
    const size_t before = out->bytes;
    int result;

    if (id == 0 || !end) {
        return buf_append_text(out, line);
    }
    result = buf_append(out, line, (size_t)(end - line));
    for (size_t at = items_find(amendments, id);
         result == 0 && at < amendments->count && amendments->items[at].id == id; at++) {
        if (is_outdated(amendments, at)) {
            continue;
        }
        result = buf_append_u8(out, ',');
        result = result == 0
                     ? buf_append(out, item_text(amendments, at), amendments->items[at].bytes)
                     : result;
    }
    result = result == 0 ? buf_append_text(out, end) : result;
    if (result != 0) {
        out->bytes = before;
    }
    return result;
}
