/* budget.h: what may still be spent: bytes on one link within any second, and bytes or joule within
 * any hour. Pure state, one thread at a time; time is an argument, on any clock that does not go
 * back. What was spent is counted a little longer than it has to be, never shorter:
 *
 *   rate   slots of 10 ms; a slot counts while any moment of it lies within the last 1.1 s, so
 *          over ANY span of one second, wherever it begins, at most the limit is spent by who asks
 *          budget_rate_left before each spending; also where what is spent leaves up to a tenth of
 *          a second later, as it does on a busy device.
 *   hour   buckets of a minute, 60 of them and the one that runs: the same for any hour. */
#ifndef TANDEM_POLICY_BUDGET_H
#define TANDEM_POLICY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_SLOTS      111 /* 1.1 s of them, and the one that runs */
#define BUDGET_MINUTES    61
#define BUDGET_BYTES_MIN  16384 /* an hour; less carries no connection with its TLS */
#define BUDGET_KBIT_MIN   32    /* less carries no hello */
#define BUDGET_BYTES_USED "byte budget of this hour is used up" /* reasons */
#define BUDGET_BYTES_LINK "byte budget: too little left in this hour for a connection"
/* A reason too; who shows it says with budget_bytes_text what is left and needed instead. */
#define BUDGET_BYTES_SHORT  "byte budget: too little left in this hour"
#define BUDGET_ENERGY_USED  "energy budget of this hour is used up"
#define BUDGET_ENERGY_SHORT "energy budget of this hour has too little left for more"

/* "byte budget: 12 of 64 KiB left in this hour, this picture needs 40 KiB"; `what` it is that needs
 * them. What is left is rounded down and what is needed up. */
#define BUDGET_TEXT_BYTES 96
void budget_bytes_text(double left, double limit, double needs, const char *what,
                       char text[BUDGET_TEXT_BYTES]);

/* ---- a rate ---- */

struct budget_rate {
    uint64_t bytes_per_s;         /* 0: no limit */
    int64_t slot;                 /* the newest, counted since the clock's zero */
    uint64_t spent[BUDGET_SLOTS]; /* by slot modulo */
    uint64_t sum;                 /* of them */
};
/* kbit: 1000 bits; 0: no limit. What was spent stays counted. */
void budget_rate_limit(struct budget_rate *rate, uint64_t kbit_per_s);
uint64_t budget_rate_kbit(const struct budget_rate *rate);
/* Bytes that may leave now: of payload, or of anything. Payload leaves an eighth of the limit to
 * what keeps the link and its requests alive. UINT64_MAX without a limit. */
uint64_t budget_rate_left(const struct budget_rate *rate, bool payload, int64_t now_ns);
/* The earliest moment at which so many bytes may leave, if nothing else does before; more than the
 * limit: at which the last of them may, where each leaves as soon as it can. Without a limit:
 * now_ns. */
int64_t budget_rate_when(const struct budget_rate *rate, bool payload, uint64_t bytes,
                         int64_t now_ns);
void budget_rate_spend(struct budget_rate *rate, uint64_t bytes, int64_t now_ns);

/* ---- an hour ---- */

struct budget_hour {
    int64_t minute;               /* the newest, counted since the clock's zero */
    double spent[BUDGET_MINUTES]; /* by minute modulo */
};
void budget_hour_add(struct budget_hour *hour, double amount, int64_t now_ns);
double budget_hour_sum(const struct budget_hour *hour, int64_t now_ns);
/* What was spent `age` minutes before the minute of now, 0 <= age < BUDGET_MINUTES. */
double budget_hour_at(const struct budget_hour *hour, int age, int64_t now_ns);
/* Adds what was spent so many minutes ago; older than an hour: nothing. */
void budget_hour_restore(struct budget_hour *hour, int64_t age, double amount, int64_t now_ns);

/* How long ago something was written down, in whole minutes, rounded down, so that what it says is
 * believed to be as young as it may be. Within one boot of the machine its own clock tells; else
 * the wall clock does, and where that went back, it is as if no time had passed. */
struct budget_moment {
    char boot[37];   /* names the boot; "": not known */
    int64_t boot_ns; /* since it, sleep included */
    int64_t unix_ns;
};
int64_t budget_minutes_since(const struct budget_moment *then, const struct budget_moment *now);

#endif
