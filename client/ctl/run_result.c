#include "client/ctl/run_result.h"

#include "common/base/error.h"
#include "common/base/json.h"

#include <stdio.h>

#define RUN_SCHEMA 1

static const char *finish_word(enum tandem_finish finish)
{
    switch (finish) {
    case TANDEM_FINISH_END:
        return "end";
    case TANDEM_FINISH_LENGTH:
        return "length";
    case TANDEM_FINISH_DEADLINE:
        return "deadline";
    case TANDEM_FINISH_NONE:
        break;
    }
    return NULL;
}

static void json_labels(struct json_writer *json, const struct tandem_answer *answer)
{
    json_text(json, "label", tandem_answer_label(answer, 0));
    json_double(json, "confidence", tandem_answer_confidence(answer));
    json_object_open(json, "scores");
    for (size_t i = 0; i < tandem_answer_label_count(answer); i++) {
        json_double(json, tandem_answer_label(answer, i), tandem_answer_score(answer, i));
    }
    json_object_close(json);
}

static void json_boxes(struct json_writer *json, const struct tandem_answer *answer)
{
    json_array_open(json, "boxes");
    for (size_t i = 0; i < tandem_answer_box_count(answer); i++) {
        const struct tandem_box *box = tandem_answer_box(answer, i);

        json_object_open(json, NULL);
        json_text(json, "label", box->label);
        json_double(json, "score", box->score);
        json_double(json, "x", (double)box->x);
        json_double(json, "y", (double)box->y);
        json_double(json, "w", (double)box->w);
        json_double(json, "h", (double)box->h);
        json_object_close(json);
    }
    json_array_close(json);
}

static void json_answer(struct json_writer *json, const struct tandem_answer *answer)
{
    size_t bytes;
    const char *text = tandem_answer_text(answer, &bytes);

    json_object_open(json, "answer");
    switch (tandem_answer_kind(answer)) {
    case TANDEM_CLASSIFY:
        json_labels(json, answer);
        break;
    case TANDEM_DETECT:
        json_boxes(json, answer);
        break;
    case TANDEM_GENERATE:
        json_text_n(json, "text", text, bytes);
        json_uint(json, "tokens", tandem_answer_tokens(answer));
        json_text(json, "finish", finish_word(tandem_answer_finish(answer)));
        break;
    }
    json_object_close(json);
}

/* NULL for a text that says nothing. */
static const char *known(const char *text)
{
    return text[0] ? text : NULL;
}

int run_result_json(int error, const char *error_text, const struct tandem_answer *answer,
                    struct buf *out)
{
    struct json_writer json;
    int result;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_uint(&json, "schema", RUN_SCHEMA);
    json_text(&json, "id", answer ? known(tandem_answer_id(answer)) : NULL);
    json_text(&json, "route", answer ? known(tandem_answer_route(answer)) : NULL);
    json_text(&json, "outcome_route", answer ? known(tandem_answer_outcome_route(answer)) : NULL);
    json_text(&json, "reason", answer ? known(tandem_answer_reason(answer)) : NULL);
    if (answer) {
        json_double(&json, "latency_ms", tandem_answer_latency_ms(answer));
    } else {
        json_null(&json, "latency_ms");
    }
    json_bool(&json, "met_deadline", error == 0 && tandem_answer_met_deadline(answer));
    json_bool(&json, "partial", error == 0 && tandem_answer_partial(answer));
    json_int(&json, "error_code", error);
    json_text(&json, "error_text", error != 0 ? error_text : NULL);
    if (error == 0) {
        json_answer(&json, answer);
    } else {
        json_null(&json, "answer");
    }
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

static int labels_print(const struct tandem_answer *answer, const struct table_style *style,
                        struct buf *out)
{
    static const struct table_column columns[] = {{.title = "LABEL", .min_width = 12},
                                                  {.title = "SCORE", .right = true}};
    struct table table;
    int result;

    table_init(&table, columns, 2);
    table.without_titles = true;
    for (size_t i = 0; i < tandem_answer_label_count(answer) && i < 5; i++) {
        table_cell(&table, "%s", tandem_answer_label(answer, i));
        table_cell(&table, "%.3f", tandem_answer_score(answer, i));
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

static int boxes_print(const struct tandem_answer *answer, const struct table_style *style,
                       struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "LABEL", .min_width = 12}, {.title = "SCORE", .right = true},
        {.title = "X", .right = true},       {.title = "Y", .right = true},
        {.title = "W", .right = true},       {.title = "H", .right = true}};
    struct table table;
    int result;

    table_init(&table, columns, 6);
    for (size_t i = 0; i < tandem_answer_box_count(answer); i++) {
        const struct tandem_box *box = tandem_answer_box(answer, i);

        table_cell(&table, "%s", box->label);
        table_cell(&table, "%.3f", box->score);
        table_cell(&table, "%.1f", (double)box->x);
        table_cell(&table, "%.1f", (double)box->y);
        table_cell(&table, "%.1f", (double)box->w);
        table_cell(&table, "%.1f", (double)box->h);
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

int run_result_answer(const struct tandem_answer *answer, const struct table_style *style,
                      bool clean, struct buf *out)
{
    size_t bytes;
    const char *text = tandem_answer_text(answer, &bytes);
    int result;

    switch (tandem_answer_kind(answer)) {
    case TANDEM_CLASSIFY:
        return labels_print(answer, style, out);
    case TANDEM_DETECT:
        return boxes_print(answer, style, out);
    case TANDEM_GENERATE:
        result = clean ? text_clean_append(out, text, true) : buf_append(out, text, bytes);
        return result == 0 ? buf_append_u8(out, '\n') : result;
    }
    return TANDEM_EUNSUPPORTED;
}

static int decision_end(int error, const struct tandem_answer *answer, struct buf *out)
{
    if (error != 0) {
        return buf_printf(out, "failed after %.2f ms%s", tandem_answer_latency_ms(answer),
                          error == TANDEM_ELATE ? ", late" : "");
    }
    return buf_printf(out, "answered by %s in %.2f ms%s%s", tandem_answer_outcome_route(answer),
                      tandem_answer_latency_ms(answer),
                      tandem_answer_met_deadline(answer) ? "" : ", late",
                      tandem_answer_partial(answer) ? ", partial" : "");
}

static int decision_line(int error, const struct tandem_answer *answer, struct buf *out)
{
    const char *route = tandem_answer_route(answer);
    int result =
        buf_printf(out, "decision %s: %s%s", tandem_answer_id(answer), route, route[0] ? ", " : "");

    if (result == 0) {
        result = decision_end(error, answer, out);
    }
    if (result == 0) {
        result = buf_append_text(out, tandem_answer_hedged(answer) ? ", both sides started" : "");
    }
    if (result == 0 && tandem_answer_reason(answer)[0]) {
        result = buf_append_text(out, " (");
        result = result == 0 ? text_clean_append(out, tandem_answer_reason(answer), false) : result;
        result = result == 0 ? buf_append_text(out, ")") : result;
    }
    return result == 0 ? buf_append_u8(out, 0) : result;
}

int run_result_decision(int error, const struct tandem_answer *answer, size_t width,
                        struct buf *out)
{
    struct buf line;
    int result;

    buf_init(&line, 0);
    result = decision_line(error, answer, &line);
    result = result == 0 ? text_wrapped_append(out, (const char *)line.data, width) : result;
    buf_fini(&line);
    return result;
}
