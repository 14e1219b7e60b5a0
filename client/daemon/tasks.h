/* tasks.h: the tasks of this daemon with their local models and what is learned about them. Start-up, then loop thread. */
#ifndef TANDEM_CLIENT_TASKS_H
#define TANDEM_CLIENT_TASKS_H

#include "client/daemon/daemon_config.h"
#include "client/daemon/runner.h"
#include "client/policy/confidence.h"
#include "client/policy/estimate_edge.h"
#include "common/base/task_config.h"
#include "common/wire/edge_msg.h"

struct client_task {
    const struct task_config *config;
    bool has_local;
    struct local_model local;
    struct estimate_local estimate;
    struct estimate_edge edges[LIMIT_EDGES];
    struct confidence confidence;
};
struct tasks {
    struct task_config *configs;
    size_t count;
    struct client_task *items;
    struct edge_task *contracts;                /* what the hello to an edge says */
    char (*names)[LIMIT_NAME_BYTES + 1];        /* what the hello to an application says */
};
/* Opens every local model and runs it once, so that READY means it answers and the first estimate is measured. One line in `error`. */
int tasks_load(const struct client_config *config, struct tasks *ret_tasks, char error[CONFIG_ERROR_BYTES]);
void tasks_free(struct tasks *tasks);
/* The index, or -1. */
int tasks_find(const struct tasks *tasks, const char *name);

#endif
