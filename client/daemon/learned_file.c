#include "client/daemon/learned_file.h"

#include "client/daemon/learn.h"
#include "client/daemon/state_file.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <stdio.h>
#include <stdlib.h>

struct learned_file {
    struct requests *requests;
    uv_timer_t timer;
    uv_work_t work;
    uv_mutex_t lock;         /* of `kept` and `written` */
    struct state_file kept;  /* one writer at a time */
    uint64_t written;        /* the order of what was written last: an older one is not */
    uint64_t orders;         /* given out so far; the loop's */
    uint64_t work_order;     /* of `learned` */
    uint64_t saved;          /* requests->learned when it was taken */
    struct learned learned;  /* the worker's while it runs */
    int64_t now_ns, unix_ns; /* when that was taken */
    int result;              /* of the worker's write */
    bool busy;
    bool hurried;      /* somebody waits for a write that has not begun */
    bool closing;      /* nobody waits any more */
    uint64_t began_ms; /* the last write, of uv_now */
    struct learned_waiter waiter;
};

static int learned_keep(struct learned_file *file, const struct learned *learned, uint64_t order,
                        int64_t now_ns, int64_t unix_ns)
{
    struct buf text;
    int result;

    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    result = learned_write(learned, now_ns, unix_ns, &text);
    if (result != 0) {
        log_warning("%s: %s: not kept on disk", file->kept.path, tandem_error_text(result));
    }
    uv_mutex_lock(&file->lock);
    if (result == 0 && order > file->written) {
        result = state_file_write(&file->kept, text.data, text.bytes); /* what hinders, it says */
        file->written = order;
    }
    uv_mutex_unlock(&file->lock);
    buf_fini(&text);
    return result;
}

static void on_work(uv_work_t *work)
{
    struct learned_file *file = work->data;

    file->result =
        learned_keep(file, &file->learned, file->work_order, file->now_ns, file->unix_ns);
}

static void on_timer(uv_timer_t *timer);

static void hurry_arm(struct learned_file *file)
{
    const uint64_t since_ms = uv_now(file->requests->loop) - file->began_ms;

    (void)uv_timer_start(&file->timer, on_timer,
                         since_ms < LEARNED_TOLD_MS ? LEARNED_TOLD_MS - since_ms : 0,
                         LEARNED_SAVE_MS);
}

void learned_file_hurry(struct learned_file *file)
{
    if (!file->hurried && !file->closing) {
        file->hurried = true;
        if (!file->busy) {
            hurry_arm(file);
        }
    }
}

void learned_file_set_waiter(struct learned_file *file, const struct learned_waiter *waiter)
{
    file->waiter = *waiter;
}

static void waiter_taken(struct learned_file *file)
{
    file->hurried = false;
    if (file->waiter.on_taken) {
        file->waiter.on_taken(file->waiter.user);
    }
}

static void waiter_kept(struct learned_file *file, int result)
{
    if (result != 0) {
        file->saved = file->requests->learned - 1; /* the next one tries it again */
    }
    if (file->waiter.on_kept && !file->closing) {
        file->waiter.on_kept(result, file->waiter.user);
    }
}

static void on_work_done(uv_work_t *work, int status)
{
    struct learned_file *file = work->data;

    (void)status; /* nobody cancels it */
    learned_fini(&file->learned);
    file->busy = false;
    waiter_kept(file, file->result);
    if (file->hurried && !file->closing) {
        hurry_arm(file);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct learned_file *file = timer->data;

    if (!file->kept.path[0]) {
        file->saved = file->requests->learned; /* there is nowhere to keep it */
    }
    if (!file->busy && file->saved == file->requests->learned) {
        if (file->hurried) { /* it is there already */
            waiter_taken(file);
            waiter_kept(file, 0);
        }
        return;
    }
    if (file->busy || learn_take(file->requests, &file->learned) != 0) {
        return; /* the next one finds it */
    }
    waiter_taken(file);
    file->began_ms = uv_now(file->requests->loop);
    file->saved = file->requests->learned;
    file->work_order = ++file->orders;
    file->now_ns = clock_now_ns();
    file->unix_ns = clock_unix_ns();
    file->busy = true;
    (void)uv_queue_work(file->requests->loop, &file->work, on_work, on_work_done);
}

void learned_file_save(struct learned_file *file)
{
    struct learned learned;

    if (!file->kept.path[0] || learn_take(file->requests, &learned) != 0) {
        return;
    }
    file->saved = file->requests->learned;
    if (learned_keep(file, &learned, ++file->orders, clock_now_ns(), clock_unix_ns()) != 0) {
        file->saved--;
    }
    learned_fini(&learned);
}

static void learned_find(struct learned_file *file)
{
    char error[LEARNED_ERROR_BYTES], wrong[LEARNED_ERROR_BYTES + 32];
    struct learned learned;
    struct buf text;

    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    if (state_file_read(&file->kept, &text) == 0) {
        const int result =
            learned_read(text.data, text.bytes, clock_now_ns(), clock_unix_ns(), &learned, error);

        if (result == 0) {
            learn_give(file->requests, &learned);
            learned_fini(&learned);
        } else if (result == TANDEM_EFORMAT) {
            snprintf(wrong, sizeof(wrong), "cannot be understood (%s)", error);
            state_file_set_aside(&file->kept, wrong);
        } else {
            log_warning("%s: %s: done without", file->kept.path, tandem_error_text(result));
        }
    }
    buf_fini(&text);
}

struct learned_file *learned_file_open(struct requests *requests, const char *state_dir)
{
    struct learned_file *file = calloc(1, sizeof(*file));

    if (!file || uv_mutex_init(&file->lock) != 0) {
        free(file);
        return NULL;
    }
    file->requests = requests;
    file->work.data = file;
    state_file_init(&file->kept, state_dir, LEARNED_FILE_NAME);
    learned_find(file);
    file->saved = requests->learned;
    (void)uv_timer_init(requests->loop, &file->timer);
    file->timer.data = file;
    if (file->kept.path[0]) {
        (void)uv_timer_start(&file->timer, on_timer, LEARNED_SAVE_MS, LEARNED_SAVE_MS);
    }
    return file;
}

void learned_file_close(struct learned_file *file)
{
    if (file) {
        if (file->saved != file->requests->learned) {
            learned_file_save(file);
        }
        file->closing = true;
        uv_close((uv_handle_t *)&file->timer, NULL);
    }
}

void learned_file_free(struct learned_file *file)
{
    if (file) {
        uv_mutex_destroy(&file->lock);
        free(file);
    }
}
