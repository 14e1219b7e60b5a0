/* Every event in every state of a request's life: what job.h says happens, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "client/policy/job.h"
#include "common/base/error.h"

#define DEADLINE 100
#define INSURE   60
#define HANDOVER 4
#define LATEST   150

struct step {
    struct job_event_data event;
    int64_t now_ns;
};

/* The columns. `sure` is over the threshold of every plan here. */
enum column {
    START,
    L_SURE,
    L_UNSURE,
    L_PARTIAL,
    L_FAILED,
    L_BAD_INPUT,
    L_TOKENS,
    E_ACCEPTED,
    E_TOKENS,
    E_DONE,
    E_PARTIAL,
    E_FAILED,
    E_GONE,
    T_INSURE,
    T_DEADLINE,
    L_LATE,
    E_LATE,
    CANCEL,
    GONE,
    T_HANDOVER,
    L_DOUBT,
    PULL_IN,
    COLUMNS
};
static const struct step columns[COLUMNS] = {
    [START] = {{.kind = JOB_START}, 50},
    [L_SURE] = {{.kind = JOB_LOCAL_DONE, .confidence = 0.9}, 50},
    [L_UNSURE] = {{.kind = JOB_LOCAL_DONE, .confidence = 0.1}, 50},
    [L_PARTIAL] = {{.kind = JOB_LOCAL_DONE, .confidence = 0.9, .partial = true}, 50},
    [L_FAILED] = {{.kind = JOB_LOCAL_FAILED, .error = TANDEM_EIO}, 50},
    [L_BAD_INPUT] = {{.kind = JOB_LOCAL_FAILED, .error = TANDEM_EFORMAT}, 50},
    [L_TOKENS] = {{.kind = JOB_LOCAL_TOKENS}, 50},
    [E_ACCEPTED] = {{.kind = JOB_EDGE_ACCEPTED}, 50},
    [E_TOKENS] = {{.kind = JOB_EDGE_TOKENS}, 50},
    [E_DONE] = {{.kind = JOB_EDGE_DONE}, 50},
    [E_PARTIAL] = {{.kind = JOB_EDGE_DONE, .partial = true}, 50},
    [E_FAILED] = {{.kind = JOB_EDGE_FAILED, .error = TANDEM_EBUSY}, 50},
    [E_GONE] = {{.kind = JOB_EDGE_GONE}, 50},
    [T_INSURE] = {{.kind = JOB_TIMER}, INSURE},
    [T_DEADLINE] = {{.kind = JOB_TIMER}, DEADLINE},
    [L_LATE] = {{.kind = JOB_LOCAL_DONE, .confidence = 0.9}, DEADLINE + 1},
    [E_LATE] = {{.kind = JOB_EDGE_DONE}, DEADLINE + 1},
    [CANCEL] = {{.kind = JOB_CANCEL}, 50},
    [GONE] = {{.kind = JOB_APP_GONE}, 50},
    [T_HANDOVER] = {{.kind = JOB_TIMER}, DEADLINE - HANDOVER},
    [L_DOUBT] = {{.kind = JOB_LOCAL_DOUBT, .confidence = 0.1, .tokens = 5}, 50},
    [PULL_IN] = {{.kind = JOB_PULL_IN}, 50},
};

/* The rows: a plan and how the job came to its state. What happens then is written short: "!" the
 * event is refused; L+ E+ start a side; L- E- cancel it; T60 arms the timer; pL pE pass text; dL dE
 * deliver, with p partial, l late, h hedged; f-9 fail. */
struct row {
    const char *name;
    const struct job_plan *plan;
    enum column way[3]; /* after START; START ends it, COLUMNS: not even started */
    const char *expected[COLUMNS];
};

#define COMMON .local_allowed = true, .deadline_ns = DEADLINE, .handover_ns = HANDOVER
static const struct job_plan local_plan = {.route = JOB_LOCAL, COMMON};
static const struct job_plan edge_plan = {.route = JOB_EDGE, .insure_at_ns = INSURE, COMMON};
static const struct job_plan alone_plan = {.route = JOB_EDGE, .deadline_ns = DEADLINE};
static const struct job_plan race_plan = {.route = JOB_EDGE, .race = true, COMMON};
static const struct job_plan cascade_plan = {
    .route = JOB_CASCADE, .edge_needs_ns = 20, .threshold = 0.8, COMMON};
static const struct job_plan tight_plan = {
    .route = JOB_CASCADE, .edge_needs_ns = 60, .threshold = 0.8, COMMON};
static const struct job_plan endless_plan = {
    .route = JOB_CASCADE, .local_allowed = true, .threshold = 0.8};
static const struct job_plan patient_plan = {.route = JOB_EDGE,
                                             .insure_at_ns = INSURE,
                                             .deliver_late = true,
                                             .late_until_ns = LATEST,
                                             COMMON};

static const struct job_plan patient_alone_plan = {
    .route = JOB_EDGE, .deadline_ns = DEADLINE, .deliver_late = true, .late_until_ns = LATEST};

/* In the order of the columns: START, then local: sure, unsure, partial, failed, bad input, tokens,
 * then the edge: accepted, tokens, done, partial, failed, gone, then the timer: at 60, at 100, then
 * done past the deadline: local, the edge, then cancelled, application gone, then the timer at 96,
 * when what is kept goes out, then local in doubt of its text so far,
 * then a place that is kept is taken. */
static const struct row rows[] = {
    {"not started", &local_plan, {COLUMNS}, {"L+ T100", "!", "!", "!", "!", "!", "!", "!",
                                             "!",       "!", "!", "!", "!", "!", "!", "!",
                                             "!",       "!", "!", "!", "!", "!"}},
    {"local: it runs", &local_plan, {START}, {"!",       "dL",   "dL",     "dLp", "f-3", "f-4",
                                              "pL",      "!",    "!",      "!",   "!",   "!",
                                              "!",       "T100", "L- f-9", "f-9", "!",   "L- f-10",
                                              "L- f-11", "T100", "",       ""}},
    {"edge: it runs", &edge_plan, {START}, {"!",   "!",       "!",       "!",       "!",
                                            "!",   "!",       "",        "pE",      "dE",
                                            "dEp", "L+ T100", "L+ T100", "L+ T100", "E- f-9",
                                            "!",   "f-9",     "E- f-10", "E- f-11", "L+ T100",
                                            "!",   "L+ T100"}},
    {"edge: both run",
     &edge_plan,
     {T_INSURE},
     {"!",      "E- dLh",     "E- dLh",     "T96",  "", "",     "",          "",
      "pE",     "L- dEh",     "T96",        "",     "", "T100", "L- E- f-9", "E- f-9",
      "L- f-9", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"edge: local was pulled in, both run",
     &edge_plan,
     {PULL_IN},
     {"!",      "T60",        "T60",        "T96",  "", "",     "",          "",
      "pE",     "L- dEh",     "T96",        "",     "", "T100", "L- E- f-9", "E- f-9",
      "L- f-9", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"edge: local was pulled in and is kept until its time",
     &edge_plan,
     {PULL_IN, L_SURE},
     {"!",   "!",   "!",      "!",      "!", "!",   "!",       "",        "pE",     "dEh", "dLh",
      "dLh", "dLh", "E- dLh", "E- dLh", "!", "f-9", "E- f-10", "E- f-11", "E- dLh", "!",   ""}},
    {"edge: local is kept partial, the edge runs",
     &edge_plan,
     {T_INSURE, L_PARTIAL},
     {"!",    "!",    "!",   "!",       "!", "!",   "!",       "",        "pE",      "dEh", "dEph",
      "dLph", "dLph", "T96", "E- dLph", "!", "f-9", "E- f-10", "E- f-11", "E- dLph", "!",   ""}},
    {"edge: the edge is kept partial, local runs",
     &edge_plan,
     {T_INSURE, E_PARTIAL},
     {"!", "dLh", "dLh", "dEph",    "dEph", "dEph", "pL",      "!",       "!",       "!", "!",
      "!", "!",   "T96", "L- dEph", "f-9",  "!",    "L- f-10", "L- f-11", "L- dEph", "",  ""}},
    {"edge: the edge failed, local runs",
     &edge_plan,
     {E_FAILED},
     {"!", "dLh", "dLh",  "dLph",   "f-3", "f-4", "pL",      "!",       "!",    "!", "!",
      "!", "!",   "T100", "L- f-9", "f-9", "!",   "L- f-10", "L- f-11", "T100", "",  ""}},
    {"edge: local failed, the edge runs",
     &edge_plan,
     {T_INSURE, L_FAILED},
     {"!",   "!",    "!",    "!",      "!", "!",   "!",       "",        "pE",   "dEh", "dEph",
      "f-8", "f-12", "T100", "E- f-9", "!", "f-9", "E- f-10", "E- f-11", "T100", "!",   ""}},
    {"edge without a local model",
     &alone_plan,
     {START},
     {"!",   "!",    "!",    "!",      "!", "!",   "!",       "",        "pE",   "dE", "dEp",
      "f-8", "f-12", "T100", "E- f-9", "!", "f-9", "E- f-10", "E- f-11", "T100", "!",  ""}},
    {"race: both run",
     &race_plan,
     {START},
     {"!",      "E- dLh",     "E- dLh",     "T96",  "", "",     "pL",        "",
      "",       "L- dEh",     "T96",        "",     "", "T100", "L- E- f-9", "E- f-9",
      "L- f-9", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"cascade: local runs",
     &cascade_plan,
     {START},
     {"!", "dL",      "E+ T96",  "E+ T96", "E+ T100", "f-4",  "pL",     "!",
      "!", "!",       "!",       "!",      "!",       "T100", "L- f-9", "f-9",
      "!", "L- f-10", "L- f-11", "T100",   "E+ T100", ""}},
    {"cascade: an unsure answer is kept",
     &cascade_plan,
     {L_UNSURE},
     {"!",   "!",   "!",   "!",      "!", "!",   "!",       "",        "pE",     "dEh", "dLh",
      "dLh", "dLh", "T96", "E- dLh", "!", "f-9", "E- f-10", "E- f-11", "E- dLh", "!",   ""}},
    {"cascade: a partial answer is kept",
     &cascade_plan,
     {L_PARTIAL},
     {"!",    "!",    "!",   "!",       "!", "!",   "!",       "",        "pE",      "dEh", "dEph",
      "dLph", "dLph", "T96", "E- dLph", "!", "f-9", "E- f-10", "E- f-11", "E- dLph", "!",   ""}},
    {"cascade: local failed, the edge runs",
     &cascade_plan,
     {L_FAILED},
     {"!",   "!",    "!",    "!",      "!", "!",   "!",       "",        "pE",   "dEh", "dEph",
      "f-8", "f-12", "T100", "E- f-9", "!", "f-9", "E- f-10", "E- f-11", "T100", "!",   ""}},
    {"cascade: no time for the edge",
     &tight_plan,
     {START},
     {"!", "dL", "dL",   "dLp",    "E+ T100", "f-4", "pL",      "!",       "!",    "!", "!",
      "!", "!",  "T100", "L- f-9", "f-9",     "!",   "L- f-10", "L- f-11", "T100", "",  ""}},
    {"cascade without a deadline: an answer is kept",
     &endless_plan,
     {L_UNSURE},
     {"!",   "!",   "!", "!", "!", "!",   "!",       "",        "pE", "dEh", "dLh",
      "dLh", "dLh", "",  "",  "!", "dEh", "E- f-10", "E- f-11", "",   "!",   ""}},
    {"cascade: the text so far is in doubt, both run",
     &cascade_plan,
     {L_DOUBT},
     {"!",      "E- dLh",     "T96",        "T96",  "", "",     "pL",        "",
      "",       "L- dEh",     "T96",        "",     "", "T100", "L- E- f-9", "E- f-9",
      "L- f-9", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"cascade: in doubt, the edge failed, local runs",
     &cascade_plan,
     {L_DOUBT, E_FAILED},
     {"!", "dLh", "dLh",  "dLph",   "f-3", "f-4", "pL",      "!",       "!",    "!", "!",
      "!", "!",   "T100", "L- f-9", "f-9", "!",   "L- f-10", "L- f-11", "T100", "",  ""}},
    {"cascade: in doubt, the text has ended and is kept",
     &cascade_plan,
     {L_DOUBT, L_UNSURE},
     {"!",   "!",   "!",   "!",      "!", "!",   "!",       "",        "pE",     "dEh", "dLh",
      "dLh", "dLh", "T96", "E- dLh", "!", "f-9", "E- f-10", "E- f-11", "E- dLh", "!",   ""}},
    {"late is welcome: the edge runs",
     &patient_plan,
     {START},
     {"!",   "!",       "!",       "!",       "!",       "!",       "!",       "",
      "pE",  "dE",      "dEp",     "L+ T100", "L+ T100", "L+ T100", "L+ T150", "!",
      "dEl", "E- f-10", "E- f-11", "L+ T100", "!",       "L+ T100"}},
    {"late is welcome: the timer that insures came at the deadline",
     &patient_plan,
     {T_DEADLINE},
     {"!",       "E- dLh",     "E- dLh",     "T96",  "", "",     "",     "",
      "pE",      "L- dEh",     "T96",        "",     "", "T100", "T150", "E- dLlh",
      "L- dElh", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"late is welcome, no local model: the edge runs",
     &patient_alone_plan,
     {START},
     {"!",   "!",    "!",    "!",    "!", "!",   "!",       "",        "pE",   "dE", "dEp",
      "f-8", "f-12", "T100", "T150", "!", "dEl", "E- f-10", "E- f-11", "T100", "!",  ""}},
    {"late is welcome: both run past the deadline",
     &patient_plan,
     {T_INSURE, T_DEADLINE},
     {"!",       "E- dLh",     "E- dLh",     "T96",  "", "",     "",     "",
      "pE",      "L- dEh",     "T96",        "",     "", "T100", "T150", "E- dLlh",
      "L- dElh", "L- E- f-10", "L- E- f-11", "T100", "", ""}},
    {"ended", &local_plan, {CANCEL}, {"", "", "", "", "", "", "", "", "", "", "",
                                      "", "", "", "", "", "", "", "", "", "", ""}},
};

static void actions_text(const struct job_actions *actions, char *out, size_t room)
{
    static const char *const words[] = {
        [JOB_START_LOCAL] = "L+", [JOB_CANCEL_LOCAL] = "L-", [JOB_SEND_EDGE] = "E+",
        [JOB_CANCEL_EDGE] = "E-", [JOB_ARM_TIMER] = "T",     [JOB_PASS_TOKENS] = "p",
        [JOB_DELIVER] = "d",      [JOB_FAIL] = "f"};
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < actions->count; i++) {
        const struct job_action *action = &actions->items[i];
        const bool sided = action->kind == JOB_PASS_TOKENS || action->kind == JOB_DELIVER;

        used +=
            (size_t)snprintf(out + used, room - used, "%s%s", i ? " " : "", words[action->kind]);
        if (sided) {
            used += (size_t)snprintf(out + used, room - used, "%s%s%s%s",
                                     action->side == JOB_SIDE_LOCAL ? "L" : "E",
                                     action->flags & JOB_FLAG_PARTIAL ? "p" : "",
                                     action->flags & JOB_FLAG_LATE ? "l" : "",
                                     action->flags & JOB_FLAG_HEDGED ? "h" : "");
        } else if (action->kind == JOB_ARM_TIMER || action->kind == JOB_FAIL) {
            used += (size_t)snprintf(out + used, room - used, "%d",
                                     action->kind == JOB_FAIL ? action->error : (int)action->at_ns);
        }
        assert_true(used < room);
    }
}

static void row_prepare(const struct row *row, struct job *job)
{
    struct job_event_data start = {.kind = JOB_START};
    struct job_actions actions;

    job_init(job, row->plan);
    if (row->way[0] == COLUMNS) {
        return; /* not started */
    }
    assert_int_equal(job_event(job, &start, 1, &actions), 0);
    for (size_t i = 0; i < 3 && row->way[i] != START; i++) {
        const struct step *step = &columns[row->way[i]];

        assert_int_equal(job_event(job, &step->event, step->now_ns, &actions), 0);
    }
}

static void test_every_event_in_every_state(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            struct job_actions actions;
            struct job job;
            char text[160];

            row_prepare(&rows[r], &job);
            if (job_event(&job, &columns[c].event, columns[c].now_ns, &actions) != 0) {
                assert_int_equal(actions.count, 0);
                strcpy(text, "!");
            } else {
                actions_text(&actions, text, sizeof(text));
            }
            if (!rows[r].expected[c] || strcmp(text, rows[r].expected[c]) != 0) {
                print_error("%s, column %zu: %s instead of %s\n", rows[r].name, c, text,
                            rows[r].expected[c] ? rows[r].expected[c] : "(nothing said)");
                wrong++;
            }
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_event_in_every_state)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
