/* fake_site.h: requests between fake_parts.h, with a loop of their own: what stands around every
 * test of them. One test program includes it. */
#ifndef TANDEM_TESTS_FAKE_SITE_H
#define TANDEM_TESTS_FAKE_SITE_H

#include "tests/unit/daemon/fake_parts.h"

#include "common/base/error.h"

#define START_NS (1000 * NS_PER_S)

static uv_loop_t loop;
static struct client_config config;
static struct requests all;
static char peer; /* only its address */

static void on_decision(const struct decision *decision, void *user)
{
    (void)user;
    fake.last = *decision;
}

static void on_idle(void *user)
{
    (void)user;
}

/* A loop, links over which nothing has gone yet, and requests of these tasks; what a test wants
 * otherwise it sets before requests_init, whose result is the setup's. */
static void site_begin(struct tasks *tasks)
{
    memset(&fake, 0, sizeof(fake));
    fake.now_ns = START_NS;
    clock_set_fake(fake_now, NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    estimate_link_init(&fake.link);
    all = (struct requests){.loop = &loop,
                            .config = &config,
                            .tasks = tasks,
                            .links = (struct links *)&peer,
                            .on_decision = on_decision,
                            .on_idle = on_idle};
}

/* Ends what still runs. */
static int site_end(void)
{
    struct budgets *const budgets = all.budgets;

    requests_end_all(&all);
    for (size_t i = 0; i < fake.started_count; i++) {
        if (!fake.started[i]->shadow) {
            fake.started[i]->error = TANDEM_ECANCELED;
            requests_runner_callbacks.on_done(fake.started[i], &all);
        }
    }
    budgets_close(budgets);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(all.live, 0);
    requests_fini(&all);
    budgets_free(budgets);
    clock_set_fake(NULL, NULL);
    return uv_loop_close(&loop);
}

#endif
