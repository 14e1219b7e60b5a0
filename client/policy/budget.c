#include "client/policy/budget.h"

#include "common/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SLOT_NS          (10 * NS_PER_MS)
#define MINUTE_NS        (60 * NS_PER_S)
#define RESERVE_PART     8 /* of the rate, for what is no payload */
#define BYTES_S_PER_KBIT 125

/* ---- in words ---- */

struct unit {
    const char *name;
    double bytes, parts; /* parts: of one unit that are told apart */
};

static const struct unit *unit_of(double bytes)
{
    static const struct unit units[] = {
        {"bytes", 1, 1}, {"KiB", 1024, 1}, {"MiB", 1048576, 10}, {"GiB", 1073741824, 10}};
    size_t at = 0;

    while (at + 1 < sizeof(units) / sizeof(*units) && bytes >= units[at + 1].bytes) {
        at++;
    }
    return &units[at];
}

void budget_bytes_text(double left, double limit, double needs, const char *what,
                       char text[BUDGET_TEXT_BYTES])
{
    const double rest = fmax(left, 0);
    const struct unit *of = unit_of(limit), *is = unit_of(rest), *need = unit_of(needs);

    snprintf(text, BUDGET_TEXT_BYTES,
             "byte budget: %.*f%s%s of %.*f %s left in this hour, this %.10s needs %.*f %s",
             is->parts > 1, floor(rest / is->bytes * is->parts) / is->parts, is == of ? "" : " ",
             is == of ? "" : is->name, of->parts > 1, limit / of->bytes, of->name, what,
             need->parts > 1, ceil(needs / need->bytes * need->parts) / need->parts, need->name);
}

/* ---- a rate ---- */

void budget_rate_limit(struct budget_rate *rate, uint64_t kbit_per_s)
{
    rate->bytes_per_s = kbit_per_s * BYTES_S_PER_KBIT;
}

uint64_t budget_rate_kbit(const struct budget_rate *rate)
{
    return rate->bytes_per_s / BYTES_S_PER_KBIT;
}

/* What counts at `now_ns`: all slots that began less than BUDGET_SLOTS ago. */
static uint64_t rate_sum(const struct budget_rate *rate, int64_t now_ns)
{
    const int64_t gone = now_ns / SLOT_NS - rate->slot; /* slots that are new since the last */
    uint64_t sum = rate->sum;

    if (gone >= BUDGET_SLOTS) {
        return 0;
    }
    for (int64_t i = 1; i <= gone; i++) {
        sum -= rate->spent[(rate->slot + i) % BUDGET_SLOTS];
    }
    return sum;
}

static uint64_t rate_most(const struct budget_rate *rate, bool payload)
{
    return rate->bytes_per_s - (payload ? rate->bytes_per_s / RESERVE_PART : 0);
}

uint64_t budget_rate_left(const struct budget_rate *rate, bool payload, int64_t now_ns)
{
    const uint64_t most = rate_most(rate, payload), sum = rate_sum(rate, now_ns);

    return rate->bytes_per_s == 0 ? UINT64_MAX : most > sum ? most - sum : 0;
}

/* When `bytes` of what counts now will count no more. */
static int64_t rate_freed_ns(const struct budget_rate *rate, uint64_t bytes, int64_t now_ns)
{
    const int64_t now_slot = now_ns / SLOT_NS;
    uint64_t freed = 0;

    for (int64_t slot = now_slot - BUDGET_SLOTS + 1; slot <= rate->slot; slot++) {
        freed +=
            slot > rate->slot - BUDGET_SLOTS && slot >= 0 ? rate->spent[slot % BUDGET_SLOTS] : 0;
        if (freed >= bytes) {
            return (slot + BUDGET_SLOTS) * SLOT_NS;
        }
    }
    return (now_slot + BUDGET_SLOTS) * SLOT_NS; /* the limit was lowered meanwhile */
}

int64_t budget_rate_when(const struct budget_rate *rate, bool payload, uint64_t bytes,
                         int64_t now_ns)
{
    const uint64_t most = rate_most(rate, payload), sum = rate_sum(rate, now_ns);
    const uint64_t left = most > sum ? most - sum : 0;
    uint64_t rounds, rest, over;

    if (rate->bytes_per_s == 0 || bytes <= left) {
        return now_ns;
    }
    /* Each round of all slots lets the whole limit through once, in the order in which it went the
     * round before: what is left of the last one waits for the slots of now, and for what leaves
     * now. */
    rest = bytes - left;
    rounds = (rest - 1) / most;
    rest -= rounds * most;
    over = sum > most ? sum - most : 0;
    now_ns += (int64_t)rounds * BUDGET_SLOTS * SLOT_NS;
    if (rest + over > sum) {
        return (now_ns / SLOT_NS + BUDGET_SLOTS) * SLOT_NS;
    }
    return rate_freed_ns(rate, rest + over, now_ns - (int64_t)rounds * BUDGET_SLOTS * SLOT_NS) +
           (int64_t)rounds * BUDGET_SLOTS * SLOT_NS;
}

void budget_rate_spend(struct budget_rate *rate, uint64_t bytes, int64_t now_ns)
{
    const int64_t slot = now_ns / SLOT_NS;
    int64_t gone = slot - rate->slot;

    gone = gone < BUDGET_SLOTS ? gone : BUDGET_SLOTS;
    for (int64_t i = 0; i < gone; i++) {
        uint64_t *old = &rate->spent[(slot - i) % BUDGET_SLOTS];

        rate->sum -= *old;
        *old = 0;
    }
    rate->slot = gone > 0 ? slot : rate->slot;
    rate->spent[rate->slot % BUDGET_SLOTS] += bytes;
    rate->sum += bytes;
}

/* ---- an hour ---- */

static void hour_turn(struct budget_hour *hour, int64_t minute)
{
    int64_t gone = minute - hour->minute;

    gone = gone < BUDGET_MINUTES ? gone : BUDGET_MINUTES;
    for (int64_t i = 0; i < gone; i++) {
        hour->spent[(minute - i) % BUDGET_MINUTES] = 0;
    }
    hour->minute = gone > 0 ? minute : hour->minute;
}

void budget_hour_add(struct budget_hour *hour, double amount, int64_t now_ns)
{
    hour_turn(hour, now_ns / MINUTE_NS);
    hour->spent[hour->minute % BUDGET_MINUTES] += amount;
}

double budget_hour_at(const struct budget_hour *hour, int age, int64_t now_ns)
{
    const int64_t minute = now_ns / MINUTE_NS - age;

    return minute >= 0 && minute <= hour->minute && minute > hour->minute - BUDGET_MINUTES
               ? hour->spent[minute % BUDGET_MINUTES]
               : 0;
}

double budget_hour_sum(const struct budget_hour *hour, int64_t now_ns)
{
    double sum = 0;

    for (int age = 0; age < BUDGET_MINUTES; age++) {
        sum += budget_hour_at(hour, age, now_ns);
    }
    return sum;
}

void budget_hour_restore(struct budget_hour *hour, int64_t age, double amount, int64_t now_ns)
{
    int64_t minute = now_ns / MINUTE_NS - age;

    if (age < 0 || age >= BUDGET_MINUTES) {
        return;
    }
    hour_turn(hour, now_ns / MINUTE_NS);
    minute = minute > 0 ? minute : 0; /* a clock that began after it was spent */
    hour->spent[minute % BUDGET_MINUTES] += amount;
}

int64_t budget_minutes_since(const struct budget_moment *then, const struct budget_moment *now)
{
    const bool one_boot = then->boot[0] && strcmp(then->boot, now->boot) == 0;
    const int64_t since_ns = one_boot ? now->boot_ns - then->boot_ns : now->unix_ns - then->unix_ns;

    return since_ns > 0 ? since_ns / MINUTE_NS : 0;
}
