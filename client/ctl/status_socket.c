#include "client/ctl/status_socket.h"

#include "client/ctl/ctl.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES (64u << 10)

static bool is_other_file(const char *path)
{
    struct stat file;

    return stat(path, &file) == 0 && !S_ISSOCK(file.st_mode);
}

static int connect_failed(const char *path, int number)
{
    int code = TANDEM_EIO;

    if (number == ENOENT || number == ENOTDIR) {
        code = TANDEM_EGONE;
        (void)ctl_fail(code,
                       "%s: no such socket: the daemon is not running, or its socket is elsewhere",
                       path);
    } else if (number == ECONNREFUSED && is_other_file(path)) {
        code = TANDEM_EINVAL;
        (void)ctl_fail(code, "%s: not a socket", path);
    } else if (number == ECONNREFUSED) {
        code = TANDEM_EGONE;
        (void)ctl_fail(code, "%s: the daemon is not running: nobody listens there", path);
    } else if (number == EACCES || number == EPERM) {
        code = TANDEM_EAUTH;
        (void)ctl_fail(code, "%s: this user may not ask (is it in group tandem?)", path);
    } else {
        (void)ctl_fail(code, "%s: %s", path, strerror(number));
    }
    return code;
}

static int request_send(struct status_socket *status, const char *request)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)request, strlen(request)},
                             {(void *)(uintptr_t) "\n", 1}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    size_t bytes = parts[0].iov_len + 1;
    ssize_t sent;

    do {
        sent = sendmsg(status->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent != (ssize_t)bytes) {
        /* So short a line goes in one piece or not at all. */
        return connect_failed(status->path, sent < 0 && errno != EPIPE ? errno : ECONNREFUSED);
    }
    return 0;
}

int status_socket_open(struct status_socket *status, const char *path, const char *request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int result;

    if (strlen(path) >= sizeof(address.sun_path)) {
        (void)ctl_fail(TANDEM_EINVAL, "%s: too long for a socket", path);
        return TANDEM_EINVAL;
    }
    strcpy(address.sun_path, path);
    *status = (struct status_socket){.path = path};
    status->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (status->fd < 0) {
        return connect_failed(path, errno);
    }
    buf_init(&status->inbox, LIMIT_CTL_LINE_BYTES + READ_BYTES);
    if (connect(status->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        result = connect_failed(path, errno);
    } else {
        result = request_send(status, request);
    }
    if (result != 0) {
        status_socket_close(status);
    }
    return result;
}

void status_socket_close(struct status_socket *status)
{
    (void)close(status->fd);
    buf_fini(&status->inbox);
}

/* An application socket speaks in frames, or hangs up on a line. */
static bool inbox_is_frames(const struct status_socket *status)
{
    return status->inbox.bytes >= 4 && le32_load(status->inbox.data) == FRAME_MAGIC;
}

/* Appends what comes. 0; 1 at the end; or an error, said. */
static int status_socket_read(struct status_socket *status, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = status->fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, timeout_ms);
    ssize_t got;
    int result;

    if (ready == 0) {
        (void)ctl_fail(TANDEM_ETIMEDOUT, "%s: the daemon does not answer", status->path);
        return TANDEM_ETIMEDOUT;
    }
    result = buf_reserve(&status->inbox, READ_BYTES);
    if (result != 0) {
        (void)ctl_fail(result, "%s: %s", status->path, tandem_error_text(result));
        return result;
    }
    got = ready > 0 ? read(status->fd, status->inbox.data + status->inbox.bytes, READ_BYTES) : -1;
    if (got < 0) {
        if (errno == EINTR) {
            return 0;
        }
        if (errno == ECONNRESET) {
            return 1;
        }
        (void)ctl_fail(TANDEM_EIO, "%s: %s", status->path, strerror(errno));
        return TANDEM_EIO;
    }
    status->inbox.bytes += (size_t)got;
    return got == 0 ? 1 : 0;
}

static int object_parse(const struct status_socket *status, const char *line, cJSON **ret_object)
{
    cJSON *object = cJSON_Parse(line);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(object, "error");

    if (!cJSON_IsObject(object)) {
        cJSON_Delete(object);
        (void)ctl_fail(TANDEM_EPROTO, "%s: the daemon's answer is not JSON", status->path);
        return TANDEM_EPROTO;
    }
    if (cJSON_IsString(error) && status->quiet) {
        cJSON_Delete(object);
        return TANDEM_ENOTFOUND;
    }
    if (cJSON_IsString(error)) {
        (void)ctl_fail(TANDEM_EINVAL, "%s", error->valuestring);
        cJSON_Delete(object);
        return TANDEM_EINVAL;
    }
    *ret_object = object;
    return 0;
}

int status_socket_is_application(const char *path)
{
    (void)ctl_fail(TANDEM_EUNSUPPORTED,
                   "%s: this is the application socket; give the status socket", path);
    return TANDEM_EUNSUPPORTED;
}

static int application_socket(const struct status_socket *status)
{
    return status->quiet ? TANDEM_EUNSUPPORTED : status_socket_is_application(status->path);
}

int status_socket_next(struct status_socket *status, int timeout_ms, const char **ret_line,
                       cJSON **ret_object)
{
    char *end;
    size_t bytes;
    int result;

    buf_consume(&status->inbox, status->used);
    status->used = 0;
    for (;;) {
        if (inbox_is_frames(status)) {
            return application_socket(status);
        }
        end = status->inbox.bytes ? memchr(status->inbox.data, '\n', status->inbox.bytes) : NULL;
        bytes = end ? (size_t)(end - (char *)status->inbox.data) : status->inbox.bytes;
        if (bytes > LIMIT_CTL_LINE_BYTES) {
            (void)ctl_fail(TANDEM_EPROTO, "%s: the answer is too long", status->path);
            return TANDEM_EPROTO;
        }
        if (end) {
            break;
        }
        result = status_socket_read(status, timeout_ms);
        if (result == 1 && status->inbox.bytes > 0) {
            (void)ctl_fail(TANDEM_EPROTO, "%s: the answer was cut short", status->path);
            return TANDEM_EPROTO;
        }
        if (result != 0) {
            return result;
        }
    }
    *end = '\0';
    status->used = (size_t)(end + 1 - (char *)status->inbox.data);
    *ret_line = (const char *)status->inbox.data;
    return object_parse(status, *ret_line, ret_object);
}

/* 0, or TANDEM_EINVAL, said, when another daemon answers than the one that was asked for. */
static int daemon_check(const char *path, const cJSON *object, const char *wanted)
{
    const cJSON *daemon = cJSON_GetObjectItemCaseSensitive(object, "daemon");

    const char *name = cJSON_IsString(daemon) ? daemon->valuestring : "something else";

    if (wanted ? strcmp(name, wanted) == 0
               : strcmp(name, "tandem-client") == 0 || strcmp(name, "tandem-server") == 0) {
        return 0;
    }
    (void)ctl_fail(TANDEM_EINVAL, "%s: %s answers here, not %s", path, name,
                   wanted ? wanted : "one of Tandem's daemons");
    return TANDEM_EINVAL;
}

/* The only object, and its line when `ret_line` is not NULL (both owned). */
static int status_socket_only(struct status_socket *status, char **ret_line, cJSON **ret_object)
{
    const char *line;
    int result = status_socket_next(status, LIMIT_CTL_ANSWER_MS, &line, ret_object);

    if (result == 1) {
        (void)ctl_fail(TANDEM_EPROTO, "%s: the daemon closed without an answer", status->path);
        return TANDEM_EPROTO;
    }
    if (result == 0 && ret_line) {
        *ret_line = strdup(line);
        if (!*ret_line) {
            cJSON_Delete(*ret_object);
            return TANDEM_ENOMEM;
        }
    }
    return result;
}

static int status_socket_once(const char *path, const char *request, bool quiet, char **ret_line,
                              cJSON **ret_object)
{
    struct status_socket status;
    cJSON *object = NULL;
    int result = status_socket_open(&status, path, request);

    if (result == 0) {
        status.quiet = quiet;
        result = status_socket_only(&status, ret_line, &object);
        status_socket_close(&status);
    }
    if (result == 0) {
        *ret_object = object;
    }
    return result;
}

int status_socket_ask(const char *path, const char *request, char **ret_line, cJSON **ret_object)
{
    return status_socket_once(path, request, false, ret_line, ret_object);
}

int status_socket_try(const char *path, const char *request, char **ret_line, cJSON **ret_object)
{
    return status_socket_once(path, request, true, ret_line, ret_object);
}

int status_socket_status(const char *path, const char *daemon, char **ret_line, cJSON **ret_object)
{
    char *line = NULL;
    cJSON *object = NULL;
    int result = status_socket_ask(path, "status", &line, &object);

    if (result == 0) {
        result = daemon_check(path, object, daemon);
    }
    if (result != 0 || !ret_line) {
        free(line);
    }
    if (result != 0) {
        cJSON_Delete(object);
        return result;
    }
    if (ret_line) {
        *ret_line = line;
    }
    *ret_object = object;
    return 0;
}
