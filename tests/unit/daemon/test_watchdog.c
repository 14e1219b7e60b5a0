/* The watchdog is fed while the local models run, and starves while a step of one hangs. The daemon
 * is real, in a child; its runner is fake and says what this test wants; the manager is this test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/daemon/daemon.h"
#include "client/daemon/runner.h"
#include "common/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS (30 * NS_PER_S)
#define WATCHDOG_US "20000" /* asked for every 10 ms */

static struct shared { /* with the child */
    atomic_bool stuck;
    atomic_uint looks;
} * shared;
static char dir[64];
static int manager;
static pid_t daemon_pid;

/* ---- the runner; no task here has a local model ---- */

int runner_new(uv_loop_t *loop, const struct runner_callbacks *callbacks, void *user,
               struct runner **ret_runner)
{
    (void)loop;
    (void)callbacks;
    (void)user;
    *ret_runner = NULL;
    return 0;
}

bool runner_is_stuck(const struct runner *runner, int64_t now_ns)
{
    (void)runner;
    (void)now_ns;
    shared->looks++;
    return shared->stuck;
}

int64_t runner_busy_ns(const struct runner *runner, int64_t now_ns)
{
    (void)runner;
    (void)now_ns;
    return 0;
}

void runner_submit(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    (void)job;
    abort();
}

void runner_cancel(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    (void)job;
}

void runner_run_now(struct runner_job *job, const atomic_bool *give_up)
{
    (void)job;
    (void)give_up;
    abort();
}

void runner_free(struct runner *runner)
{
    (void)runner;
}

/* ---- the manager ---- */

static void pause_10ms(void)
{
    const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};

    (void)nanosleep(&pause, NULL);
}

/* How many messages that are there begin with `word`; all of them are taken. */
static unsigned heard(const char *word)
{
    unsigned count = 0;
    char text[512];
    ssize_t got;

    while ((got = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
        text[got] = '\0';
        count += strncmp(text, word, strlen(word)) == 0;
    }
    return count;
}

static void hear_wait(const char *word)
{
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;

    while (heard(word) == 0) {
        if (clock_now_ns() > end_ns) {
            fail_msg("%s does not come", word);
        }
        pause_10ms();
    }
}

static void looks_wait(unsigned more)
{
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;
    const unsigned wanted = shared->looks + more;

    while (shared->looks < wanted) {
        if (clock_now_ns() > end_ns) {
            fail_msg("nobody looks whether the runner hangs");
        }
        pause_10ms();
    }
}

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[512], path[128];

    (void)state;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    strcpy(dir, "/tmp/tandem-watchdog-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/tasks", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/tasks/far.conf", dir);
    file_write(path, "[task]\nkind = classify\nlabels = a, b\n[edge]\nmodel = far.gguf\n");
    snprintf(path, sizeof(path), "%s/client.conf", dir);
    snprintf(text, sizeof(text),
             "[client]\napp_socket = %s/app.sock\nstatus_socket = %s/status.sock\ntasks_dir = "
             "%s/tasks\nstate_dir = %s\n",
             dir, dir, dir, dir);
    file_write(path, text);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)setenv("NOTIFY_SOCKET", address.sun_path, 1);
    (void)setenv("WATCHDOG_USEC", WATCHDOG_US, 1);
    (void)unsetenv("WATCHDOG_PID");
    daemon_pid = fork();
    if (daemon_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(daemon_run(path) == 0 ? 0 : 1);
    }
    return daemon_pid > 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    if (daemon_pid > 0) {
        (void)kill(daemon_pid, SIGKILL);
        (void)waitpid(daemon_pid, NULL, 0);
    }
    (void)close(manager);
    (void)munmap(shared, sizeof(*shared));
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void test_a_hanging_step_starves_the_watchdog(void **state)
{
    int status;

    (void)state;
    hear_wait("READY=1");
    hear_wait("WATCHDOG=1");
    shared->stuck = true;
    looks_wait(2); /* the one on its way may have asked before */
    (void)heard("");
    looks_wait(5);
    assert_int_equal(heard("WATCHDOG=1"), 0);
    shared->stuck = false;
    hear_wait("WATCHDOG=1");
    assert_int_equal(kill(daemon_pid, SIGTERM), 0);
    assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
    daemon_pid = 0;
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_hanging_step_starves_the_watchdog, setup, teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
