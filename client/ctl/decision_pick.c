#include "client/ctl/decision_pick.h"
#include "client/ctl/decision_read.h"
#include "client/ctl/member.h"

#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>

static bool is_beyond_routes(const cJSON *outcome)
{
    return decision_is_beyond_routes((int)member_number_or_0(outcome, "error_code"));
}

/* Of one that has ended: late, or an error that was not its own fault. */
static bool is_missed(const cJSON *outcome)
{
    return !is_beyond_routes(outcome) && (cJSON_IsFalse(member_get(outcome, "met_deadline")) ||
                                          member_number_or_0(outcome, "error_code") < 0);
}

static bool route_fits(const char *wanted, const char *route)
{
    return strcmp(wanted, route) == 0 ||
           (strcmp(wanted, "edge") == 0 && strncmp(route, "edge:", 5) == 0);
}

bool decision_filter_takes(const struct decision_filter *filter, const cJSON *decision)
{
    const cJSON *time = member_get(decision, "time_unix_ns"),
                *outcome = member_get(decision, "outcome");
    const double time_ns = cJSON_IsNumber(time) ? time->valuedouble : 0;

    return cJSON_IsString(
               member_get(decision, "task")) && /* else it is no decision, but speaks of one */
           (!filter->task || strcmp(filter->task, member_text(decision, "task")) == 0) &&
           (!filter->route || route_fits(filter->route, member_text(decision, "route"))) &&
           (!filter->missed || is_missed(outcome)) && time_ns >= (double)filter->since_ns &&
           (filter->until_ns == 0 || time_ns < (double)filter->until_ns);
}

const cJSON *decision_p95(const cJSON *decision)
{
    const char *by = member_text(member_get(decision, "outcome"), "route"),
               *route = cJSON_IsTrue(member_get(decision, "observed")) && by[0]
                            ? by
                            : member_text(decision, "route");
    const cJSON *candidate;

    if (strcmp(by, "cache") == 0) {
        return NULL; /* nothing ran */
    }
    cJSON_ArrayForEach(candidate, member_get(decision, "candidates"))
    {
        const cJSON *p95 = member_get(candidate, "latency_p95_ms");

        if (cJSON_IsNumber(p95) && strcmp(member_text(candidate, "route"), route) == 0) {
            return p95;
        }
    }
    return NULL;
}

void decision_sums_add(struct decision_sums *sums, const cJSON *decision)
{
    const cJSON *outcome = member_get(decision, "outcome"),
                *latency = member_get(outcome, "latency_ms");
    const cJSON *p95 = decision_p95(decision);

    if (!cJSON_IsObject(outcome)) {
        return;
    }
    if (is_beyond_routes(outcome)) {
        sums->beyond++;
        return;
    }
    sums->ended++;
    sums->missed += is_missed(outcome);
    if (p95 && cJSON_IsNumber(latency)) {
        sums->predicted++;
        sums->slower += latency->valuedouble > p95->valuedouble;
    }
}

void decision_pick_init(struct decision_pick *pick, size_t capacity, bool slowest)
{
    *pick = (struct decision_pick){.capacity = capacity, .slowest = slowest};
}

static void picked_drop(struct picked *item)
{
    cJSON_Delete(item->decision);
    free(item->line);
    *item = (struct picked){0};
}

void decision_pick_fini(struct decision_pick *pick)
{
    for (size_t i = 0; i < pick->count; i++) {
        picked_drop(&pick->items[i]);
    }
    free(pick->items);
    *pick = (struct decision_pick){0};
}

static void items_swap(struct decision_pick *pick, size_t a, size_t b)
{
    const struct picked held = pick->items[a];

    pick->items[a] = pick->items[b];
    pick->items[b] = held;
}

/* A heap with the quickest of the slowest on top: of several that are alike the older ones stay. */
static void heap_up(struct decision_pick *pick, size_t at)
{
    while (at > 0 && pick->items[at].latency_ms < pick->items[(at - 1) / 2].latency_ms) {
        items_swap(pick, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void heap_down(struct decision_pick *pick)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < pick->count; at = child) {
        if (child + 1 < pick->count &&
            pick->items[child + 1].latency_ms < pick->items[child].latency_ms) {
            child++;
        }
        if (pick->items[at].latency_ms <= pick->items[child].latency_ms) {
            return;
        }
        items_swap(pick, at, child);
    }
}

/* Room for one more. */
static int items_grow(struct decision_pick *pick)
{
    /* The capacity is what a person typed: memory follows what there is. */
    if ((pick->count & (pick->count - 1)) == 0) {
        const size_t room = pick->count ? 2 * pick->count : 1;
        struct picked *items = realloc(pick->items, room * sizeof(*items));

        if (!items) {
            return TANDEM_ENOMEM;
        }
        pick->items = items;
    }
    return 0;
}

static void item_put(struct decision_pick *pick, struct picked item)
{
    if (pick->count < pick->capacity) {
        pick->items[pick->count++] = item;
        if (pick->slowest) {
            heap_up(pick, pick->count - 1);
        }
    } else if (!pick->slowest) {
        picked_drop(&pick->items[pick->next]);
        pick->items[pick->next] = item;
        pick->next = (pick->next + 1) % pick->capacity;
    } else if (item.latency_ms > pick->items[0].latency_ms) {
        picked_drop(&pick->items[0]);
        pick->items[0] = item;
        heap_down(pick);
    } else {
        picked_drop(&item);
    }
}

int decision_pick_add(struct decision_pick *pick, const char *line, cJSON *decision)
{
    const cJSON *latency = member_get(member_get(decision, "outcome"), "latency_ms");
    struct picked item = {.decision = decision,
                          .latency_ms = cJSON_IsNumber(latency) ? latency->valuedouble : -1};
    int result = pick->count < pick->capacity ? items_grow(pick) : 0;

    if (pick->slowest && item.latency_ms < 0) {
        cJSON_Delete(decision);
        return 0; /* it has no latency yet */
    }
    item.line = result == 0 ? strdup(line) : NULL;
    if (!item.line) {
        cJSON_Delete(decision);
        return TANDEM_ENOMEM;
    }
    item_put(pick, item);
    return 0;
}

static int slower_first(const void *a, const void *b)
{
    const struct picked *x = a, *y = b;

    return (x->latency_ms < y->latency_ms) - (x->latency_ms > y->latency_ms);
}

static void items_reverse(struct decision_pick *pick, size_t from, size_t to)
{
    while (from + 1 < to) {
        items_swap(pick, from++, --to);
    }
}

void decision_pick_sort(struct decision_pick *pick)
{
    if (pick->slowest && pick->count > 1) {
        qsort(pick->items, pick->count, sizeof(*pick->items), slower_first);
    } else {
        items_reverse(pick, 0, pick->next); /* turns the ring to begin with its oldest */
        items_reverse(pick, pick->next, pick->count);
        items_reverse(pick, 0, pick->count);
        pick->next = 0;
    }
}
