#include "client/lib/handle.h"

#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_SOCKET "/run/tandem-client/app.sock"

int handle_fail(struct tandem *tandem, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(tandem->error, sizeof(tandem->error), format, arguments);
    va_end(arguments);
    tandem_answer_free(tandem->failure);
    tandem->failure = NULL;
    return code;
}

const char *tandem_strerror(int code)
{
    return tandem_error_text(code);
}

const char *tandem_version(void)
{
    return TANDEM_VERSION;
}

int tandem_open(const char *socket_path, struct tandem **ret_tandem)
{
    struct tandem *tandem;

    *ret_tandem = NULL;
    if (!socket_path) {
        socket_path = getenv("TANDEM_SOCKET");
    }
    if (!socket_path || socket_path[0] == '\0') {
        socket_path = DEFAULT_SOCKET;
    }
    if (strlen(socket_path) >= sizeof(tandem->address.sun_path)) {
        return TANDEM_EINVAL;
    }
    tandem = calloc(1, sizeof(*tandem));
    if (!tandem) {
        return TANDEM_ENOMEM;
    }
    tandem->address.sun_family = AF_UNIX;
    strcpy(tandem->address.sun_path, socket_path);
    tandem->fd = -1;
    outbox_init(&tandem->outbox);
    buf_init(&tandem->inbox, 0);
    *ret_tandem = tandem;
    return connection_ready(tandem);
}

void tandem_close(struct tandem *tandem)
{
    if (!tandem || tandem->callback_depth > 0) {
        return;
    }
    tandem->closing = true;
    connection_drop(tandem, TANDEM_ECANCELED, "the handle was closed");
    (void)pending_deliver(tandem);
    outbox_fini(&tandem->outbox);
    buf_fini(&tandem->inbox);
    local_hello_fini(&tandem->hello);
    tandem_answer_free(tandem->failure);
    free(tandem);
}

const char *tandem_last_error(const struct tandem *tandem)
{
    return tandem->error;
}

const struct tandem_answer *tandem_last_failure(const struct tandem *tandem)
{
    return tandem->failure;
}

size_t tandem_task_count(const struct tandem *tandem)
{
    return tandem->hello.task_count;
}

const char *tandem_task_name(const struct tandem *tandem, size_t index)
{
    return index < tandem->hello.task_count ? tandem->hello.tasks[index] : NULL;
}

int tandem_task_kind(const struct tandem *tandem, size_t index)
{
    const uint32_t kind = index < tandem->hello.task_count ? tandem->hello.kinds[index] : 0;

    return kind <= TANDEM_GENERATE ? (int)kind : 0;
}
