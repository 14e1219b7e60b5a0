#include "client/daemon/link_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/task_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void link_dial(struct link *link);

static void on_retry(uv_timer_t *timer)
{
    link_dial(timer->data);
}

static void link_wait(struct link *link)
{
    if (!link->links->closing) {
        (void)uv_timer_start(&link->timer, on_retry,
                             backoff_next(&link->backoff,
                                          link->refused ? BACKOFF_REFUSED_MAX_MS : BACKOFF_MAX_MS,
                                          random_unit(&link->links->random)),
                             0);
    }
}

/* Each reason once: a retry that fails as the last one did is no news. */
static void link_complain(struct link *link)
{
    if (strcmp(link->why, link->said) != 0) {
        log_warning("edge %s: %s: not connected: %s", link->name, link->url,
                    link->why[0] ? link->why : "closed");
        memcpy(link->said, link->why, sizeof(link->said));
    }
}

/* HELLO with the token, or TASKS after a reload. */
static void tasks_say(struct link *link, struct conn *conn, enum frame_kind kind)
{
    struct edge_hello hello = {.version_low = WIRE_VERSION_LOW,
                               .version_high = WIRE_VERSION_HIGH,
                               .software = "tandem-client " TANDEM_VERSION,
                               .task_count = link->links->task_count};
    struct buf header;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    memcpy(hello.boot_id, link->links->boot_id, sizeof(hello.boot_id));
    if (kind == FRAME_HELLO) {
        memcpy(hello.token, link->token, strlen(link->token) + 1);
    }
    hello.tasks = malloc(sizeof(*hello.tasks) * (hello.task_count ? hello.task_count : 1));
    if (hello.tasks) {
        memcpy(hello.tasks, link->links->tasks, sizeof(*hello.tasks) * hello.task_count);
        if (edge_hello_pack(&hello, &header) == 0) {
            (void)conn_send(conn, kind, 0, 0, header.data, header.bytes);
        }
    }
    free(hello.tasks);
    explicit_bzero(hello.token, sizeof(hello.token));
    buf_fini(&header);
}

static void on_open(struct conn *conn, void *user)
{
    struct link *link = user;

    tasks_say(link, conn, FRAME_HELLO);
    link->greeted = link->greeted || conn == link->conn;
    link->other_open = link->other_open || conn == link->other;
}

static void load_set(struct link *link, const struct edge_load *load)
{
    link->load = *load;
    estimate_link_load(&link->estimate, (double)load->predicted_wait_us / 1000.0, clock_now_ns());
}

/* What keeps a task from this edge, in words for a person. */
static enum edge_trouble contract_compare(const struct edge_task *ours,
                                          const struct edge_task *theirs, char text[TROUBLE_BYTES])
{
    if (!theirs || !theirs->model_digest[0]) {
        snprintf(text, TROUBLE_BYTES, "edge does not serve this task");
        return EDGE_NO_TASK;
    }
    if (theirs->kind != ours->kind) {
        snprintf(text, TROUBLE_BYTES, "kinds differ: %s here, %s there",
                 task_kind_text((int)ours->kind - 1), task_kind_text((int)theirs->kind - 1));
        return EDGE_MISMATCH;
    }
    if (!ours->label_digest[0] || !theirs->label_digest[0] ||
        strcmp(theirs->label_digest, ours->label_digest) == 0) {
        return EDGE_FINE;
    }
    if (ours->label_count != theirs->label_count) {
        snprintf(text, TROUBLE_BYTES, "labels differ: %u here, %u there", ours->label_count,
                 theirs->label_count);
    } else {
        snprintf(text, TROUBLE_BYTES,
                 "labels differ: %u on both sides, but not the same words in the same order",
                 ours->label_count);
    }
    return EDGE_MISMATCH;
}

static const struct edge_task *contract_find(const struct link *link, const char *name)
{
    for (size_t i = 0; i < link->their_count; i++) {
        if (strcmp(link->theirs[i].name, name) == 0) {
            return &link->theirs[i];
        }
    }
    return NULL;
}

/* A task works with this edge when both name the same kind and the same labels; each that does not
 * is said in one line, once per reason. */
static void contract_check(struct link *link)
{
    for (size_t i = 0; i < link->links->task_count; i++) {
        const struct edge_task *ours = &link->links->tasks[i];
        const struct edge_task *theirs = contract_find(link, ours->name);
        const bool was_off = link->trouble[i] != EDGE_FINE;
        char before[TROUBLE_BYTES];

        memcpy(before, link->unusable[i], sizeof(before));
        link->trouble[i] = contract_compare(ours, theirs, link->unusable[i]);
        if (theirs && theirs->model_digest[0]) {
            link->links->callbacks.on_model(link->index, i, theirs->model_digest,
                                            link->links->user);
        }
        if (link->trouble[i] != EDGE_FINE && !(was_off && strcmp(before, link->unusable[i]) == 0)) {
            log_warning("edge %s: task %s: %s", link->name, ours->name, link->unusable[i]);
        }
    }
}

static void tasks_take(struct link *link, struct edge_hello *hello)
{
    free(link->theirs);
    link->theirs = hello->tasks;
    link->their_count = hello->task_count;
    hello->tasks = NULL;
    hello->task_count = 0;
    contract_check(link);
}

/* The edge has read its task files again. What it answers meanwhile was agreed before. */
static void on_tasks(struct link *link, const struct frame *frame)
{
    struct edge_hello hello = {0};

    if (!link->up || edge_hello_unpack(frame->header, frame->header_bytes, &hello) != 0) {
        conn_close(link->conn, false);
        return;
    }
    tasks_take(link, &hello);
    if (hello.has_load) {
        load_set(link, &hello.load);
    }
    edge_hello_fini(&hello);
}

static void on_hello(struct link *link, const struct frame *frame)
{
    struct edge_hello hello = {0};

    if (link->up || edge_hello_unpack(frame->header, frame->header_bytes, &hello) != 0 ||
        !wire_version_agree(WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.version_low,
                            hello.version_high)) {
        snprintf(link->why, sizeof(link->why), "no common protocol version, or a broken hello");
        conn_close(link->conn, false);
        edge_hello_fini(&hello);
        return;
    }
    memset(link->trouble, 0, sizeof(link->trouble)); /* a new connection says it all anew */
    tasks_take(link, &hello);
    if (hello.has_load) {
        load_set(link, &hello.load);
    }
    link->up = true;
    link->up_ns = clock_now_ns();
    estimate_link_back(&link->estimate, link->up_ns);
    link_spare_watch(link);
    link->draining = link->refused = false;
    link->why[0] = link->said[0] = '\0';
    log_info("edge %s: connected to %s (%s)", link->name, link->url, hello.software);
    edge_hello_fini(&hello);
    conn_ping(link->conn);
}

static void on_result(struct link *link, const struct frame *frame)
{
    struct edge_result result = {0};

    if (edge_result_unpack(frame->header, frame->header_bytes, &result) == 0) {
        load_set(link, &result.load);
        link->links->callbacks.on_result(link->index, frame->request_id, &result,
                                         frame->header_bytes + frame->payload_bytes,
                                         link->links->user);
    } else {
        conn_close(link->conn, false);
    }
    edge_result_fini(&result);
}

static void on_error(struct link *link, const struct frame *frame)
{
    struct edge_error error = {0};

    if (edge_error_unpack(frame->header, frame->header_bytes, &error) != 0) {
        conn_close(link->conn, false);
        return;
    }
    if (error.has_load) {
        load_set(link, &error.load);
    }
    if (frame->request_id == 0) {
        snprintf(link->why, sizeof(link->why), "the edge says: %.200s", error.text);
        link->told = true;
        link->refused = error.code == TANDEM_EAUTH;
    } else {
        link->links->callbacks.on_error(link->index, frame->request_id, &error, link->links->user);
    }
}

static void on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    struct link *link = user;
    struct answer_piece piece = {0};
    struct edge_load load;
    bool moved = false;

    if (conn != link->conn) {
        moved = frame->kind == FRAME_HELLO && link_spare_takes_over(link, conn);
        if (!moved) {
            return; /* it has said nothing before its hello that matters */
        }
    }
    switch (frame->kind) {
    case FRAME_HELLO:
        on_hello(link, frame);
        if (moved) {
            link->links->callbacks.on_gone(link->index, link->links->user);
        }
        break;
    case FRAME_TASKS:
        on_tasks(link, frame);
        break;
    case FRAME_ACCEPTED:
        if (edge_accepted_unpack(frame->header, frame->header_bytes, &load) == 0) {
            load_set(link, &load);
        }
        link->links->callbacks.on_accepted(link->index, frame->request_id, link->links->user);
        break;
    case FRAME_TOKENS:
        if (answer_piece_unpack(frame->header, frame->header_bytes, &piece) == 0) {
            link->links->callbacks.on_tokens(link->index, frame->request_id, &piece,
                                             link->links->user);
        }
        answer_piece_fini(&piece);
        break;
    case FRAME_RESULT:
        on_result(link, frame);
        break;
    case FRAME_ERROR:
        on_error(link, frame);
        break;
    case FRAME_GOODBYE:
        link->draining = true;
        break;
    case FRAME_DATA:
        conn_consumed(conn, frame->request_id, frame->payload_bytes);
        break;
    default:
        break;
    }
}

static void on_acked(struct conn *conn, uint64_t id, uint64_t bytes, int64_t elapsed_ns, void *user)
{
    struct link *link = user;
    const uint64_t before = id == link->acked_id ? link->acked_bytes : 0;

    (void)conn;
    /* `bytes` counts from the request's first; of one that another came between, the part since its
     * last acknowledgement is not known. */
    if ((before > 0 || bytes <= LIMIT_FRAME_DATA_BYTES) &&
        !link_was_held(link, clock_now_ns() - elapsed_ns)) {
        estimate_link_acked(&link->estimate, bytes - before, (double)elapsed_ns / (double)NS_PER_MS,
                            clock_now_ns());
    }
    link->acked_id = id;
    link->acked_bytes = bytes;
    link->links->callbacks.on_acked(link->index, id, link->links->user);
}

static void on_pong(struct conn *conn, int64_t rtt_ns, const struct edge_load *load, void *user)
{
    struct link *link = user;

    if (estimate_link_rtt(&link->estimate, (double)rtt_ns / (double)NS_PER_MS, clock_now_ns())) {
        conn_ping(conn);
    } else if (link->estimate.up_bytes_per_ms.count == 0) {
        links_probe(link->links, link->index); /* before the first request asks */
    }
    if (load) {
        load_set(link, load);
    }
}

static void on_probed(struct conn *conn, size_t bytes, int64_t rtt_ns, void *user)
{
    struct link *link = user;

    (void)conn;
    estimate_link_probed(&link->estimate, bytes, (double)rtt_ns / (double)NS_PER_MS,
                         clock_now_ns());
}

static void on_close(struct conn *conn, int error, const char *why, void *user)
{
    struct link *link = user;
    const bool was_up = link->up, unheard = link->greeted && !link->up;

    if (conn != link->conn) {
        link->other = conn == link->other ? NULL : link->other;
        return;
    }
    link_spare_drop(link);
    link->conn = NULL;
    link->up = link->greeted = false;
    if (link->links->closing || !link->name) {
        return;
    }
    if (error != TANDEM_OK && !link->told) {
        /* OpenSSL says nothing to a peer that does not speak TLS. */
        const bool plain = unheard && error == TANDEM_EGONE && !link->links->tls;

        snprintf(link->why, sizeof(link->why), "%.160s%s", why,
                 plain ? " (if the edge has a [tls] section, this side needs one too)" : "");
        link->refused = error == TANDEM_EAUTH;
    }
    if (was_up && clock_now_ns() - link->up_ns >= BACKOFF_MAX_MS * NS_PER_MS) {
        backoff_reset(&link->backoff); /* one that is made and lost at once is no success */
    }
    if (!was_up && error == TANDEM_ETIMEDOUT) {
        backoff_reset(&link->backoff); /* it has waited long enough already */
    }
    if (was_up) {
        log_warning("edge %s: connection lost: %s", link->name, link->why);
        memcpy(link->said, link->why, sizeof(link->said));
        link->links->callbacks.on_gone(link->index, link->links->user);
    } else {
        link_complain(link);
    }
    link_wait(link);
}

int link_connect(struct link *link, struct conn **ret_conn, char error[CONN_ERROR_BYTES])
{
    const double rtt_ms =
        estimate_samples_quantile(&link->estimate.rtt_ms, 0.95, NAN, clock_now_ns());
    const struct conn_params params = {.tls = link->links->tls,
                                       .heartbeat_ns = budgets_heartbeat_ns(link->links->budgets),
                                       .connect_ns = spare_attempt_ns(rtt_ms),
                                       .callbacks = {.on_open = on_open,
                                                     .on_frame = on_frame,
                                                     .on_acked = on_acked,
                                                     .on_pong = on_pong,
                                                     .on_probed = on_probed,
                                                     .on_close = on_close,
                                                     .may_send = link_may_send,
                                                     .on_moved = link_moved}};

    link->reconnects++;
    return conn_dial(link->links->loop, link->url, &params, link, ret_conn, error);
}

/* Making a connection takes more than keeping one. */
static const char *over_budget_text(const struct links *links)
{
    return budgets_carry_link(links->budgets) ? BUDGET_BYTES_LINK : BUDGET_BYTES_USED;
}

static void link_dial(struct link *link)
{
    const int64_t now_ns = clock_now_ns(), at_ns = link_dial_at_ns(link, now_ns);

    if (link_is_over_budget(link)) {
        snprintf(link->why, sizeof(link->why), "%s", over_budget_text(link->links));
        link_complain(link);
    }
    if (at_ns > now_ns) {
        (void)uv_timer_start(&link->timer, on_retry, (uint64_t)((at_ns - now_ns) / NS_PER_MS) + 1,
                             0);
        return;
    }
    link->told = false;
    if (link_connect(link, &link->conn, link->why) != 0) {
        link->conn = NULL;
        link_complain(link);
        link_wait(link);
    }
}

/* The rest goes on in on_close. */
void link_hang_up(struct link *link, const char *why)
{
    const bool was_up = link->up;

    link->up = false;
    link_spare_drop(link);
    backoff_reset(&link->backoff);
    snprintf(link->why, sizeof(link->why), "%s", why);
    (void)uv_timer_stop(&link->timer);
    if (was_up) {
        link->links->callbacks.on_gone(link->index, link->links->user);
    }
    if (link->conn) {
        conn_close(link->conn, false);
    } else if (link->name) {
        link_dial(link);
    }
}

static int token_read(const struct edge_config *edge, char token[TOKEN_BYTES_MAX + 1],
                      char error[CONFIG_ERROR_BYTES])
{
    FILE *file;
    size_t bytes;

    if (!edge->token_file[0]) {
        return 0;
    }
    file = fopen(edge->token_file, "re");
    if (!file) {
        snprintf(error, CONFIG_ERROR_BYTES, "[edge %.63s] token_file: %.300s cannot be read",
                 edge->name, edge->token_file);
        return TANDEM_ECONFIG;
    }
    bytes = fread(token, 1, TOKEN_BYTES_MAX, file);
    (void)fclose(file);
    token[bytes] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    return 0;
}

/* What a configured edge is made of; all that can fail is in here. */
struct edge_parts {
    char *name, *url;
    char token[TOKEN_BYTES_MAX + 1];
    uint64_t max_up_kbit;
};

static int edge_parts_make(const struct edge_config *edge, struct edge_parts *parts,
                           char error[CONFIG_ERROR_BYTES])
{
    parts->name = strdup(edge->name);
    parts->url = strdup(edge->url);
    parts->max_up_kbit = (uint64_t)edge->max_up_kbit;
    return parts->name && parts->url ? token_read(edge, parts->token, error) : TANDEM_ENOMEM;
}

static void edge_parts_free(struct edge_parts *parts)
{
    free(parts->name);
    free(parts->url);
    explicit_bzero(parts, sizeof(*parts));
}

/* Takes `parts`; the slot is a fresh one or a removed edge's. */
static void link_start(struct link *link, struct edge_parts *parts)
{
    link->name = parts->name;
    link->url = parts->url;
    memcpy(link->token, parts->token, sizeof(link->token));
    budget_rate_limit(&link->rate, parts->max_up_kbit);
    explicit_bzero(parts, sizeof(*parts));
    backoff_reset(&link->backoff);
    link->reconnects = 0;
    link->draining = link->refused = false;
    link->why[0] = link->said[0] = '\0';
    memset(&link->load, 0, sizeof(link->load));
    estimate_link_init(&link->estimate);
    link->links->callbacks.on_fresh(link->index, link->links->user);
    link_dial(link);
}

/* A slot that no edge has, or NULL. One whose last connection still closes is not free yet. */
static struct link *link_slot(struct links *links)
{
    struct link *link;

    for (size_t i = 0; i < links->count; i++) {
        if (!links->items[i].name && !links->items[i].conn) {
            return &links->items[i];
        }
    }
    if (links->count == LIMIT_EDGES) {
        return NULL;
    }
    link = &links->items[links->count];
    link->links = links;
    link->index = links->count++;
    (void)uv_timer_init(links->loop, &link->timer);
    link->timer.data = link;
    (void)uv_timer_init(links->loop, &link->watch);
    link->watch.data = link;
    return link;
}

static struct link *link_find(struct links *links, const char *name)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->items[i].name && strcmp(links->items[i].name, name) == 0) {
            return &links->items[i];
        }
    }
    return NULL;
}

static void link_remove(struct link *link)
{
    log_info("edge %s: removed", link->name);
    free(link->name);
    free(link->url);
    link->name = link->url = NULL;
    explicit_bzero(link->token, sizeof(link->token));
    link_hang_up(link, "");
}

static void edge_apply(struct links *links, struct edge_parts *parts)
{
    struct link *link = link_find(links, parts->name);

    if (!link) {
        link = link_slot(links);
        if (link) {
            link_start(link, parts);
        } else {
            log_error("edge %s: the connections of removed edges still close: reload once more",
                      parts->name);
        }
        return;
    }
    budget_rate_limit(&link->rate, parts->max_up_kbit);
    if (strcmp(link->url, parts->url) != 0 || strcmp(link->token, parts->token) != 0) {
        free(link->url);
        link->url = parts->url;
        parts->url = NULL;
        memcpy(link->token, parts->token, sizeof(link->token));
        estimate_link_init(&link->estimate);
        link_hang_up(link, "its configuration changed");
        links->callbacks.on_fresh(link->index, links->user);
        return;
    }
    if (link->up) {
        contract_check(link);
    }
    if (link->greeted) {
        link_spare_drop(link); /* it has said what was so before */
        tasks_say(link, link->conn, FRAME_TASKS);
    }
    if (!link->conn && link->refused) { /* who asked for the reload may have mended it */
        backoff_reset(&link->backoff);
        (void)uv_timer_stop(&link->timer);
        link_dial(link);
    }
}

static void links_apply(struct links *links, struct edge_parts *parts, size_t count)
{
    for (size_t i = 0; i < links->count; i++) {
        bool stays = !links->items[i].name;

        for (size_t j = 0; j < count && !stays; j++) {
            stays = strcmp(links->items[i].name, parts[j].name) == 0;
        }
        if (!stays) {
            link_remove(&links->items[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        edge_apply(links, &parts[i]);
    }
}

int links_reload(struct links *links, const struct client_config *config,
                 const struct edge_task *tasks, size_t task_count, char error[CONFIG_ERROR_BYTES])
{
    struct edge_parts *parts = calloc(config->edge_count ? config->edge_count : 1, sizeof(*parts));
    struct conn_tls *tls = NULL;
    int result = parts ? 0 : TANDEM_ENOMEM;

    if (result == 0 && config->tls_cert[0]) {
        result = conn_tls_load(config->tls_cert, config->tls_key, config->tls_ca, &tls, error);
    }
    for (size_t i = 0; result == 0 && i < config->edge_count; i++) {
        result = edge_parts_make(&config->edges[i], &parts[i], error);
    }
    if (result == 0) {
        struct conn_tls *old = links->tls;

        links->tls = tls;
        links->tasks = tasks;
        links->task_count = task_count;
        links->probe_bytes = (size_t)config->probe_bytes;
        links_apply(links, parts, config->edge_count);
        tls = old;
    }
    conn_tls_unref(tls);
    for (size_t i = 0; parts && i < config->edge_count; i++) {
        edge_parts_free(&parts[i]);
    }
    free(parts);
    return result;
}

int links_new(uv_loop_t *loop, const struct client_config *config, const struct edge_task *tasks,
              size_t task_count, struct budgets *budgets, const struct link_callbacks *callbacks,
              void *user, struct links **ret_links, char error[CONFIG_ERROR_BYTES])
{
    struct links *links = calloc(1, sizeof(*links));
    int result = links ? 0 : TANDEM_ENOMEM;

    if (!links) {
        return result;
    }
    links->loop = loop;
    links->callbacks = *callbacks;
    links->budgets = budgets;
    links->user = user;
    *ret_links = links;
    result = random_bytes(links->boot_id, sizeof(links->boot_id));
    random_seed(&links->random, le64_load(links->boot_id));
    return result == 0 ? links_reload(links, config, tasks, task_count, error) : result;
}

static bool link_is_silent(const struct link *link)
{
    const int64_t now_ns = clock_now_ns();

    return link->up && (double)conn_owed_ns(link->conn, now_ns) >
                           estimate_link_stall_ms(&link->estimate, now_ns) * (double)NS_PER_MS;
}

size_t links_count(const struct links *links)
{
    return links->count;
}

void links_view(const struct links *links, size_t edge, struct link_view *ret_view)
{
    const struct link *link = &links->items[edge];

    *ret_view =
        (struct link_view){.name = link->name ? link->name : "",
                           .url = link->url,
                           .why = link->why,
                           .up = link->up,
                           .load = &link->load,
                           .next_attempt_ms = uv_is_active((const uv_handle_t *)&link->timer)
                                                  ? (int64_t)uv_timer_get_due_in(&link->timer)
                                                  : -1,
                           .silent = link_is_silent(link),
                           .estimate = &link->estimate,
                           .reconnects = link->reconnects,
                           .max_up_kbit = budget_rate_kbit(&link->rate)};
    ret_view->state = !link->up ? (link->conn ? "connecting" : "waiting")
                      : link->draining || link->load.draining ? "draining"
                      : ret_view->silent                      ? "silent"
                                                              : "up";
}

void links_probe(struct links *links, size_t edge)
{
    struct link *link = &links->items[edge];
    const int64_t now_ns = clock_now_ns();
    const size_t bytes =
        (size_t)estimate_link_probe_bytes(&link->estimate, links->probe_bytes, now_ns);

    if (link->up && bytes > 0 && conn_owed_ns(link->conn, now_ns) == 0 &&
        estimate_link_probe_due(&link->estimate, now_ns) && link_may_probe(link, bytes, now_ns)) {
        conn_probe(link->conn, bytes);
    }
}

void links_estimate_give(struct links *links, size_t edge, const struct estimate_link *estimate)
{
    links->items[edge].estimate = *estimate;
}

void links_waited(struct links *links, size_t edge, double wait_ms)
{
    estimate_link_waited(&links->items[edge].estimate, wait_ms, clock_now_ns());
}

const char *links_unusable(const struct links *links, size_t edge, size_t task,
                           enum edge_trouble *ret_trouble)
{
    const struct link *link = &links->items[edge];
    const enum edge_trouble down = link_is_over_budget(link) ? EDGE_OVER_BUDGET : EDGE_DOWN,
                            spent =
                                budgets_carry_link(links->budgets) ? EDGE_FINE : EDGE_OVER_BUDGET;

    *ret_trouble = !link->up                               ? down
                   : link->trouble[task] != EDGE_FINE      ? link->trouble[task]
                   : link->draining || link->load.draining ? EDGE_DRAINING
                                                           : spent;
    switch (*ret_trouble) {
    case EDGE_FINE:
        break;
    case EDGE_DOWN:
        return link->refused ? link->why : "no edge connected";
    case EDGE_DRAINING:
        return "edge is draining";
    case EDGE_NO_TASK:
    case EDGE_MISMATCH:
        return link->unusable[task];
    case EDGE_OVER_BUDGET:
        return over_budget_text(links);
    }
    return NULL;
}

void links_picture(const struct links *links, size_t edge, size_t task, uint32_t *ret_width,
                   uint32_t *ret_height)
{
    const struct edge_task *theirs = contract_find(&links->items[edge], links->tasks[task].name);

    *ret_width = theirs ? theirs->picture_width : 0;
    *ret_height = theirs ? theirs->picture_height : 0;
}

uint32_t links_labels(const struct links *links, size_t edge, const char *task)
{
    const struct edge_task *theirs = contract_find(&links->items[edge], task);

    return theirs ? theirs->label_count : 0;
}

int links_send(struct links *links, size_t edge, uint64_t id, const struct edge_request *request,
               uint8_t *payload, size_t bytes)
{
    struct link *link = &links->items[edge];
    struct buf header;
    int result = link->up ? 0 : TANDEM_EGONE;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (result == 0) {
        result = edge_request_pack(request, &header);
    }
    if (result == 0) {
        result = conn_send(link->conn, FRAME_REQUEST, 0, id, header.data, header.bytes);
    }
    if (result == 0) {
        result = conn_send_payload(link->conn, id, payload, bytes);
    }
    if (result == 0 && conn_owed_ns(link->conn, clock_now_ns()) == 0) {
        conn_ping(link->conn); /* before the answer is due it is known whether anyone is there */
    }
    buf_fini(&header);
    return result;
}

uint64_t links_cancel(struct links *links, size_t edge, uint64_t id)
{
    uint64_t unsent;

    if (!links->items[edge].up) {
        return 0;
    }
    unsent = conn_unsent_bytes(links->items[edge].conn, id);
    conn_cancel(links->items[edge].conn, id);
    return unsent;
}

void links_close(struct links *links)
{
    if (!links) {
        return;
    }
    links->closing = true;
    for (size_t i = 0; i < links->count; i++) {
        if (links->items[i].conn) { /* unsent words are lost: the edge may never read them */
            conn_close(links->items[i].conn, false);
        }
        link_spare_drop(&links->items[i]);
        uv_close((uv_handle_t *)&links->items[i].timer, NULL);
        uv_close((uv_handle_t *)&links->items[i].watch, NULL);
    }
}

void links_free(struct links *links)
{
    if (!links) {
        return;
    }
    for (size_t i = 0; i < links->count; i++) {
        free(links->items[i].name);
        free(links->items[i].url);
        free(links->items[i].theirs);
        explicit_bzero(links->items[i].token, sizeof(links->items[i].token));
    }
    conn_tls_unref(links->tls);
    free(links);
}
