/* status_budget.c: what is left of the hourly budgets, and what energy is known to cost, in the
 * status and among the metrics. */
#include "client/daemon/status.h"

#include <math.h>
#include <stdio.h>

static const char *const words[BUDGETS] = {[BUDGET_BYTES] = "bytes", [BUDGET_JOULE] = "joule"};

static double left_of(const struct budgets_view *budget)
{
    return budget->limit > 0 ? fmax(budget->left, 0) : NAN;
}

void status_budget_json(const struct requests *requests, struct json_writer *json)
{
    json_object_open(json, "budget");
    for (int kind = 0; kind < BUDGETS; kind++) {
        struct budgets_view budget;

        budgets_look(requests->budgets, (enum budget_kind)kind, &budget);
        if (budget.limit == 0) {
            json_null(json, words[kind]);
            continue;
        }
        json_object_open(json, words[kind]);
        json_double(json, "limit", budget.limit);
        json_double(json, "used", budget.used);
        json_double(json, "left", left_of(&budget));
        json_double(json, "resets_in_s", budget.resets_s);
        json_object_close(json);
    }
    json_object_close(json);
}

void status_energy_json(const struct energy *energy, struct json_writer *json)
{
    static const char *const sources[] = {
        [ENERGY_MODEL] = "model", [ENERGY_RAPL] = "rapl", [ENERGY_BATTERY] = "battery"};
    const double watt = requests_energy(energy->requests).compute_watt;

    json_object_open(json, "energy");
    json_text(json, "source", sources[energy->source]);
    json_bool(json, "measured", energy->requests->measured_watt > 0);
    json_double(json, "compute_watt", watt > 0 ? watt : NAN);
    json_double(json, "idle_watt", energy->meter.idle_watt);
    json_object_close(json);
}

void status_budget_metrics(const struct requests *requests, struct json_writer *json)
{
    for (int kind = 0; kind < BUDGETS; kind++) {
        struct budgets_view budget;
        char key[64];

        budgets_look(requests->budgets, (enum budget_kind)kind, &budget);
        snprintf(key, sizeof(key), "budget_%s_limit", words[kind]);
        json_double(json, key, budget.limit > 0 ? budget.limit : NAN);
        snprintf(key, sizeof(key), "budget_%s_used", words[kind]);
        json_double(json, key, budget.used);
        snprintf(key, sizeof(key), "budget_%s_left", words[kind]);
        json_double(json, key, left_of(&budget));
    }
}
