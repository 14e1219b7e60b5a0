#include "client/policy/decide_fill.h"

#include <math.h>

#define MEGABYTE 1e6
#define MS_PER_S 1000

void decide_fill_local(const struct estimate_task *task, double wait_ms, double late_ms,
                       struct decide_input *input)
{
    input->local_known = estimate_task_answer_get(task, wait_ms, &input->local);
    input->local_run_ms = estimate_task_ms(task);
    input->local_bound_ms = estimate_task_bound_ms(task);
    input->local_step_ms = estimate_task_step_ms(task);
    input->margin_ms = ESTIMATE_MARGIN_MS + late_ms;
}

static void form_fill(const struct edge_estimates *of, double wait_ms, double hint_ms,
                      int64_t now_ns, struct decide_form *form)
{
    const uint64_t bytes = (uint64_t)form->upload.bytes;

    form->latency_known =
        estimate_edge_get(of->edge, of->link, bytes, wait_ms, hint_ms, now_ns, &form->latency);
    form->latency.mean_ms += form->upload.prepare_ms;
    form->latency.p95_ms += form->upload.prepare_ms;
    form->best_ms =
        estimate_edge_best_ms(of->edge, of->link, bytes, hint_ms, now_ns) + form->upload.prepare_ms;
}

void decide_fill_edge(const struct edge_estimates *estimates, uint64_t up_bytes, int64_t now_ns,
                      struct decide_edge *edge)
{
    const struct edge_estimates *of = estimates;
    const double hint_ms = of->hint_ms > 0 ? of->hint_ms : of->here_ms;
    const double wait_ms = estimate_link_wait_ms(of->link, now_ns);

    edge->latency_known =
        estimate_edge_get(of->edge, of->link, up_bytes, wait_ms, hint_ms, now_ns, &edge->latency);
    edge->best_ms = estimate_edge_best_ms(of->edge, of->link, up_bytes, hint_ms, now_ns);
    edge->failure = estimate_edge_failure(of->edge, of->link, now_ns);
    edge->retry_due = estimate_edge_retry_due(of->edge, now_ns);
    for (size_t i = 0; i < edge->form_count; i++) {
        form_fill(of, wait_ms, hint_ms, now_ns, &edge->forms[i]);
    }
}

struct upload_terms decide_fill_terms(const struct decide_weights *weights,
                                      const struct decide_energy *energy,
                                      const struct estimate_link *link, double most_bytes_per_ms,
                                      int64_t now_ns)
{
    const double bytes_per_ms =
        fmin(estimate_samples_geometric(&link->up_bytes_per_ms, now_ns), most_bytes_per_ms);

    return (struct upload_terms){.ms_per_byte = (bytes_per_ms > 0 ? 1 / bytes_per_ms : 0) +
                                                weights->one_megabyte_ms / MEGABYTE +
                                                weights->one_joule_ms * energy->joule_per_byte,
                                 .ms_per_prepare_ms =
                                     1 + weights->one_joule_ms * energy->compute_watt / MS_PER_S,
                                 .one_error_ms = weights->one_error_ms};
}
