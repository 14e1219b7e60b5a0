#include "client/policy/told_line.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const by_names[JOB_SIDES] = {
    [JOB_SIDE_LOCAL] = "local", [JOB_SIDE_EDGE] = "edge", [JOB_SIDE_CACHE] = "cache"};

static void text_or_null(struct json_writer *json, const char *key, bool there, const char *text)
{
    json_text(json, key, there ? text : NULL);
}

void told_answers_json(const struct told_answers *answers, struct json_writer *json)
{
    const bool *whole = answers->whole;
    char origin[21];

    if (answers->by == JOB_SIDES || answers->decision == 0 || answers->question != 0) {
        return;
    }
    snprintf(origin, sizeof(origin), "%" PRIu64, answers->origin);
    json_object_open(json, "answers");
    json_uint(json, "uid", answers->uid);
    json_text(json, "by", by_names[answers->by]);
    text_or_null(json, "local_digest", whole[JOB_SIDE_LOCAL], answers->local_digest);
    json_double(json, "confidence", whole[JOB_SIDE_LOCAL] ? answers->confidence : NAN);
    text_or_null(json, "edge", whole[JOB_SIDE_EDGE], answers->edge);
    text_or_null(json, "edge_digest", whole[JOB_SIDE_EDGE], answers->edge_digest);
    json_bool(json, "agreed", answers->agreed);
    text_or_null(json, "repeats", answers->origin != 0, origin);
    json_bool(json, "same_input", answers->origin_same);
    json_object_close(json);
}

/* What stands behind "KEY": in the text up to `end`; NULL: it is not there. */
static const char *value_of(const char *text, const char *end, const char *key)
{
    char quoted[24];
    const char *at;

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = strstr(text, quoted);
    return at && at < end ? at + strlen(quoted) : NULL;
}

/* "": it is not there, null, or longer than there is room for. Names and digests need no escapes.
 */
static bool text_read(const char *text, const char *end, const char *key, char *out, size_t bytes)
{
    const char *at = value_of(text, end, key);
    const size_t length = at && *at == '"' ? strcspn(at + 1, "\"\\") : bytes;

    out[0] = '\0';
    if (length == 0 || length >= bytes || at[1 + length] != '"') {
        return false;
    }
    memcpy(out, at + 1, length);
    out[length] = '\0';
    return true;
}

static bool is_true(const char *text, const char *end, const char *key)
{
    const char *at = value_of(text, end, key);

    return at && strncmp(at, "true", 4) == 0;
}

bool told_answers_read(const char *line, struct told_answers *ret_answers)
{
    static const char key[] = "\"answers\":{";
    const char *text = strstr(line, key), *end = text ? strchr(text, '}') : NULL;
    struct told_answers answers = {.by = JOB_SIDES};
    const char *uid, *confidence;
    char by[8], origin[21];

    if (!end || !text_read(text, end, "by", by, sizeof(by))) {
        return false;
    }
    for (enum job_side side = JOB_SIDE_LOCAL; side < JOB_SIDES; side++) {
        answers.by = strcmp(by, by_names[side]) == 0 ? side : answers.by;
    }
    uid = value_of(text, end, "uid");
    confidence = value_of(text, end, "confidence");
    if (answers.by == JOB_SIDES || !uid || *uid < '0' || *uid > '9') {
        return false;
    }
    answers.uid = (uint32_t)strtoul(uid, NULL, 10);
    answers.whole[JOB_SIDE_LOCAL] =
        text_read(text, end, "local_digest", answers.local_digest, sizeof(answers.local_digest));
    if (answers.whole[JOB_SIDE_LOCAL]) {
        answers.confidence = confidence ? strtod(confidence, NULL) : NAN;
        answers.whole[JOB_SIDE_LOCAL] =
            answers.confidence >= -1 && answers.confidence <= 1; /* under 0: nothing was found */
    }
    answers.whole[JOB_SIDE_EDGE] =
        text_read(text, end, "edge", answers.edge, sizeof(answers.edge)) &&
        text_read(text, end, "edge_digest", answers.edge_digest, sizeof(answers.edge_digest));
    answers.agreed = is_true(text, end, "agreed");
    if (text_read(text, end, "repeats", origin, sizeof(origin))) {
        answers.origin = strtoull(origin, NULL, 10);
        answers.origin_same = is_true(text, end, "same_input");
    }
    *ret_answers = answers;
    return true;
}

bool told_amend(const char *line, struct told_answers *answers)
{
    const char *end = line + strlen(line), *correct = value_of(line, end, "correct");
    enum told told;

    if (is_true(line, end, "forgotten")) {
        memset(answers->taught, 0, sizeof(answers->taught));
        return true;
    }
    if (!correct) {
        return false;
    }
    told = strncmp(correct, "true", 4) == 0 ? TOLD_RIGHT : TOLD_WRONG;
    answers->turns += told != answers->told;
    answers->told = told;
    for (enum job_side side = JOB_SIDE_LOCAL; side <= JOB_SIDE_EDGE; side++) {
        answers->taught[side] = told_of(answers, side, answers->told == TOLD_RIGHT) != TOLD_NOTHING;
    }
    return true;
}
