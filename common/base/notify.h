/* notify.h: systemd's readiness, reload and watchdog messages, spoken directly (one datagram to
 * $NOTIFY_SOCKET). Without that variable every call does nothing and succeeds. Loop thread. */
#ifndef TANDEM_BASE_NOTIFY_H
#define TANDEM_BASE_NOTIFY_H

#include <stdint.h>

/* Each returns 0, or TANDEM_EIO when the manager could not be told: worth one warning, never a
 * reason to stop. */
int notify_ready(void);
int notify_stopping(void);
int notify_reloading(void); /* followed by notify_ready when the reload is done */
int notify_watchdog(void);
int notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The interval within which notify_watchdog must come (feed at half of it), from WATCHDOG_USEC and
 * WATCHDOG_PID; 0: none asked for. */
int64_t notify_watchdog_interval_ns(void);

#endif
