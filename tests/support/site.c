#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32

void site_pause(void)
{
    const struct timespec wait = {.tv_nsec = 10000000};

    (void)nanosleep(&wait, NULL);
}

static int64_t patience_end(void)
{
    return clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;
}

void site_write(const char *path, const char *format, ...)
{
    va_list arguments;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    va_start(arguments, format);
    assert_true(vfprintf(file, format, arguments) >= 0);
    va_end(arguments);
    assert_int_equal(fclose(file), 0);
}

void *site_file(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "r");
    size_t bytes = 0, room = 1 << 16, got;
    char *data = malloc(room);

    assert_non_null(file);
    assert_non_null(data);
    while ((got = fread(data + bytes, 1, room - bytes - 1, file)) > 0) {
        bytes += got;
        if (room - bytes < 2) {
            room *= 2;
            data = realloc(data, room);
            assert_non_null(data);
        }
    }
    (void)fclose(file);
    data[bytes] = '\0';
    if (ret_bytes) {
        *ret_bytes = bytes;
    }
    return data;
}

/* ---- the folder ---- */

static void tasks_write(const struct site *site)
{
    static const char *const objects =
        "[task]\nkind = classify\ndefault_deadline_ms = 20000\nconfidence_threshold = 0.8\n%s"
        "[local]\nmodel = %s/deploy/models/objects-local.gguf\n[edge]\nmodel = "
        "%s/deploy/models/objects-edge.gguf\n";
    static const char *const commands =
        "[task]\nkind = generate\ndefault_deadline_ms = 20000\nconfidence_threshold = "
        "0.9\nmax_new_tokens = 64\n"
        "[local]\nmodel = %s/deploy/models/commands-local.gguf\n[edge]\nmodel = "
        "%s/deploy/models/commands-edge.gguf\n";
    char path[128];

    snprintf(path, sizeof(path), "%s/tasks/objects.conf", site->dir);
    site_write(path, objects, "", site->top, site->top);
    snprintf(path, sizeof(path), "%s/tasks/private.conf", site->dir);
    site_write(path, objects, "leaves_device = never\n", site->top, site->top);
    snprintf(path, sizeof(path), "%s/tasks/commands.conf", site->dir);
    site_write(path, commands, site->top, site->top);
}

void site_configure(struct site *site, const struct site_config *config)
{
    char path[128], usual[128], token[192] = "", tenant[192] = "";

    snprintf(usual, sizeof(usual), "ipc://%s/edge.sock", site->dir);
    if (!config->tls) {
        snprintf(token, sizeof(token), "token_file = %s/token\n", site->dir);
        snprintf(tenant, sizeof(tenant), "[tenant test]\ntoken_file = %s/token\n", site->dir);
    }
    snprintf(path, sizeof(path), "%s/server.conf", site->dir);
    site_write(path, "[server]\nlisten = %s\nstatus_socket = %s\ntasks_dir = %s/tasks\n%s%s",
               config->listen ? config->listen : usual, site->server_socket, site->dir,
               config->server ? config->server : "", tenant);
    snprintf(path, sizeof(path), "%s/client.conf", site->dir);
    site_write(path,
               "[client]\napp_socket = %s\nstatus_socket = %s\ntasks_dir = %s/tasks\nstate_dir = "
               "%s/state\n%s%s[edge den]\nurl = %s\n%s%s",
               site->app_socket, site->status_socket, site->dir, site->dir,
               config->results ? "" : "result_cache_bytes = 0\n",
               config->client ? config->client : "", config->url ? config->url : usual, token,
               config->edge ? config->edge : "");
}

void site_init(struct site *site, const struct site_config *config)
{
    char path[128];

    memset(site, 0, sizeof(*site));
    strcpy(site->dir, "/tmp/tandem-site-XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    assert_non_null(getcwd(site->top, sizeof(site->top)));
    snprintf(site->app_socket, sizeof(site->app_socket), "%s/app.sock", site->dir);
    snprintf(site->status_socket, sizeof(site->status_socket), "%s/status.sock", site->dir);
    snprintf(site->server_socket, sizeof(site->server_socket), "%s/server.sock", site->dir);
    snprintf(path, sizeof(path), "%s/tasks", site->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/state", site->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/token", site->dir);
    site_write(path, "0123456789abcdef0123\n");
    assert_int_equal(chmod(path, 0600), 0);
    tasks_write(site);
    site_configure(site, config ? config : &(struct site_config){0});
}

void site_fini(struct site *site)
{
    char command[128];

    if (site->client > 0) {
        (void)site_client_stop(site, SIGKILL);
    }
    if (site->server > 0) {
        (void)site_server_stop(site, SIGKILL);
    }
    snprintf(command, sizeof(command), "rm -r %s", site->dir);
    assert_int_equal(system(command), 0);
}

/* ---- the daemons ---- */

static void program_path(const char *program, char path[512])
{
    const char *build = getenv("BUILD");

    snprintf(path, 512, "%s/bin/%s", build ? build : "build", program);
}

static pid_t daemon_start(const struct site *site, const char *program, const char *name)
{
    char path[512], config[128], log[128];
    pid_t pid;
    int fd;

    program_path(program, path);
    snprintf(config, sizeof(config), "%s/%s.conf", site->dir, name);
    snprintf(log, sizeof(log), "%s/%s.log", site->dir, name);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) {
            _exit(126);
        }
        (void)execl(path, program, "--config", config, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void daemon_wait(struct site *site, pid_t pid, const char *name, const char *socket)
{
    const int64_t end_ns = patience_end();
    char log[128];
    char *answer;
    int status;

    while (!(answer = site_ask(socket, "status\n"))) {
        if (waitpid(pid, &status, WNOHANG) != 0 || clock_now_ns() > end_ns) {
            snprintf(log, sizeof(log), "%s/%s.log", site->dir, name);
            fail_msg("the %s does not answer: %s", name, (char *)site_file(log, NULL));
        }
        site_pause();
    }
    free(answer);
}

void site_server_start(struct site *site)
{
    site->server = daemon_start(site, "tandem-server", "server");
    daemon_wait(site, site->server, "server", site->server_socket);
}

void site_client_start(struct site *site)
{
    site->client = daemon_start(site, "tandem-client", "client");
    daemon_wait(site, site->client, "client", site->status_socket);
}

/* True: it has ended. One that a test has frozen is woken to end, and only such a one: the leak
 * check of a sanitized program stops its threads by a signal that SIGCONT takes away, and waits for
 * ever.
 */
static bool daemon_ended(pid_t pid, int *ret_status)
{
    int status;

    if (waitpid(pid, &status, WNOHANG | WUNTRACED) == 0) {
        return false;
    }
    if (WIFSTOPPED(status)) {
        (void)kill(pid, SIGCONT);
        return false;
    }
    *ret_status = status;
    return true;
}

/* A daemon that does not end is killed, and the status says so. */
static int daemon_stop(pid_t *pid, int signal)
{
    const int64_t end_ns = patience_end();
    int status = 0;
    bool ended;

    assert_true(*pid > 0);
    assert_int_equal(kill(*pid, signal), 0);
    while (!(ended = daemon_ended(*pid, &status)) && clock_now_ns() < end_ns) {
        site_pause();
    }
    if (!ended) {
        (void)kill(*pid, SIGKILL);
        (void)waitpid(*pid, &status, 0);
    }
    *pid = 0;
    return status;
}

int site_server_stop(struct site *site, int signal)
{
    return daemon_stop(&site->server, signal);
}

int site_client_stop(struct site *site, int signal)
{
    return daemon_stop(&site->client, signal);
}

int site_open(struct site *site, struct tandem **ret_tandem)
{
    site_server_start(site);
    site_client_start(site);
    site_edge_wait(site, "up");
    return tandem_open(site->app_socket, ret_tandem);
}

void site_open_policy(struct site *site, const char *policy, struct tandem **ret_tandem)
{
    char client[256];

    snprintf(client, sizeof(client), "[policy]\n%s", policy);
    site_init(site, &(struct site_config){.client = client});
    assert_int_equal(site_open(site, ret_tandem), 0);
}

void site_close(struct site *site, struct tandem *tandem)
{
    tandem_close(tandem);
    assert_int_equal(site_client_stop(site, SIGTERM), 0);
    assert_int_equal(site_server_stop(site, SIGTERM), 0);
    site_fini(site);
}
