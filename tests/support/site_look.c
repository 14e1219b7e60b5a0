/* site_look.c: what a site says: status, logs, programs, and requests through the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32

char *site_ask(const char *socket_path, const char *line)
{
    const struct timeval patience = {.tv_sec = SITE_PATIENCE_MS / 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t bytes = 0, room = 1 << 20;
    char *answer = NULL;
    ssize_t got = 0;

    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    strcpy(address.sun_path, socket_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line)) {
        answer = malloc(room);
        assert_non_null(answer);
        while (bytes + 1 < room && (got = read(fd, answer + bytes, room - bytes - 1)) > 0) {
            bytes += (size_t)got;
        }
        answer[bytes] = '\0';
    }
    (void)close(fd);
    return answer;
}

cJSON *site_status(const char *socket_path)
{
    char *answer = site_ask(socket_path, "status\n");
    cJSON *object = answer ? cJSON_Parse(answer) : NULL;

    free(answer);
    return object;
}

double site_number(const char *socket_path, const char *path)
{
    cJSON *object = site_status(socket_path);
    const cJSON *at = object;
    char words[128], *word, *rest = words;
    double number;

    snprintf(words, sizeof(words), "%s", path);
    while (at && (word = strsep(&rest, "."))) {
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(word))
                               : cJSON_GetObjectItemCaseSensitive(at, word);
    }
    number = cJSON_IsNumber(at) ? at->valuedouble : -1;
    cJSON_Delete(object);
    return number;
}

void site_edge_wait(struct site *site, const char *state)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "\"state\":\"%s\"", state);
    for (;;) {
        char *answer = site_ask(site->status_socket, "status\n");
        const bool there = answer && strstr(answer, wanted);

        if (!there && clock_now_ns() > end_ns) {
            fail_msg("the edge does not become %s: %s", state, answer);
        }
        free(answer);
        if (there) {
            return;
        }
        site_pause();
    }
}

static char *log_text(const struct site *site, const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s.log", site->dir, name);
    return site_file(path, NULL);
}

size_t site_log_count(struct site *site, const char *name, const char *text)
{
    char *log = log_text(site, name), *rest = log, *line;
    size_t count = 0;

    while ((line = strsep(&rest, "\n"))) {
        count += strstr(line, text) != NULL;
    }
    free(log);
    return count;
}

void site_log_wait(struct site *site, const char *name, const char *text)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;

    while (site_log_count(site, name, text) == 0) {
        if (clock_now_ns() > end_ns) {
            fail_msg("the %s's log has no '%s': %s", name, text, log_text(site, name));
        }
        site_pause();
    }
}

/* An unnamed file that a program writes into. */
static int scratch_open(void)
{
    const int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static void scratch_take(int fd, char **ret_text)
{
    const off_t bytes = lseek(fd, 0, SEEK_END);

    if (ret_text) {
        *ret_text = calloc(1, (size_t)bytes + 1);
        assert_non_null(*ret_text);
        assert_int_equal(pread(fd, *ret_text, (size_t)bytes, 0), bytes);
    }
    (void)close(fd);
}

int site_run(char **ret_out, char **ret_error, const char *program, ...)
{
    const int out = scratch_open(), error = scratch_open();
    const char *build = getenv("BUILD");
    char path[512], *arguments[ARGUMENTS_MAX] = {(char *)(uintptr_t)program};
    va_list list;
    pid_t pid;
    int status;

    snprintf(path, sizeof(path), "%s/bin/%s", build ? build : "build", program);
    va_start(list, program);
    for (size_t i = 1; i < ARGUMENTS_MAX && (arguments[i] = va_arg(list, char *)); i++) {
        assert_true(i + 1 < ARGUMENTS_MAX);
    }
    va_end(list);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int none = open("/dev/null", O_RDONLY);

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(2 * SITE_PATIENCE_MS / 1000);
        if (none < 0 || dup2(none, 0) < 0 || dup2(out, 1) < 0 || dup2(error, 2) < 0) {
            _exit(126);
        }
        (void)execv(path, arguments);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    scratch_take(out, ret_out);
    scratch_take(error, ret_error);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

size_t site_fds(pid_t pid)
{
    char path[64];
    size_t count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    return count;
}

size_t site_memory_kb(pid_t pid)
{
    char path[64], *text, *at;
    size_t kb;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    text = site_file(path, NULL);
    at = strstr(text, "RssAnon:");
    kb = at ? strtoul(at + strlen("RssAnon:"), NULL, 10) : 0;
    free(text);
    return kb;
}

int site_classify(struct tandem *tandem, const char *path, const char *route, uint32_t deadline_ms,
                  struct tandem_answer **ret_answer)
{
    struct tandem_request request;
    size_t bytes;
    void *data = site_file(path, &bytes);
    int result;

    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = route;
    request.deadline_ms = deadline_ms;
    result = tandem_call(tandem, &request, ret_answer);
    free(data);
    return result;
}

int site_generate(struct tandem *tandem, const char *text, const char *route, uint32_t deadline_ms,
                  struct tandem_answer **ret_answer)
{
    struct tandem_request request;

    tandem_request_init(&request, "commands");
    request.text = text;
    request.route = route;
    request.deadline_ms = deadline_ms;
    return tandem_call(tandem, &request, ret_answer);
}
