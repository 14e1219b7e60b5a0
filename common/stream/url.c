#include "common/stream/url.h"

#include "common/base/error.h"
#include "common/stream/conn.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TCP_SCHEME "tcp://"
#define IPC_SCHEME "ipc://"

static int port_parse(const char *text, unsigned *ret_port)
{
    const size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return TANDEM_EINVAL;
    }
    *ret_port = (unsigned)strtoul(text, NULL, 10);
    return *ret_port <= 65535 ? 0 : TANDEM_EINVAL;
}

static int host_classify(const char *host, bool bracketed, enum url_host_kind *ret_kind)
{
    struct in6_addr address;

    if (bracketed) {
        *ret_kind = URL_HOST_IPV6;
        return inet_pton(AF_INET6, host, &address) == 1 ? 0 : TANDEM_EINVAL;
    }
    if (strcmp(host, "*") == 0) {
        *ret_kind = URL_HOST_ANY;
        return 0;
    }
    if (inet_pton(AF_INET, host, &address) == 1) {
        *ret_kind = URL_HOST_IPV4;
        return 0;
    }
    *ret_kind = URL_HOST_NAME;
    return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
                   strlen(host)
               ? 0
               : TANDEM_EINVAL;
}

static int tcp_parse(const char *text, struct url *url)
{
    const bool bracketed = *text == '[';
    const char *host = bracketed ? text + 1 : text;
    const char *end = strchr(host, bracketed ? ']' : ':');
    const char *port;

    if (!end || end == host || (size_t)(end - host) >= sizeof(url->host)) {
        return TANDEM_EINVAL;
    }
    memcpy(url->host, host, (size_t)(end - host));
    port = bracketed ? end + 1 : end;
    if (*port != ':' || port_parse(port + 1, &url->port) != 0) {
        return TANDEM_EINVAL;
    }
    return host_classify(url->host, bracketed, &url->host_kind);
}

int url_parse(const char *text, struct url *ret_url)
{
    struct url url = {0};

    if (strncmp(text, TCP_SCHEME, strlen(TCP_SCHEME)) == 0) {
        if (tcp_parse(text + strlen(TCP_SCHEME), &url) != 0) {
            return TANDEM_EINVAL;
        }
    } else if (strncmp(text, IPC_SCHEME "/", strlen(IPC_SCHEME "/")) == 0) {
        const char *path = text + strlen(IPC_SCHEME);

        if (strlen(path) >= sizeof(url.path)) {
            return TANDEM_EINVAL;
        }
        url.is_ipc = true;
        memcpy(url.path, path, strlen(path) + 1);
    } else {
        return TANDEM_EINVAL;
    }
    *ret_url = url;
    return 0;
}

bool conn_url_is_local(const char *text)
{
    struct in6_addr address6;
    struct in_addr address4;
    struct url url;

    if (url_parse(text, &url) != 0) {
        return false;
    }
    if (url.is_ipc || strcasecmp(url.host, "localhost") == 0) {
        return true;
    }
    if (url.host_kind == URL_HOST_IPV6) {
        return inet_pton(AF_INET6, url.host, &address6) == 1 && IN6_IS_ADDR_LOOPBACK(&address6);
    }
    return url.host_kind == URL_HOST_IPV4 && inet_pton(AF_INET, url.host, &address4) == 1 &&
           ntohl(address4.s_addr) >> 24 == 127;
}
