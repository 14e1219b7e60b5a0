/* json.h: a small writer for the one-object-a-line status answers and decision records. (Reading
 * JSON is cJSON's job, in the control tool and the tests.) Appends to a buf; commas and escapes are
 * its business; errors stick and are returned by json_end. Owned by one thread. */
#ifndef TANDEM_BASE_JSON_H
#define TANDEM_BASE_JSON_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 16

struct json_writer {
    struct buf *out; /* borrowed */
    int error;
    int depth;
    bool need_comma[JSON_DEPTH_MAX];
};

void json_begin(struct json_writer *json, struct buf *out);
/* `key` is NULL inside arrays and at the top. */
void json_object_open(struct json_writer *json, const char *key);
void json_object_close(struct json_writer *json);
void json_array_open(struct json_writer *json, const char *key);
void json_array_close(struct json_writer *json);
void json_text(struct json_writer *json, const char *key,
               const char *utf8); /* NULL writes null; bad UTF-8 is replaced by U+FFFD */
void json_text_n(struct json_writer *json, const char *key, const char *utf8, size_t bytes);
void json_int(struct json_writer *json, const char *key, int64_t value);
void json_uint(struct json_writer *json, const char *key, uint64_t value);
void json_double(struct json_writer *json, const char *key,
                 double value); /* NAN and infinities write null */
void json_bool(struct json_writer *json, const char *key, bool value);
void json_null(struct json_writer *json, const char *key);
/* 0, or the first error met; the writer must be at depth 0. Adds nothing (the caller adds '\n'). */
int json_end(struct json_writer *json);

#endif
