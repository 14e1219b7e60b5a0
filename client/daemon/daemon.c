#include "client/daemon/daemon.h"

#include "client/daemon/budgets.h"
#include "client/daemon/decision_file.h"
#include "client/daemon/energy.h"
#include "client/daemon/example_decision.h"
#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/learned_file.h"
#include "client/daemon/requests.h"
#include "client/daemon/status.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/stream/request_lines.h"
#include "common/stream/status_listener.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For "%zu thing%s". */
#define COUNTED(count) (count), (count) == 1 ? "" : "s"

enum { SIGNAL_TERM, SIGNAL_INT, SIGNAL_HUP, SIGNAL_COUNT };

struct daemon {
    uv_loop_t loop;
    struct client_config config;
    struct tasks *tasks;
    const char *config_path;
    uint64_t reloads, reload_failures;
    bool reloading, reload_again;
    atomic_bool reload_abort; /* the one that is under way is not wanted any more */
    struct requests requests;
    struct runner *runner;
    struct links *links;
    struct budgets *budgets;
    struct energy energy;
    struct learned_file *learned;
    struct app *app;
    struct status_listener *status;
    struct request_lines *lines;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t watchdog_timer, drain_timer, decisions_timer;
    int64_t started_ns;
    struct decision_file decisions;
    bool draining, stuck;
};

/* ---- decisions ---- */

/* The line of a request, with the id that the edge's journal has too. */
static void decision_log(struct request_lines *lines, const struct decision *decision)
{
    const struct decision_outcome *outcome = &decision->outcome;

    char ways[2 * ROUTE_BYTES + 16] = "no route";

    if (decision->route[0]) {
        snprintf(ways, sizeof(ways), "route %s, by %s", decision->route,
                 outcome->route[0] ? outcome->route : "nobody");
    }
    request_lines_say(lines, "request %" PRIu64 ": task %s, %s, %.1f ms%s: %s", decision->id,
                      decision->task, ways, outcome->latency_ms,
                      outcome->error_code != 0 ? ", failed"
                      : outcome->met_deadline  ? ""
                                               : ", late",
                      outcome->error_code == 0 ? decision->reason
                      : outcome->error_text[0] ? outcome->error_text
                                               : tandem_error_text(outcome->error_code));
}

static void on_decisions_due(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;

    decision_file_flush(&daemon->decisions, clock_now_ns());
}

/* What waits to be written has its timer. */
static void decisions_arm(struct daemon *daemon)
{
    const int64_t due_ns = decision_file_due_ns(&daemon->decisions), now_ns = clock_now_ns();

    if (due_ns != 0 && !uv_is_active((uv_handle_t *)&daemon->decisions_timer)) {
        const int64_t wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;

        (void)uv_timer_start(&daemon->decisions_timer, on_decisions_due,
                             (uint64_t)(wait_ns / NS_PER_MS) + 1, 0);
    }
}

static void on_decision(const struct decision *decision, void *user)
{
    struct daemon *daemon = user;
    struct buf line;

    decision_log(daemon->lines, decision);
    buf_init(&line, LIMIT_STATUS_QUEUE_BYTES);
    if (status_decision(decision, &line) == 0) {
        decision_file_write(&daemon->decisions, line.data, line.bytes, clock_now_ns());
        decisions_arm(daemon);
        if (daemon->status) {
            status_listener_publish(daemon->status, &line);
        }
    }
    buf_fini(&line);
}

/* What becomes known of a decision later gets a line of its own behind it. */
static void on_amended(const struct decision *decision, decision_member_fn *member, void *user)
{
    struct daemon *daemon = user;
    struct buf line;

    buf_init(&line, LIMIT_STATUS_QUEUE_BYTES);
    if (status_amendment(decision, member, &line) == 0) {
        decision_file_write(&daemon->decisions, line.data, line.bytes, clock_now_ns());
        decisions_arm(daemon);
    }
    buf_fini(&line);
}

/* An application that has said what an answer was is answered when what that taught is on disk. */
static void on_told(void *user)
{
    learned_file_hurry(((struct daemon *)user)->learned);
}

static void on_learned_taken(void *user)
{
    app_words_taken(((struct daemon *)user)->app);
}

static void on_learned_kept(int result, void *user)
{
    app_words_kept(((struct daemon *)user)->app, result);
}

/* ---- status ---- */

static struct status_view status_view_of(const struct daemon *daemon)
{
    return (struct status_view){.requests = &daemon->requests,
                                .app = daemon->app,
                                .decisions = &daemon->decisions,
                                .energy = &daemon->energy,
                                .started_ns = daemon->started_ns,
                                .draining = daemon->draining,
                                .reloads = daemon->reloads,
                                .reload_failures = daemon->reload_failures};
}

/* The only line that changes something. It waits for the disk, so that what was forgotten stays so.
 */
static void forget_answer(struct daemon *daemon, const char *task, struct buf *out)
{
    char error[LIMIT_STATUS_LINE_BYTES + 32];

    if (learn_forget(&daemon->requests, task) != 0) {
        snprintf(error, sizeof(error), "there is no task %s", task);
        (void)status_error_json("tandem-client", error, out);
        return;
    }
    learned_file_save(daemon->learned);
    (void)status_forgotten(task, out);
}

static bool on_status_line(const char *line, struct buf *out, void *user)
{
    static const char forget[] = "forget ";

    if (strncmp(line, forget, sizeof(forget) - 1) == 0) {
        forget_answer(user, line + sizeof(forget) - 1, out);
        return false;
    }
    const struct status_view view = status_view_of(user);

    return status_answer(&view, line, out);
}

static struct status_source *on_status_stream(const char *line, void *user)
{
    struct daemon *daemon = user;
    const struct status_view view = status_view_of(daemon);

    return status_stream(&view, &daemon->loop, line);
}

/* ---- stop ---- */

static void on_idle(void *user)
{
    struct daemon *daemon = user;

    if (daemon->draining) {
        uv_stop(&daemon->loop);
    }
}

static void on_drain_timer(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;

    log_warning("ending the requests that still run");
    requests_end_all(&daemon->requests);
    uv_stop(&daemon->loop);
}

/* ---- reload ---- */

/* What stays until a restart: said once, and the value in force stays in the configuration. */
static void old_value_keep(char **now, char **then, const char *what)
{
    char *const changed = *now;

    if (strcmp(*now, *then) != 0) {
        log_warning("%s changed: this needs a restart, the old value stays", what);
    }
    *now = *then;
    *then = changed;
}

/* One reading of the configuration and the models it names, on a thread of its own: requests go on
 * meanwhile. */
struct reload {
    uv_work_t work;
    struct daemon *daemon;
    struct client_config config;
    struct tasks *tasks, *old; /* old: a reference */
    char error[CONFIG_ERROR_BYTES];
    int result;
};

static void on_reload_work(uv_work_t *work)
{
    struct reload *reload = work->data;

    reload->result =
        client_config_load(reload->daemon->config_path, &reload->config, reload->error);
    if (reload->result == 0) {
        reload->result = tasks_load(&reload->config, reload->old, &reload->daemon->reload_abort,
                                    &reload->tasks, reload->error);
    }
}

/* All of the new configuration, or none of it. Requests under way keep the tasks they began with.
 */
static int reload_take(struct reload *reload)
{
    struct daemon *daemon = reload->daemon;
    struct tasks *const tasks = reload->tasks;
    int result;

    tasks_inherit(tasks, reload->old);
    daemon->requests.tasks = tasks; /* requests that a removed edge ends may look at it */
    result =
        links_reload(daemon->links, &reload->config, tasks->contracts, tasks->count, reload->error);
    if (result != 0) {
        daemon->requests.tasks = daemon->tasks;
        return result;
    }
    old_value_keep(&reload->config.app_socket, &daemon->config.app_socket, "[client] app_socket");
    old_value_keep(&reload->config.status_socket, &daemon->config.status_socket,
                   "[client] status_socket");
    old_value_keep(&reload->config.state_dir, &daemon->config.state_dir, "[client] state_dir");
    app_set_tasks(daemon->app, tasks->names, tasks->kinds, tasks->count);
    reload->tasks = daemon->tasks;
    daemon->tasks = tasks;
    config_free(&client_config_schema, &daemon->config);
    daemon->config = reload->config;
    memset(&reload->config, 0, sizeof(reload->config));
    budgets_configure(daemon->budgets, &daemon->config);
    energy_configure(&daemon->energy);
    if (requests_results_reset(&daemon->requests) != 0) {
        log_warning("reload: no memory for a result cache; nothing is kept");
    }
    return 0;
}

static void reload_free(struct reload *reload)
{
    tasks_unref(reload->tasks);
    tasks_unref(reload->old);
    config_free(&client_config_schema, &reload->config);
    free(reload);
}

static void reload_start(struct daemon *daemon);

static void on_reload_done(uv_work_t *work, int status)
{
    struct reload *reload = work->data;
    struct daemon *daemon = reload->daemon;

    (void)status; /* nobody cancels it */
    daemon->reloading = false;
    if (daemon->draining) {
        if (reload->result == TANDEM_ECANCELED) {
            log_info("reload: given up, as the daemon is stopping");
        }
        reload_free(reload);
        return;
    }
    if (reload->result == 0) {
        reload->result = reload_take(reload);
    }
    if (reload->result == 0) {
        daemon->reloads++;
        log_info("reload: %zu task%s, %zu edge%s", COUNTED(daemon->tasks->count),
                 COUNTED(daemon->config.edge_count));
    } else {
        daemon->reload_failures++;
        log_error("reload: the old configuration stays: %s",
                  reload->error[0] ? reload->error : tandem_error_text(reload->result));
    }
    reload_free(reload);
    if (daemon->reload_again) {
        reload_start(daemon);
    } else {
        (void)notify_ready();
    }
}

static void reload_start(struct daemon *daemon)
{
    struct reload *reload = calloc(1, sizeof(*reload));

    daemon->reload_again = false;
    if (!reload) {
        daemon->reload_failures++;
        log_error("reload: the old configuration stays: out of memory");
        (void)notify_ready();
        return;
    }
    reload->daemon = daemon;
    reload->old = tasks_ref(daemon->tasks);
    reload->work.data = reload;
    daemon->reloading = true;
    (void)uv_queue_work(&daemon->loop, &reload->work, on_reload_work, on_reload_done);
}

/* What is written while one reading is under way may have come too late for it: read once more. */
static void on_hup(struct daemon *daemon)
{
    if (daemon->draining) {
        return;
    }
    (void)notify_reloading();
    if (daemon->reloading) {
        daemon->reload_again = true;
    } else {
        reload_start(daemon);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;

    if (number == SIGHUP) {
        on_hup(daemon);
        return;
    }
    if (daemon->draining) {
        on_drain_timer(&daemon->drain_timer);
        return;
    }
    daemon->draining = true;
    atomic_store(&daemon->reload_abort, true);
    log_info("stopping: %zu accepted request%s may take %lld ms", COUNTED(daemon->requests.live),
             (long long)daemon->config.drain_timeout_ms);
    (void)notify_stopping();
    shadows_stop(&daemon->requests);
    app_drain(daemon->app);
    (void)uv_timer_start(&daemon->drain_timer, on_drain_timer,
                         (uint64_t)daemon->config.drain_timeout_ms, 0);
    if (daemon->requests.live == 0) {
        uv_stop(&daemon->loop);
    }
}

static void status_say(struct daemon *daemon)
{
    const struct counts *counts = &daemon->requests.counts;

    (void)notify_status("%s%zu task%s, %zu edge%s, %zu request%s running, %llu taken",
                        daemon->draining ? "draining: " : "", COUNTED(daemon->tasks->count),
                        COUNTED(daemon->config.edge_count), COUNTED(daemon->requests.live),
                        (unsigned long long)counts->requests);
}

/* The loop runs, or this would not be called; the local models must as well. */
static void on_watchdog(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;

    if (runner_is_stuck(daemon->runner, clock_now_ns())) {
        if (!daemon->stuck) {
            log_error(
                "a step of a local model has not ended for %d s: the watchdog is no longer fed",
                LIMIT_STEP_MS / 1000);
        }
        daemon->stuck = true;
        return;
    }
    daemon->stuck = false;
    (void)notify_watchdog();
    status_say(daemon);
}

/* ---- start ---- */

static void handles_start(struct daemon *daemon)
{
    static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};
    const uint64_t half_ms = (uint64_t)(notify_watchdog_interval_ns() / 2 / NS_PER_MS);

    for (int i = 0; i < SIGNAL_COUNT; i++) {
        (void)uv_signal_init(&daemon->loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        (void)uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
    }
    (void)uv_timer_init(&daemon->loop, &daemon->watchdog_timer);
    daemon->watchdog_timer.data = daemon;
    (void)uv_timer_init(&daemon->loop, &daemon->drain_timer);
    daemon->drain_timer.data = daemon;
    (void)uv_timer_init(&daemon->loop, &daemon->decisions_timer);
    daemon->decisions_timer.data = daemon;
    if (half_ms > 0) {
        (void)uv_timer_start(&daemon->watchdog_timer, on_watchdog, half_ms, half_ms);
    }
}

static int daemon_load(struct daemon *daemon, const char *path)
{
    char error[CONFIG_ERROR_BYTES] = "";
    int result = engine_self_check(error);

    if (result == 0) {
        result = client_config_load(path, &daemon->config, error);
    }
    if (result == 0) {
        result = tasks_load(&daemon->config, NULL, NULL, &daemon->tasks, error);
    }
    if (result != 0) {
        log_error("%s", error);
    }
    daemon->requests.loop = &daemon->loop;
    daemon->requests.config = &daemon->config;
    daemon->requests.tasks = daemon->tasks;
    daemon->requests.on_decision = on_decision;
    daemon->requests.on_amended = on_amended;
    daemon->requests.on_told = on_told;
    daemon->requests.on_idle = on_idle;
    daemon->requests.user = daemon;
    return result;
}

static int daemon_start(struct daemon *daemon)
{
    char error[CONFIG_ERROR_BYTES] = "";
    int result = requests_init(&daemon->requests);

    handles_start(daemon);
    decision_file_open(&daemon->decisions, daemon->config.state_dir, clock_now_ns());
    decision_ids_open(&daemon->requests.ids, daemon->config.state_dir,
                      decision_file_last_id(daemon->config.state_dir), clock_unix_ns());
    daemon->lines = request_lines_new(&daemon->loop);
    if (!daemon->lines) {
        result = TANDEM_ENOMEM;
    }
    if (result == 0) {
        result = runner_new(&daemon->loop, &requests_runner_callbacks, &daemon->requests,
                            &daemon->runner);
        daemon->requests.runner = daemon->runner;
    }
    if (result == 0) {
        energy_start(&daemon->energy, &daemon->loop, &daemon->requests);
    }
    if (result == 0) {
        daemon->budgets = daemon->requests.budgets = budgets_open(&daemon->loop, &daemon->config);
        result = daemon->budgets ? 0 : TANDEM_ENOMEM;
    }
    if (result == 0) {
        result = links_new(&daemon->loop, &daemon->config, daemon->tasks->contracts,
                           daemon->tasks->count, daemon->budgets, &requests_link_callbacks,
                           &daemon->requests, &daemon->links, error);
        daemon->requests.links = daemon->links;
    }
    if (result == 0) {
        daemon->learned = learned_file_open(&daemon->requests, daemon->config.state_dir);
        result = daemon->learned ? 0 : TANDEM_ENOMEM;
    }
    if (result == 0) {
        feedback_load(&daemon->requests, daemon->config.state_dir);
        result = app_new(&daemon->loop, daemon->config.app_socket, daemon->tasks->names,
                         daemon->tasks->kinds, daemon->tasks->count, &requests_app_callbacks,
                         &daemon->requests, &daemon->app, error);
    }
    if (result == 0) {
        learned_file_set_waiter(
            daemon->learned, &(struct learned_waiter){on_learned_taken, on_learned_kept, daemon});
        result = status_listener_new(&daemon->loop, daemon->config.status_socket, "tandem-client",
                                     on_status_line, daemon, &daemon->status, error);
    }
    if (result == 0) {
        status_listener_set_stream(daemon->status, on_status_stream);
    }
    if (result != 0) {
        log_error("%s", error[0] ? error : tandem_error_text(result));
    }
    return result;
}

static void daemon_close(struct daemon *daemon)
{
    status_listener_free(daemon->status);
    daemon->status = NULL;
    shadows_stop(&daemon->requests);
    requests_end_all(&daemon->requests);
    if (daemon->learned) {
        learned_file_set_waiter(daemon->learned, &(struct learned_waiter){0}); /* app goes now */
    }
    app_close(daemon->app);
    links_close(daemon->links);
    while (daemon->requests.live > 0) {
        (void)uv_run(&daemon->loop, UV_RUN_ONCE); /* aborted local runs come back */
    }
    decision_file_flush(&daemon->decisions, clock_now_ns()); /* the rest may hang on a disk */
    learned_file_close(daemon->learned);
    budgets_close(daemon->budgets);
    energy_stop(&daemon->energy);
    runner_free(daemon->runner);
    request_lines_free(daemon->lines);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&daemon->watchdog_timer, NULL);
    uv_close((uv_handle_t *)&daemon->drain_timer, NULL);
    uv_close((uv_handle_t *)&daemon->decisions_timer, NULL);
    (void)uv_run(&daemon->loop, UV_RUN_DEFAULT);
    (void)uv_run(&daemon->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&daemon->loop) != 0) {
        log_error("a handle of the loop was left open");
    }
    learned_file_free(daemon->learned);
    budgets_free(daemon->budgets);
    links_free(daemon->links);
    requests_fini(&daemon->requests);
    decision_file_close(&daemon->decisions);
}

int daemon_run(const char *config_path)
{
    struct daemon daemon = {.config_path = config_path, .started_ns = clock_now_ns()};
    int result = daemon_load(&daemon, config_path);

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file over a limit of its size is an error of the write */
    if (result == 0 && uv_loop_init(&daemon.loop) != 0) {
        log_error("the event loop cannot be made: %s", strerror(errno));
        result = TANDEM_EIO;
    } else if (result == 0) {
        result = daemon_start(&daemon);
        if (result == 0) {
            log_info("tandem-client " TANDEM_VERSION ": ready, %zu task%s, applications at %s",
                     COUNTED(daemon.tasks->count), daemon.config.app_socket);
            (void)notify_ready();
            status_say(&daemon);
            (void)uv_run(&daemon.loop, UV_RUN_DEFAULT);
        }
        daemon_close(&daemon);
    }
    tasks_unref(daemon.tasks);
    config_free(&client_config_schema, &daemon.config);
    return result;
}

/* A warning: the daemon starts without the folder, and systemd makes it for the service. */
static void state_dir_check(const struct client_config *config)
{
    if (config->state_dir[0] && access(config->state_dir, W_OK | X_OK) != 0) {
        log_warning("[client] state_dir: %s: %s: decisions would not be kept", config->state_dir,
                    strerror(errno));
    }
}

/* What `upload` comes to with the files that are there. */
static void upload_print(const struct client_task *task, struct buf *out)
{
    const char *why, *mode = task_upload_mode(task, &why);

    if (mode) {
        (void)buf_printf(out, "# pictures go to edges as: %s (%s", mode, why);
        if (task->effects.count > 0) {
            (void)buf_printf(out, ": model %s, %" PRIu64 " pictures", task->effects.model_digest,
                             task->effects.pictures);
        }
        (void)buf_append_text(out, ")\n");
    }
}

/* One task: its file, what is done with its pictures, and an example. */
static int task_check(struct daemon *daemon, size_t index, struct buf *out)
{
    const struct client_task *task = &daemon->tasks->items[index];
    struct decision example;
    int result = buf_printf(out, "\n# ---- task %s ----\n", task->config->name);

    result = result == 0 ? config_print(&task_config_schema, task->config, out) : result;
    if (result != 0) {
        return result;
    }
    upload_print(task, out);
    example_decision_make(&daemon->requests, task, clock_now_ns(), &example);
    result = example_decision_text(&example, out);
    return result == 0 && isatty(STDOUT_FILENO) == 0 ? example_decision_json(&example, out)
                                                     : result;
}

int daemon_check(const char *config_path)
{
    struct daemon daemon = {.started_ns = clock_now_ns()};
    struct buf out;
    int result = daemon_load(&daemon, config_path);

    if (result == 0) {
        state_dir_check(&daemon.config);
    }
    buf_init(&out, 0);
    if (result == 0) {
        result = config_print(&client_config_schema, &daemon.config, &out);
    }
    for (size_t i = 0; result == 0 && i < daemon.tasks->count; i++) {
        result = task_check(&daemon, i, &out);
    }
    if (result == 0 && fwrite(out.data, 1, out.bytes, stdout) != out.bytes) {
        result = TANDEM_EIO;
    }
    buf_fini(&out);
    tasks_unref(daemon.tasks);
    config_free(&client_config_schema, &daemon.config);
    return result;
}
