#include "common/base/notify.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Fills `ret_address` from $NOTIFY_SOCKET: a path, or an abstract name that is written with a
 * leading '@'. */
static int address_find(const char *name, struct sockaddr_un *ret_address, socklen_t *ret_bytes)
{
    const size_t length = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || length < 2 ||
        length >= sizeof(ret_address->sun_path)) {
        return TANDEM_EIO;
    }
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, name, length);
    if (name[0] == '@') {
        ret_address->sun_path[0] = '\0';
    }
    *ret_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

static int message_send(const char *message)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t address_bytes;
    ssize_t sent;
    int fd;

    if (!name || name[0] == '\0') {
        return 0;
    }
    if (address_find(name, &address, &address_bytes) < 0) {
        return TANDEM_EIO;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return TANDEM_EIO;
    }
    do {
        sent = sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                      address_bytes);
    } while (sent < 0 && errno == EINTR);
    close(fd);
    return sent == (ssize_t)strlen(message) ? 0 : TANDEM_EIO;
}

int notify_ready(void)
{
    return message_send("READY=1");
}

int notify_stopping(void)
{
    return message_send("STOPPING=1");
}

int notify_reloading(void)
{
    struct timespec now = {0};
    char message[96];

    /* systemd compares this with its own clock, so a test's fake clock does not enter. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    return message_send(message);
}

int notify_watchdog(void)
{
    return message_send("WATCHDOG=1");
}

int notify_status(const char *format, ...)
{
    char message[LIMIT_LOG_LINE_BYTES] = "STATUS=";
    const size_t start = strlen(message);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message + start, sizeof(message) - start, format, arguments);
    va_end(arguments);
    for (char *at = message + start; *at; at++) {
        if (*at == '\n') {
            *at = ' '; /* a new line would begin another field */
        }
    }
    return message_send(message);
}

int64_t notify_watchdog_interval_ns(void)
{
    const char *usec_text = getenv("WATCHDOG_USEC");
    const char *pid_text = getenv("WATCHDOG_PID");
    char *end = NULL;
    int64_t usec;

    if (!usec_text || (pid_text && strtoll(pid_text, NULL, 10) != (long long)getpid())) {
        return 0;
    }
    errno = 0;
    usec = strtoll(usec_text, &end, 10);
    if (errno != 0 || end == usec_text || *end != '\0' || usec <= 0 ||
        usec > INT64_MAX / NS_PER_US) {
        return 0;
    }
    return usec * NS_PER_US;
}
