/* command_decisions.c: the last decisions, those to come, and those of a time. */
#include "client/ctl/command_past.h"
#include "client/ctl/ctl.h"
#include "client/ctl/decision_pick.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct decisions {
    const struct ctl_options *options;
    struct decision_filter filter; /* of those to come */
    struct print_decisions rows;
    struct table_style style;
    struct buf text;
    struct buf known; /* ids (8 bytes each) that were printed with their outcome, so that --follow
                         does not say them again */
};

static uint64_t decision_id(const cJSON *decision)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(decision, "id");

    return cJSON_IsString(id) ? strtoull(id->valuestring, NULL, 10) : 0;
}

static bool decision_is_known(const struct decisions *decisions, uint64_t id)
{
    for (size_t at = 0; at < decisions->known.bytes; at += 8) {
        if (le64_load(decisions->known.data + at) == id) {
            return true;
        }
    }
    return false;
}

static int decisions_take(struct decisions *decisions, const char *line, const cJSON *object)
{
    if (decisions->options->json) {
        return buf_printf(&decisions->text, "%s\n", line);
    }
    print_decisions_add(&decisions->rows, object);
    return decisions->rows.table.error;
}

/* Those of the ring, in one table. */
static int decisions_past(struct decisions *decisions)
{
    struct status_socket status;
    char request[32];
    const char *line;
    cJSON *object;
    uint32_t count = decisions->options->count ? decisions->options->count : PAST_DEFAULT;
    int result;

    snprintf(request, sizeof(request), "decisions %u", count);
    result = status_socket_open(&status, ctl_status_socket(decisions->options), request);
    if (result != 0) {
        return result;
    }
    while ((result = status_socket_next(&status, LIMIT_CTL_ANSWER_MS, &line, &object)) == 0) {
        bool ended = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(object, "outcome"));

        result = decision_filter_takes(&decisions->filter, object)
                     ? decisions_take(decisions, line, object)
                     : 0;
        if (result == 0 && ended && decisions->options->follow) {
            result = buf_append_le64(&decisions->known, decision_id(object));
        }
        cJSON_Delete(object);
        if (result != 0) {
            break;
        }
    }
    status_socket_close(&status);
    return result == 1 ? 0 : result;
}

/* Prints what has been taken. */
static int decisions_put(struct decisions *decisions)
{
    int result = 0;

    if (!decisions->options->json) {
        result = table_print(&decisions->rows.table, &decisions->style, &decisions->text);
        decisions->rows.table.without_titles = true; /* once is enough */
    }
    result = screen_put(result, &decisions->text) == CTL_DONE ? 0 : TANDEM_EIO;
    return result == 0 && fflush(stdout) != 0 ? TANDEM_EIO : result;
}

/* Goes on until the daemon or the reader goes. */
static int decisions_follow(struct decisions *decisions, struct status_socket *follow)
{
    const char *line;
    cJSON *object;
    int result;

    while ((result = status_socket_next(follow, -1, &line, &object)) == 0) {
        /* Those that came between the two connections are in both. */
        bool news = !decision_is_known(decisions, decision_id(object)) &&
                    decision_filter_takes(&decisions->filter, object);

        result = news ? decisions_take(decisions, line, object) : 0;
        cJSON_Delete(object);
        if (result == 0 && news) {
            result = decisions_put(decisions);
        }
        if (result != 0) {
            return result;
        }
    }
    if (result == 1) {
        (void)ctl_fail(TANDEM_EGONE, "the daemon went away");
        return TANDEM_EGONE;
    }
    return result;
}

int command_decisions(const struct ctl_options *options)
{
    struct decisions decisions = {
        .options = options,
        .filter = {.task = options->task, .route = options->route, .missed = options->missed},
        .style = screen_style()};
    struct status_socket follow;
    int result = 0;

    if (past_is_asked(options) && !options->follow) {
        return command_past(options);
    }

    if (options->follow) {
        /* Listening begins before the past is read, so that nothing falls in between. */
        result = status_socket_open(&follow, ctl_status_socket(options), "follow");
        if (result != 0) {
            return result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
        }
    }
    buf_init(&decisions.text, 0);
    buf_init(&decisions.known, 0);
    print_decisions_init(&decisions.rows, &decisions.style);
    result = decisions_past(&decisions);
    if (result == 0) {
        result = decisions_put(&decisions);
    }
    if (result == 0 && options->follow) {
        result = decisions_follow(&decisions, &follow);
    }
    if (options->follow) {
        status_socket_close(&follow);
    }
    print_decisions_fini(&decisions.rows);
    buf_fini(&decisions.text);
    buf_fini(&decisions.known);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
