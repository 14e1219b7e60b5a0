#include "client/policy/reason.h"

#include "client/policy/candidates.h"

#include <string.h>

static bool name_fits(const char *wanted, const char *name)
{
    return !wanted || strcmp(wanted, name) == 0;
}

/* Too big as it came, and nowhere is a smaller form of it. */
static bool is_too_big(const struct decide_input *input)
{
    for (size_t i = 0; i < input->edge_count; i++) {
        if (input->edges[i].form_count > 0) {
            return false;
        }
    }
    return input->too_big;
}

/* The edge that privacy and the caller leave and that is nearest to being usable, of those that are
 * not; NULL: there is none. */
static const struct decide_edge *nearest_edge(const struct decide_input *input)
{
    const struct decide_edge *nearest = NULL;

    for (size_t i = 0; i < input->edge_count; i++) {
        const struct decide_edge *edge = &input->edges[i];

        if (!edge->name[0] || !name_fits(input->only_edge, edge->name) ||
            !name_fits(input->forced_edge, edge->name)) {
            continue;
        }
        if (!edge->unusable && edge->silent) {
            return edge; /* all else is well with it */
        }
        if (edge->unusable && (!nearest || edge->trouble >= nearest->trouble)) {
            nearest = edge;
        }
    }
    return nearest;
}

static bool is_known(const struct decide_input *input)
{
    for (size_t i = 0; input->forced_edge && i < input->edge_count; i++) {
        if (strcmp(input->forced_edge, input->edges[i].name) == 0) {
            return true;
        }
    }
    return !input->forced_edge;
}

/* Why no edge may be asked: of the edges that privacy and the caller leave, the trouble of the one
 * nearest to being usable. */
static const char *no_edge_reason(const struct decide_input *input)
{
    const struct decide_edge *nearest = nearest_edge(input);

    if (input->never_leaves) {
        return "leaves_device = never";
    }
    if (is_too_big(input)) {
        return "input too big for an edge";
    }
    if (nearest && !nearest->unusable) {
        return "edge does not answer";
    }
    if (!is_known(input)) {
        return DECIDE_NO_SUCH_EDGE;
    }
    if (input->forced_edge && input->only_edge &&
        strcmp(input->forced_edge, input->only_edge) != 0) {
        return "leaves_device names another edge";
    }
    return nearest ? nearest->unusable : "no edge connected";
}

void reason_note_trouble(const struct decide_input *input, struct choice *choice)
{
    const struct decide_edge *nearest = nearest_edge(input);

    if (choice->asked < choice->count || input->forced == FORCED_LOCAL || input->never_leaves ||
        is_too_big(input) || !nearest) {
        return;
    }
    choice->trouble = nearest->unusable ? nearest->trouble : EDGE_DOWN; /* silent is as good as */
    choice->needs_bytes = nearest->needs_bytes;
}

const char *reason_of_choice(const struct decide_input *input, const struct choice *choice,
                             const struct cascade *cascade)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    const bool edge_is_late =
        choice->asked < choice->count && choice->candidates[choice->asked].miss_probability > 0.3;

    if (input->forced != FORCED_AUTO && candidate_is_wanted(input->forced, chosen->kind)) {
        return REASON_FORCED;
    }
    if (chosen->kind == JOB_CACHE) {
        return input->cached->reason;
    }
    if (choice->asked == choice->count) {
        return no_edge_reason(input);
    }
    switch (chosen->kind) {
    case JOB_CACHE:
    case JOB_LOCAL:
        return edge_is_late ? "edge would miss the deadline" : "local is fast and accurate enough";
    case JOB_EDGE:
        return !input->has_local ? "no local model"
               : edge_is_late    ? "edge may be late, its answer is worth the risk"
                                 : "edge is accurate and in time";
    case JOB_CASCADE:
        break;
    }
    if (cascade->at_once && input->edges[chosen->edge].latency_known) {
        return "both at once, the edge's answer if local is not sure";
    }
    return input->costs ? "local first, edge if neither yes nor no is sure"
           : input->confidence->nothing && !(cascade->below > 0)
               ? "local first, edge if not sure or nothing is found"
               : "local first, edge if not sure";
}

const char *reason_of_upload(const struct decide_input *input, const struct choice *choice)
{
    const struct candidate *asked = &choice->candidates[choice->asked];
    const struct decide_weights *weights = &input->weights;
    double saved_bytes, saved_ms;

    if (choice->edge < 0 || asked->upload.width == 0) {
        return NULL;
    }
    if (input->too_big) {
        return "it is too big for the wire as it came";
    }
    saved_bytes = (double)input->up_bytes - asked->bytes;
    saved_ms = input->edges[asked->edge].latency.mean_ms - asked->latency.mean_ms;
    return !asked->latency_known ||
                   saved_ms < saved_bytes * (weights->one_megabyte_ms / 1e6 +
                                             weights->one_joule_ms * input->energy.joule_per_byte)
               ? "bytes are dear"
               : "the link is thin";
}

const char *reason_of_no_route(const struct decide_input *input)
{
    const bool needs_local = input->forced == FORCED_LOCAL || input->forced == FORCED_CASCADE;

    return needs_local && !input->has_local ? "no local model" : no_edge_reason(input);
}
