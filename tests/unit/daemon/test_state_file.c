/* Files under state_dir: what was written is read, all of it or the one before; what is damaged is
 * set aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/state_file.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_BYTES 23

static char dir[64], path[128], damaged[160], beside[160];
static FILE *said; /* what the log says */

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tandem-state-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/learned", dir);
    snprintf(damaged, sizeof(damaged), "%s.damaged", path);
    snprintf(beside, sizeof(beside), "%s.new", path);
    said = tmpfile();
    assert_non_null(said);
    log_init("test", LOG_LEVEL_INFO, fileno(said));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR, 2);
    (void)fclose(said);
    (void)unlink(path);
    (void)unlink(damaged);
    (void)unlink(beside);
    return rmdir(dir);
}

static int lines_said(const char *words)
{
    char line[2 * LIMIT_LOG_LINE_BYTES];
    int count = 0;

    rewind(said);
    while (fgets(line, sizeof(line), said)) {
        count += strstr(line, words) != NULL;
    }
    return count;
}

static void expect_read(struct state_file *file, const char *text)
{
    struct buf got;

    buf_init(&got, LIMIT_STATE_FILE_BYTES);
    assert_int_equal(state_file_read(file, &got), 0);
    assert_int_equal(got.bytes, strlen(text));
    assert_memory_equal(got.data, text, got.bytes);
    buf_fini(&got);
}

static int read_result(struct state_file *file)
{
    struct buf got;
    int result;

    buf_init(&got, LIMIT_STATE_FILE_BYTES);
    result = state_file_read(file, &got);
    assert_int_equal(got.bytes, 0);
    buf_fini(&got);
    return result;
}

static void test_kept_and_replaced(void **state)
{
    struct state_file file;
    struct stat info;

    (void)state;
    state_file_init(&file, dir, "learned");
    assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
    assert_int_equal(state_file_write(&file, "one\ntwo\n", 8), 0);
    expect_read(&file, "one\ntwo\n");
    assert_int_equal(symlink("/nonexistent/elsewhere", beside), 0); /* left by whoever */
    assert_int_equal(state_file_write(&file, "three\n", 6), 0);
    state_file_init(&file, dir, "learned");
    expect_read(&file, "three\n");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(lines_said(""), 0);
}

static void test_damaged_anywhere(void **state)
{
    static const char text[] = "tandem learned 1\ntask objects\n";
    const size_t all = sizeof(text) - 1 + CHECK_BYTES;
    int times = 0;

    (void)state;
    for (size_t at = 0; at < 2 * all; at++) {
        struct state_file file;
        char bytes[128];
        int fd;

        state_file_init(&file, dir, "learned");
        assert_int_equal(state_file_write(&file, text, sizeof(text) - 1), 0);
        fd = open(path, O_RDWR);
        assert_int_equal(read(fd, bytes, sizeof(bytes)), all);
        if (at < all) {
            bytes[at] ^= 4;
            assert_int_equal(pwrite(fd, &bytes[at], 1, (off_t)at), 1);
        } else {
            assert_int_equal(ftruncate(fd, (off_t)(at - all)), 0);
        }
        (void)close(fd);
        assert_int_equal(read_result(&file), TANDEM_EFORMAT);
        assert_int_equal(lines_said("damaged, set aside"), ++times);
        assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
        assert_int_equal(access(damaged, F_OK), 0);
    }
}

/* The largest one is read back, a larger one is not written and never read. */
static void test_bound(void **state)
{
    const size_t most = LIMIT_STATE_FILE_BYTES - CHECK_BYTES;
    char *text = malloc(LIMIT_STATE_FILE_BYTES + 1);
    struct state_file file;
    int fd;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', LIMIT_STATE_FILE_BYTES);
    text[LIMIT_STATE_FILE_BYTES] = '\0';
    state_file_init(&file, dir, "learned");
    assert_int_equal(state_file_write(&file, text, most + 1), TANDEM_ETOOBIG);
    assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
    text[most] = '\0';
    assert_int_equal(state_file_write(&file, text, most), 0);
    expect_read(&file, text);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
    assert_int_equal(read_result(&file), TANDEM_EFORMAT);
    assert_int_equal(lines_said("larger than was written"), 1);
    free(text);
}

/* A fault that stays is said once, its end too; the old file is there all the while. */
static void test_cannot_be_written(void **state)
{
    struct state_file file;

    (void)state;
    state_file_init(&file, dir, "learned");
    assert_int_equal(state_file_write(&file, "old\n", 4), 0);
    assert_int_equal(mkdir(beside, 0700), 0); /* root is stopped by no permission */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_file_write(&file, "new\n", 4), TANDEM_EIO);
    }
    assert_int_equal(lines_said("not kept on disk"), 1);
    expect_read(&file, "old\n");
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(state_file_write(&file, "new\n", 4), 0);
    assert_int_equal(lines_said("kept again"), 1);
    expect_read(&file, "new\n");
}

static void test_not_understood(void **state)
{
    struct state_file file;

    (void)state;
    state_file_init(&file, dir, "learned");
    assert_int_equal(state_file_write(&file, "tandem learned 9\n", 17), 0);
    state_file_set_aside(&file, "of another version");
    assert_int_equal(lines_said("of another version, set aside"), 1);
    assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
    /* What is no file at all is not waited for. */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_result(&file), TANDEM_EFORMAT);
}

static void test_without_a_folder(void **state)
{
    struct state_file file;

    (void)state;
    state_file_init(&file, "", "learned");
    assert_int_equal(state_file_write(&file, "x\n", 2), 0);
    assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
    assert_int_equal(lines_said(""), 0);
    state_file_init(&file, "/nonexistent/folder", "learned");
    assert_int_equal(state_file_write(&file, "x\n", 2), TANDEM_EIO);
    assert_int_equal(read_result(&file), TANDEM_ENOTFOUND);
    assert_int_equal(lines_said("not kept on disk"), 1);
}

/* Killed in the middle of writing, many times: there is always a whole file. */
static void test_killed(void **state)
{
    struct state_file file;
    char text[4096];

    (void)state;
    state_file_init(&file, dir, "learned");
    memset(text, 'a', sizeof(text));
    assert_int_equal(state_file_write(&file, text, sizeof(text)), 0);
    for (int i = 0; i < 20; i++) {
        struct buf got;
        int status;
        const pid_t child = fork();

        if (child == 0) {
            for (char mark = 'b';; mark = (char)(mark == 'z' ? 'a' : mark + 1)) {
                memset(text, mark, sizeof(text));
                (void)state_file_write(&file, text, sizeof(text));
            }
        }
        (void)usleep((useconds_t)(500 * i));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        buf_init(&got, LIMIT_STATE_FILE_BYTES);
        assert_int_equal(state_file_read(&file, &got), 0);
        assert_int_equal(got.bytes, sizeof(text));
        assert_memory_equal(got.data, got.data + 1, got.bytes - 1);
        buf_fini(&got);
    }
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {WITH_FOLDER(test_kept_and_replaced),
                                       WITH_FOLDER(test_damaged_anywhere),
                                       WITH_FOLDER(test_bound),
                                       WITH_FOLDER(test_cannot_be_written),
                                       WITH_FOLDER(test_not_understood),
                                       WITH_FOLDER(test_without_a_folder),
                                       WITH_FOLDER(test_killed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
