/* memfd.h: pictures in memory that two processes can share without trusting each other: sealed, so
 * that neither size nor content can change any more. Any thread. */
#ifndef TANDEM_LIB_MEMFD_H
#define TANDEM_LIB_MEMFD_H

#include <stddef.h>

/* A sealed copy of `data`; returns owned (close). TANDEM_ENOMEM, or TANDEM_EIO with errno. */
int memfd_copy(const void *data, size_t bytes, int *ret_fd);
/* A duplicate of a caller's `fd` (returns owned). TANDEM_EINVAL when it is not a memfd sealed
 * against write, shrink and grow that holds `bytes` bytes; TANDEM_EIO with errno. */
int memfd_share(int fd, size_t bytes, int *ret_fd);

#endif
