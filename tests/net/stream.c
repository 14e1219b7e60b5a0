/* A stream of requests, as a robot's program would ask them: pictures and commands of the shipped
 * samples, at even distances whatever became of those before, over one or more connections.
 *
 *   stream APP_SOCKET STATUS_SOCKET SAMPLES CSV APPS PICTURES_PER_S COMMANDS_PER_S SIDE
 *
 * Standard input: `phase NAME` begins another part of the run, `end` (or the end of the file) ends
 * it. Standard output: a line for each phase (stream_records.c). Exit status 0 when every accepted
 * request has ended exactly once, in one answer or one error. */
#include "tests/net/stream.h"

#include "common/base/clock.h"
#include "tandem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define APPS_MAX    16
#define LINE_BYTES  (64u << 10)
#define PATIENCE_MS 60000 /* for the last answers */
#define PICTURE_MS  1000  /* the deadlines that the shipped configuration and the demo have */
#define COMMAND_MS  2000

struct lines { /* what comes on one fd, a line at a time */
    int fd;
    size_t bytes;
    char data[LINE_BYTES];
};
struct stream;
struct app {
    struct stream *stream;
    unsigned index;
    struct tandem *tandem;
    int64_t next_ns[2]; /* command, picture */
    size_t asked[2];
};
struct stream {
    struct stream_inputs inputs;
    struct stream_records records;
    struct app apps[APPS_MAX];
    unsigned app_count;
    int64_t every_ns[2]; /* 0: none of these */
    const char *status_socket;
    struct lines control, follow;
    bool ending, broken;
};

static int status_connect(const char *path, const char *line)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
        perror(path);
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    return fd;
}

/* What the robot has sent so far, over everything but lo. */
static uint64_t wire_bytes(void)
{
    char line[512], name[32];
    unsigned long long sent, sum = 0;
    FILE *file = fopen("/proc/net/dev", "r");

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, " %31[^:]: %*u %*u %*u %*u %*u %*u %*u %*u %llu", name, &sent) == 2 &&
            strcmp(name, "lo") != 0) {
            sum += sent;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return sum;
}

/* ---- asking ---- */

static void on_done(struct tandem *tandem, uint64_t request_id, int error,
                    struct tandem_answer *answer, void *user)
{
    struct stream_record *record = user;
    const struct tandem_answer *told = answer ? answer : tandem_last_failure(tandem);

    (void)request_id;
    record->ends++;
    record->end_ns = clock_now_ns();
    record->error = error;
    if (told) {
        record->id = strtoull(tandem_answer_id(told), NULL, 10);
        record->hedged = tandem_answer_hedged(told) != 0;
    }
    if (answer) {
        record->met = tandem_answer_met_deadline(answer) != 0;
        snprintf(record->outcome, sizeof(record->outcome), "%s",
                 tandem_answer_outcome_route(answer));
        /* `reason` holds the truth until the decision's record comes with its own. */
        record->right = record->picture
                            ? tandem_answer_label(answer, 0) &&
                                  strcmp(tandem_answer_label(answer, 0), record->reason) == 0
                            : !tandem_answer_partial(answer) &&
                                  strncmp(tandem_answer_text(answer, NULL), record->reason,
                                          sizeof(record->reason) - 1) == 0;
    }
    record->reason[0] = '\0';
    tandem_answer_free(answer);
}

static void ask(struct app *app, bool picture, int64_t now_ns)
{
    struct stream *stream = app->stream;
    const struct stream_inputs *inputs = &stream->inputs;
    const size_t count = picture ? inputs->picture_count : inputs->command_count;
    const size_t index = (app->asked[picture]++ * 7 + app->index * 3) % count; /* 7: all in turn */
    struct stream_record *record = &stream->records.items[stream->records.count];
    struct tandem_request request;

    if (stream->records.count == STREAM_RECORDS) {
        return;
    }
    tandem_request_init(&request, picture ? "objects" : "commands");
    request.deadline_ms = picture ? PICTURE_MS : COMMAND_MS;
    if (picture) {
        request.picture = (struct tandem_picture){.format = TANDEM_PIXELS_RGB,
                                                  .width = inputs->side,
                                                  .height = inputs->side,
                                                  .data = inputs->pictures[index].pixels,
                                                  .bytes = (size_t)inputs->side * inputs->side * 3};
    } else {
        request.text = inputs->commands[index].text;
    }
    *record = (struct stream_record){.phase = stream->records.phase_count - 1,
                                     .app = app->index,
                                     .picture = picture,
                                     .start_ns = now_ns,
                                     .bytes_up = NAN};
    snprintf(record->reason, sizeof(record->reason), "%s",
             picture ? inputs->pictures[index].label : inputs->commands[index].actions);
    if (tandem_submit(app->tandem, &request, on_done, NULL, record, NULL) == 0) {
        stream->records.count++;
    } else {
        fprintf(stderr, "stream: not accepted: %s\n", tandem_last_error(app->tandem));
        stream->records.refused++;
    }
}

/* All that is due; returns when the next is. */
static int64_t ask_due(struct stream *stream)
{
    int64_t next_ns = INT64_MAX;

    for (unsigned i = 0; i < stream->app_count; i++) {
        for (int kind = 0; kind < 2; kind++) {
            int64_t *at_ns = &stream->apps[i].next_ns[kind];
            const int64_t now_ns = clock_now_ns();

            if (stream->every_ns[kind] == 0) {
                continue;
            }
            if (now_ns >= *at_ns) {
                ask(&stream->apps[i], kind == 1, now_ns);
                *at_ns += stream->every_ns[kind];
            }
            next_ns = *at_ns < next_ns ? *at_ns : next_ns;
        }
    }
    return next_ns;
}

/* ---- what comes in ---- */

static void phase_end(struct stream *stream)
{
    struct stream_records *records = &stream->records;
    const int fd = status_connect(stream->status_socket, "status\n");
    char line[LINE_BYTES];
    size_t bytes = 0;
    ssize_t got = 0;

    while (fd >= 0 && bytes + 1 < sizeof(line) &&
           (got = read(fd, line + bytes, sizeof(line) - bytes - 1)) > 0) {
        bytes += (size_t)got;
    }
    line[bytes] = '\0';
    stream_status_take(&records->phases[records->phase_count - 1], line);
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void phase_begin(struct stream *stream, const char *name)
{
    struct stream_records *records = &stream->records;
    struct stream_phase *phase = &records->phases[records->phase_count];

    if (records->phase_count > 0) {
        phase_end(stream);
    }
    if (records->phase_count < STREAM_PHASES) {
        records->phase_count++;
        snprintf(phase->name, sizeof(phase->name), "%s", name);
        phase->wire_bytes = wire_bytes();
        phase->start_ns = clock_now_ns();
        printf("%s begins\n", name);
        (void)fflush(stdout);
    }
}

static void on_control(struct stream *stream, char *line)
{
    if (strncmp(line, "phase ", 6) == 0) {
        phase_begin(stream, line + 6);
    } else {
        stream->ending = true;
    }
}

static void on_decision(struct stream *stream, char *line)
{
    stream_decision_take(&stream->records, line);
}

/* False at the end of the file. */
static bool lines_read(struct stream *stream, struct lines *lines,
                       void (*on_line)(struct stream *stream, char *line))
{
    const ssize_t got = read(lines->fd, lines->data + lines->bytes, LINE_BYTES - lines->bytes);
    char *end;

    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    lines->bytes += (size_t)got;
    while ((end = memchr(lines->data, '\n', lines->bytes))) {
        *end++ = '\0';
        on_line(stream, lines->data);
        lines->bytes -= (size_t)(end - lines->data);
        memmove(lines->data, end, lines->bytes);
    }
    return lines->bytes < LINE_BYTES;
}

/* Waits for anything, `until_ns` at most, and takes it. */
static void turn(struct stream *stream, int64_t until_ns)
{
    struct pollfd fds[APPS_MAX + 2];
    int64_t wait_ns = until_ns - clock_now_ns();

    for (unsigned i = 0; i < stream->app_count; i++) {
        struct tandem *tandem = stream->apps[i].tandem;
        const int64_t own_ns = (int64_t)tandem_timeout_ms(tandem) * NS_PER_MS;

        fds[i] =
            (struct pollfd){.fd = tandem_fd(tandem),
                            .events = (short)(POLLIN | (tandem_wants_write(tandem) ? POLLOUT : 0))};
        wait_ns = own_ns >= 0 && own_ns < wait_ns ? own_ns : wait_ns;
    }
    fds[stream->app_count] = (struct pollfd){.fd = stream->follow.fd, .events = POLLIN};
    fds[stream->app_count + 1] =
        (struct pollfd){.fd = stream->ending ? -1 : stream->control.fd, .events = POLLIN};
    wait_ns = wait_ns < 0 ? 0 : wait_ns > NS_PER_S ? NS_PER_S : wait_ns;
    (void)poll(fds, stream->app_count + 2, (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS));
    for (unsigned i = 0; i < stream->app_count; i++) {
        if (tandem_process(stream->apps[i].tandem) < 0) {
            stream->broken = true;
        }
    }
    if (fds[stream->app_count].revents != 0 && !lines_read(stream, &stream->follow, on_decision)) {
        fprintf(stderr, "stream: the decisions end\n");
        stream->broken = true;
    }
    if (fds[stream->app_count + 1].revents != 0 &&
        !lines_read(stream, &stream->control, on_control)) {
        stream->ending = true;
    }
}

static size_t in_flight(const struct stream *stream)
{
    size_t count = 0;

    for (unsigned i = 0; i < stream->app_count; i++) {
        count += tandem_in_flight(stream->apps[i].tandem);
    }
    return count;
}

static void run(struct stream *stream)
{
    const int64_t tail_ns = NS_PER_S / 2; /* for the last decisions to come by */
    int64_t end_ns;

    phase_begin(stream, "start");
    while (!stream->ending && !stream->broken) {
        turn(stream, ask_due(stream));
    }
    phase_end(stream);
    end_ns = clock_now_ns();
    while (in_flight(stream) > 0 && !stream->broken &&
           clock_now_ns() - end_ns < PATIENCE_MS * NS_PER_MS) {
        turn(stream, clock_now_ns() + NS_PER_MS * 100);
    }
    for (const int64_t from_ns = clock_now_ns(); clock_now_ns() - from_ns < tail_ns;) {
        turn(stream, from_ns + tail_ns);
    }
    stream_summary_print(&stream->records, end_ns, wire_bytes());
}

/* ---- start and end ---- */

static bool stream_open(struct stream *stream, char **words)
{
    const double per_s[2] = {atof(words[7]), atof(words[6])};
    const int64_t now_ns = clock_now_ns();
    const int apps = atoi(words[5]), side = atoi(words[8]);

    if (apps < 1 || apps > APPS_MAX || side < 1 || side > 1024 ||
        !stream_inputs_read(&stream->inputs, words[3], (uint32_t)side)) {
        return false;
    }
    stream->records.items = calloc(STREAM_RECORDS, sizeof(*stream->records.items));
    stream->status_socket = words[2];
    stream->control.fd = STDIN_FILENO;
    stream->follow.fd = status_connect(words[2], "follow\n");
    if (!stream->records.items || stream->follow.fd < 0) {
        return false;
    }
    for (int kind = 0; kind < 2; kind++) {
        stream->every_ns[kind] = per_s[kind] > 0 ? (int64_t)((double)NS_PER_S / per_s[kind]) : 0;
    }
    for (int i = 0; i < apps; i++) {
        struct app *app = &stream->apps[i];

        *app = (struct app){.stream = stream, .index = (unsigned)i};
        for (int kind = 0; kind < 2; kind++) { /* the applications do not ask in step */
            app->next_ns[kind] = now_ns + stream->every_ns[kind] * (i + kind) / apps;
        }
        if (tandem_open(words[1], &app->tandem) != 0) {
            fprintf(stderr, "stream: %s: %s\n", words[1], tandem_last_error(app->tandem));
            return false;
        }
        stream->app_count++;
    }
    return true;
}

/* Every accepted request ended once, before the connections are closed. */
static bool ends_check(const struct stream *stream)
{
    size_t wrong = 0;

    for (size_t i = 0; i < stream->records.count; i++) {
        wrong += stream->records.items[i].ends != 1;
    }
    printf("accepted=%zu refused=%llu not_ended_once=%zu\n", stream->records.count,
           (unsigned long long)stream->records.refused, wrong);
    return wrong == 0 && stream->records.count > 0 && !stream->broken;
}

int main(int argc, char **argv)
{
    static struct stream stream;
    FILE *csv;
    bool good;

    if (argc != 9) {
        fprintf(stderr,
                "usage: %s APP_SOCKET STATUS_SOCKET SAMPLES CSV APPS PICTURES_PER_S "
                "COMMANDS_PER_S SIDE\n",
                argv[0]);
        return 2;
    }
    good = stream_open(&stream, argv);
    if (good) {
        run(&stream);
        good = ends_check(&stream);
        csv = fopen(argv[4], "w");
        if (csv) {
            stream_csv_write(&stream.records, csv);
            (void)fclose(csv);
        }
    }
    for (unsigned i = 0; i < stream.app_count; i++) {
        tandem_close(stream.apps[i].tandem);
    }
    for (size_t i = 0; i < stream.records.count; i++) {
        good = good && stream.records.items[i].ends == 1; /* closing ended none twice */
    }
    stream_inputs_free(&stream.inputs);
    free(stream.records.items);
    return good ? 0 : 1;
}
