#include "server/complaints.h"

#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>

/* The one with this text, else one whose minute is over, else NULL. */
static struct complaint *complaint_find(struct complaints *complaints, const char *text,
                                        int64_t now_ns)
{
    struct complaint *room = NULL;

    for (unsigned i = 0; i < LIMIT_PEER_COMPLAINTS; i++) {
        struct complaint *item = &complaints->items[i];

        if (item->text[0] && strncmp(item->text, text, COMPLAINT_BYTES - 1) == 0) {
            return item;
        }
        if (!room && (!item->text[0] || now_ns >= item->until_ns)) {
            room = item;
        }
    }
    if (room) {
        *room = (struct complaint){.until_ns = now_ns};
        snprintf(room->text, sizeof(room->text), "%s", text);
    }
    return room;
}

bool complaint_is_due(struct complaints *complaints, const char *text, int64_t now_ns,
                      uint64_t *ret_held)
{
    struct complaint *item = complaint_find(complaints, text, now_ns);

    if (!item) {
        return false;
    }
    if (now_ns < item->until_ns) {
        item->held++;
        return false;
    }
    *ret_held = item->held;
    item->held = 0;
    item->until_ns = now_ns + COMPLAINT_S * NS_PER_S;
    return true;
}
