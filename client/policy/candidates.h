/* candidates.h: the possible routes of one request and what each is expected to cost. Pure; part of
 * decide. */
#ifndef TANDEM_POLICY_CANDIDATES_H
#define TANDEM_POLICY_CANDIDATES_H

#include "client/policy/cascade.h"
#include "client/policy/decide.h"

/* Writes candidates, count and the cheapest of the wanted kinds as chosen (count: there is none);
 * and what the cascade would do, where there is one. `bins` are those of input->confidence. */
void candidates_fill(const struct decide_input *input,
                     const struct confidence_bin bins[CONFIDENCE_BINS], struct choice *choice,
                     struct cascade *ret_cascade);
/* The index of the cheapest candidate of the kinds that `forced` wants; choice->count: none. */
size_t candidates_cheapest(const struct choice *choice, enum decide_forced forced);
/* The same, by what it takes of this device's energy instead of its cost: of those that are
 * likelier than not to be in time where there is one; of equals the cheaper one. */
size_t candidates_thriftiest(const struct choice *choice, enum decide_forced forced);
/* What that goes by: what is not known is worse than what is. */
bool candidate_is_thriftier(const struct candidate *candidate, const struct candidate *than);
/* Whether the energy of this hour has so many joule left for what need not be; NAN: it is not known
 * what that takes, and anything left is enough. */
bool energy_carries(const struct decide_input *input, double joule);
/* The cheapest of the kinds that are wanted and likelier than not in time, whose energy this hour
 * carries; choice->count: there is none. */
size_t candidates_carried(const struct decide_input *input, const struct choice *choice,
                          enum decide_forced forced);
/* What one run here and the edge that would be asked (choice->asked) take together. */
double candidates_both_joule(const struct decide_input *input, const struct choice *choice);
/* J of decide.h from what is expected; NAN while the latency is not known. What is NAN (no
 * deadline, no model of the energy) costs nothing. */
double candidate_cost(const struct decide_weights *weights, const struct candidate *candidate);
/* What a run of so long and so many bytes sent take of this device; NAN: its energy is not known.
 */
double candidate_joule(const struct decide_energy *energy, double run_ms, double up_bytes,
                       double down_bytes);
/* What is believed of the answers of an edge, by its number. */
struct edge_belief candidate_edge_belief(const struct decide_input *input, size_t edge);
bool candidate_is_wanted(enum decide_forced forced, enum job_route kind);

#endif
