/* command_run.c: one request by hand, through libtandem like any application's. The status socket
 * says what kind the task is and where applications connect. */
#include "tandem.h"

#include "client/ctl/ctl.h"
#include "client/ctl/run_result.h"
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

/* What the daemon's status says about the task. */
struct run_task {
    cJSON *status;          /* owned */
    const char *app_socket; /* in `status`, as the next */
    const char *kind;       /* "classify", "detect", "generate" */
};

static const char *task_kind(const cJSON *status, const char *name)
{
    const cJSON *task;

    cJSON_ArrayForEach(task, cJSON_GetObjectItemCaseSensitive(status, "tasks"))
    {
        const cJSON *task_name = cJSON_GetObjectItemCaseSensitive(task, "name");
        const cJSON *kind = cJSON_GetObjectItemCaseSensitive(task, "kind");

        if (cJSON_IsString(task_name) && cJSON_IsString(kind) &&
            strcmp(task_name->valuestring, name) == 0) {
            return kind->valuestring;
        }
    }
    return NULL;
}

/* 0 or TANDEM_E*, said on standard error. */
static int run_task_find(const struct ctl_options *options, struct run_task *ret_task)
{
    struct run_task task = {.status = NULL};
    const cJSON *app_socket;
    int result = status_socket_ask(ctl_socket(options), "status", NULL, &task.status);

    if (result != 0) {
        return result;
    }
    app_socket = cJSON_GetObjectItemCaseSensitive(task.status, "app_socket");
    task.kind = task_kind(task.status, options->arguments[0]);
    if (!cJSON_IsString(app_socket)) {
        result = TANDEM_EPROTO;
        (void)ctl_fail(result, "%s: this is not a tandem-client: it has no socket for applications",
                       ctl_socket(options));
    } else if (!task.kind) {
        result = TANDEM_ENOTASK;
        (void)ctl_fail(result, "there is no task '%s'; `tandemctl status` lists them",
                       options->arguments[0]);
    }
    if (result != 0) {
        cJSON_Delete(task.status);
        return result;
    }
    task.app_socket = app_socket->valuestring;
    *ret_task = task;
    return 0;
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

/* Sends it; 0 or TANDEM_E*. `ret_tandem` (owned) is set whatever happens. */
static int run_call(const struct ctl_options *options, const struct run_task *task,
                    const struct buf *data, struct tandem **ret_tandem,
                    struct tandem_answer **ret_answer)
{
    struct tandem_request request;
    int result = tandem_open(task->app_socket, ret_tandem);

    if (result != 0) {
        return result;
    }
    tandem_request_init(&request, options->arguments[0]);
    if (strcmp(task->kind, "generate") == 0) {
        request.text = data->data ? (const char *)data->data : "";
        request.text_bytes = data->bytes;
    } else {
        request.picture.data = data->data ? (const void *)data->data : "";
        request.picture.bytes = data->bytes;
    }
    request.deadline_ms = options->deadline_ms;
    request.session = options->session;
    request.route = options->route;
    request.deliver_late = 1; /* a person would rather see it, marked */
    return tandem_call(*ret_tandem, &request, ret_answer);
}

/* Answer on standard output, decision on standard error, so that the answer can be piped on. */
static int run_show(const struct ctl_options *options, int error,
                    const struct tandem_answer *answer)
{
    struct table_style style = screen_style();
    struct buf text;
    int result = 0;

    buf_init(&text, 0);
    if (options->json) {
        result = screen_put(run_result_json(error, answer, &text), &text);
    } else {
        if (error == 0) {
            result =
                screen_put(run_result_answer(answer, &style, screen_is_terminal(), &text), &text);
        }
        (void)fflush(stdout);
        if (answer && run_result_decision(answer, &text) == 0) {
            (void)fwrite(text.data, 1, text.bytes, stderr);
        }
    }
    buf_fini(&text);
    return result;
}

/* 0 or TANDEM_E*, said; the answer or failure is shown. */
static int run_request(const struct ctl_options *options, const struct run_task *task,
                       const struct buf *data)
{
    struct tandem *tandem = NULL;
    struct tandem_answer *answer = NULL;
    int error = run_call(options, task, data, &tandem, &answer);
    int code;

    if (error != 0) {
        (void)ctl_fail(error, "%s", tandem ? tandem_last_error(tandem) : tandem_strerror(error));
    }
    code = run_show(options, error,
                    error == 0 ? answer
                    : tandem   ? tandem_last_failure(tandem)
                               : NULL);
    tandem_answer_free(answer);
    tandem_close(tandem);
    return error != 0 ? error : code == CTL_DONE ? 0 : TANDEM_EIO;
}

int command_run(const struct ctl_options *options)
{
    struct run_task task;
    struct buf data;
    int result = run_task_find(options, &task);

    if (result == 0) {
        buf_init(&data, INPUT_BYTES);
        result = input_read(options->arguments[1], strcmp(task.kind, "generate") != 0, &data);
        if (result == 0) {
            result = run_request(options, &task, &data);
        } else if (options->json) {
            (void)run_show(options, result, NULL);
        }
        buf_fini(&data);
        cJSON_Delete(task.status);
    } else if (options->json) {
        (void)run_show(options, result, NULL);
    }
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
