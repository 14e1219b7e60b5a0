#include "server/batcher.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>

#define RATE_WEIGHT    0.2 /* of a new sample */
#define SERVICE_NS_MAX (3600.0 * 1e9)

void batcher_init(struct batcher *batcher)
{
    memset(batcher, 0, sizeof(*batcher));
}

int64_t batcher_urgency(int64_t arrival_ns, int64_t deadline_ns, int64_t service_ns)
{
    return deadline_ns != 0 ? deadline_ns
                            : arrival_ns + (int64_t)(BATCHER_SLACK * (double)service_ns);
}

static int urgency_compare(const void *a, const void *b)
{
    const struct batcher_item *left = a, *right = b;

    /* Decode tokens first: they are what people wait for, and they cost one token each. */
    if ((left->prefill == 0) != (right->prefill == 0)) {
        return left->prefill == 0 ? -1 : 1;
    }
    return (left->urgency_ns > right->urgency_ns) - (left->urgency_ns < right->urgency_ns);
}

/* The tenant's entry. A new one begins level with the least served, so that it neither pays for nor
 * owes the past. */
static struct batcher_tenant *tenant_find(struct batcher *batcher, uint64_t tenant)
{
    struct batcher_tenant *entry = batcher->tenants;
    double least = 0;

    for (size_t i = 0; i < batcher->tenant_count; i++) {
        if (batcher->tenants[i].tenant == tenant) {
            return &batcher->tenants[i];
        }
        if (i == 0 || batcher->tenants[i].served < least) {
            least = batcher->tenants[i].served;
        }
        if (batcher->tenants[i].served > entry->served) {
            entry = &batcher->tenants[i];
        }
    }
    if (batcher->tenant_count < LIMIT_TENANTS) {
        entry = &batcher->tenants[batcher->tenant_count++];
    } /* else the most served one is forgotten: it has the least to lose */
    *entry = (struct batcher_tenant){tenant, least};
    return entry;
}

struct budget {
    uint32_t tokens, items;
    size_t taken;
};

static uint32_t item_take(struct batcher *batcher, struct batcher_item *item, uint32_t most,
                          struct budget *budget)
{
    const uint32_t want = item->prefill ? item->prefill - item->ret_take : 1 - item->ret_take;
    uint32_t take = want < most ? want : most;

    if (take > budget->tokens) {
        take = budget->tokens;
    }
    if (take == 0 || (item->ret_take == 0 && budget->items == 0)) {
        return 0;
    }
    if (item->ret_take == 0) {
        budget->items--;
        budget->taken++;
    }
    item->ret_take += take;
    budget->tokens -= take;
    tenant_find(batcher, item->tenant)->served += take;
    return take;
}

/* The waiting tenant that was served least and has not had its share in this step. */
static bool tenant_next(struct batcher *batcher, const struct batcher_item *items, size_t count,
                        const uint64_t *done, size_t done_count, uint64_t *ret_tenant)
{
    double least = 0;
    bool found = false;

    for (size_t i = 0; i < count; i++) {
        bool skip = items[i].prefill == 0;
        double served;

        for (size_t k = 0; k < done_count && !skip; k++) {
            skip = done[k] == items[i].tenant;
        }
        if (skip) {
            continue;
        }
        served = tenant_find(batcher, items[i].tenant)->served;
        if (!found || served < least) {
            least = served;
            *ret_tenant = items[i].tenant;
            found = true;
        }
    }
    return found;
}

static void shares_take(struct batcher *batcher, struct batcher_item *items, size_t count,
                        struct budget *budget)
{
    uint64_t done[LIMIT_TENANTS], tenant;
    size_t done_count = 0, waiting = 0;
    uint32_t token_share, item_share;

    while (waiting < LIMIT_TENANTS && tenant_next(batcher, items, count, done, waiting, &tenant)) {
        done[waiting++] = tenant;
    }
    if (waiting < 2) {
        return; /* nobody to share with */
    }
    token_share = budget->tokens / (uint32_t)waiting ? budget->tokens / (uint32_t)waiting : 1;
    item_share = budget->items / (uint32_t)waiting ? budget->items / (uint32_t)waiting : 1;
    while (done_count < waiting && budget->tokens > 0 && budget->items > 0 &&
           tenant_next(batcher, items, count, done, done_count, &tenant)) {
        uint32_t tokens = token_share, places = item_share;

        done[done_count++] = tenant;
        for (size_t i = 0; i < count && tokens > 0 && places > 0; i++) {
            if (items[i].tenant == tenant && items[i].prefill > 0) {
                const uint32_t took = item_take(batcher, &items[i], tokens, budget);

                tokens -= took;
                places -= took > 0;
            }
        }
    }
}

size_t batcher_pick(struct batcher *batcher, struct batcher_item *items, size_t count,
                    uint32_t tokens_max, uint32_t items_max)
{
    struct budget budget = {tokens_max, items_max, 0};

    for (size_t i = 0; i < count; i++) {
        items[i].ret_take = 0;
    }
    if (count > 1) {
        qsort(items, count, sizeof(*items), urgency_compare);
    }
    for (size_t i = 0; i < count && items[i].prefill == 0; i++) {
        (void)item_take(batcher, &items[i], 1, &budget);
    }
    shares_take(batcher, items, count, &budget);
    for (size_t i = 0; i < count && budget.tokens > 0; i++) {
        (void)item_take(batcher, &items[i], UINT32_MAX, &budget);
    }
    return budget.taken;
}

int batcher_admit(const struct batcher_load *load, int64_t budget_ns, uint64_t *ret_retry_ms)
{
    const int64_t over_ns = load->ahead_ns + load->service_ns - budget_ns;

    if (budget_ns == 0 || over_ns <= 0) {
        return 0;
    }
    if (load->service_ns > budget_ns) {
        return TANDEM_ELATE;
    }
    *ret_retry_ms = (uint64_t)((over_ns + NS_PER_MS - 1) / NS_PER_MS);
    return TANDEM_EBUSY;
}

void batcher_rate_add(double *mean_ns, double sample_ns)
{
    *mean_ns = *mean_ns == 0 ? sample_ns : *mean_ns + RATE_WEIGHT * (sample_ns - *mean_ns);
}

int64_t batcher_service_ns(const struct batcher_rates *rates, uint32_t pictures, uint32_t prefill,
                           uint32_t decode)
{
    const double ns =
        rates->picture_ns * pictures + rates->prefill_ns * prefill + rates->decode_ns * decode;

    return (int64_t)(ns < SERVICE_NS_MAX ? ns : SERVICE_NS_MAX);
}
