/* decision.h: one decision as it is kept, shown and written: the candidates, the choice, and what
 * really happened. Plain data. */
#ifndef TANDEM_POLICY_DECISION_H
#define TANDEM_POLICY_DECISION_H

#include "client/policy/budget.h"
#include "client/policy/decide.h"
#include "client/policy/told.h"
#include "common/base/buf.h"
#include "common/base/json.h"

struct decision_outcome {    /* what was not measured is NAN, -1 or "" */
    char route[ROUTE_BYTES]; /* who computed the delivered answer; "" when nobody did */
    double latency_ms;
    bool met_deadline;
    double bytes_up, bytes_down;
    int64_t cached_tokens;
    int error_code;
    char error_text[LIMIT_LINE_BYTES + 1]; /* of it, without anything of the input; "": the code */
    double local_wait_ms, local_run_ms, prepare_ms, up_ms, edge_wait_ms, edge_run_ms;
    double paced_ms;           /* of up_ms, for which max_up_kbit held the input back */
    struct upload_form upload; /* what the edge was sent; width 0: what came */
    char model_digest[33];
};
/* One side that ended besides the delivered answer, as if it alone had been asked: a shadow run, or
 * the local half of a cascade that went on to the edge. */
struct measured { /* what was not measured is NAN or -1 */
    char route[ROUTE_BYTES];
    double latency_ms;
    double energy_j, bytes; /* bytes: sent */
    double confidence;      /* of the local answer, where that does not tell which one it is */
    int agreed;             /* with the delivered answer: 1 or 0 */
    int error_code;
};
#define DECISION_MEASURED 2            /* local and one edge */
struct decision_question {             /* of a task with a positive label (cascade_two.h) */
    char label[LIMIT_LABEL_BYTES + 1]; /* "": there is none, and the rest means nothing */
    double probability; /* of it, as local sees it; NAN. Never written: it is the answer */
    double low, high;   /* of a cascade: what is under low or at least high stays; NAN */
};
/* What was computed and sent for answers that nobody got. What was not measured is NAN, and so is
 * what there was none of. */
struct decision_waste {
    double local_ms, edge_ms; /* of compute, also of what had to run to the end of its step */
    double bytes;             /* payload, both ways */
};
struct decision {
    uint64_t id;
    int64_t time_unix_ns;
    char task[LIMIT_NAME_BYTES + 1];
    char session[LIMIT_NAME_BYTES + 1];
    double deadline_ms; /* 0: none */
    struct candidate candidates[LIMIT_CANDIDATES];
    size_t candidate_count;
    struct decide_weights weights; /* of the candidates' costs */
    char route[ROUTE_BYTES];
    char reason[LIMIT_LINE_BYTES + 1];
    double confidence; /* of the local answer; NAN. Where there is a question it is not written:
                          costs that are not equal put yes and no at different ones */
    double threshold;  /* of a cascade: an answer at least this sure stays; NAN, as it is
                          where there is a question */
    struct decision_question question;
    bool boxes;          /* the local answer is made of boxes, */
    bool found;          /* and has found something (confidence_boxes.h): how much is content */
    double predicted_ms; /* NAN */
    const char *upload_reason; /* static; why the edge was sent what it was; NULL: what came */
    char edge_refused[BUDGET_TEXT_BYTES]; /* which budget did not let it be asked; never written:
                                             the reason says it */
    enum decide_reserve reserve;
    bool hedged, has_outcome;
    bool observed; /* `route` is what would have been done; another one was prescribed */
    struct decision_outcome outcome;
    struct measured measured[DECISION_MEASURED];
    size_t measured_count;
    struct decision_waste waste;
    struct told_answers answers; /* behind the outcome, and what was said of the delivered one */
};
void decision_outcome_init(struct decision_outcome *outcome);
void decision_waste_init(struct decision_waste *waste);
/* The thresholds of what was chosen. `label`: of the question, "": there is none. */
void decision_thresholds(struct decision *decision, const struct job_plan *plan, const char *label);
/* The local answer is made of boxes; after `confidence` was set. No threshold is for one that found
 * nothing. */
void decision_found(struct decision *decision, bool found);
/* Adds to the reason what became of it: who was asked besides, and why the delivered answer is that
 * one. Once, after `confidence` was set; `end` is the job's DELIVER or FAIL, at `now_ns`. */
void decision_end(struct decision *decision, const struct job *job, const struct job_action *end,
                  int64_t now_ns);
/* Of a cascade that delivered: whether the local answer stayed, because it was sure enough or
 * because the edge would have been too late to ask; else the edge was asked and waited for. */
bool decision_stayed(const struct decision *decision, const struct job *job,
                     const struct job_action *end);
/* Writes one member of the decision's object, or none where there is nothing to say. */
typedef void decision_member_fn(const struct decision *decision, struct json_writer *json);
/* The member `correct`, when the application has said it. */
void decision_correct_json(const struct decision *decision, struct json_writer *json);
/* The member `forgotten`: what was said of the answer is not learned from any more. */
void decision_forgotten_json(const struct decision *decision, struct json_writer *json);
/* The member `wasted`, when something was. */
void decision_waste_json(const struct decision *decision, struct json_writer *json);
/* The members of one decision object (the caller opens and closes it and may add `daemon`). */
void decision_json(const struct decision *decision, struct json_writer *json);
/* The member `measured`, nothing where nothing was. */
void decision_measured_json(const struct decision *decision, struct json_writer *json);

#endif
