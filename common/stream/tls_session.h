/* tls_session.h: the one thing that the TLS transport needs of a loaded configuration. Inside
 * common/stream only. */
#ifndef TANDEM_STREAM_TLS_SESSION_H
#define TANDEM_STREAM_TLS_SESSION_H

#include "common/stream/conn.h"

#include <openssl/ssl.h>

/* *returns owned*; NULL without memory. */
SSL *tls_session_new(struct conn_tls *tls);

#endif
