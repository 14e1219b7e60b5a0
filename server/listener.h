/* listener.h: the addresses a server listens on and the peers that came: hello, tenant, contracts,
 * and handing frames to the service. Loop thread. */
#ifndef TANDEM_SERVER_LISTENER_H
#define TANDEM_SERVER_LISTENER_H

#include "server/server_config.h"
#include "server/service.h"

struct listener;
/* Binds every URL of `config` (borrowed; listener_set_config replaces it). One line in `error` on
 * failure. *returns owned*. */
int listener_new(uv_loop_t *loop, const struct server_config *config, struct service *service,
                 struct listener **ret_listener, char error[CONFIG_ERROR_BYTES]);
/* A reload: tokens and the certificate count for new connections; TANDEM_ECONFIG with a line when
 * the certificate cannot be used, and then nothing changed. Addresses stay: the caller says that
 * they need a restart. */
int listener_set_config(struct listener *listener, const struct server_config *config,
                        char error[CONFIG_ERROR_BYTES]);
/* The service has another catalog: every peer is told what is served now, and contracts are
 * compared anew. */
void listener_catalog_changed(struct listener *listener);
/* Stops accepting and says GOODBYE to every peer. */
void listener_drain(struct listener *listener);
/* Closes every peer after its last frames; `on_closed` when all of it is gone. The listener is
 * freed then. */
void listener_close(struct listener *listener, void (*on_closed)(void *user), void *user);
size_t listener_peer_count(const struct listener *listener);
/* The i-th address bound, or NULL past the last. */
const char *listener_url(const struct listener *listener, size_t index);

#endif
