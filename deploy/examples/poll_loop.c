/* poll_loop.c: Tandem inside a program's own event loop. Lines from standard input are sent to a
 * text task; the answers are printed as they come, while the loop goes on with other things: here,
 * a tick every second. When TANDEM_EBUSY says that 64 requests are under way, the line waits where
 * it is and no more are read; tandem_process makes room, and the line is submitted again.
 *
 *   cc poll_loop.c $(pkg-config --cflags --libs tandem) -o poll_loop && ./poll_loop commands */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <tandem.h>
#include <unistd.h>

#define TICK_MS    1000
#define LINE_BYTES 4096

static void on_answer(struct tandem *tandem, uint64_t request_id, int error,
                      struct tandem_answer *answer, void *user)
{
    (void)user;
    if (error != 0) {
        printf("%llu: %s\n", (unsigned long long)request_id, tandem_last_error(tandem));
        return;
    }
    printf("%llu: %s [%s, %.1f ms]\n", (unsigned long long)request_id,
           tandem_answer_text(answer, NULL), tandem_answer_outcome_route(answer),
           tandem_answer_elapsed_ms(answer));
    tandem_answer_free(answer);
}

/* False: too much is under way, ask again after tandem_process. */
static bool ask(struct tandem *tandem, const char *task, const char *text)
{
    struct tandem_request request;
    int error;

    tandem_request_init(&request, task);
    request.text = text;
    request.deadline_ms = 500;
    error = tandem_submit(tandem, &request, on_answer, NULL, NULL, NULL);
    if (error == TANDEM_EBUSY) {
        return false;
    }
    if (error != 0) {
        fprintf(stderr, "%s\n", tandem_last_error(tandem));
    }
    return true;
}

/* Takes whole lines from what has been read; what is left begins the next one. *ret_busy: a whole
 * line is left, which there was no room for. */
static size_t lines_take(struct tandem *tandem, const char *task, char *line, size_t bytes,
                         bool *ret_busy)
{
    char *end;

    *ret_busy = false;
    while ((end = (char *)memchr(line, '\n', bytes)) != NULL) {
        size_t used = (size_t)(end - line) + 1;

        *end = '\0';
        if (!ask(tandem, task, line)) {
            *end = '\n';
            *ret_busy = true;
            return bytes;
        }
        bytes -= used;
        memmove(line, line + used, bytes);
    }
    return bytes < LINE_BYTES ? bytes : 0; /* a line that long is not a command */
}

/* Milliseconds to wait: the library's own wish, or the program's. */
static int wait_ms(const struct tandem *tandem)
{
    int own = tandem_timeout_ms(tandem);

    return own >= 0 && own < TICK_MS ? own : TICK_MS;
}

int main(int argc, char **argv)
{
    struct tandem *tandem = NULL;
    char line[LINE_BYTES];
    size_t bytes = 0;
    bool busy = false; /* nothing is read until there is room */
    int input = 0;     /* standard input; -1 at its end, which poll passes over */

    if (argc != 2) {
        fprintf(stderr, "usage: poll_loop TASK\n");
        return 2;
    }
    if (tandem_open(NULL, &tandem) != 0) {
        fprintf(stderr, "%s\n", tandem ? tandem_last_error(tandem) : "no memory");
        tandem_close(tandem);
        return 1;
    }
    while (input >= 0 || busy || tandem_in_flight(tandem) > 0) {
        struct pollfd polls[2] = {{busy ? -1 : input, POLLIN, 0}, {tandem_fd(tandem), POLLIN, 0}};

        if (tandem_wants_write(tandem)) {
            polls[1].events |= POLLOUT;
        }
        if (poll(polls, 2, wait_ms(tandem)) == 0) {
            fprintf(stderr, "tick: %zu under way\n", tandem_in_flight(tandem));
        }
        if (polls[0].revents) {
            ssize_t got = read(input, line + bytes, sizeof(line) - bytes);

            if (got <= 0) {
                input = -1;
            } else {
                bytes = lines_take(tandem, argv[1], line, bytes + (size_t)got, &busy);
            }
        }
        (void)tandem_process(
            tandem); /* an error here has already ended its requests, each in its callback */
        if (busy) {
            bytes = lines_take(tandem, argv[1], line, bytes, &busy);
        }
    }
    tandem_close(tandem);
    return 0;
}
