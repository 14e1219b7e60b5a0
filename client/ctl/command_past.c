#include "client/ctl/command_past.h"

#include "client/ctl/decision_pick.h"
#include "client/ctl/json_lines.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "client/ctl/when.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROWS_AT_ONCE 500 /* decisions in memory where all are shown */

struct past {
    const struct ctl_options *options;
    struct decision_filter filter;
    struct decision_sums sums;
    struct decision_pick pick;
    bool all; /* shown as they come */
    struct print_decisions rows;
    struct table_style style;
    struct buf text;
};

bool past_is_asked(const struct ctl_options *options)
{
    return options->since || options->until || options->slow || options->missed || options->task ||
           options->route || options->file;
}

/* ---- what is shown ---- */

static int row_show(struct past *past, const char *line, const cJSON *decision)
{
    if (past->options->json) {
        return buf_printf(&past->text, "%s\n", line);
    }
    print_decisions_add(&past->rows, decision);
    return past->rows.table.error;
}

static int rows_put(struct past *past)
{
    int result = 0;

    if (!past->options->json && past->rows.table.cell_count > 0) {
        result = table_print(&past->rows.table, &past->style, &past->text);
        past->rows.table.without_titles = true;
    }
    return screen_put(result, &past->text) == CTL_DONE ? 0 : TANDEM_EIO;
}

static int picked_show(struct past *past)
{
    int result = 0;

    decision_pick_sort(&past->pick);
    for (size_t i = 0; result == 0 && i < past->pick.count; i++) {
        result = row_show(past, past->pick.items[i].line, past->pick.items[i].decision);
        result = result == 0 && (i + 1) % ROWS_AT_ONCE == 0 ? rows_put(past) : result;
    }
    decision_pick_fini(&past->pick);
    return result;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static int sums_say(const struct decision_sums *sums, struct buf *line)
{
    int result;

    if (sums->ended + sums->beyond == 0) {
        return buf_append_text(line, "no decision is like that");
    }
    result = buf_printf(line,
                        "%" PRIu64 " request%s, %" PRIu64 " missed (%.1f %%), %" PRIu64
                        " slower than their predicted p95 (%.1f %% of %" PRIu64 ")",
                        sums->ended, sums->ended == 1 ? "" : "s", sums->missed,
                        percent(sums->missed, sums->ended), sums->slower,
                        percent(sums->slower, sums->predicted), sums->predicted);
    if (result == 0 && sums->beyond > 0) {
        result = buf_printf(line, "; beside them %" PRIu64 " cancelled or at fault", sums->beyond);
    }
    return result;
}

static int sums_show(struct past *past)
{
    struct buf line;
    int result;

    if (past->options->json) {
        return 0;
    }
    buf_init(&line, 0);
    result =
        past->rows.table.without_titles ? buf_append_u8(&past->text, '\n') : 0; /* below rows */
    result = result == 0 ? sums_say(&past->sums, &line) : result;
    result = result == 0 ? buf_append_u8(&line, 0) : result;
    result = result == 0
                 ? text_wrapped_append(&past->text, (const char *)line.data, past->style.width)
                 : result;
    buf_fini(&line);
    return screen_put(result, &past->text) == CTL_DONE ? 0 : TANDEM_EIO;
}

/* ---- where they come from ---- */

/* Takes `decision`. */
static int past_take(struct past *past, const char *line, cJSON *decision)
{
    int result = 0;

    if (!decision_filter_takes(&past->filter, decision)) {
        cJSON_Delete(decision);
        return 0;
    }
    decision_sums_add(&past->sums, decision);
    if (!past->all) {
        return decision_pick_add(&past->pick, line, decision);
    }
    result = row_show(past, line, decision);
    cJSON_Delete(decision);
    return result == 0 && past->sums.ended % ROWS_AT_ONCE == 0 ? rows_put(past) : result;
}

static int file_past(struct past *past)
{
    struct json_lines lines;
    const char *line;
    cJSON *object;
    int result = json_lines_open(&lines, past->options->file);

    if (result != 0) {
        return result;
    }
    while ((result = json_lines_next(&lines, &line, &object)) == 0) {
        result = past_take(past, line, object);
        if (result != 0) {
            break;
        }
    }
    json_lines_close(&lines);
    return result == 1 ? 0 : result;
}

static int daemon_past(struct past *past)
{
    struct status_socket status;
    char request[128];
    const char *line;
    cJSON *object;
    int result;

    /* All of them: which are the last ones that fit is not known there. */
    snprintf(request, sizeof(request), "decisions %" PRIu64 " since=%" PRId64, UINT64_MAX,
             past->filter.since_ns / NS_PER_MS);
    if (past->filter.until_ns != 0) {
        const size_t used = strlen(request);

        snprintf(request + used, sizeof(request) - used, " until=%" PRId64,
                 past->filter.until_ns / NS_PER_MS);
    }
    result = status_socket_open(&status, ctl_status_socket(past->options), request);
    if (result != 0) {
        return result;
    }
    while ((result = status_socket_next(&status, LIMIT_CTL_ANSWER_MS, &line, &object)) == 0) {
        result = past_take(past, line, object);
        if (result != 0) {
            break;
        }
    }
    status_socket_close(&status);
    return result == 1 ? 0 : result;
}

/* ---- what is asked for ---- */

static int moment_set(const char *option, const char *text, int64_t *ret_ns)
{
    int64_t unix_s;

    if (!text) {
        return 0;
    }
    if (when_parse(text, time(NULL), &unix_s) != 0 || unix_s < 0 ||
        unix_s >= INT64_MAX / NS_PER_S) {
        (void)ctl_fail(TANDEM_EINVAL, "%s '%s': it may be %s", option, text, WHEN_HELP);
        return TANDEM_EINVAL;
    }
    *ret_ns = unix_s * NS_PER_S;
    return 0;
}

static int past_ask(struct past *past)
{
    const struct ctl_options *options = past->options;
    const uint32_t wanted = options->slow_count ? options->slow_count : options->count;

    past->filter = (struct decision_filter){
        .task = options->task, .route = options->route, .missed = options->missed};
    if (moment_set("--since", options->since, &past->filter.since_ns) != 0 ||
        moment_set("--until", options->until, &past->filter.until_ns) != 0) {
        return TANDEM_EINVAL;
    }
    if (options->until && past->filter.until_ns <= past->filter.since_ns) {
        (void)ctl_fail(TANDEM_EINVAL, "--until %s is not after --since %s", options->until,
                       options->since ? options->since : "the beginning");
        return TANDEM_EINVAL;
    }
    past->all = wanted == 0 && !options->slow && (options->since || options->until);
    decision_pick_init(&past->pick, wanted ? wanted : PAST_DEFAULT, options->slow);
    return 0;
}

int command_past(const struct ctl_options *options)
{
    struct past past = {.options = options, .style = screen_style()};
    int result;

    if (past_ask(&past) != 0) {
        return CTL_WRONG_USE;
    }
    buf_init(&past.text, 0);
    print_decisions_init(&past.rows, &past.style);
    result = options->file ? file_past(&past) : daemon_past(&past);
    result = result == 0 ? picked_show(&past) : result;
    result = result == 0 ? rows_put(&past) : result;
    result = result == 0 ? sums_show(&past) : result;
    decision_pick_fini(&past.pick);
    print_decisions_fini(&past.rows);
    buf_fini(&past.text);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
