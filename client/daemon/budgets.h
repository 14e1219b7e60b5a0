/* budgets.h: `[policy] bytes_per_hour` and `joule_per_hour`: what this device may still spend in
 * any hour. Bytes are those of all edge connections, up and down, as the streams carry them: TLS
 * and its handshakes, pings and probes counted in, TCP and IP headers not. Joule are what running
 * models and preparing pictures here and sending take, as far as the device's energy is known.
 *
 * state_dir/budgets keeps it over a restart. What may be spent before the next writing is on disk
 * ahead of it, and no more bytes leave than that, so after a kill or a power cut at least as much
 * counts as was spent (at most a sixteenth of the limit, or a little over what was under way,
 * more). Written at most once a second, on a thread of libuv's pool; at once where a request needs
 * more bytes than are on disk ahead, which is at most once for each sixteenth of the limit that is
 * spent or reserved. A disk that fails is warned
 * of, and the limits then hold until the daemon ends. Joule are spent when a run has ended,
 * whatever is left of them: what was over the limit is on disk a second later.
 *
 * Loop thread. NULL stands for no limits. */
#ifndef TANDEM_CLIENT_BUDGETS_H
#define TANDEM_CLIENT_BUDGETS_H

#include "client/daemon/budgets_text.h"
#include "client/daemon/daemon_config.h"

#include <uv.h>

#define BUDGETS_FILE_NAME "budgets"
#define BUDGETS_SAVE_MS   1000

struct budgets;
struct budgets_view {
    double limit; /* 0: none */
    double used;
    double left;     /* neither used nor reserved; of no limit: INFINITY */
    double resets_s; /* until some of what is used counts no more; NAN: nothing is used */
};

/* Finds what was kept. A damaged file is set aside, and then all of the limits count as used.
 * *returns owned*, to be closed before the loop is; NULL: no memory. */
struct budgets *budgets_open(uv_loop_t *loop, const struct client_config *config);
/* Other limits, after a reload; what was spent stays. */
void budgets_configure(struct budgets *budgets, const struct client_config *config);
void budgets_close(struct budgets *budgets);
/* When the loop has run out its handles: writes for the last time. */
void budgets_free(struct budgets *budgets);

void budgets_spend(struct budgets *budgets, enum budget_kind kind, double amount);
/* So many bytes went and came: with the joule for it. */
void budgets_moved(struct budgets *budgets, uint64_t sent_bytes, uint64_t received_bytes);
/* A request under way is going to need so much; what is spent of it meanwhile counts twice until
 * it is released. */
void budgets_reserve(struct budgets *budgets, enum budget_kind kind, double amount);
void budgets_release(struct budgets *budgets, enum budget_kind kind, double amount);

double budgets_left(const struct budgets *budgets, enum budget_kind kind);
/* Bytes of answers that are on their way or will be: nothing may be sent in their place. */
void budgets_expect(struct budgets *budgets, double bytes);
void budgets_expect_no_more(struct budgets *budgets, double bytes);
/* Bytes that may leave now, of those that are reserved too; UINT64_MAX without a limit. */
uint64_t budgets_bytes_now(const struct budgets *budgets);
/* Whether they are being written, so that more may leave in a moment. */
bool budgets_are_written(const struct budgets *budgets);
/* Whether a connection may stay, and whether one may be made, with what they cost by themselves. */
bool budgets_carry_link(const struct budgets *budgets);
bool budgets_carry_dial(const struct budgets *budgets, bool tls);
/* Whether anything may be done that nobody asked for: probes, shadow runs; and whether the hour has
 * the joule left for so many bytes that are sent for it. */
bool budgets_allow_extra(const struct budgets *budgets);
bool budgets_carry_extra(const struct budgets *budgets, uint64_t sent_bytes);
/* How often a silent connection may say that it is there: its pings take a sixteenth of the bytes
 * at most, and come every 0.5 to 2 s. */
int64_t budgets_heartbeat_ns(const struct budgets *budgets);
void budgets_look(const struct budgets *budgets, enum budget_kind kind,
                  struct budgets_view *ret_view);

#endif
