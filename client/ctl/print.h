/* print.h: the daemons' JSON for people. Pure: objects in, text appended to a buffer; what is
 * missing or null is shown as "-", what is unknown is left out or, in print_object, shown as it is.
 * 0, TANDEM_ENOMEM or TANDEM_ETOOBIG. */
#ifndef TANDEM_CTL_PRINT_H
#define TANDEM_CTL_PRINT_H

#include "client/ctl/table.h"

#include <cjson/cJSON.h>

/* Any object: numbers and texts as lines "key  value" (nested ones as "outer.inner"), lists of
 * objects as tables, a client's tasks as print_tasks has them. */
int print_object(const cJSON *object, const struct table_style *style, struct buf *out);
/* A list of objects as a table with a column for each key, or, where that is wider than the
 * reader's lines, as a block for each object. */
int print_list(const cJSON *list, const struct table_style *style, struct buf *out);

/* The tasks of a client's status: the local model's file and its mean run, how many of its answers
 * agreed with an edge's and were right as the application said, and of each edge whether the task
 * may go there, or why not. */
int print_tasks(const cJSON *tasks, const struct table_style *style, struct buf *out);
/* Of the same: how what was predicted came out; nothing where nothing was looked at. */
int print_predictions(const cJSON *tasks, const struct table_style *style, struct buf *out);

/* Decisions one by one, in columns that stay where they are: all there is for a reader without a
 * width or with a wide one, else what fits into 80 characters, the reason wrapped. */
struct print_decisions {
    struct table table;
    bool wide;
};
void print_decisions_init(struct print_decisions *decisions, const struct table_style *style);
void print_decisions_fini(struct print_decisions *decisions);
void print_decisions_add(struct print_decisions *decisions, const cJSON *decision);
/* The edges of a client's status: how each link is, and why it is not used. */
int print_edges(const cJSON *status, const struct table_style *style, struct buf *out);
/* The story of one decision in at most ten lines of at most 80 characters: what was possible, why
 * this one, what came of it, and what the others would have cost. */
#define PRINT_STORY_LINES 10
int print_story(const cJSON *decision, const struct table_style *style, struct buf *out);
/* Everything about one decision. */
int print_decision(const cJSON *decision, const struct table_style *style, struct buf *out);

/* When the request came, in local time with milliseconds; "-". `ret_text` is returned. */
const char *print_time(const cJSON *decision, char ret_text[64]);

/* "12.3", "-" when `value` is not a number. `ret_text` is returned. */
#define PRINT_NUMBER_BYTES 64
const char *print_number(const cJSON *value, int decimals, char ret_text[PRINT_NUMBER_BYTES]);

#endif
