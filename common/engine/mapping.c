#include "common/engine/mapping.h"

#include "common/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the signal handler looks at: lock-free, fixed size. A slot is free while `begin` is 0; `end`
 * is written before `begin` and read after it. */
struct mapping_slot {
    atomic_uintptr_t begin, end;
    atomic_bool truncated;
};

struct mapping {
    uint8_t *data;
    size_t bytes;
    int fd;
    struct mapping_slot *slot;
};

/* Process-wide like the signal itself. */
static struct mapping_slot slots[LIMIT_MODEL_MAPPINGS];
static pthread_mutex_t slots_lock =
    PTHREAD_MUTEX_INITIALIZER; /* opening, closing and installing; never the handler */
static struct sigaction previous_action;
static uintptr_t page_bytes; /* set before the handler is installed */

/* Runs on a thread that touched a page behind the end of a file. Only atomics and mmap, which is a
 * bare system call. */
static bool fault_repair(uintptr_t address)
{
    for (size_t i = 0; i < LIMIT_MODEL_MAPPINGS; i++) {
        const uintptr_t begin = atomic_load(&slots[i].begin);

        if (begin != 0 && address >= begin && address < atomic_load(&slots[i].end)) {
            void *page =
                (void *)(address & ~(page_bytes - 1)); // NOLINT: an address from the kernel

            atomic_store(&slots[i].truncated, true);
            return mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                        0) == page;
        }
    }
    return false;
}

static void fault_handle(int signal_number, siginfo_t *info, void *ucontext)
{
    const int saved_errno = errno;

    if (!fault_repair((uintptr_t)info->si_addr)) {
        if (previous_action.sa_flags & SA_SIGINFO) {
            previous_action.sa_sigaction(signal_number, info, ucontext);
        } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
            previous_action.sa_handler(signal_number);
        } else {
            /* Not ours: the faulting instruction runs again under the default action and ends the
             * process. */
            signal(SIGBUS, SIG_DFL);
        }
    }
    errno = saved_errno;
}

/* Others may have replaced the handler since (test frameworks do), so every mapping looks again. */
static int handler_install(void)
{
    struct sigaction now;
    struct sigaction ours = {0};

    if (sigaction(SIGBUS, NULL, &now) != 0) {
        return TANDEM_EIO;
    }
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == fault_handle) {
        return 0;
    }
    previous_action = now;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    ours.sa_sigaction = fault_handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, NULL) == 0 ? 0 : TANDEM_EIO;
}

static struct mapping_slot *slot_take(const uint8_t *data, size_t bytes)
{
    struct mapping_slot *slot = NULL;

    pthread_mutex_lock(&slots_lock);
    for (size_t i = 0; i < LIMIT_MODEL_MAPPINGS && !slot; i++) {
        if (atomic_load(&slots[i].begin) == 0) {
            slot = &slots[i];
        }
    }
    if (slot && handler_install() == 0) {
        atomic_store(&slot->truncated, false);
        atomic_store(&slot->end, (uintptr_t)data + bytes);
        atomic_store(&slot->begin, (uintptr_t)data);
    } else {
        slot = NULL;
    }
    pthread_mutex_unlock(&slots_lock);
    return slot;
}

static int file_measure(int fd, const char *path, size_t *ret_bytes, char error[ENGINE_ERROR_BYTES])
{
    struct stat status;

    if (fstat(fd, &status) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: empty, or not a plain file", path);
        return TANDEM_EFORMAT;
    }
    if (status.st_size > LIMIT_MODEL_FILE_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: larger than %lld bytes", path,
                 (long long)LIMIT_MODEL_FILE_BYTES);
        return TANDEM_ETOOBIG;
    }
    *ret_bytes = (size_t)status.st_size;
    return 0;
}

int mapping_open(const char *path, struct mapping **ret_mapping, char error[ENGINE_ERROR_BYTES])
{
    struct mapping *mapping = calloc(1, sizeof(*mapping));
    void *data;
    int rc;

    if (!mapping) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: no memory", path);
        return TANDEM_ENOMEM;
    }
    mapping->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (mapping->fd < 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %s", path, strerror(errno));
        rc = TANDEM_EIO;
        goto out;
    }
    rc = file_measure(mapping->fd, path, &mapping->bytes, error);
    if (rc != 0) {
        goto out;
    }
    data = mmap(NULL, mapping->bytes, PROT_READ, MAP_SHARED, mapping->fd, 0);
    if (data == MAP_FAILED) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: cannot be mapped: %s", path, strerror(errno));
        rc = TANDEM_EIO;
        goto out;
    }
    mapping->data = data;
    mapping->slot = slot_take(mapping->data, mapping->bytes);
    if (!mapping->slot) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %d model files are open already", path,
                 LIMIT_MODEL_MAPPINGS);
        rc = TANDEM_ENOMEM;
    }
out:
    if (rc != 0) {
        mapping_close(mapping);
        return rc;
    }
    *ret_mapping = mapping;
    return 0;
}

void mapping_close(struct mapping *mapping)
{
    if (!mapping) {
        return;
    }
    if (mapping->slot) {
        pthread_mutex_lock(&slots_lock);
        atomic_store(&mapping->slot->begin, 0);
        pthread_mutex_unlock(&slots_lock);
    }
    if (mapping->data) {
        munmap(mapping->data, mapping->bytes);
    }
    if (mapping->fd >= 0) {
        close(mapping->fd);
    }
    free(mapping);
}

const uint8_t *mapping_data(const struct mapping *mapping)
{
    return mapping->data;
}

size_t mapping_bytes(const struct mapping *mapping)
{
    return mapping->bytes;
}

bool mapping_truncated(const struct mapping *mapping)
{
    struct stat status;

    return atomic_load(&mapping->slot->truncated) || fstat(mapping->fd, &status) != 0 ||
           (uint64_t)status.st_size < mapping->bytes;
}
