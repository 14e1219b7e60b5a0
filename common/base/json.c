#include "common/base/json.h"

#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct json_writer *json, const char *data, size_t bytes)
{
    if (json->error == 0) {
        json->error = buf_append(json->out, data, bytes);
    }
}

/* Bytes of the well-formed UTF-8 character at `text` (no surrogates, no overlong forms), 0 when it
 * is none. */
static size_t utf8_bytes(const unsigned char *text, size_t left)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t bytes;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text[0] < forms[i].first_low || text[0] > forms[i].first_high) {
            continue;
        }
        if (forms[i].bytes > left) {
            return 0;
        }
        if (forms[i].bytes > 1 &&
            (text[1] < forms[i].second_low || text[1] > forms[i].second_high)) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].bytes; k++) {
            if ((text[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].bytes;
    }
    return 0;
}

static void put_escape(struct json_writer *json, unsigned char byte)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letter[] = "\"\\bfnrt";
    const char *found = byte ? memchr(plain, byte, sizeof(plain) - 1) : NULL;
    char escape[8];

    if (found) {
        snprintf(escape, sizeof(escape), "\\%c", letter[found - plain]);
    } else {
        snprintf(escape, sizeof(escape), "\\u%04x", byte);
    }
    put(json, escape, strlen(escape));
}

static void put_quoted(struct json_writer *json, const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t run = 0; /* bytes before `i` that go out as they are */
    size_t i = 0;

    put(json, "\"", 1);
    while (i < bytes) {
        const size_t character = utf8_bytes(at + i, bytes - i);

        if (character > 1 ||
            (character == 1 && at[i] >= 0x20 && at[i] != '"' && at[i] != '\\' && at[i] != 0x7f)) {
            run += character;
            i += character;
            continue;
        }
        put(json, text + i - run, run);
        run = 0;
        if (character == 0) {
            put(json, "\xef\xbf\xbd", 3); /* U+FFFD */
        } else {
            put_escape(json, at[i]);
        }
        i++;
    }
    put(json, text + i - run, run);
    put(json, "\"", 1);
}

/* The comma and the key in front of every value. */
static void value_begin(struct json_writer *json, const char *key)
{
    if (json->need_comma[json->depth]) {
        put(json, ",", 1);
    }
    json->need_comma[json->depth] = true;
    if (key) {
        put_quoted(json, key, strlen(key));
        put(json, ":", 1);
    }
}

static void open_with(struct json_writer *json, const char *key, const char *bracket)
{
    value_begin(json, key);
    put(json, bracket, 1);
    if (json->depth + 1 >= JSON_DEPTH_MAX) {
        json->error = json->error ? json->error : TANDEM_ETOOBIG;
        return;
    }
    json->depth++;
    json->need_comma[json->depth] = false;
}

static void close_with(struct json_writer *json, const char *bracket)
{
    if (json->depth == 0) {
        json->error = json->error ? json->error : TANDEM_EINTERNAL;
        return;
    }
    json->depth--;
    put(json, bracket, 1);
}

void json_begin(struct json_writer *json, struct buf *out)
{
    *json = (struct json_writer){.out = out};
}

void json_object_open(struct json_writer *json, const char *key)
{
    open_with(json, key, "{");
}

void json_object_close(struct json_writer *json)
{
    close_with(json, "}");
}

void json_array_open(struct json_writer *json, const char *key)
{
    open_with(json, key, "[");
}

void json_array_close(struct json_writer *json)
{
    close_with(json, "]");
}

void json_text(struct json_writer *json, const char *key, const char *utf8)
{
    if (!utf8) {
        json_null(json, key);
        return;
    }
    json_text_n(json, key, utf8, strlen(utf8));
}

void json_text_n(struct json_writer *json, const char *key, const char *utf8, size_t bytes)
{
    value_begin(json, key);
    put_quoted(json, utf8, bytes);
}

static void put_plain(struct json_writer *json, const char *key, const char *text)
{
    value_begin(json, key);
    put(json, text, strlen(text));
}

void json_int(struct json_writer *json, const char *key, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, value);
    put_plain(json, key, text);
}

void json_uint(struct json_writer *json, const char *key, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    put_plain(json, key, text);
}

void json_double(struct json_writer *json, const char *key, double value)
{
    char text[40];

    if (!isfinite(value)) {
        json_null(json, key);
        return;
    }
    /* 15 digits read well; 17 only where they are needed to get the same number back. */
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value) {
        snprintf(text, sizeof(text), "%.17g", value);
    }
    for (char *at = text; *at; at++) {
        if (*at == ',') {
            *at = '.'; /* an application's locale */
        }
    }
    put_plain(json, key, text);
}

void json_bool(struct json_writer *json, const char *key, bool value)
{
    put_plain(json, key, value ? "true" : "false");
}

void json_null(struct json_writer *json, const char *key)
{
    put_plain(json, key, "null");
}

int json_end(struct json_writer *json)
{
    if (json->error == 0 && json->depth != 0) {
        json->error = TANDEM_EINTERNAL;
    }
    return json->error;
}
