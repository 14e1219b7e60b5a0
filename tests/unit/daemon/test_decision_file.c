/* decisions.jsonl: whole lines whatever the disk does, a bound, and the last id. A full disk is
 * played by a limit on the size of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/decision_file.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128], old[160];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tandem-decisions-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/decisions.jsonl", dir);
    snprintf(old, sizeof(old), "%s.1", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(old);
    return rmdir(dir);
}

static void room_set(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void line_write(struct decision_file *file, unsigned id, int64_t now_ns)
{
    char line[128];
    const int bytes = snprintf(line, sizeof(line),
                               "{\"daemon\":\"tandem-client\",\"schema\":1,\"id\":\"%u\"}\n", id);

    decision_file_write(file, line, (size_t)bytes, now_ns);
    decision_file_flush(file, now_ns);
}

/* How many lines the file has; each one whole. */
static unsigned lines_count(const char *name)
{
    FILE *file = fopen(name, "r");
    char line[256];
    unsigned count = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        cJSON *json = cJSON_Parse(line);

        assert_non_null(json);
        assert_int_equal(line[strlen(line) - 1], '\n');
        cJSON_Delete(json);
        count++;
    }
    (void)fclose(file);
    return count;
}

static void test_lines_and_last_id(void **state)
{
    struct decision_file file;

    (void)state;
    assert_int_equal(decision_file_last_id(dir), 0);
    assert_int_equal(decision_file_last_id(""), 0);
    decision_file_open(&file, dir, 1);
    line_write(&file, 11, 1);
    line_write(&file, 13, 1);
    line_write(&file, 12, 1); /* ended last, began earlier */
    decision_file_close(&file);
    assert_int_equal(lines_count(path), 3);
    assert_int_equal(decision_file_last_id(dir), 13);
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(decision_file_last_id(dir), 13);
    decision_file_open(&file, dir, 1);
    for (unsigned i = 0; i < 5000; i++) { /* more than the end that is read */
        line_write(&file, 100 + i, 1);
    }
    decision_file_close(&file);
    assert_int_equal(decision_file_last_id(dir), 5099);
}

/* For every room left on the disk: what fits is there, nothing else, and it goes on afterwards. */
static void test_full_disk(void **state)
{
    (void)state;
    for (unsigned room = 0; room < 60; room++) {
        struct decision_file file;
        off_t bytes;

        (void)unlink(path);
        decision_file_open(&file, dir, 1);
        line_write(&file, 1, 1);
        bytes = file.bytes;
        room_set((rlim_t)bytes + room);
        line_write(&file, 2, 2);
        line_write(&file, 3, 3);
        room_set(RLIM_INFINITY);
        assert_int_equal(file.lost, room < (unsigned)bytes ? 2 : 1);
        assert_int_equal(lines_count(path), 3 - file.lost);
        line_write(&file, 4, 4);
        assert_int_equal(lines_count(path), 4 - file.lost);
        decision_file_close(&file);
    }
}

/* A crash may leave half a line: it is taken off, what is before it stays. */
static void test_half_a_line_is_taken_off(void **state)
{
    static const char *const halves[] = {"{\"daemon\":\"tan", "{", ""};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct decision_file file;
        int fd;

        (void)unlink(path);
        decision_file_open(&file, dir, 1);
        line_write(&file, 1, 1);
        line_write(&file, 2, 1);
        decision_file_close(&file);
        fd = open(path, O_WRONLY | O_APPEND);
        assert_int_equal(write(fd, halves[i], strlen(halves[i])), strlen(halves[i]));
        (void)close(fd);
        decision_file_open(&file, dir, 1);
        line_write(&file, 3, 1);
        decision_file_close(&file);
        assert_int_equal(lines_count(path), 3);
    }
}

static void test_bound(void **state)
{
    struct decision_file file;
    struct stat file_state;
    int fd;

    (void)state;
    fd = open(path, O_WRONLY | O_CREAT, 0640);
    assert_int_equal(pwrite(fd, "\n", 1, LIMIT_DECISION_FILE_BYTES - 61), 1);
    (void)close(fd);
    decision_file_open(&file, dir, 1);
    line_write(&file, 1, 1); /* fits */
    assert_int_equal(access(old, F_OK), -1);
    line_write(&file, 2, 1); /* does not */
    assert_int_equal(lines_count(path), 1);
    assert_int_equal(stat(old, &file_state), 0);
    assert_true(file_state.st_size <= LIMIT_DECISION_FILE_BYTES);
    assert_true(file_state.st_size > LIMIT_DECISION_FILE_BYTES - 60);
    decision_file_close(&file);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(file.lost, 0);
}

/* A folder in the way of the old file: the bound holds, lines are lost and counted. */
static void test_bound_holds_when_rename_fails(void **state)
{
    struct decision_file file;
    int fd;

    (void)state;
    assert_int_equal(mkdir(old, 0700), 0);
    fd = open(path, O_WRONLY | O_CREAT, 0640);
    assert_int_equal(pwrite(fd, "\n", 1, LIMIT_DECISION_FILE_BYTES - 1), 1);
    (void)close(fd);
    decision_file_open(&file, dir, 1);
    line_write(&file, 1, 1);
    assert_int_equal(file.lost, 1);
    assert_int_equal(file.bytes, LIMIT_DECISION_FILE_BYTES);
    assert_int_equal(rmdir(old), 0);
    line_write(&file, 2, 2);
    assert_int_equal(lines_count(path), 1);
    decision_file_close(&file);
}

static unsigned warnings_count(FILE *log)
{
    char line[LIMIT_LOG_LINE_BYTES + 1];
    unsigned count = 0;

    rewind(log);
    while (fgets(line, sizeof(line), log)) {
        count += strstr(line, "decisions are lost") != NULL;
    }
    return count;
}

/* A folder that is not there yet: said once a minute, found when it comes. */
static void test_said_once_a_minute(void **state)
{
    const int64_t start_ns = NS_PER_S;
    FILE *log = tmpfile();
    struct decision_file file;
    char later[128];

    (void)state;
    log_init("test", LOG_LEVEL_INFO, fileno(log));
    snprintf(later, sizeof(later), "%s/later", dir);
    decision_file_open(&file, later, start_ns);
    for (unsigned i = 0; i < 50; i++) {
        line_write(&file, i, start_ns + i * NS_PER_S);
    }
    assert_int_equal(file.lost, 50);
    assert_int_equal(warnings_count(log), 1);
    line_write(&file, 51, start_ns + 61 * NS_PER_S);
    assert_int_equal(warnings_count(log), 2);
    assert_int_equal(mkdir(later, 0700), 0);
    line_write(&file, 52, start_ns + 63 * NS_PER_S);
    assert_int_equal(file.lost, 51);
    assert_int_equal(unlink(file.path), 0);
    decision_file_close(&file);
    assert_int_equal(rmdir(later), 0);
    log_init("test", LOG_LEVEL_ERROR, 2);
    (void)fclose(log);
}

/* What comes within a second of a write waits for the next one, which is due a second after it. */
static void test_once_a_second(void **state)
{
    static const char line[] = "{\"id\":\"1\"}\n";
    struct decision_file file;

    (void)state;
    decision_file_open(&file, dir, NS_PER_S);
    assert_int_equal(decision_file_due_ns(&file), 0);
    decision_file_write(&file, line, sizeof(line) - 1, 5 * NS_PER_S);
    assert_int_equal(lines_count(path), 1);
    assert_int_equal(decision_file_due_ns(&file), 0);
    decision_file_write(&file, line, sizeof(line) - 1, 5 * NS_PER_S + 1);
    decision_file_write(&file, line, sizeof(line) - 1, 6 * NS_PER_S - 1);
    assert_int_equal(lines_count(path), 1);
    assert_int_equal(decision_file_due_ns(&file), 6 * NS_PER_S);
    decision_file_flush(&file, 6 * NS_PER_S);
    assert_int_equal(lines_count(path), 3);
    assert_int_equal(decision_file_due_ns(&file), 0);
    decision_file_write(&file, line, sizeof(line) - 1, 7 * NS_PER_S - 1);
    assert_int_equal(lines_count(path), 3);
    decision_file_write(&file, line, sizeof(line) - 1, 7 * NS_PER_S);
    assert_int_equal(lines_count(path), 5);
    decision_file_write(&file, line, sizeof(line) - 1, 7 * NS_PER_S + 1);
    decision_file_close(&file); /* an end loses nothing */
    assert_int_equal(lines_count(path), 6);
}

/* However much comes in a second, no more than the bound waits. */
static void test_pending_bound(void **state)
{
    struct decision_file file;
    char *line = malloc(1 << 20);
    off_t bytes;

    (void)state;
    assert_non_null(line);
    memset(line, ' ', 1 << 20);
    line[(1 << 20) - 1] = '\n';
    decision_file_open(&file, dir, 1);
    decision_file_write(&file, line, 1 << 20, 1); /* at once */
    bytes = file.bytes;
    assert_int_equal(bytes, 1 << 20);
    for (unsigned i = 0; i < LIMIT_DECISION_PENDING_BYTES >> 20; i++) {
        decision_file_write(&file, line, 1 << 20, 2);
    }
    assert_int_equal(file.bytes, bytes);
    assert_int_equal(file.pending.bytes, LIMIT_DECISION_PENDING_BYTES);
    decision_file_write(&file, line, 1 << 20, 2);
    assert_int_equal(file.bytes, bytes + LIMIT_DECISION_PENDING_BYTES);
    assert_int_equal(file.pending.bytes, 1 << 20);
    decision_file_close(&file);
    free(line);
}

/* Several lines in one write to a disk that has room for a part of them: whole lines stay. */
static void test_full_disk_in_the_middle(void **state)
{
    struct decision_file file;

    (void)state;
    for (off_t room = 0; room < 30; room++) {
        (void)unlink(path);
        decision_file_open(&file, dir, 1);
        decision_file_write(&file, "{\"a\":1}\n", 8, 1);
        decision_file_write(&file, "{\"b\":22}\n", 9, 2);
        decision_file_write(&file, "{\"c\":333}\n", 10, 3);
        room_set((rlim_t)(8 + room));
        decision_file_flush(&file, 4);
        room_set(RLIM_INFINITY);
        assert_int_equal(lines_count(path), 1 + (room >= 9) + (room >= 19));
        assert_int_equal(file.lost, 2 - (room >= 9) - (room >= 19));
        decision_file_close(&file);
    }
}

static void test_no_folder(void **state)
{
    struct decision_file file;

    (void)state;
    decision_file_open(&file, "", 1);
    line_write(&file, 1, 1);
    assert_int_equal(file.lost, 0); /* nobody wanted it kept */
    decision_file_close(&file);
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {WITH_FOLDER(test_lines_and_last_id),
                                       WITH_FOLDER(test_full_disk),
                                       WITH_FOLDER(test_half_a_line_is_taken_off),
                                       WITH_FOLDER(test_bound),
                                       WITH_FOLDER(test_bound_holds_when_rename_fails),
                                       WITH_FOLDER(test_said_once_a_minute),
                                       WITH_FOLDER(test_once_a_second),
                                       WITH_FOLDER(test_pending_bound),
                                       WITH_FOLDER(test_full_disk_in_the_middle),
                                       WITH_FOLDER(test_no_folder)};

    log_init("test", LOG_LEVEL_ERROR, 2);
    (void)signal(SIGXFSZ, SIG_IGN); /* a write over the limit is an error, not the end */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
