#include "client/daemon/decision_ids.h"

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MARK_BYTES 64 /* the file: one line */

/* Above it a number was not made by this code. Ids have room behind it. */
#define MARK_MAX ((uint64_t)INT64_MAX)

static int mark_text(uint64_t mark, char text[MARK_BYTES])
{
    const unsigned long long check = XXH3_64bits(&mark, sizeof(mark));

    return snprintf(text, MARK_BYTES, "below %020" PRIu64 " %016llx\n", mark, check);
}

enum mark_state { MARK_FINE, MARK_MISSING, MARK_DAMAGED, MARK_UNREADABLE };

/* A mark is what mark_text would write, to the byte. */
static enum mark_state mark_read(const char *path, uint64_t *ret_mark)
{
    char text[MARK_BYTES + 1] = "", again[MARK_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    uint64_t mark = 0;
    ssize_t bytes;

    if (fd < 0) {
        return errno == ENOENT ? MARK_MISSING : MARK_UNREADABLE;
    }
    bytes = read(fd, text, MARK_BYTES);
    (void)close(fd);
    if (bytes < 0) {
        return MARK_UNREADABLE;
    }
    if (sscanf(text, "below %20" SCNu64, &mark) != 1 || mark > MARK_MAX ||
        mark_text(mark, again) != bytes || memcmp(text, again, (size_t)bytes) != 0) {
        return MARK_DAMAGED;
    }
    *ret_mark = mark;
    return MARK_FINE;
}

/* Room for the next block, on disk before the first of its ids is given. */
static void ids_reserve(struct decision_ids *ids)
{
    char text[MARK_BYTES];
    int error;

    ids->reserved = ids->next + LIMIT_DECISION_ID_BLOCK;
    if (!ids->path[0]) {
        return;
    }
    error = state_file_replace(ids->path, text, (size_t)mark_text(ids->reserved, text));
    if (error != 0 && !ids->failed) {
        log_warning("%s: %s: ids of decisions come from the clock: unique while it is not set back",
                    ids->path, strerror(error));
    } else if (error == 0 && ids->failed) {
        log_info("%s: kept again", ids->path);
    }
    ids->failed = error != 0;
}

static uint64_t mark_find(const struct decision_ids *ids)
{
    char aside[STATE_PATH_BYTES + 16];
    uint64_t mark = 0;

    switch (mark_read(ids->path, &mark)) {
    case MARK_FINE:
        break;
    case MARK_MISSING:
        log_info("%s: not there yet: ids of decisions begin with the clock", ids->path);
        break;
    case MARK_UNREADABLE:
        log_warning("%s: %s: ids of decisions go on from the clock", ids->path, strerror(errno));
        break;
    case MARK_DAMAGED:
        log_warning("%s: damaged, set aside as %s: ids of decisions go on from decisions.jsonl and "
                    "the clock",
                    ids->path, state_file_rename_aside(ids->path, aside));
        break;
    }
    return mark;
}

void decision_ids_open(struct decision_ids *ids, const char *state_dir, uint64_t last_id,
                       int64_t unix_ns)
{
    const uint64_t clock_us = unix_ns > NS_PER_US ? (uint64_t)(unix_ns / NS_PER_US) : 1;
    uint64_t mark = 0;

    memset(ids, 0, sizeof(*ids));
    if (state_dir[0]) {
        snprintf(ids->path, sizeof(ids->path), "%s/decision-ids", state_dir);
        mark = mark_find(ids);
    } else {
        log_warning("[client] state_dir is empty: ids of decisions come from the clock: unique "
                    "while it is not set back");
    }
    ids->next = mark > clock_us ? mark : clock_us;
    if (last_id >= ids->next && last_id < MARK_MAX) {
        ids->next = last_id + 1;
    }
    ids_reserve(ids);
}

uint64_t decision_ids_take(struct decision_ids *ids)
{
    if (ids->next >= ids->reserved) {
        ids_reserve(ids);
    }
    return ids->next++;
}
