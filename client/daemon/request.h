/* request.h: one request and its session, for the files that carry requests out (requests.c,
 * request_*.c, sessions.c) and nobody else. A request is freed when it has ended, its local run has
 * come back, nothing is made of its picture any more and its timer is closed. Loop thread. */
#ifndef TANDEM_CLIENT_REQUEST_H
#define TANDEM_CLIENT_REQUEST_H

#include "client/daemon/positive.h"
#include "client/daemon/requests.h"
#include "client/daemon/result_cache.h"
#include "client/policy/estimate_task.h"
#include "client/policy/shadow.h"
#include "common/base/clock.h"

struct session {
    struct session *next;
    char name[LIMIT_NAME_BYTES + 1];
    uid_t uid;
    struct buf transcript;
    size_t edge_bytes[LIMIT_EDGES]; /* of the transcript that each edge is believed to hold */
    bool busy;
    int64_t used_ns;
};
struct request_upload { /* the picture in another form than it came in, for the edge */
    struct upload_source source;
    uv_work_t work;
    struct engine_picture picture; /* that is made smaller; borrowed */
    struct upload_form form;
    uint8_t *data; /* owned; NULL: what came is sent */
    size_t bytes;
    int error;
    char why[ENGINE_ERROR_BYTES];
    int64_t asked_ns, made_ns; /* made_ns: how long the thread worked */
    bool out;                  /* a thread has it */
};
struct edge_hold { /* what asking an edge takes of the hourly budgets */
    double amounts[BUDGETS];
    double expected_bytes; /* of the bytes, those that come */
};
struct request_print { /* of an encoded picture */
    uv_work_t work;
    bool out;        /* a thread has it, and nothing is decided yet */
    bool unwanted;   /* the request was cancelled meanwhile */
    int64_t made_ns; /* how long the thread worked */
};
struct request {
    struct request *next;
    struct requests *all;
    struct app_peer *peer; /* NULL: gone */
    uint64_t app_id;
    uint64_t wire_id; /* towards the edge; a new one when it is sent again, the decision's stays */
    struct tasks *tasks;      /* the generation it began with; its own reference */
    struct client_task *task; /* of it */
    struct local_submit submit;
    struct app_input input;
    struct session *session;
    struct buf transcript; /* with this turn's text; sessions only */
    struct job job;
    struct choice choice;
    struct decision decision;
    uv_timer_t timer;
    struct runner_job local;
    struct request_upload upload;
    struct request_print print;
    bool local_out, ended, timer_closed, resent;
    struct answer answers[JOB_SIDES];
    bool has_answer[JOB_SIDES];
    char edge_digest[33];       /* of the model that gave the edge's answer; "" when not known */
    struct buf said[JOB_SIDES]; /* streamed requests: each side's text as it came */
    enum job_side shown_side;   /* whose text the caller has seen, */
    size_t shown_bytes;         /* and how much of it */
    int64_t start_ns, edge_sent_ns;
    double held_before_ms; /* links_held_ms when it was sent */
    int64_t decide_ns;     /* start_ns, or when the print of its picture was made */
    int64_t due_ns;        /* when the timer is to fire */
    struct edge_hold hold; /* of the hourly budgets, while the edge is asked, */
    double reserved_run_j; /* and while it runs here, or is kept a place to */
    bool cacheable;        /* its answer may be kept under these, which name what is asked: */
    struct result_key cache_key, cache_scope;
    struct frame_print *cache_print; /* owned; NULL: only the same bytes are the same */
    struct result_origin cached;     /* of the answer that was there before */
    bool cached_same;                /* it was given to the same bytes */
    char why[256];
    const char *why_kept; /* static: what is kept of it, where it may quote the input; NULL: all */
    bool shadow;          /* when it is freed, this is run for the record: */
    struct shadow_plan shadow_plan;
    enum job_side shadow_by;          /* who answered */
    enum edge_trouble shadow_trouble; /* what kept every edge from being decided on */
};

static inline double ms_between(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) / (double)NS_PER_MS;
}

/* requests.c: decides and starts what was accepted, or ends it with `result`. The request may be
 * gone afterwards. */
void request_begin(struct request *request, int result);
/* Gives the event to the job and carries its actions out. The request may be gone
 * afterwards. */
void request_event(struct request *request, const struct job_event_data *event);
/* How late the timers of this device were of late, over what an idle loop may be: 0 to
 * LIMIT_LATENESS_MS. What has to start or to leave at a last moment does so earlier by this. */
double requests_late_ms(const struct requests *all, int64_t now_ns);
/* Frees it once nothing points to it any more. */
void request_free_if_done(struct request *request);

/* request_reserve.c: the local runs that are promised or in the way of one. Returns how many it has
 * written, at most `max`. */
size_t requests_insured(const struct requests *all, double late_ms, struct decide_insured *insured,
                        size_t max);
/* How much of it a run that is with the runner has had. */
void runner_job_credit(const struct runner_job *job, int64_t now_ns,
                       struct decide_insured *insured);
/* request_decide.c: what a local run of it takes, as far as is known. Borrows the task's estimates.
 */
struct estimate_task request_estimate(const struct request *request);
/* The same of a run that is no request's. */
struct estimate_task task_estimate(const struct client_task *task,
                                   const struct estimate_text_work *work);
/* What it asks of whoever computes it. */
struct estimate_text_work request_work(const struct request *request);
/* Every local run that is kept a place for starts. */
void requests_pull_in(struct requests *all);

/* Whether a request has a local run or awaits one. */
bool requests_local_wanted(const struct requests *all);

/* request_decide.c: who may see what the request brings. */
struct privacy {
    bool never_leaves;
    const char *only_edge; /* borrowed of the task; NULL: any */
};
struct privacy request_privacy(const struct client_task *task, const struct local_submit *submit);
/* The tokens that a text may get at most. */
uint32_t request_most_tokens(const struct client_task *task, const struct local_submit *submit);

/* The decision's record, from the choice. */
void request_decision_fill(struct request *request);

/* request_decide.c: decides, with what was answered before (NULL: nothing), and fills the record.
 */
int request_decide(struct request *request, const struct decide_cached *cached);

/* request_observe.c: with `mode = observe`, whether another route than the one decided on is
 * prescribed. Then what was decided stays on record, and `fixed` is what the request follows; the
 * results are what came of deciding each. Returns what comes of it now. */
bool request_is_observed(const struct request *request);
int request_observe(struct request *request, int result, const struct choice *fixed,
                    int fixed_result);

/* request_local.c, request_edge.c: start the one side or the other. */
void request_local_start(struct request *request);
void request_edge_start(struct request *request);
/* What a local run that has ended teaches. */
void request_run_learn(struct client_task *task, const struct runner_job *job);
/* Whether a request is at this edge, or on its way there. */
bool requests_edge_wanted(const struct requests *all, size_t edge);
/* Once the picture has the form to be sent. */
void request_edge_send(struct request *request);
/* The edge was asked and will not be waited for any longer: if that was long enough, it is
 * learned from. */
void request_edge_given_up(struct request *request);

/* request_budget.c: reserves what asking the edge with so many bytes takes, and lets it go again
 * (nothing reserved is fine). False: that is not left of the hour, and `why` says of what; joule
 * are asked only where it is an extra. request_edge_reserve says it in the decision. */
struct edge_ask {
    const struct client_task *task;
    const struct local_submit *submit;
    size_t edge, up_bytes;
    bool extra; /* something else answers, or nobody waits for it */
};
bool edge_hold(struct requests *all, const struct edge_ask *ask, struct edge_hold *hold,
               char why[BUDGET_TEXT_BYTES]);
void edge_hold_release(struct requests *all, struct edge_hold *hold);
bool request_edge_reserve(struct request *request, size_t up_bytes);
void request_edge_release(struct request *request);
/* Whether the hour has so many joule left for what need not be. */
bool requests_joule_left(const struct requests *all, double joule);
/* Why an edge is not asked that needs so many bytes where so many are left: static; NULL: it may
 * be. And how that is said to people. */
const char *requests_bytes_reason(double left, double needs);
void requests_reason_text(const struct requests *all, const struct local_submit *submit,
                          const char *reason, double needs_bytes, size_t size, char *text);
/* A local run that is kept a place or begins is reserved once; it will not be; and what it took. */
void request_local_reserve(struct request *request);
void request_local_release(struct request *request);
void request_local_spent(struct request *request, double run_ms);

/* request_doubt.c: a local text that is not sure enough before it has ended. The confidence below
 * which the runner has to say so (0: not at all); what it then calls; and what a text teaches that
 * was cancelled after that. */
double request_doubt_below(const struct request *request);
void request_on_doubt(struct runner_job *job, uint32_t tokens, double confidence, void *user);
void request_doubt_learn(struct request *request);

/* request_upload.c: what is known of the picture that came, before anything is decided; the forms
 * it may be sent in to this edge (the latencies are the caller's); and whether another form is
 * being made now, then request_edge_send follows. */
void request_upload_look(struct request *request);
void request_upload_forms(const struct requests *all, const struct client_task *task,
                          const struct upload_source *source, size_t edge,
                          const struct estimate_link *link, int64_t now_ns,
                          struct decide_edge *ret_edge);
bool request_upload_begin(struct request *request);
/* It is not wanted any more; true where it had not been made yet, so that nothing was sent. */
bool request_upload_cancel(struct request *request);
/* The two parts of making a form: `upload->picture` in upload->form, on any thread; and on the
 * loop's what that teaches, with what came where it failed. */
void request_upload_make(struct request_upload *upload);
void request_upload_made(struct requests *all, struct client_task *task,
                         struct request_upload *upload);
struct engine_picture request_picture(const struct local_submit *submit,
                                      const struct app_input *input);
/* Boxes of an answer to another form, to pixels of the picture that came. */
void request_upload_boxes(const struct request_upload *upload, struct answer *answer);

/* request_stream.c: the text of a streamed request. Keeps what a side has said; shows the caller
 * all that one side has said so far, in whole characters, from the beginning when it was shown the
 * other's; and before the answer of `side` goes out, what is still missing of its text. */
void request_stream_add(struct request *request, enum job_side side, const uint8_t *text,
                        size_t bytes);
void request_stream_show(struct request *request, enum job_side side);
void request_stream_finish(struct request *request, enum job_side side);

/* request_answer.c: what the caller is told, and what is kept of it. */
void request_accepted_send(struct request *request);
void request_answer_send(struct request *request, const struct job_action *action);
void request_error_send(struct request *request, int code);
/* Where both sides answered, the confidence learns whether they agree. */
void request_compare(struct request *request);
/* request_waste.c: what of it was for nothing, when it ends, and when a local run that was still
 * out then has come back. */
void request_waste_note(struct request *request, const struct job_action *action);
void request_waste_local(struct request *request, double run_ms);
/* Whose answers there were, for what will be said of the delivered one. */
void request_answers_note(struct request *request, const struct job_action *action);
/* Makes of a local answer, as its model gave it, the one that is delivered, with the confidence
 * that is shown. Once for each. */
void answer_judge(const struct client_task *task, struct answer *answer);
/* How sure a judged local answer is, as the bins of task->confidence and thresholds are: its
 * confidence, the probability of the positive label, or CONFIDENCE_NOTHING. */
double answer_sure(const struct client_task *task, const struct answer *answer);
bool answers_agree(const struct client_task *task, const struct answer *a, const struct answer *b);
/* What the edge's answer teaches of the local one, learn.h's `agreed`; `agreed`: they do. */
bool answers_teach(const struct client_task *task, const struct answer *edge, bool agreed);
void request_count(struct request *request, const struct job_action *action);
void request_decision_keep(struct request *request);

/* request_print.c: whether the print of an encoded picture is being made now; then request_begin
 * follows, with TANDEM_ECANCELED where it was cancelled meanwhile. */
bool request_print_begin(struct request *request);
void request_print_cancel(struct request *request);

/* request_cache.c: by what its answer may be kept and found, and the same content is known in what
 * is said of answers, once; whether the print of its picture
 * has to be made for that, by a thread. Then whether the same was answered before; true with what
 * decide() wants to know and the hit, which lives until the cache is changed. */
void request_cache_prepare(struct request *request);
bool request_cache_wants_print(const struct request *request);
bool request_cache_look(struct request *request, struct result_hit *ret_hit,
                        struct decide_cached *ret_cached);
/* The hit becomes the answer of JOB_SIDE_CACHE, and the decision says where it came from. 0 or
 * TANDEM_ENOMEM. */
int request_cache_take(struct request *request, const struct result_hit *hit);
/* What `side` answered is kept for the next time, if it may be. */
void request_cache_keep(struct request *request, enum job_side side);

/* sessions.c: begins a turn: the request gets a copy of the transcript with its text. 0, EBUSY
 * while another turn runs, or TANDEM_E*. */
int session_begin(struct request *request);
/* Ends it; with an answer, whole or partial (NULL: none was delivered), the transcript grows, and
 * `edge` (-1: none) is believed to hold all of it. */
void session_end(struct request *request, const struct answer *answer, int edge);
void sessions_free(struct session *sessions);

#endif
