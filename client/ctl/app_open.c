#include "client/ctl/app_open.h"

#include "client/ctl/status_socket.h"
#include "common/base/error.h"

/* Where applications connect. --socket may be that socket, or the daemon's status socket, which
 * says where the other one is; the path then lives in *ret_status (owned, else NULL). 0 or
 * TANDEM_E*, said. */
static int socket_find(const struct ctl_options *options, cJSON **ret_status, const char **ret_path)
{
    const cJSON *app_socket;
    cJSON *status = NULL;
    int result;

    *ret_status = NULL;
    *ret_path = options->socket;
    if (!options->socket) {
        return 0; /* libtandem's: $TANDEM_SOCKET or the default */
    }
    result = status_socket_try(options->socket, "status", NULL, &status);
    if (result == TANDEM_EUNSUPPORTED) {
        return 0;
    }
    if (result != 0) {
        return result;
    }
    app_socket = cJSON_GetObjectItemCaseSensitive(status, "app_socket");
    if (!cJSON_IsString(app_socket)) {
        cJSON_Delete(status);
        return ctl_error(TANDEM_EPROTO,
                         "%s: this is not a tandem-client: it has no socket for applications",
                         options->socket);
    }
    *ret_status = status;
    *ret_path = app_socket->valuestring;
    return 0;
}

int app_open(const struct ctl_options *options, struct tandem **ret_tandem)
{
    const char *path;
    cJSON *status;
    int result;

    *ret_tandem = NULL;
    result = socket_find(options, &status, &path);
    if (result != 0) {
        return result;
    }
    result = tandem_open(path, ret_tandem);
    if (result != 0) {
        (void)ctl_fail(result, "%s",
                       *ret_tandem ? tandem_last_error(*ret_tandem) : tandem_strerror(result));
    }
    cJSON_Delete(status);
    return result;
}
