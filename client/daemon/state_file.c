#include "client/daemon/state_file.h"

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define CHECK_BYTES 23 /* "check 0123456789abcdef\n" */

/* ---- writing ---- */

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t written = write(fd, data, bytes);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        data += written;
        bytes -= (size_t)written;
    }
    return 0;
}

/* An older file of this name may be anything, a link too: a new one is made. */
static int beside_write(const char *path, const void *data, size_t bytes)
{
    int fd, error;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    error = write_all(fd, data, bytes);
    if (error == 0 && fsync(fd) != 0) {
        error = errno;
    }
    return close(fd) != 0 && error == 0 ? errno : error;
}

/* The name of a file is safe on the disk once its folder is. */
static int folder_sync(const char *path)
{
    char folder[STATE_PATH_BYTES];
    int fd, error;

    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path + 1), path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    error = fsync(fd) != 0 ? errno : 0;
    (void)close(fd);
    return error;
}

int state_file_replace(const char *path, const void *data, size_t bytes)
{
    char beside[STATE_PATH_BYTES + 16];
    int error;

    snprintf(beside, sizeof(beside), "%s.new", path);
    error = beside_write(beside, data, bytes);
    if (error == 0 && rename(beside, path) != 0) {
        error = errno;
    }
    if (error != 0) {
        (void)unlink(beside);
        return error;
    }
    return folder_sync(path);
}

static void check_line(const void *text, size_t bytes, char ret_line[CHECK_BYTES + 1])
{
    snprintf(ret_line, CHECK_BYTES + 1, "check %016llx\n",
             (unsigned long long)XXH3_64bits(text, bytes));
}

static int file_write(const struct state_file *file, const void *text, size_t bytes)
{
    char check[CHECK_BYTES + 1];
    struct buf all;
    int result, error = 0;

    buf_init(&all, LIMIT_STATE_FILE_BYTES);
    check_line(text, bytes, check);
    result = buf_append(&all, text, bytes);
    if (result == 0) {
        result = buf_append(&all, check, CHECK_BYTES);
    }
    if (result == 0) {
        error = state_file_replace(file->path, all.data, all.bytes);
        result = error != 0 ? TANDEM_EIO : 0;
    }
    buf_fini(&all);
    if (result != 0 && !file->failed) {
        log_warning("%s: %s: not kept on disk", file->path,
                    error != 0 ? strerror(error) : tandem_error_text(result));
    }
    return result;
}

int state_file_write(struct state_file *file, const void *text, size_t bytes)
{
    int result;

    if (!file->path[0]) {
        return 0;
    }
    result = file_write(file, text, bytes);
    if (result == 0 && file->failed) {
        log_info("%s: kept again", file->path);
    }
    file->failed = result != 0;
    return result;
}

/* ---- reading ---- */

const char *state_file_rename_aside(const char *path, char aside[STATE_PATH_BYTES + 16])
{
    snprintf(aside, STATE_PATH_BYTES + 16, "%s.damaged", path);
    (void)rename(path, aside);
    return aside;
}

void state_file_set_aside(const struct state_file *file, const char *wrong)
{
    char aside[STATE_PATH_BYTES + 16];

    log_warning("%s: %s, set aside as %s and done without", file->path, wrong,
                state_file_rename_aside(file->path, aside));
}

/* All of an open file; TANDEM_ETOOBIG over the bound, TANDEM_EFORMAT when it is none, TANDEM_EIO
 * with errno. */
static int file_read(int fd, struct buf *text)
{
    uint8_t piece[4096];
    struct stat state;

    if (fstat(fd, &state) != 0) {
        return TANDEM_EIO;
    }
    if (!S_ISREG(state.st_mode)) {
        return TANDEM_EFORMAT;
    }
    for (;;) {
        const ssize_t got = read(fd, piece, sizeof(piece));

        if (got == 0) {
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            return TANDEM_EIO;
        }
        if (got > 0 && text->bytes + (size_t)got > LIMIT_STATE_FILE_BYTES) {
            return TANDEM_ETOOBIG;
        }
        if (got > 0 && buf_append(text, piece, (size_t)got) != 0) {
            return TANDEM_ENOMEM;
        }
    }
}

/* Takes the line of the checksum off when it is what write made. */
static int check_take(struct buf *text)
{
    char check[CHECK_BYTES + 1];

    if (text->bytes < CHECK_BYTES) {
        return TANDEM_EFORMAT;
    }
    check_line(text->data, text->bytes - CHECK_BYTES, check);
    if (memcmp(text->data + text->bytes - CHECK_BYTES, check, CHECK_BYTES) != 0) {
        return TANDEM_EFORMAT;
    }
    text->bytes -= CHECK_BYTES;
    return 0;
}

int state_file_read(struct state_file *file, struct buf *text)
{
    int fd, result, error;

    buf_clear(text);
    if (!file->path[0]) {
        return TANDEM_ENOTFOUND;
    }
    fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return TANDEM_ENOTFOUND;
    }
    result = fd < 0 ? TANDEM_EIO : file_read(fd, text);
    error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (result == 0) {
        result = check_take(text);
    }
    if (result == TANDEM_EFORMAT || result == TANDEM_ETOOBIG) {
        state_file_set_aside(file,
                             result == TANDEM_EFORMAT ? "damaged" : "larger than was written");
        result = TANDEM_EFORMAT;
    } else if (result != 0) {
        log_warning("%s: %s: done without", file->path,
                    result == TANDEM_EIO ? strerror(error) : tandem_error_text(result));
    }
    if (result != 0) {
        buf_clear(text);
    }
    return result;
}

void state_file_init(struct state_file *file, const char *state_dir, const char *name)
{
    memset(file, 0, sizeof(*file));
    if (state_dir[0]) {
        snprintf(file->path, sizeof(file->path), "%s/%s", state_dir, name);
    }
}
