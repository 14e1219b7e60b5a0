/* print_story.c: one decision as a person would tell it. */
#include "client/ctl/decision_read.h"
#include "client/ctl/print.h"
#include "client/ctl/member.h"
#include "common/base/error.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH    80
#define INDENT   2
#define ROUTES   3 /* possible ones that are told, the cheapest first */
#define OTHERS   3
#define TEXT_MAX 2048

/* One paragraph under way; what does not fit is left out, and a cut says so. */
struct story {
    char text[TEXT_MAX];
    size_t used;
};

static void say(struct story *story, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct story *story, const char *format, ...)
{
    va_list arguments;
    int bytes;

    va_start(arguments, format);
    bytes =
        vsnprintf(story->text + story->used, sizeof(story->text) - story->used, format, arguments);
    va_end(arguments);
    story->used += bytes > 0 ? (size_t)bytes : 0;
    story->used = story->used < sizeof(story->text) ? story->used : sizeof(story->text) - 1;
}

/* ---- lines ---- */

/* Bytes of the words of `text` that go into `width` characters, at least one word or a part of it.
 */
static size_t line_bytes(const char *text, size_t width)
{
    size_t at = 0, count = 0, end = 0;

    for (; text[at] != '\0'; at++) {
        const bool begins = ((unsigned char)text[at] & 0xc0) != 0x80;

        if (begins && count++ == width) {
            return end > 0 ? end : at;
        }
        end = text[at] == ' ' ? at : end;
    }
    return at;
}

/* Appends the paragraph and forgets it: on at most as many of the `*lines` that are left as leave
 * two for each of the `after` that follow. */
static int story_put(struct story *story, size_t width, size_t after, size_t *lines,
                     struct buf *out)
{
    const size_t most = *lines - 2 * after;
    const char *text = story->text;
    struct buf clean;
    int result;

    buf_init(&clean, 0);
    result = text_clean_append(&clean, story->text, false);
    result = result == 0 ? buf_append_u8(&clean, 0) : result;
    text = result == 0 ? (const char *)clean.data : "";
    for (size_t line = 0; result == 0 && line < most && *text; line++, --*lines) {
        const size_t indent = line > 0 ? INDENT : 0;
        size_t bytes = line_bytes(text, width - indent);
        const bool cut = line + 1 == most && text[bytes] != '\0';

        if (cut) {
            bytes = line_bytes(text, width - indent - 4); /* " ..." */
        }
        result =
            buf_printf(out, "%*s%.*s%s\n", (int)indent, "", (int)bytes, text, cut ? " ..." : "");
        text += bytes;
        text += *text == ' ';
    }
    buf_fini(&clean);
    story->used = 0;
    story->text[0] = '\0';
    return result;
}

/* ---- what is said ---- */

static int digits_of(double number)
{
    return fabs(number) >= 1000 ? 0 : fabs(number) < 10 ? 2 : 1;
}

/* " cost 12.3 ms", or nothing. */
static void cost_say(struct story *story, double cost)
{
    if (!isnan(cost)) {
        say(story, ", cost %.*f", digits_of(cost), cost);
    }
}

static void head_say(struct story *story, const cJSON *decision)
{
    char time_text[64];

    say(story, "decision %s: %s, %s", member_text(decision, "id"), member_text(decision, "task"),
        print_time(decision, time_text));
    if (cJSON_IsNumber(member_get(decision, "deadline_ms"))) {
        say(story, ", deadline %.0f ms", member_get(decision, "deadline_ms")->valuedouble);
    }
    if (member_text(decision, "session")[0]) {
        say(story, ", session %s", member_text(decision, "session"));
    }
}

static int cheaper_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (isnan(x->cost) || isnan(y->cost)) {
        return isnan(x->cost) - isnan(y->cost);
    }
    return (x->cost > y->cost) - (x->cost < y->cost);
}

/* Whether one before it has this route: another form of the same picture. */
static bool is_told(const struct replay_record *record, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(record->candidates[i].route, record->candidates[at].route) == 0) {
            return true;
        }
    }
    return false;
}

static void route_say(struct story *story, const struct candidate *candidate)
{
    const struct upload_form *form = &candidate->upload;

    say(story, " %s", candidate->route);
    if (form->width != 0) {
        say(story, " (%ux%u, quality %u)", form->width, form->height, form->quality);
    }
}

/* The candidates are sorted here. Of the forms of a picture the cheapest is told. */
static void routes_say(struct story *story, struct replay_record *record)
{
    size_t told = 0;

    qsort(record->candidates, record->candidate_count, sizeof(record->candidates[0]),
          cheaper_first);
    say(story, "possible%s", record->candidate_count > 0 ? ", as predicted:" : ": nothing");
    for (size_t i = 0; i < record->candidate_count; i++) {
        const struct candidate *at = &record->candidates[i];

        if (told == ROUTES || is_told(record, i)) {
            continue;
        }
        say(story, "%s", told++ > 0 ? ";" : "");
        route_say(story, at);
        if (!at->latency_known) {
            say(story, " in unknown time");
            continue;
        }
        say(story, " in %.*f ms (p95 %.*f)", digits_of(at->latency.mean_ms), at->latency.mean_ms,
            digits_of(at->latency.p95_ms), at->latency.p95_ms);
        cost_say(story, at->cost);
    }
    if (record->candidate_count > told) {
        say(story, "; and %zu more", record->candidate_count - told);
    }
}

/* What became of the promise that a local run answers in time whatever the edge does. */
static void reserve_say(struct story *story, const cJSON *decision)
{
    static const char *const words[][2] = {
        {"kept", "a place was kept here in case the edge is late"},
        {"raced", "local started at once, as no place was free later"},
        {"none", "no place was free here in case the edge is late"}};
    const char *reserve = member_text(decision, "reserve");

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(reserve, words[i][0]) == 0) {
            say(story, "; %s", words[i][1]);
        }
    }
}

/* Numbers that the reason has are not said again. */
static void sure_say(struct story *story, const cJSON *decision)
{
    const cJSON *sure = member_get(decision, "confidence");
    const char *reason = member_text(decision, "reason");
    char text[PRINT_NUMBER_BYTES];

    if (cJSON_IsNumber(sure) && cJSON_IsFalse(member_get(decision, "found"))) {
        if (!strstr(reason, "found nothing")) {
            say(story, "; local found nothing, believed wrong %.0f %% of such times",
                100 * (1 - sure->valuedouble));
        }
        return;
    }
    if (cJSON_IsNumber(sure) && !strstr(reason, print_number(sure, 2, text))) {
        say(story, "; local was %s sure", text);
    }
}

static void choice_say(struct story *story, const cJSON *decision,
                       const struct replay_record *record)
{
    if (!record->observed) { /* else the reason says both */
        say(story, "chosen: %s: ", record->route[0] ? record->route : "no route");
    }
    say(story, "%s", member_text(decision, "reason"));
    sure_say(story, decision);
    if (!record->observed) { /* else it is what would have been */
        reserve_say(story, decision);
    }
}

struct part {                      /* of the time that an answer took */
    const char *key, *less, *what; /* less: a part of it that is told by itself; NULL: none */
    bool here;
};

static double part_ms(const cJSON *outcome, const struct part *part)
{
    return member_number_or_0(outcome, part->key) -
           (part->less ? member_number_or_0(outcome, part->less) : 0);
}

/* One part, rounded as it is shown, so that what is shown adds up. */
static void part_say(struct story *story, const cJSON *outcome, const struct part *part, int digits,
                     double *left_ms)
{
    const double scale = pow(10, digits);
    const double ms = round(part_ms(outcome, part) * scale) / scale;
    const double shown = fmin(ms, *left_ms); /* rounded up, all parts may be more than the whole */

    if (shown > 0) {
        say(story, "%.*f %s + ", digits, shown, part->what);
        *left_ms -= shown;
    }
}

/* Whether a local answer that was there had to wait for what became of the edge. */
static bool waited_for_edge(const cJSON *decision)
{
    const cJSON *sure = member_get(decision, "confidence"),
                *enough = member_get(decision, "threshold");

    return member_number_or_0(member_get(decision, "outcome"), "bytes_up") > 0 &&
           !(cJSON_IsNumber(enough) && cJSON_IsNumber(sure) &&
             sure->valuedouble >= enough->valuedouble);
}

/* "12.0 ms = 2.0 waited here + 9.0 run here + 1.0 the rest" */
static void times_say(struct story *story, const cJSON *decision)
{
    static const struct part parts[] = {{"local_wait_ms", NULL, "waited here", true},
                                        {"local_run_ms", NULL, "run here", true},
                                        {"prepare_ms", NULL, "prepared", false},
                                        {"paced_ms", NULL, "held back by max_up_kbit", false},
                                        {"up_ms", "paced_ms", "sent", false},
                                        {"edge_wait_ms", NULL, "waited there", false},
                                        {"edge_run_ms", NULL, "run there", false}};
    const cJSON *outcome = member_get(decision, "outcome");
    const double latency = member_number_or_0(outcome, "latency_ms");
    const int digits = digits_of(latency);
    const double scale = pow(10, digits);
    const bool by_edge = strncmp(member_text(outcome, "route"), "edge:", 5) == 0;
    double sum = 0, left_ms = round(latency * scale) / scale;
    bool both;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        sum += part_ms(outcome, &parts[i]);
    }
    both = sum <= latency; /* else they ran at the same time: the ones of who answered */
    say(story, "%.*f ms", digits, latency);
    if (sum <= 0) {
        return; /* nothing of it was measured, as of an answer from the cache */
    }
    say(story, " = ");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].here != by_edge || (both && by_edge)) {
            part_say(story, outcome, &parts[i], digits, &left_ms);
        }
    }
    say(story, "%.*f %s", digits, fabs(left_ms) < 0.5 / scale ? 0 : left_ms,
        by_edge                     ? "back and the rest"
        : waited_for_edge(decision) ? "waiting for the edge and the rest"
                                    : "the rest");
}

/* What was computed and sent for an answer that nobody got. */
static void waste_say(struct story *story, const cJSON *wasted)
{
    const double local_ms = member_number_or_0(wasted, "local_ms"),
                 edge_ms = member_number_or_0(wasted, "edge_ms"),
                 bytes = member_number_or_0(wasted, "bytes");
    const char *join = "; for nothing:";

    if (local_ms > 0) {
        say(story, "%s %.*f ms here", join, digits_of(local_ms), local_ms);
        join = ",";
    }
    if (edge_ms > 0) {
        say(story, "%s %.*f ms there", join, digits_of(edge_ms), edge_ms);
        join = ",";
    }
    if (bytes > 0) {
        say(story, "%s %.0f bytes", join, bytes);
    }
}

static void outcome_say(struct story *story, const cJSON *decision,
                        const struct replay_record *record)
{
    const cJSON *outcome = member_get(decision, "outcome");
    const struct decide_weights *weights = &record->weights;
    static const char *const told[] = {
        [TOLD_NOTHING] = "", [TOLD_RIGHT] = " (it was right)", [TOLD_WRONG] = " (it was wrong)"};
    struct replay_way way;

    if (!cJSON_IsObject(outcome)) {
        say(story, "still running");
        return;
    }
    if (record->error_code != 0 && !record->by[0]) {
        const char *text = member_text(outcome, "error_text");

        say(story, "failed: %s", text[0] ? text : tandem_error_text(record->error_code));
        if (!isnan(record->latency_ms)) {
            say(story, ", after %.*f ms", digits_of(record->latency_ms), record->latency_ms);
        }
    } else {
        say(story, "answered by %s%s, %s, ", record->by[0] ? record->by : "nobody",
            told[record->told],
            record->deadline_ms <= 0 ? "no deadline"
            : record->met_deadline   ? "in time"
                                     : "late");
        times_say(story, decision);
    }
    if (record->has_weights && !isnan(record->latency_ms)) {
        replay_recorded(record, weights, &way);
        cost_say(story, way.cost);
    }
    if (cJSON_IsTrue(member_get(decision, "hedged"))) {
        say(story, "; both sides were started");
    }
    waste_say(story, member_get(decision, "wasted"));
    if (record->bytes_up > 0) {
        say(story, "; %.0f bytes sent", record->bytes_up);
    }
}

/* Whether it is the delivered answer, where that was compared. */
static void answer_say(struct story *story, const struct replay_record *record,
                       const struct replay_way *way)
{
    for (size_t i = 0; i < record->side_count; i++) {
        const struct replay_side *side = &record->sides[i];

        if (side->agreed < 0 || strcmp(side->route, way->by) != 0 ||
            strcmp(side->route, record->by) == 0) {
            continue;
        }
        if (side->agreed > 0) {
            say(story, ", the same answer");
        } else {
            say(story, ", another answer, believed wrong %.0f %%", 100 * way->error);
        }
    }
}

/* The others, as they came out beside it or were predicted. */
static void others_say(struct story *story, const struct replay_record *record)
{
    const char *taken = record->observed ? record->by : record->route;
    size_t told = 0, more = 0;

    for (size_t i = 0; i < record->candidate_count; i++) {
        const struct candidate *at = &record->candidates[i];
        struct replay_way way;

        if (strcmp(at->route, taken) == 0 || is_told(record, i) ||
            !replay_route(record, at->route, NAN, &record->weights, &way) ||
            isnan(way.latency_ms)) {
            continue;
        }
        if (told == OTHERS) {
            more++;
            continue;
        }
        say(story, "%s %s %.*f ms %s", told++ > 0 ? ";" : "otherwise:", at->route,
            digits_of(way.latency_ms), way.latency_ms,
            way.latency_measured ? "measured" : "predicted");
        if (record->has_weights || way.latency_ms == at->latency.mean_ms) { /* else of another */
            cost_say(story, record->has_weights ? way.cost : at->cost);
        }
        answer_say(story, record, &way);
    }
    if (more > 0) {
        say(story, "; and %zu more", more);
    }
}

int print_story(const cJSON *decision, const struct table_style *style, struct buf *out)
{
    const size_t width = style->width > 20 && style->width < WIDTH ? style->width : WIDTH;
    size_t lines = PRINT_STORY_LINES;
    struct replay_record record;
    struct story *story = calloc(1, sizeof(*story));
    int result = decision_read(decision, &record);
    const bool ended = result == 0;

    if (!story || result == TANDEM_EUNSUPPORTED) {
        free(story);
        return !story ? TANDEM_ENOMEM : print_decision(decision, style, out);
    }
    head_say(story, decision);
    result = story_put(story, width, 4, &lines, out);
    routes_say(story, &record);
    result = result == 0 ? story_put(story, width, 3, &lines, out) : result;
    choice_say(story, decision, &record);
    result = result == 0 ? story_put(story, width, 2, &lines, out) : result;
    outcome_say(story, decision, &record);
    result = result == 0 ? story_put(story, width, 1, &lines, out) : result;
    if (ended) {
        others_say(story, &record);
        result = result == 0 ? story_put(story, width, 0, &lines, out) : result;
    }
    free(story);
    return result;
}
