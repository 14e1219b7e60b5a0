/* fake_parts.h: stands in for the runner, the links, the applications' sockets and the task files,
 * so that requests.c and what it calls can be looked at one event at a time. One test program
 * includes it; the archive's own are then not linked. The clock is `fake.now_ns`. */
#ifndef TANDEM_TESTS_FAKE_PARTS_H
#define TANDEM_TESTS_FAKE_PARTS_H

#include "client/daemon/request.h"

#include <stdlib.h>

#define FAKE_EDGES 2
#define FAKE_SENT  64

struct fake_sent { /* one request to an edge */
    size_t edge, bytes;
    uint64_t id;
    struct edge_request message;
};
static struct {
    int64_t now_ns;
    struct edge_load load;
    struct estimate_link link;
    double paced_ms;      /* that a cap adds to every upload */
    double held_ms;       /* that it held something back until now */
    uint64_t max_up_kbit; /* the cap */
    struct fake_sent sent[FAKE_SENT];
    size_t sent_count, started_count, cancelled_count;
    size_t probed_count;                   /* also of links where no probe is due */
    struct runner_job *started[FAKE_SENT]; /* local runs, in order */
    struct decision last;                  /* that has ended */
    uint64_t unsent;                       /* of what is cancelled */
    char local_digest[33];                 /* of every local model */
    enum edge_trouble trouble;             /* of every edge */
    uint32_t labels;                       /* of every edge's; 0: it does not say */
    size_t task_most;                      /* the largest number of a task that a link was told */
} fake;

static int64_t fake_now(void *user)
{
    (void)user;
    return fake.now_ns;
}

/* ---- links ---- */

size_t links_count(const struct links *links)
{
    (void)links;
    return FAKE_EDGES;
}

void links_view(const struct links *links, size_t edge, struct link_view *ret_view)
{
    (void)links;
    *ret_view = (struct link_view){.name = edge == 0 ? "den" : "attic",
                                   .url = "",
                                   .state = "up",
                                   .why = "",
                                   .up = true,
                                   .load = &fake.load,
                                   .estimate = &fake.link,
                                   .max_up_kbit = fake.max_up_kbit,
                                   .next_attempt_ms = -1};
}

double links_paced_ms(const struct links *links, size_t edge, uint64_t bytes, int64_t now_ns)
{
    (void)links;
    (void)edge;
    (void)bytes;
    (void)now_ns;
    return fake.paced_ms;
}

double links_held_ms(const struct links *links, size_t edge, int64_t now_ns)
{
    (void)links;
    (void)edge;
    (void)now_ns;
    return fake.held_ms;
}

void links_picture(const struct links *links, size_t edge, size_t task, uint32_t *ret_width,
                   uint32_t *ret_height)
{
    (void)links;
    (void)edge;
    (void)task;
    *ret_width = *ret_height = 32;
}

uint32_t links_labels(const struct links *links, size_t edge, const char *task)
{
    (void)links;
    (void)edge;
    (void)task;
    return fake.labels;
}

void links_estimate_give(struct links *links, size_t edge, const struct estimate_link *estimate)
{
    (void)links;
    (void)edge;
    (void)estimate;
}

void links_waited(struct links *links, size_t edge, double wait_ms)
{
    (void)links;
    (void)edge;
    (void)wait_ms;
}

const char *links_unusable(const struct links *links, size_t edge, size_t task,
                           enum edge_trouble *ret_trouble)
{
    (void)links;
    (void)edge;
    fake.task_most = task > fake.task_most ? task : fake.task_most;
    *ret_trouble = fake.trouble;
    return fake.trouble == EDGE_FINE ? NULL : "no edge connected";
}

int links_send(struct links *links, size_t edge, uint64_t id, const struct edge_request *request,
               uint8_t *payload, size_t bytes)
{
    (void)links;
    assert_true(fake.sent_count < FAKE_SENT);
    fake.sent[fake.sent_count++] = (struct fake_sent){edge, bytes, id, *request};
    free(payload);
    return 0;
}

uint64_t links_cancel(struct links *links, size_t edge, uint64_t id)
{
    (void)links;
    (void)edge;
    (void)id;
    fake.cancelled_count++;
    return fake.unsent;
}

void links_probe(struct links *links, size_t edge)
{
    (void)links;
    (void)edge;
    fake.probed_count++;
}

/* ---- the runner ---- */

void runner_submit(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    assert_true(fake.started_count < FAKE_SENT);
    fake.started[fake.started_count++] = job;
}

const char *engine_model_digest(struct engine_model *model)
{
    (void)model;
    return fake.local_digest;
}

void runner_cancel(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    atomic_store(&job->abort, true);
}

/* ---- the applications and the tasks ---- */

uid_t app_peer_uid(const struct app_peer *peer)
{
    (void)peer;
    return 1000;
}

void app_send(struct app_peer *peer, enum frame_kind kind, uint64_t id, const struct buf *header)
{
    (void)peer;
    (void)kind;
    (void)id;
    (void)header;
}

void app_input_release(struct app_input *input)
{
    if (!input->mapped) { /* what is static says that it is */
        free(input->data);
    }
}

struct tasks *tasks_ref(struct tasks *tasks)
{
    return tasks;
}

void tasks_unref(struct tasks *tasks)
{
    (void)tasks;
}

int tasks_find(const struct tasks *tasks, const char *name)
{
    for (size_t i = 0; i < tasks->count; i++) {
        if (strcmp(tasks->configs[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* A task that any edge may have, with a local model of which nothing is known yet. */
static inline void fake_task(const char *name, int kind, struct task_config *config,
                             struct client_task *task)
{
    *config = (struct task_config){.name = (char *)(uintptr_t)name,
                                   .kind = kind,
                                   .leaves_device = (char *)(uintptr_t) "any_edge",
                                   .confidence_threshold = 0.5,
                                   .max_new_tokens = 10};
    *task = (struct client_task){.config = config, .has_local = true, .scores_bytes = 1024};
    estimate_local_init(&task->estimate);
    estimate_text_init(&task->text);
    task_confidence_init(task);
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        estimate_edge_init(&task->edges[i]);
    }
}

#endif
