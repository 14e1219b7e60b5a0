/* TLS as a transport over another: OpenSSL works on memory, the inner transport moves the bytes. No
 * close_notify is sent or asked for: frames have their own ends, so a cut stream cannot be taken
 * for a whole one. */
#include "common/stream/conn_parts.h"
#include "common/stream/tls_session.h"

#include "common/base/error.h"
#include "common/base/names.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES      (16u << 10) /* the largest plaintext of one record */
#define ALERT_REASON_BASE 1000        /* OpenSSL's reason codes of received alerts start here */

struct tls_transport {
    struct transport base;
    struct transport *inner;
    SSL *ssl;
    BIO *arriving;      /* ciphertext from the peer; both owned by ssl */
    BIO *leaving;       /* ciphertext for the peer */
    struct buf sending; /* ciphertext in the hands of the inner transport */
    bool inner_open;
    bool inner_writing;
    bool app_writing; /* a write of the owner has not been answered by on_written */
    bool open;        /* the handshake is done and the peer verified */
    bool failed;
    bool closed;
    char peer_name[CONN_ERROR_BYTES];
};

static void tls_fail(struct tls_transport *tls, int error, const char *why)
{
    if (!tls->failed && !tls->closed) {
        tls->failed = true;
        tls->base.events->on_error(tls->base.user, error, why);
    }
}

/* Hands what OpenSSL has written to the inner transport, which may take it at once. */
static void tls_pump(struct tls_transport *tls)
{
    char *data;
    const long bytes = BIO_get_mem_data(tls->leaving, &data);
    struct transport_span span;
    int result;

    if (!tls->inner_open || tls->inner_writing || tls->closed || bytes <= 0) {
        return;
    }
    buf_clear(&tls->sending);
    if (buf_append(&tls->sending, data, (size_t)bytes) != 0) {
        tls_fail(tls, TANDEM_ENOMEM, "no memory to encrypt");
        return;
    }
    (void)BIO_reset(tls->leaving);
    span = (struct transport_span){tls->sending.data, tls->sending.bytes};
    result = tls->inner->ops->write(tls->inner, &span, 1);
    tls->inner_writing = result == 0;
    if (result < 0) {
        tls_fail(tls, TANDEM_EGONE, "the stream takes nothing more");
    }
}

static bool alert_is_about_certificates(int reason)
{
    static const int alerts[] = {SSL_AD_BAD_CERTIFICATE,     SSL_AD_UNSUPPORTED_CERTIFICATE,
                                 SSL_AD_CERTIFICATE_REVOKED, SSL_AD_CERTIFICATE_EXPIRED,
                                 SSL_AD_CERTIFICATE_UNKNOWN, SSL_AD_UNKNOWN_CA,
                                 SSL_AD_ACCESS_DENIED,       SSL_AD_CERTIFICATE_REQUIRED};

    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++) {
        if (reason == ALERT_REASON_BASE + alerts[i]) {
            return true;
        }
    }
    return false;
}

/* What came first was no TLS record at all. */
static bool reason_is_no_tls(int reason)
{
    return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
           reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_UNKNOWN_PROTOCOL ||
           reason == SSL_R_PACKET_LENGTH_TOO_LONG;
}

/* Says in one line why OpenSSL gave up. */
static void tls_fail_by_openssl(struct tls_transport *tls)
{
    const long verified = SSL_get_verify_result(tls->ssl);
    const int reason = ERR_GET_REASON(ERR_peek_error());
    const char *text = ERR_reason_error_string(ERR_peek_error());
    char why[TRANSPORT_ERROR_BYTES];
    int error = TANDEM_EPROTO;

    if (verified != X509_V_OK) {
        error = TANDEM_EAUTH;
        snprintf(why, sizeof(why), "TLS: the peer's certificate: %s",
                 X509_verify_cert_error_string(verified));
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        error = TANDEM_EAUTH;
        snprintf(why, sizeof(why), "TLS: the peer showed no certificate");
    } else if (!tls->open && reason_is_no_tls(reason)) {
        snprintf(why, sizeof(why), "TLS: the peer does not speak TLS: has it a [tls] section?");
    } else if (alert_is_about_certificates(reason)) {
        error = TANDEM_EAUTH;
        snprintf(why, sizeof(why), "TLS: the peer refused our certificate: %s",
                 text ? text : "no reason");
    } else {
        snprintf(why, sizeof(why), "TLS: %s", text ? text : "broken stream");
    }
    ERR_clear_error();
    tls_pump(tls); /* the alert that tells the peer */
    tls_fail(tls, error, why);
}

/* The common name, if it is there and holds no NUL that would cut it short. */
static void peer_name_read(struct tls_transport *tls)
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
    const int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
    unsigned char *text = NULL;
    int bytes;

    if (at < 0) {
        return;
    }
    bytes = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (bytes > 0 && (size_t)bytes < sizeof(tls->peer_name) &&
        strlen((const char *)text) == (size_t)bytes) {
        memcpy(tls->peer_name, text, (size_t)bytes + 1);
    }
    OPENSSL_free(text);
}

static bool tls_wants_more(const struct tls_transport *tls, int result)
{
    const int error = SSL_get_error(tls->ssl, result);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void tls_handshake(struct tls_transport *tls)
{
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    if (result != 1) {
        if (tls_wants_more(tls, result)) {
            tls_pump(tls);
        } else {
            tls_fail_by_openssl(tls);
        }
        return;
    }
    peer_name_read(tls);
    if (SSL_is_server(tls->ssl) && !name_is_valid(tls->peer_name)) {
        tls_fail(tls, TANDEM_EAUTH,
                 "TLS: the common name in the peer's certificate is no tenant's name");
        return;
    }
    tls->open = true;
    tls_pump(tls);
    tls->base.events->on_open(tls->base.user);
}

static void tls_deliver(struct tls_transport *tls)
{
    uint8_t data[RECORD_BYTES];

    while (!tls->failed && !tls->closed) {
        int result;

        ERR_clear_error();
        result = SSL_read(tls->ssl, data, (int)sizeof(data));
        if (result > 0) {
            tls->base.events->on_read(tls->base.user, data, (size_t)result);
        } else if (tls_wants_more(tls, result)) {
            tls_pump(tls); /* answers to key updates */
            return;
        } else if (SSL_get_error(tls->ssl, result) == SSL_ERROR_ZERO_RETURN) {
            tls_fail(tls, TANDEM_EGONE, "the peer closed the connection");
        } else {
            tls_fail_by_openssl(tls);
        }
    }
}

static void on_inner_open(void *user)
{
    struct tls_transport *tls = user;

    tls->inner_open = true;
    tls_handshake(tls);
}

static void on_inner_read(void *user, const uint8_t *data, size_t bytes)
{
    struct tls_transport *tls = user;

    if (tls->failed || tls->closed) {
        return;
    }
    if (BIO_write(tls->arriving, data, (int)bytes) != (int)bytes) {
        tls_fail(tls, TANDEM_ENOMEM, "no memory to decrypt");
        return;
    }
    if (!tls->open) {
        tls_handshake(tls);
    }
    if (tls->open) {
        tls_deliver(tls);
    }
}

static void on_inner_written(void *user)
{
    struct tls_transport *tls = user;

    tls->inner_writing = false;
    tls_pump(tls);
    if (!tls->inner_writing && tls->app_writing && !tls->closed) {
        tls->app_writing = false;
        tls->base.events->on_written(tls->base.user);
    }
}

/* Not held back after a failure of ours: the owner may be waiting for the peer to go. */
static void on_inner_error(void *user, int error, const char *why)
{
    struct tls_transport *tls = user;

    tls->failed = true;
    if (!tls->closed) {
        tls->base.events->on_error(tls->base.user, error, why);
    }
}

static void tls_free(struct tls_transport *tls)
{
    SSL_free(tls->ssl);
    buf_fini(&tls->sending);
    free(tls);
}

static void on_inner_closed(void *user)
{
    struct tls_transport *tls = user;

    tls->base.events->on_closed(tls->base.user);
    tls_free(tls);
}

static const struct transport_events inner_events = {on_inner_open, on_inner_read, on_inner_written,
                                                     on_inner_error, on_inner_closed};

static void tls_start(struct transport *base)
{
    struct tls_transport *tls = (struct tls_transport *)base;

    tls->inner->ops->start(tls->inner);
}

static int tls_write(struct transport *base, const struct transport_span *spans, size_t count)
{
    struct tls_transport *tls = (struct tls_transport *)base;

    if (!tls->open || tls->failed || tls->closed) {
        return TANDEM_EGONE;
    }
    for (size_t i = 0; i < count; i++) {
        ERR_clear_error();
        if (spans[i].bytes > 0 &&
            SSL_write(tls->ssl, spans[i].data, (int)spans[i].bytes) != (int)spans[i].bytes) {
            ERR_clear_error();
            return TANDEM_EPROTO;
        }
    }
    tls_pump(tls);
    tls->app_writing = tls->inner_writing || tls->failed;
    return tls->app_writing ? 0 : TRANSPORT_DONE;
}

static void tls_close(struct transport *base)
{
    struct tls_transport *tls = (struct tls_transport *)base;

    tls->closed = true;
    tls->inner->ops->close(tls->inner);
}

static const char *tls_peer_name(const struct transport *base)
{
    return ((const struct tls_transport *)base)->peer_name;
}

static const char *tls_peer_address(const struct transport *base)
{
    const struct tls_transport *tls = (const struct tls_transport *)base;

    return tls->inner->ops->peer_address(tls->inner);
}

static void tls_bytes(const struct transport *base, uint64_t *ret_sent, uint64_t *ret_received)
{
    const struct tls_transport *tls = (const struct tls_transport *)base;

    tls->inner->ops->bytes(tls->inner, ret_sent, ret_received);
}

static const struct transport_ops operations = {
    .start = tls_start,
    .write = tls_write,
    .close = tls_close,
    .peer_name = tls_peer_name,
    .peer_address = tls_peer_address,
    .bytes = tls_bytes,
};

/* Whom the dialer expects: an address must be among the certificate's addresses, a name among its
 * names. */
static bool tls_expect(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (*host == '\0') {
        return true;
    }
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1) {
        return true;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool tls_prepare(struct tls_transport *tls, const char *host)
{
    tls->arriving = BIO_new(BIO_s_mem());
    tls->leaving = BIO_new(BIO_s_mem());
    if (!tls->arriving || !tls->leaving) {
        BIO_free(tls->arriving);
        BIO_free(tls->leaving);
        return false;
    }
    BIO_set_mem_eof_return(tls->arriving, -1); /* empty means later, not the end */
    SSL_set_bio(tls->ssl, tls->arriving, tls->leaving);
    if (!host) {
        SSL_set_accept_state(tls->ssl);
        return true;
    }
    SSL_set_connect_state(tls->ssl);
    return tls_expect(tls->ssl, host);
}

int tls_wrap(struct transport *inner, struct conn_tls *config, const char *host,
             struct transport **ret_transport)
{
    struct tls_transport *tls = calloc(1, sizeof(*tls));

    if (!tls) {
        return TANDEM_ENOMEM;
    }
    tls->base.ops = &operations;
    tls->ssl = tls_session_new(config);
    if (!tls->ssl || !tls_prepare(tls, host)) {
        ERR_clear_error();
        tls_free(tls);
        return TANDEM_ENOMEM;
    }
    tls->inner = inner;
    inner->events = &inner_events;
    inner->user = tls;
    *ret_transport = &tls->base;
    return 0;
}
