/* What a daemon may send to libtandem after its hello: a handle whose socket this program holds,
 * with three requests under way. Every request ends once, and what it ends with can be read. */
#include "client/lib/handle.h"
#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void answer_look(const struct tandem_answer *answer)
{
    size_t text_bytes;
    size_t seen = strlen(tandem_answer_id(answer)) + strlen(tandem_answer_route(answer)) +
                  strlen(tandem_answer_outcome_route(answer)) +
                  strlen(tandem_answer_reason(answer));
    const char *text = tandem_answer_text(answer, &text_bytes);

    check(text[text_bytes] == '\0');
    for (size_t i = 0; i <= tandem_answer_label_count(answer); i++) {
        const char *label = tandem_answer_label(answer, i);

        check((label != NULL) == (i < tandem_answer_label_count(answer)));
        seen += label ? strlen(label) : 0;
    }
    for (size_t i = 0; i < tandem_answer_box_count(answer); i++) {
        seen += strlen(tandem_answer_box(answer, i)->label);
    }
    check(seen < SIZE_MAX);
}

static void on_done(struct tandem *tandem, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    unsigned *ended = user;

    check(id >= 1 && id <= REQUESTS && (error == 0) == (answer != NULL));
    check(error == 0 || tandem_last_error(tandem)[0] != '\0');
    ended[id - 1]++;
    if (answer) {
        answer_look(answer);
        tandem_answer_free(answer);
    }
}

static void on_partial(struct tandem *tandem, uint64_t id, size_t offset, const char *text,
                       size_t bytes, void *user)
{
    unsigned sum = 0;

    (void)tandem;
    (void)user;
    check(id >= 1 && id <= REQUESTS && offset <= SIZE_MAX - bytes);
    for (size_t i = 0; i < bytes; i++) {
        sum += (unsigned char)text[i];
    }
    check(sum < UINT32_MAX);
}

static void requests_add(struct tandem *tandem, unsigned ended[REQUESTS])
{
    for (int i = 0; i < REQUESTS; i++) {
        struct pending *pending = pending_new(tandem);

        check(pending != NULL && pending->id == (uint64_t)i + 1);
        pending->done = on_done;
        pending->partial = i == 0 ? NULL : on_partial;
        pending->user = ended;
        pending->guard_ns = INT64_MAX;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    unsigned ended[REQUESTS] = {0};
    struct tandem *tandem;
    size_t at = 0;
    int pair[2];

    check(tandem_open("/nonexistent/app.sock", &tandem) == TANDEM_EGONE && tandem);
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    tandem->fd = pair[0];
    requests_add(tandem, ended);
    while (at < bytes && tandem->fd >= 0) {
        const ssize_t sent =
            send(pair[1], data + at, bytes - at < 4096 ? bytes - at : 4096, MSG_NOSIGNAL);

        if (sent <= 0) {
            break;
        }
        at += (size_t)sent;
        (void)tandem_process(tandem);
    }
    close(pair[1]);
    (void)tandem_process(tandem);
    if (tandem_last_failure(tandem)) {
        answer_look(tandem_last_failure(tandem));
    }
    tandem_close(tandem);
    check(ended[0] == 1 && ended[1] == 1 && ended[2] == 1);
    return 0;
}
