/* command_replay.c: recorded decisions through another policy or other weights. */
#include "client/ctl/ctl.h"
#include "client/ctl/decision_read.h"
#include "client/ctl/json_lines.h"
#include "client/ctl/replay_report.h"
#include "client/ctl/screen.h"
#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The index of `word` in a list with NULL at its end; -1. */
static int name_find(const char *const *names, const char *word)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

/* NULL is not given. */
static int number_set(const char *option, const char *text, double max, double *ret_number)
{
    char *end;
    double number;

    if (!text) {
        return 0;
    }
    number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= 0 && number <= max)) {
        (void)ctl_fail(TANDEM_EINVAL, "%s needs a number from 0 to %g, not '%s'", option, max,
                       text);
        return TANDEM_EINVAL;
    }
    *ret_number = number;
    return 0;
}

static int options_set(const struct ctl_options *options, struct replay_options *replay)
{
    const int policy = name_find(replay_policy_names, options->policy ? options->policy : "tandem");

    replay_options_init(replay);
    if (policy < 0) {
        (void)ctl_fail(TANDEM_EINVAL,
                       "--policy is tandem, local, edge, threshold, availability or latency, "
                       "not '%s'",
                       options->policy);
        return TANDEM_EINVAL;
    }
    replay->policy = (enum replay_policy)policy;
    replay->prefer = options->prefer ? name_find(prefer_names, options->prefer) : -1;
    if (options->prefer && replay->prefer < 0) {
        (void)ctl_fail(TANDEM_EINVAL,
                       "--prefer is balanced, accuracy, bandwidth or battery, not '%s'",
                       options->prefer);
        return TANDEM_EINVAL;
    }
    if (number_set("--one-miss-ms", options->one_miss_ms, 1e9, &replay->weights.one_miss_ms) != 0 ||
        number_set("--one-megabyte-ms", options->one_megabyte_ms, 1e9,
                   &replay->weights.one_megabyte_ms) != 0 ||
        number_set("--one-error-ms", options->one_error_ms, 1e9, &replay->weights.one_error_ms) !=
            0 ||
        number_set("--one-joule-ms", options->one_joule_ms, 1e9, &replay->weights.one_joule_ms) !=
            0) {
        return TANDEM_EINVAL;
    }
    return number_set("--threshold", options->threshold, 1, &replay->threshold);
}

/* One object of the file. 0 or TANDEM_E*. */
static int object_add(struct replay_report *report, const cJSON *object)
{
    struct replay_record record;
    const int result = decision_read(object, &record);

    if (result == TANDEM_EUNSUPPORTED) {
        return 0; /* it speaks of a decision */
    }
    if (result == TANDEM_ENOTFOUND) {
        report->unfinished++;
        return 0;
    }
    return replay_report_add(report, &record);
}

static int file_replay(const char *path, struct replay_report *report)
{
    struct json_lines lines;
    const char *line;
    cJSON *object;
    int result = json_lines_open(&lines, path);

    if (result != 0) {
        return result;
    }
    while ((result = json_lines_next(&lines, &line, &object)) == 0) {
        result = object_add(report, object);
        cJSON_Delete(object);
        if (result != 0) {
            break;
        }
    }
    report->bad_lines = lines.bad;
    if (lines.bad > 1) {
        (void)fprintf(stderr, "tandemctl: %s: %" PRIu64 " lines in all are no JSON objects\n",
                      lines.name, lines.bad);
    }
    if (result == TANDEM_ETOOBIG) {
        (void)fprintf(stderr, "tandemctl: %s: the first %" PRIu64 " requests count\n", lines.name,
                      report->requests);
        result = 1;
    }
    if (result == 1 && report->requests == 0) {
        result = TANDEM_ENOTFOUND;
        (void)ctl_fail(result, "%s: there is no decision in it that can be replayed", lines.name);
    }
    json_lines_close(&lines);
    return result == 1 ? 0 : result;
}

int command_replay(const struct ctl_options *options)
{
    struct replay_report *report = calloc(1, sizeof(*report));
    struct table_style style = screen_style();
    struct buf text;
    int code;

    if (!report) {
        return ctl_fail(TANDEM_ENOMEM, "%s", tandem_error_text(TANDEM_ENOMEM));
    }
    if (options_set(options, &report->options) != 0) {
        free(report);
        return CTL_WRONG_USE;
    }
    buf_init(&text, 0);
    code = file_replay(options->arguments[0], report) == 0 ? CTL_DONE : CTL_FAILED;
    if (code == CTL_DONE) {
        code = screen_put(options->json ? replay_report_json(report, &text)
                                        : replay_report_text(report, &style, &text),
                          &text);
    }
    buf_fini(&text);
    replay_report_fini(report);
    free(report);
    return code;
}
