/* zip.h: the directory of a zip file whose entries are stored as they are, which is what PyTorch
 * writes.
 *
 * Every offset and length is checked against the file, entries may not overlap, and compressed or
 * encrypted ones are refused by name: nothing ever expands. Zip64 is understood. Format: PKWARE
 * APPNOTE 6.3, sections 4.3 and 4.5.3. One thread. */
#ifndef TANDEM_MODEL_ZIP_H
#define TANDEM_MODEL_ZIP_H

#include "common/model/source.h"

struct zip_entry {
    char *name;
    uint64_t at_bytes, bytes; /* of the data in the file */
};
struct zip {
    struct zip_entry *entries; /* in the order of their names, as zip_find takes them */
    size_t count;
};

/* Reads the directory of source->files[file]. TANDEM_EFORMAT, EUNSUPPORTED, ETOOBIG, EIO, ENOMEM
 * with a line; `zip` needs zip_fini in any case. */
int zip_load(const struct source *source, uint32_t file, struct zip *zip,
             char error[ENGINE_ERROR_BYTES]);
void zip_fini(struct zip *zip); /* a zeroed one is fine */
/* The entry whose name ends with `suffix` after its first folder ("archive/data.pkl"); NULL: none.
 */
const struct zip_entry *zip_find(const struct zip *zip, const char *suffix);

#endif
