/* app_open.h: a connection to the daemon as an application has one, through libtandem. */
#ifndef TANDEM_CTL_APP_OPEN_H
#define TANDEM_CTL_APP_OPEN_H

#include "tandem.h"

#include "client/ctl/ctl.h"

/* Says it and returns `code`. */
#define ctl_error(code, ...) ((void)ctl_fail((code), __VA_ARGS__), (code))

/* Connects to where the options say. 0 or TANDEM_E*, said; *ret_tandem (owned, tandem_close) is set
 * whatever happens. */
int app_open(const struct ctl_options *options, struct tandem **ret_tandem);

#endif
