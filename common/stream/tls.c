#include "common/stream/conn_parts.h"

#include "common/base/error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One context serves both sides; the loop thread owns the count. */
struct conn_tls {
    SSL_CTX *context;
    size_t references;
};

/* The first error is the nearest to the cause: of a file that cannot be read it has errno, where
 * the last one would only say "system lib". */
static const char *first_reason(void)
{
    const unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    return reason ? reason : "unknown reason";
}

static int context_load(SSL_CTX *context, const char *cert_path, const char *key_path,
                        const char *ca_path, char error[CONN_ERROR_BYTES])
{
    const char *path = cert_path;

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert_path) != 1) {
        goto fail;
    }
    path = key_path;
    if (SSL_CTX_use_PrivateKey_file(context, key_path, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH) {
            goto stranger;
        }
        goto fail;
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        goto stranger;
    }
    path = ca_path;
    if (SSL_CTX_load_verify_locations(context, ca_path, NULL) != 1) {
        goto fail;
    }
    return 0;

stranger:
    snprintf(error, CONN_ERROR_BYTES, "%.110s does not belong to %.110s", key_path, cert_path);
    ERR_clear_error();
    return TANDEM_ECONFIG;
fail:
    snprintf(error, CONN_ERROR_BYTES, "%.180s: %s", path, first_reason());
    ERR_clear_error();
    return TANDEM_ECONFIG;
}

int conn_tls_load(const char *cert_path, const char *key_path, const char *ca_path,
                  struct conn_tls **ret_tls, char error[CONN_ERROR_BYTES])
{
    struct conn_tls *tls = calloc(1, sizeof(*tls));
    int result = TANDEM_ENOMEM;

    snprintf(error, CONN_ERROR_BYTES, "no memory for TLS");
    if (tls) {
        tls->references = 1;
        tls->context = SSL_CTX_new(TLS_method());
    }
    if (tls && tls->context) {
        SSL_CTX_set_min_proto_version(tls->context, TLS1_3_VERSION);
        SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(tls->context,
                                0); /* a resumed session would skip the certificates */
        result = context_load(tls->context, cert_path, key_path, ca_path, error);
    }
    if (result != 0) {
        conn_tls_unref(tls);
        return result;
    }
    *ret_tls = tls;
    return 0;
}

struct conn_tls *conn_tls_ref(struct conn_tls *tls)
{
    if (tls) {
        tls->references++;
    }
    return tls;
}

void conn_tls_unref(struct conn_tls *tls)
{
    if (tls && --tls->references == 0) {
        SSL_CTX_free(tls->context);
        free(tls);
    }
}

SSL *tls_session_new(struct conn_tls *tls)
{
    return SSL_new(tls->context);
}
