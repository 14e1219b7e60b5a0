/* state_file.h: small files under state_dir that survive a crash at any moment: written beside the
 * old one, synced, renamed over it, and the folder synced; the old file or the new one is there,
 * whatever happens. Mode 0600, at most LIMIT_STATE_FILE_BYTES. The last line of a file holds a
 * checksum of all before it (XXH3-64), so what a disk has damaged is known as such: it is set aside
 * as NAME.damaged, said once, and done without.
 *
 * A call waits for the disk (an SD card may take a tenth of a second), so what is written often
 * belongs on a thread of its own: there is no state but the struct, which one thread uses at a
 * time. */
#ifndef TANDEM_CLIENT_STATE_FILE_H
#define TANDEM_CLIENT_STATE_FILE_H

#include "common/base/buf.h"

#include <stdbool.h>

#define STATE_PATH_BYTES 4200 /* a configured state_dir, and a name */

struct state_file {
    char path[STATE_PATH_BYTES]; /* "": nothing is kept */
    bool failed;                 /* the last attempt to write it, and it was said */
};

/* `state_dir` empty: no file, reads find nothing and writes do nothing. `name` is a constant of at
 * most 32 bytes. */
void state_file_init(struct state_file *file, const char *state_dir, const char *name);
/* Replaces `text` (an initialised buffer) by what was kept, without the line of the checksum. 0;
 * TANDEM_ENOTFOUND: there is none, nothing is said; TANDEM_EFORMAT: it was damaged or too large, is
 * said and set aside; TANDEM_EIO or TANDEM_ENOMEM: it cannot be read, is said and stays where it
 * is. On failure `text` is empty. */
int state_file_read(struct state_file *file, struct buf *text);
/* What the checksum holds for but the reader does not understand: sets it aside as NAME.damaged
 * with one warning that says `wrong`. */
void state_file_set_aside(const struct state_file *file, const char *wrong);
/* Keeps `bytes` of `text`, which ends with a newline. 0, TANDEM_ETOOBIG over the bound,
 * TANDEM_EIO or TANDEM_ENOMEM; then the old file stays. A failure is said once, and once more when
 * it is kept again. Without a file: 0. */
int state_file_write(struct state_file *file, const void *text, size_t bytes);

/* The bare step, without checksum, bound or words: `path` (absolute or with a '/', shorter than
 * STATE_PATH_BYTES) holds all of `data` or what it held before. 0 or an errno. */
int state_file_replace(const char *path, const void *data, size_t bytes);
/* Renames `path` to `path`.damaged, over an older one; returns that name, in `aside`. */
const char *state_file_rename_aside(const char *path, char aside[STATE_PATH_BYTES + 16]);

#endif
