/* feedback_load.c: what may still be said of answers that were given before this start. */
#include "client/daemon/feedback.h"

#include "client/policy/amendment.h"
#include "client/policy/told_line.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The newest first: what is said is mostly of those. */
static struct told_answers *answers_find_newest(struct requests *all, uint64_t id)
{
    for (size_t age = 1; age <= all->told_count; age++) {
        const size_t at = (all->told_next + LIMIT_FEEDBACK_KEPT - age) % LIMIT_FEEDBACK_KEPT;

        if (all->told[at].decision == id) {
            return &all->told[at];
        }
    }
    return NULL;
}

static void task_of_line(const char *line, char ret_task[LIMIT_NAME_BYTES + 1])
{
    static const char key[] = "\"task\":\"";
    const char *at = strstr(line, key);
    const size_t bytes = at ? strcspn(at + sizeof(key) - 1, "\"\\") : 0;

    ret_task[0] = '\0';
    if (bytes <= LIMIT_NAME_BYTES && at) {
        memcpy(ret_task, at + sizeof(key) - 1, bytes);
        ret_task[bytes] = '\0';
    }
}

static void line_load(struct requests *all, const char *line)
{
    struct told_answers answers, *told;
    uint64_t id;

    if (amendment_is(line, &id)) {
        told = answers_find_newest(all, id);
        if (told) {
            (void)told_amend(line, told);
        }
    } else if (told_answers_read(line, &answers)) {
        int index;

        answers.decision = amendment_id(line);
        task_of_line(line, answers.task);
        index = tasks_find(all->tasks, answers.task);
        answers.one_right = index >= 0 && all->tasks->items[index].config->kind == TASK_CLASSIFY;
        feedback_keep(all, &answers);
    }
}

/* *returns owned*, with a NUL at its end; NULL: there is none, or not now. */
static char *file_read(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat state;
    char *text = NULL;
    ssize_t got = -1;

    if (fd >= 0 && fstat(fd, &state) == 0 && S_ISREG(state.st_mode)) {
        const off_t from = state.st_size > LIMIT_DECISION_FILE_BYTES
                               ? state.st_size - LIMIT_DECISION_FILE_BYTES
                               : 0;

        text = malloc((size_t)(state.st_size - from) + 1);
        got = text ? pread(fd, text, (size_t)(state.st_size - from), from) : -1;
    }
    if (fd >= 0) {
        (void)close(fd);
    } else if (errno != ENOENT) {
        log_warning("%s: %s: of what it holds nothing can be said", path, strerror(errno));
    }
    if (got < 0) {
        free(text);
        return NULL;
    }
    text[got] = '\0';
    return text;
}

void feedback_load(struct requests *all, const char *state_dir)
{
    static const char *const names[] = {"decisions.jsonl.1", "decisions.jsonl"};

    for (size_t i = 0; state_dir[0] && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = NULL, *text;

        if (asprintf(&path, "%s/%s", state_dir, names[i]) < 0) {
            return; /* short of memory: they are too old to be judged */
        }
        text = file_read(path);
        for (char *line = text, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            line_load(all, line);
        }
        free(text);
        free(path);
    }
}
