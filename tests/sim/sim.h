/* sim.h: the decision benchmark's world in virtual time. One run is one scene (the links of one
 * kind), one policy, N clients that share the edges, one seed. What decides is the product's own
 * client/policy; what is simulated is what the daemon has around it: links, edges, the local
 * runner, the moments at which something is measured. One thread; a run owns all its memory. */
#ifndef TANDEM_SIM_H
#define TANDEM_SIM_H

#include "client/policy/confidence.h"
#include "client/policy/decide.h"
#include "client/policy/estimate_edge.h"
#include "client/policy/job.h"
#include "client/policy/upload.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#define SIM_EDGES_MAX   2
#define SIM_CLIENTS_MAX 64
#define SIM_TASKS       2

/* What is asked, how often, and what it costs. The same for every policy. */
#define ONE_MISS_MS     1000.0
#define ONE_ERROR_MS    200.0
#define ONE_MEGABYTE_MS 20.0
#define ONE_JOULE_MS    20.0
#define LOCAL_WATT      5.0    /* of a small board's processor at load */
#define SEND_J_PER_BYTE 0.8e-6 /* Wi-Fi: about 100 nJ a bit */
#define RECV_J_PER_BYTE 0.4e-6
#define ANSWER_BYTES    200
extern const struct decide_weights sim_weights; /* the same, as decide() takes them */
extern const struct decide_energy sim_energy;

struct task_kind {
    const char *name;
    double per_s; /* of one client, Poisson */
    int64_t deadline_ns;
    double bytes_factor; /* of the recorded input */
};
extern const struct task_kind task_kinds[SIM_TASKS];

#define DEVICE_SLOWER 6.0 /* than the machine that recorded: the processor of a small board */

/* A picture in one form that it may be sent in; as it came is in struct pair. */
#define SIM_FORMS (PICTURE_SCALES * PICTURE_QUALITIES)
struct sim_form {
    unsigned scale, quality; /* as in common/base/picture_effects.h */
    double loss;             /* of answers that are right, over all that is recorded */
};
struct pair_form {
    double bytes;
    bool right, agree; /* the edge's answer to it; with the local one */
};
/* pairs.c: what the shipped models said of one real input. */
#define SIM_TOKENS_MAX 64 /* of a recorded answer */
struct pair {
    int task;
    double confidence;
    bool local_right, edge_right, agree;
    uint64_t bytes;
    double local_ms, edge_ms;
    unsigned steps; /* after each the local runner may turn to another request */
    unsigned same;  /* of a text: so many of its first tokens the edge's answer has too */
    float sure[SIM_TOKENS_MAX]; /* how sure it is after each step but the last: [steps - 1] */
    double local_true,
        edge_true; /* how often answers this sure are right, over all that is recorded */
    struct pair_form forms[SIM_FORMS]; /* of a picture */
};
struct pairs {
    struct pair *items;
    size_t count;
    size_t first[SIM_TASKS + 1]; /* items of task t: first[t] to first[t + 1] */
    struct sim_form forms[SIM_FORMS];
    struct picture_effects effects; /* what the client knows of forms: measured on other pictures */
};
/* With forms.csv beside it. 0 or TANDEM_E*, said on stderr. *returns owned* until pairs_fini. */
int pairs_load(const char *path, struct pairs *ret_pairs);
void pairs_fini(struct pairs *pairs);
/* forms.c: the forms of the pictures in `pairs`, in the order of their file. 0 or TANDEM_E*, said
 * on stderr. */
int forms_load(const char *path, struct pairs *pairs);

/* scene.c, scene_make.c: capacity and delay over time; it repeats. */
struct bin {
    int64_t at_ns;
    double bytes_per_ns;
    int64_t delay_ns; /* one way */
    double loss;      /* of packets */
    double sum;       /* bytes before this bin */
};
struct trace {
    struct bin *bins;
    size_t count;
    int64_t length_ns;
    double bytes; /* of the whole length */
};
struct scene {
    char name[64];
    size_t edges;
    struct trace up[SIM_EDGES_MAX];
    bool same_start; /* all clients see the same moment of the trace, */
    bool from_start; /* and that is its beginning */
    /* What tests make harder; 0: as it is. */
    size_t streams;       /* of pictures, for each client, all of whose frames come at once */
    int64_t period_ns;    /* between the frames of one */
    double picture_times; /* local pictures take so many times as long */
    int64_t slow_from_ns; /* from then on what arrives takes slow_times as long here */
    double slow_times;
};
#define SCENES_MAX 512
/* The generators of this repository; 0 or TANDEM_ENOMEM. */
int scenes_make(struct scene *scenes, size_t *ret_count);
/* Every *.csv of `folder` in name order: t_s,mbit_s[,rtt_ms]. A file that cannot be read is an
 * error. */
int scenes_load(const char *folder, struct scene *scenes, size_t *count);
void scene_fini(struct scene *scene);
int trace_add(struct trace *trace, double at_s, double mbit_s, double rtt_ms, double loss);
void trace_end(struct trace *trace, double length_s);
const struct bin *trace_at(const struct trace *trace, int64_t at_ns);
/* When `bytes` that begin at `from_ns` are through. */
int64_t trace_through(const struct trace *trace, int64_t from_ns, double bytes);

/* One direction of a client's link to one edge: a queue in front of a rate and a delay. */
struct pipe {
    const struct trace *trace;
    int64_t offset_ns;
    int64_t free_ns; /* when what is inside has left */
    int64_t last_ns; /* when the last of it arrives: order is kept */
};
/* Puts bytes in; returns when the last of them arrives. */
int64_t pipe_put(struct pipe *pipe, double bytes, int64_t now_ns, struct random_source *random);
/* The same as a question. */
int64_t pipe_ask(const struct pipe *pipe, double bytes, int64_t now_ns);

struct request {
    int client, task;
    const struct pair *pair;
    int64_t start_ns, deadline_ns;
    double local_ms, edge_ms; /* its own service times */
    struct job job;
    struct job_plan plan;
    int edge;                       /* that was or would be asked; -1: none */
    bool ended, local_out, in_edge; /* in_edge: the edge's answer is wanted */
    bool has_answer[JOB_SIDES];
    double local_left_ms; /* of its run */
    unsigned steps_left;
    unsigned doubt_tokens; /* of its text when it was not sure enough; 0: it was, or is no text */
    int64_t edge_sent_ns, first_byte_ns, uploaded_ns, cancel_ns;
    double hoped_ms;   /* as choice.hoped_ms */
    double waited_ms;  /* for an edge that was given up */
    double acked_ms;   /* from its first byte to the acknowledgement of the last; 0: none */
    double bytes_left; /* not yet put into the link */
    double sent_bytes; /* that the edge is or would be sent */
    const struct pair_form *sent; /* NULL: as it came */
    struct upload_form upload;    /* the form as it was decided on */
    bool probes[SIM_EDGES_MAX];   /* links that it does not measure: probed at its end */
    int64_t asked_ns;             /* since when it is made; 0: it goes as it came */
    double made_ms;
    bool making;
    /* what came of it */
    bool delivered, late, alone_in_time;
    enum job_side by;
    double latency_ms, up_bytes, down_bytes, local_run_ms, edge_run_ms, edge_wait_ms;
    double edge_took_ms;                   /* from asking, with making a form, to its answer; NAN */
    double predicted_ms, predicted_p95_ms; /* of the edge's answer; NAN */
    bool edge_usable; /* when it was decided an edge was connected and not silent, */
    bool edge_wanted; /* and informed would have sent it there */
};
/* Whether the edge's answer to what it was sent is right, and is the local one. */
static inline bool request_edge_right(const struct request *request)
{
    return request->sent ? request->sent->right : request->pair->edge_right;
}
static inline bool request_agrees(const struct request *request)
{
    return request->sent ? request->sent->agree : request->pair->agree;
}
#endif
