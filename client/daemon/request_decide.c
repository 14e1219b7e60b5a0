#include "client/daemon/request.h"

#include "client/policy/decide_fill.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint32_t request_most_tokens(const struct client_task *task, const struct local_submit *submit)
{
    return submit->max_new_tokens ? submit->max_new_tokens : (uint32_t)task->config->max_new_tokens;
}

struct privacy request_privacy(const struct client_task *task, const struct local_submit *submit)
{
    const char *leaves = task->config->leaves_device;

    return (struct privacy){.never_leaves =
                                submit->leaves_device == 1 || strcmp(leaves, "never") == 0,
                            .only_edge = strcmp(leaves, "any_edge") == 0 ? NULL : leaves};
}

/* What a text request asks of whoever computes it. */
static struct estimate_text_work text_work(const struct client_task *task,
                                           const struct local_submit *submit, uint64_t prompt_bytes)
{
    return (struct estimate_text_work){.prompt_bytes = (double)prompt_bytes,
                                       .most_tokens = (double)request_most_tokens(task, submit)};
}

struct estimate_text_work request_work(const struct request *request)
{
    return text_work(request->task, &request->submit,
                     request->session ? request->transcript.bytes : request->input.bytes);
}

struct estimate_task task_estimate(const struct client_task *task,
                                   const struct estimate_text_work *work)
{
    const bool texts = task->config->kind == TASK_GENERATE;

    return (struct estimate_task){.pictures = texts ? NULL : &task->estimate,
                                  .texts = &task->text,
                                  .handover = &task->handover,
                                  .work = *work,
                                  .chunk_tokens = RUNNER_CHUNK_TOKENS};
}

struct estimate_task request_estimate(const struct request *request)
{
    const struct estimate_text_work work = request_work(request);

    return task_estimate(request->task, &work);
}

/* The runs that stand before a new one: each with what it is believed to take, all of it. */
static double queue_ms(const struct requests *all)
{
    double sum_ms = 0;

    for (const struct request *at = all->list; at; at = at->next) {
        if (at->local_out && !at->ended) {
            const struct estimate_task run = request_estimate(at);

            sum_ms += estimate_task_ms(&run);
        }
    }
    return sum_ms;
}

/* What an edge says of its own speed, for this request; 0: nothing. */
static double edge_hint_ms(const struct client_task *task, const struct edge_load *load,
                           const struct estimate_text_work *work)
{
    double ms = 0;

    if (task->config->kind != TASK_GENERATE) {
        return (double)load->picture_us / 1000.0;
    }
    if (load->decode_tokens_per_s > 0) {
        ms = 1000.0 * estimate_text_answer(&task->text, work->most_tokens) /
             load->decode_tokens_per_s;
    }
    if (load->prefill_tokens_per_s > 0) {
        ms += 1000.0 * estimate_text_prompt(&task->text, work->prompt_bytes) /
              load->prefill_tokens_per_s;
    }
    return ms;
}

static void pace_add(double paced_ms, struct latency *latency, double *best_ms)
{
    latency->mean_ms += paced_ms;
    latency->p95_ms += paced_ms;
    *best_ms += paced_ms;
}

/* What `max_up_kbit` makes of it: the upload takes at least as long as the cap lets it. */
static void edge_pace(const struct links *links, size_t index, uint64_t up_bytes, int64_t now_ns,
                      struct decide_edge *edge)
{
    pace_add(links_paced_ms(links, index, up_bytes, now_ns), &edge->latency, &edge->best_ms);
    for (size_t i = 0; i < edge->form_count; i++) {
        struct decide_form *form = &edge->forms[i];

        pace_add(links_paced_ms(links, index, (uint64_t)form->upload.bytes, now_ns), &form->latency,
                 &form->best_ms);
    }
}

/* An edge is no candidate with more bytes than this hour has left, and neither is a form. */
static void budget_apply(const struct requests *all, const struct client_task *task,
                         const struct local_submit *submit, size_t index, double most_tokens,
                         uint64_t up_bytes, struct decide_edge *edge)
{
    const double left = budgets_left(all->budgets, BUDGET_BYTES);
    const size_t forms = edge->form_count > 0 ? edge->form_count : 1;
    double least = INFINITY;
    size_t kept = 0;

    for (size_t i = 0; i < forms; i++) {
        const double needs = requests_edge_bytes(all, task, submit, index, most_tokens,
                                                 edge->form_count > 0 ? edge->forms[i].upload.bytes
                                                                      : (double)up_bytes);

        if (edge->form_count > 0 && needs <= left) {
            edge->forms[kept++] = edge->forms[i];
        }
        least = fmin(least, needs);
    }
    edge->form_count = kept;
    if (least > left && !edge->unusable) {
        edge->unusable = requests_bytes_reason(left, least);
        edge->trouble = EDGE_OVER_BUDGET;
        edge->needs_bytes = least;
    }
}

static void edges_fill(struct requests *all, const struct client_task *task,
                       const struct local_submit *submit, const struct upload_source *source,
                       const struct estimate_task *run, uint64_t input_bytes,
                       const size_t *held_bytes, int64_t now_ns, struct decide_edge *edges,
                       size_t *ret_count)
{
    const size_t task_index = (size_t)(task - all->tasks->items);
    const size_t count = all->links ? links_count(all->links) : 0;
    const double here_ms = estimate_task_ms(run);

    for (size_t i = 0; i < count; i++) {
        const uint64_t held = held_bytes ? held_bytes[i] : 0, up_bytes = input_bytes - held;
        struct estimate_text_work rest = run->work;
        struct edge_estimates estimates = {.edge = &task->edges[i], .here_ms = here_ms};
        struct link_view view;

        edges[i] = (struct decide_edge){.held_bytes = held, .truth = task->known[i].truth};
        rest.prompt_bytes -= (double)held; /* computed already, too */
        links_view(all->links, i, &view);
        edges[i].name = view.name;
        edges[i].unusable = links_unusable(all->links, i, task_index, &edges[i].trouble);
        edges[i].silent = view.silent;
        estimates.link = view.estimate;
        estimates.hint_ms = edge_hint_ms(task, view.load, &rest);
        if (source->width > 0) {
            request_upload_forms(all, task, source, i, view.estimate, now_ns, &edges[i]);
        }
        decide_fill_edge(&estimates, up_bytes, now_ns, &edges[i]);
        edge_pace(all->links, i, up_bytes, now_ns, &edges[i]);
        budget_apply(all, task, submit, i, run->work.most_tokens, up_bytes, &edges[i]);
    }
    *ret_count = count;
}

double requests_edge_error(const struct requests *all, const struct task_config *task)
{
    return task->edge_expected_error > 0 ? task->edge_expected_error : all->config->edge_error;
}

/* What decide() is told of one request now; it points into itself. */
struct question {
    struct decide_input input;
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_insured insured[INSURED_MAX];
    double late_ms;
};

/* All but the route that is asked for, and an answer that was given before. */
static void question_fill(struct requests *all, const struct client_task *task,
                          const struct local_submit *submit, const struct upload_source *source,
                          uint64_t input_bytes, const size_t held_bytes[LIMIT_EDGES],
                          int64_t now_ns, struct question *ret_question)
{
    const struct privacy privacy = request_privacy(task, submit);
    const struct estimate_text_work work = text_work(task, submit, input_bytes);
    const struct estimate_task run = task_estimate(task, &work);
    struct decide_input *input = &ret_question->input;
    const double late_ms = requests_late_ms(all, now_ns);
    int64_t budget_ns = submit->deadline_us > 0 ? (int64_t)submit->deadline_us * NS_PER_US
                                                : task->config->default_deadline_ms * NS_PER_MS;

    *input = (struct decide_input){.weights = client_config_weights(all->config),
                                   .energy = requests_energy(all),
                                   .check_ms = check_purse_take(&task->checks),
                                   .has_local = task->has_local,
                                   .threshold = task->config->confidence_threshold,
                                   .confidence = &task->confidence,
                                   .costs = task_costs(task),
                                   .edge_error = requests_edge_error(all, task->config),
                                   .up_bytes = input_bytes,
                                   .now_ns = now_ns,
                                   .edges = ret_question->edges,
                                   .insured = ret_question->insured};
    input->never_leaves = privacy.never_leaves;
    input->too_big = input_bytes > LIMIT_PAYLOAD_BYTES;
    input->only_edge = privacy.only_edge;
    if (budget_ns > 0) {
        budget_ns -= (int64_t)submit->capture_age_us * NS_PER_US;
        input->deadline_ns = now_ns + (budget_ns > 1 ? budget_ns : 1);
    }
    input->deliver_late = submit->deliver_late || task->config->late == TASK_LATE_DELIVER;
    decide_fill_local(&run, queue_ms(all), late_ms, input);
    input->no_reserve = (enum decide_no_reserve)task->config->no_reserve;
    edges_fill(all, task, submit, source, &run, input_bytes, held_bytes, now_ns,
               ret_question->edges, &input->edge_count);
    input->down_bytes = requests_down_bytes(task, submit, work.most_tokens);
    input->energy_left = budgets_left(all->budgets, BUDGET_JOULE);
    input->energy_limited = isfinite(input->energy_left);
    input->insured_count = requests_insured(all, late_ms, ret_question->insured, INSURED_MAX);
    ret_question->late_ms = late_ms;
}

/* `route`: that is asked for, by the caller or, fixed, by the operator. */
static int question_decide(const struct question *question, const char *route, bool fixed,
                           const struct decide_cached *cached, struct choice *ret_choice)
{
    struct decide_input input = question->input;
    int result;

    input.forced = strcmp(route, "local") == 0      ? FORCED_LOCAL
                   : strncmp(route, "edge", 4) == 0 ? FORCED_EDGE
                   : strcmp(route, "cascade") == 0  ? FORCED_CASCADE
                                                    : FORCED_AUTO;
    input.forced_edge = strncmp(route, "edge:", 5) == 0 ? route + 5 : NULL;
    input.fixed = fixed;
    input.cached = cached;
    result = decide(&input, ret_choice);
    ret_choice->plan.handover_ns += (int64_t)(question->late_ms * (double)NS_PER_MS);
    return result;
}

int requests_decide(struct requests *all, const struct client_task *task,
                    const struct local_submit *submit, const struct upload_source *source,
                    uint64_t input_bytes, int64_t now_ns, struct choice *ret_choice)
{
    struct question question;

    question_fill(all, task, submit, source, input_bytes, NULL, now_ns, &question);
    return question_decide(&question, submit->route, false, NULL, ret_choice);
}

int request_decide(struct request *request, const struct decide_cached *cached)
{
    const struct session *session = request->session;
    struct question question;
    struct choice fixed;
    int result;

    question_fill(request->all, request->task, &request->submit, &request->upload.source,
                  session ? request->transcript.bytes : request->input.bytes,
                  session ? session->edge_bytes : NULL, request->decide_ns, &question);
    result = question_decide(&question, request->submit.route, false, cached, &request->choice);
    check_purse_decided(&request->task->checks, &request->choice);
    request_decision_fill(request);
    if (request_is_observed(request)) {
        const char *route = client_config_observe_route_text(request->all->config);

        result = request_observe(request, result, &fixed,
                                 question_decide(&question, route, true, NULL, &fixed));
    }
    return result;
}

void request_decision_fill(struct request *request)
{
    struct decision *decision = &request->decision;
    const struct candidate *chosen = &request->choice.candidates[request->choice.chosen];

    request->shadow_trouble = request->choice.trouble; /* what is observed replaces the choice */
    decision->time_unix_ns = clock_unix_ns();
    strcpy(decision->task, request->submit.task);
    strcpy(decision->session, request->submit.session);
    decision->confidence = NAN;
    decision_thresholds(decision, &request->choice.plan, task_positive(request->task));
    decision->reserve = request->choice.reserve;
    decision->predicted_ms = NAN;
    decision_outcome_init(&decision->outcome);
    decision_waste_init(&decision->waste);
    decision->candidate_count = request->choice.count;
    decision->weights = request->choice.weights;
    memcpy(decision->candidates, request->choice.candidates, sizeof(decision->candidates));
    requests_reason_text(request->all, &request->submit,
                         request->choice.reason ? request->choice.reason : "",
                         request->choice.needs_bytes, sizeof(decision->reason), decision->reason);
    if (strcmp(decision->reason, DECIDE_NO_SUCH_EDGE) == 0) {
        snprintf(decision->reason, sizeof(decision->reason), "%s: %.63s", DECIDE_NO_SUCH_EDGE,
                 request->submit.route + strlen("edge:"));
    }
    if (request->choice.plan.deadline_ns != 0) {
        decision->deadline_ms = ms_between(request->start_ns, request->choice.plan.deadline_ns);
    }
    if (request->choice.chosen < request->choice.count) {
        strcpy(decision->route, chosen->route);
        decision->predicted_ms = chosen->latency_known ? chosen->latency.mean_ms : NAN;
    }
}
