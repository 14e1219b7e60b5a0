/* command_run.c: one request by hand, through libtandem like any application's. */
#include "tandem.h"

#include "client/ctl/app_open.h"
#include "client/ctl/ctl.h"
#include "client/ctl/run_result.h"
#include "client/ctl/run_text.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INPUT_BYTES                                                                                \
    (LIMIT_PICTURE_BYTES +                                                                         \
     (64u << 10)) /* a little over, so that the library says what is too much */

/* The kind of the task of this name, by which INPUT is a file or a text. 0 or TANDEM_E*, said. */
static int run_kind_find(const struct tandem *tandem, const char *name, enum tandem_kind *ret_kind)
{
    for (size_t i = 0; i < tandem_task_count(tandem); i++) {
        const int kind = tandem_task_kind(tandem, i);

        if (strcmp(tandem_task_name(tandem, i), name) != 0) {
            continue;
        }
        if (kind == 0) {
            return ctl_error(TANDEM_EUNSUPPORTED, "the daemon does not say of what kind task %s is",
                             name);
        }
        *ret_kind = (enum tandem_kind)kind;
        return 0;
    }
    return ctl_error(TANDEM_ENOTASK, "there is no task '%s'; `tandemctl status` lists them", name);
}

static int descriptor_read(int fd, struct buf *ret_data)
{
    for (;;) {
        ssize_t got;
        int result = buf_reserve(ret_data, 32u << 10);

        if (result != 0) {
            return result;
        }
        got = read(fd, ret_data->data + ret_data->bytes, 32u << 10);
        if (got == 0) {
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            return TANDEM_EIO;
        }
        ret_data->bytes += got > 0 ? (size_t)got : 0;
    }
}

/* The whole of a file, or of standard input for "-". */
static int file_read(const char *path, struct buf *ret_data)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 ? TANDEM_EIO : descriptor_read(fd, ret_data);

    if (result != 0) {
        (void)ctl_fail(result, "%s: %s", standard ? "standard input" : path,
                       result == TANDEM_EIO ? strerror(errno) : tandem_error_text(result));
    }
    if (fd >= 0 && !standard) {
        (void)close(fd);
    }
    return result;
}

/* INPUT as bytes: of a file for pictures, of a text for text tasks. A file's last newline is not
 * part of its text. */
static int input_read(const char *input, bool picture, struct buf *ret_data)
{
    bool file = picture || input[0] == '@' || strcmp(input, "-") == 0;
    int result;

    if (!file) {
        return buf_append_text(ret_data, input);
    }
    result = file_read(input[0] == '@' ? input + 1 : input, ret_data);
    if (result == 0 && !picture && ret_data->bytes > 0 &&
        ret_data->data[ret_data->bytes - 1] == '\n') {
        ret_data->bytes--;
    }
    return result;
}

/* Waits for the answer; a text is shown piece by piece on a terminal. 0 or TANDEM_E*. */
static int run_call(const struct ctl_options *options, struct tandem *tandem, enum tandem_kind kind,
                    const struct buf *data, struct run_text *text,
                    struct tandem_answer **ret_answer)
{
    struct tandem_request request;

    tandem_request_init(&request, options->arguments[0]);
    if (kind == TANDEM_GENERATE) {
        request.text = data->data ? (const char *)data->data : "";
        request.text_bytes = data->bytes;
    } else {
        request.picture.data = data->data ? (const void *)data->data : "";
        request.picture.bytes = data->bytes;
    }
    request.deadline_ms = options->deadline_ms;
    request.session = options->session;
    request.route = options->route;
    /* Who names a deadline waits no longer; else a person would rather see it, marked. */
    request.deliver_late = options->late || options->deadline_ms == 0;
    if (kind == TANDEM_GENERATE && !options->json && screen_is_terminal()) {
        return run_text_call(text, tandem, &request, ret_answer);
    }
    return tandem_call(tandem, &request, ret_answer);
}

/* Answer on standard output, decision on standard error, so that the answer can be piped on. */
static int run_show(const struct ctl_options *options, int error, const char *error_text,
                    const struct tandem_answer *answer, bool is_shown)
{
    struct table_style style = screen_style();
    struct buf text;
    int result = 0;

    buf_init(&text, 0);
    if (options->json) {
        result = screen_put(run_result_json(error, error_text, answer, &text), &text);
    } else {
        if (error == 0 && !is_shown) {
            result =
                screen_put(run_result_answer(answer, &style, screen_is_terminal(), &text), &text);
        }
        (void)fflush(stdout);
        if (answer && run_result_decision(error, answer, screen_error_width(), &text) == 0) {
            (void)fwrite(text.data, 1, text.bytes, stderr);
        }
    }
    buf_fini(&text);
    return result;
}

/* 0 or TANDEM_E*, said; the answer or failure is shown. */
static int run_request(const struct ctl_options *options, struct tandem *tandem,
                       enum tandem_kind kind, const struct buf *data)
{
    struct run_text text = {.shown = false};
    struct tandem_answer *answer = NULL;
    int error = run_call(options, tandem, kind, data, &text, &answer);
    int code;

    if (error != 0) {
        (void)ctl_fail(error, "%s", tandem_last_error(tandem));
    }
    code = run_show(options, error, tandem_last_error(tandem),
                    error == 0 ? answer : tandem_last_failure(tandem), text.shown);
    tandem_answer_free(answer);
    return error != 0 ? error : code == CTL_DONE ? 0 : TANDEM_EIO;
}

int command_run(const struct ctl_options *options)
{
    struct tandem *tandem;
    enum tandem_kind kind;
    struct buf data;
    bool is_sent = false;
    int result = app_open(options, &tandem);

    buf_init(&data, INPUT_BYTES);
    if (result == 0) {
        result = run_kind_find(tandem, options->arguments[0], &kind);
    }
    if (result == 0) {
        result = input_read(options->arguments[1], kind != TANDEM_GENERATE, &data);
    }
    if (result == 0) {
        is_sent = true;
        result = run_request(options, tandem, kind, &data);
    }
    if (!is_sent && options->json) {
        (void)run_show(options, result, tandem_error_text(result), NULL, false);
    }
    buf_fini(&data);
    tandem_close(tandem);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
