/* complaints.h: which lines about peers that cannot be talked to go into the log: each once a
 * minute, with the number of its like since, and LIMIT_PEER_COMPLAINTS different ones at most. So
 * strangers at the door are seen and do not fill the log. Pure: the time is an argument. */
#ifndef TANDEM_SERVER_COMPLAINTS_H
#define TANDEM_SERVER_COMPLAINTS_H

#include "common/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define COMPLAINT_BYTES 160
#define COMPLAINT_S     60 /* the same line not sooner again */

struct complaints { /* zeroed at the start */
    struct complaint {
        char text[COMPLAINT_BYTES]; /* "": free */
        int64_t until_ns;           /* said until then */
        uint64_t held;              /* not said since */
    } items[LIMIT_PEER_COMPLAINTS];
};

/* Whether to say `text` now; *ret_held: how often it was not said since the last time. */
bool complaint_is_due(struct complaints *complaints, const char *text, int64_t now_ns,
                      uint64_t *ret_held);

#endif
