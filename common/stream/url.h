/* url.h: the two kinds of address, "tcp://host:port" and "ipc:///path", taken apart and checked.
 * Pure. */
#ifndef TANDEM_STREAM_URL_H
#define TANDEM_STREAM_URL_H

#include <stdbool.h>

#define URL_HOST_BYTES 256
#define URL_PATH_BYTES 108 /* as the kernel's sun_path */

enum url_host_kind { URL_HOST_NAME, URL_HOST_IPV4, URL_HOST_IPV6, URL_HOST_ANY };

struct url {
    bool is_ipc;
    enum url_host_kind host_kind;
    char host[URL_HOST_BYTES]; /* without brackets; "*" for any address of this machine */
    unsigned port;             /* 0..65535 */
    char path[URL_PATH_BYTES]; /* ipc */
};

/* 0, or TANDEM_EINVAL. */
int url_parse(const char *text, struct url *ret_url);

#endif
