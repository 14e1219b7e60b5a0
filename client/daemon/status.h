/* status.h: what the client daemon says on its status socket: `status`, `metrics`, `decisions N`,
 * `decisions N since=MS until=MS`, `explain ID` and `follow`. Every key is described in
 * tandem-status(5). Only reads. Loop thread.
 */
#ifndef TANDEM_CLIENT_STATUS_H
#define TANDEM_CLIENT_STATUS_H

#include "client/daemon/decision_file.h"
#include "client/daemon/energy.h"
#include "client/daemon/requests.h"
#include "common/stream/status_listener.h"

#define STATUS_DAEMON      "tandem-client"
#define STATUS_NO_DECISION "no decision of this id is kept"

struct status_view { /* borrowed, for one call */
    const struct requests *requests;
    const struct app *app;
    const struct decision_file *decisions;
    const struct energy *energy;
    int64_t started_ns;
    bool draining;
    uint64_t reloads, reload_failures;
};
/* The answer to `forget TASK`: one object. 0 or an error of the buffer. */
int status_forgotten(const char *task, struct buf *out);
/* Members of a task, of its local part and of one of its edges: whether what was predicted came
 * true of late. */
void status_confidence_json(const struct client_task *task, struct json_writer *json);
void status_predictions_json(const struct prediction_watch *watch, struct json_writer *json);
/* One member that a decision has got since, as an amendment's line (amendment.h). 0 or TANDEM_E*.
 */
int status_amendment(const struct decision *decision, decision_member_fn *member, struct buf *out);
/* One decision as one line with its newline. 0 or TANDEM_E*. */
int status_decision(const struct decision *decision, struct buf *out);
/* Appends the answer to one request line: whole lines only. True: the asker follows. */
bool status_answer(const struct status_view *view, const char *line, struct buf *out);
/* The source of an answer that is read from disk: what happened in a time, and a decision that
 * memory has no more. NULL: the line has another answer, or memory is short. */
struct status_source *status_stream(const struct status_view *view, uv_loop_t *loop,
                                    const char *line);
/* status_budget.c: the members `budget` and `energy` of the status, and the members of the metrics.
 */
void status_budget_json(const struct requests *requests, struct json_writer *json);
void status_energy_json(const struct energy *energy, struct json_writer *json);
void status_budget_metrics(const struct requests *requests, struct json_writer *json);
/* The decision of this id that runs or is one of the last LIMIT_DECISION_RING; NULL: none.
 * Borrowed, for one turn of the loop. */
const struct decision *status_find(const struct requests *requests, uint64_t id);
/* "WORD NUMBER" and nothing else; a larger number is the largest. */
bool status_number_after(const char *line, const char *word, uint64_t *ret_number);

/* The member `learned` of a task, and of a task on an edge. */
void status_learned_json(const struct client_task *task, struct json_writer *json);
void status_learned_edge_json(const struct client_task *task, size_t edge,
                              struct json_writer *json);

#endif
