#include "client/lib/memfd.h"

#include "common/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MEMFD_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static int memfd_write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t written = write(fd, at, bytes);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return errno == ENOSPC || errno == ENOMEM ? TANDEM_ENOMEM : TANDEM_EIO;
        }
        at += written;
        bytes -= (size_t)written;
    }
    return 0;
}

int memfd_copy(const void *data, size_t bytes, int *ret_fd)
{
    int fd = memfd_create("tandem-picture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int number;
    int result;

    if (fd < 0) {
        return errno == ENOMEM ? TANDEM_ENOMEM : TANDEM_EIO;
    }
    /* write() rather than a mapping: no page faults, and no writable mapping that would forbid the
     * seal. */
    result = memfd_write_all(fd, data, bytes);
    if (result == 0 && fcntl(fd, F_ADD_SEALS, MEMFD_SEALS) != 0) {
        result = TANDEM_EIO;
    }
    if (result != 0) {
        number = errno;
        (void)close(fd);
        errno = number;
        return result;
    }
    *ret_fd = fd;
    return 0;
}

int memfd_share(int fd, size_t bytes, int *ret_fd)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    int copy;

    if (seals < 0 || (seals & MEMFD_SEALS) != MEMFD_SEALS) {
        return TANDEM_EINVAL;
    }
    if (fstat(fd, &status) != 0 || status.st_size < 0 || (size_t)status.st_size < bytes) {
        return TANDEM_EINVAL;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        return TANDEM_EIO;
    }
    *ret_fd = copy;
    return 0;
}
