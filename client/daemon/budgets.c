#include "client/daemon/budgets.h"

#include "client/daemon/state_file.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEASE_BYTES     16384 /* at least, of bytes */
#define COMING_BYTES    1024  /* kept for what comes without being asked for */
#define LINK_BYTES      2048  /* with less left a connection ends */
#define DIAL_BYTES      4096  /* and with less none is made */
#define HANDSHAKE_BYTES 8192  /* of TLS, both ways */
#define DIAL_PART       64    /* of the limit: so that a connection is worth making */
#define HEARTBEAT_BYTES 160   /* a ping and its pong, with the edge's load */
#define HEARTBEAT_PART  16
#define HEARTBEAT_MIN_S 0.5
#define HEARTBEAT_MAX_S 2.0
#define HOUR_S          3600.0

struct budgets {
    struct budget_account accounts[BUDGETS];
    struct decide_energy energy; /* of bytes */
    double expected;             /* bytes of answers */
    char boot[37];
    uv_timer_t timer;
    uv_work_t work;
    struct state_file file; /* the worker's while it runs */
    struct budgets_kept kept;
    double promised[BUDGETS]; /* the leases once that is written */
    int64_t saved_ns;         /* when the last writing began */
    bool busy;
};

/* ---- the file ---- */

static void boot_read(char boot[37])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (!file || fscanf(file, "%36s", boot) != 1) {
        boot[0] = '\0'; /* then the wall clock tells */
    }
    if (file) {
        (void)fclose(file);
    }
}

static struct budget_moment moment_now(const struct budgets *budgets)
{
    struct budget_moment moment = {.unix_ns = clock_unix_ns()};
    struct timespec since_boot;

    if (clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0) {
        memcpy(moment.boot, budgets->boot, sizeof(moment.boot));
        moment.boot_ns = since_boot.tv_sec * NS_PER_S + since_boot.tv_nsec;
    }
    return moment;
}

/* What is to be on disk now; `ahead`: with new leases. */
static void kept_take(struct budgets *budgets, bool ahead)
{
    const int64_t now_ns = clock_now_ns();

    budgets->kept = (struct budgets_kept){.moment = moment_now(budgets)};
    for (size_t kind = 0; kind < BUDGETS; kind++) {
        const struct budget_account *account = &budgets->accounts[kind];

        budgets->kept.ahead[kind] =
            ahead && account->limit > 0 ? budget_account_ahead(account, now_ns) : 0;
        budgets->promised[kind] = account->spent + budgets->kept.ahead[kind];
        for (int age = 0; age < BUDGET_MINUTES; age++) {
            budgets->kept.spent[kind][age] = budget_hour_at(&account->hour, age, now_ns);
        }
    }
}

/* What hinders, state_file_write says. */
static void kept_write(struct budgets *budgets)
{
    struct buf text;

    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    if (budgets_text_write(&budgets->kept, &text) == 0) {
        (void)state_file_write(&budgets->file, text.data, text.bytes);
    }
    buf_fini(&text);
}

static void save_if_due(struct budgets *budgets);

static void leases_begin(struct budgets *budgets)
{
    for (size_t kind = 0; kind < BUDGETS; kind++) {
        budgets->accounts[kind].lease = budgets->promised[kind];
    }
}

static void on_work(uv_work_t *work)
{
    kept_write(work->data);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct budgets *budgets = work->data;

    (void)status; /* nobody cancels it */
    budgets->busy = false;
    leases_begin(budgets);
    save_if_due(budgets); /* requests may have come meanwhile */
}

static bool is_limited(const struct budgets *budgets)
{
    return budgets->accounts[BUDGET_BYTES].limit > 0 || budgets->accounts[BUDGET_JOULE].limit > 0;
}

/* Old leases run out, and the last writing is long enough ago; or requests would wait for it. Joule
 * wait for no lease. */
static bool is_due(const struct budgets *budgets, int64_t now_ns)
{
    bool low = false;

    if (budget_account_lease_is_short(&budgets->accounts[BUDGET_BYTES], COMING_BYTES, now_ns)) {
        return true;
    }
    for (size_t kind = 0; kind < BUDGETS; kind++) {
        low = low || budget_account_lease_is_low(&budgets->accounts[kind], now_ns);
    }
    return low && now_ns - budgets->saved_ns >= BUDGETS_SAVE_MS * NS_PER_MS;
}

static void save_if_due(struct budgets *budgets)
{
    const int64_t now_ns = clock_now_ns();

    if (budgets->file.path[0] && !budgets->busy && is_due(budgets, now_ns)) {
        budgets->saved_ns = now_ns;
        budgets->busy = true;
        kept_take(budgets, true);
        (void)uv_queue_work(budgets->timer.loop, &budgets->work, on_work, on_work_done);
    }
}

static void on_timer(uv_timer_t *timer)
{
    save_if_due(timer->data);
}

static void kept_restore(struct budgets *budgets, const struct budgets_kept *kept)
{
    const struct budget_moment now = moment_now(budgets);
    const int64_t since = budget_minutes_since(&kept->moment, &now), now_ns = clock_now_ns();

    for (size_t kind = 0; kind < BUDGETS; kind++) {
        struct budget_hour *hour = &budgets->accounts[kind].hour;

        /* Of what was ahead nobody knows when it was spent: it may have been just now. */
        budget_hour_restore(hour, 0, kept->ahead[kind], now_ns);
        for (int age = 0; age < BUDGET_MINUTES; age++) {
            budget_hour_restore(hour, since + age, kept->spent[kind][age], now_ns);
        }
    }
}

static void kept_find(struct budgets *budgets)
{
    struct budgets_kept kept;
    struct buf text;
    int result;

    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    result = state_file_read(&budgets->file, &text);
    if (result == 0) {
        result = budgets_text_read((const char *)text.data, text.bytes, &kept);
        if (result == 0) {
            kept_restore(budgets, &kept);
        } else {
            state_file_set_aside(&budgets->file, "cannot be understood");
        }
    }
    if (result != 0 && result != TANDEM_ENOTFOUND && is_limited(budgets)) {
        log_warning("%s: what was spent is not known: the budgets of this hour count as used up",
                    budgets->file.path);
        for (size_t kind = 0; kind < BUDGETS; kind++) {
            budget_hour_restore(&budgets->accounts[kind].hour, 0, budgets->accounts[kind].limit,
                                clock_now_ns());
        }
    }
    buf_fini(&text);
}

/* ---- life ---- */

static void limits_take(struct budgets *budgets, const struct client_config *config)
{
    budgets->accounts[BUDGET_BYTES].limit = (double)config->bytes_per_hour;
    budgets->accounts[BUDGET_JOULE].limit = config->joule_per_hour;
    budgets->energy = client_config_energy(config);
}

struct budgets *budgets_open(uv_loop_t *loop, const struct client_config *config)
{
    struct budgets *budgets = calloc(1, sizeof(*budgets));
    const bool kept = config->state_dir[0] != '\0';

    if (!budgets) {
        return NULL;
    }
    budget_account_init(&budgets->accounts[BUDGET_BYTES], LEASE_BYTES, kept);
    budget_account_init(&budgets->accounts[BUDGET_JOULE], 0, kept);
    limits_take(budgets, config);
    boot_read(budgets->boot);
    budgets->work.data = budgets;
    state_file_init(&budgets->file, config->state_dir, BUDGETS_FILE_NAME);
    kept_find(budgets);
    if (is_limited(budgets) && kept) {
        kept_take(budgets, true); /* the links are about to spend */
        kept_write(budgets);
        leases_begin(budgets);
        budgets->saved_ns = clock_now_ns();
    } else if (is_limited(budgets)) {
        log_warning("[client] state_dir is empty: a restart forgets what was spent of the budgets");
    }
    (void)uv_timer_init(loop, &budgets->timer);
    budgets->timer.data = budgets;
    (void)uv_timer_start(&budgets->timer, on_timer, BUDGETS_SAVE_MS, BUDGETS_SAVE_MS);
    return budgets;
}

void budgets_configure(struct budgets *budgets, const struct client_config *config)
{
    limits_take(budgets, config);
    save_if_due(budgets);
}

void budgets_close(struct budgets *budgets)
{
    if (budgets) {
        uv_close((uv_handle_t *)&budgets->timer, NULL);
    }
}

void budgets_free(struct budgets *budgets)
{
    if (budgets && is_limited(budgets)) {
        kept_take(budgets, false);
        kept_write(budgets);
    }
    free(budgets);
}

/* ---- what is spent ---- */

void budgets_spend(struct budgets *budgets, enum budget_kind kind, double amount)
{
    if (budgets && amount > 0) {
        budget_account_spend(&budgets->accounts[kind], amount, clock_now_ns());
        save_if_due(budgets);
    }
}

void budgets_moved(struct budgets *budgets, uint64_t sent_bytes, uint64_t received_bytes)
{
    if (budgets) {
        budgets_spend(budgets, BUDGET_BYTES, (double)(sent_bytes + received_bytes));
        budgets_spend(budgets, BUDGET_JOULE,
                      (double)sent_bytes * budgets->energy.joule_per_byte +
                          (double)received_bytes * budgets->energy.joule_per_byte_received);
    }
}

void budgets_reserve(struct budgets *budgets, enum budget_kind kind, double amount)
{
    if (budgets) {
        budgets->accounts[kind].reserved += amount;
        save_if_due(budgets);
    }
}

void budgets_release(struct budgets *budgets, enum budget_kind kind, double amount)
{
    if (budgets) {
        budgets->accounts[kind].reserved = fmax(budgets->accounts[kind].reserved - amount, 0);
    }
}

/* ---- what may be ---- */

void budgets_expect(struct budgets *budgets, double bytes)
{
    if (budgets) {
        budgets->expected += bytes;
    }
}

void budgets_expect_no_more(struct budgets *budgets, double bytes)
{
    if (budgets) {
        budgets->expected = fmax(budgets->expected - bytes, 0);
    }
}

double budgets_left(const struct budgets *budgets, enum budget_kind kind)
{
    return budgets ? budget_account_left(&budgets->accounts[kind], clock_now_ns()) : INFINITY;
}

uint64_t budgets_bytes_now(const struct budgets *budgets)
{
    const double bytes =
        budgets ? budget_account_spendable(&budgets->accounts[BUDGET_BYTES], clock_now_ns())
                : INFINITY;

    return isinf(bytes) ? UINT64_MAX : (uint64_t)fmax(bytes - budgets->expected - COMING_BYTES, 0);
}

bool budgets_are_written(const struct budgets *budgets)
{
    return budgets && budgets->busy;
}

/* Without a limit: INFINITY. */
static double bytes_unused(const struct budgets *budgets)
{
    const struct budget_account *account = &budgets->accounts[BUDGET_BYTES];

    return account->limit > 0 ? account->limit - budget_account_used(account, clock_now_ns())
                              : INFINITY;
}

bool budgets_carry_link(const struct budgets *budgets)
{
    return !budgets || bytes_unused(budgets) >= LINK_BYTES;
}

bool budgets_carry_dial(const struct budgets *budgets, bool tls)
{
    return !budgets ||
           bytes_unused(budgets) >= fmax(DIAL_BYTES + (tls ? HANDSHAKE_BYTES : 0),
                                         budgets->accounts[BUDGET_BYTES].limit / DIAL_PART);
}

bool budgets_allow_extra(const struct budgets *budgets)
{
    return budgets_left(budgets, BUDGET_BYTES) > 0 && budgets_left(budgets, BUDGET_JOULE) > 0;
}

bool budgets_carry_extra(const struct budgets *budgets, uint64_t sent_bytes)
{
    return !budgets ||
           (budgets_allow_extra(budgets) && (double)sent_bytes * budgets->energy.joule_per_byte <=
                                                budgets_left(budgets, BUDGET_JOULE));
}

int64_t budgets_heartbeat_ns(const struct budgets *budgets)
{
    const double limit = budgets ? budgets->accounts[BUDGET_BYTES].limit : 0;
    const double every_s = limit > 0 ? HOUR_S * HEARTBEAT_BYTES * HEARTBEAT_PART / limit : 0;

    return (int64_t)(fmin(fmax(every_s, HEARTBEAT_MIN_S), HEARTBEAT_MAX_S) * (double)NS_PER_S);
}

void budgets_look(const struct budgets *budgets, enum budget_kind kind,
                  struct budgets_view *ret_view)
{
    const struct budget_account *account = &budgets->accounts[kind];
    const int64_t now_ns = clock_now_ns(), resets_ns = budget_account_resets_ns(account, now_ns);

    *ret_view = (struct budgets_view){
        .limit = account->limit,
        .used = budget_account_used(account, now_ns),
        .left = budget_account_left(account, now_ns),
        .resets_s = resets_ns > 0 ? (double)resets_ns / (double)NS_PER_S : NAN};
}
