/* command_past.h: `tandemctl decisions` of a time, of a task, the slow and the missed ones: from
 * the daemon's disk, or from a file. */
#ifndef TANDEM_CTL_COMMAND_PAST_H
#define TANDEM_CTL_COMMAND_PAST_H

#include "client/ctl/ctl.h"

#define PAST_DEFAULT 20 /* decisions, without -n */

/* Whether the options ask for more than the last ones. */
bool past_is_asked(const struct ctl_options *options);
/* Returns an exit code. */
int command_past(const struct ctl_options *options);

#endif
