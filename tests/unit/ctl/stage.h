/* stage.h: a status socket and an application socket played by a test, and tandemctl run against
 * them with its output kept. */
#ifndef TANDEM_TESTS_CTL_STAGE_H
#define TANDEM_TESTS_CTL_STAGE_H

#include "tests/unit/lib/fake_daemon.h"

#include "client/ctl/ctl.h"

#include <cjson/cJSON.h>
#include <stdatomic.h>

/* The canned daemon: what it says to which request line. */
struct reply {
    const char *request;
    const char *answer;
};

struct stage {
    char dir[64];
    char status_path[96];
    int listener;
    pthread_t thread;
    const struct reply *replies;
    size_t reply_count;
    struct fake app;
    pthread_t app_thread;
    struct local_submit submit; /* the last request; to be read after stage_stop */
    atomic_bool stream;         /* what it says of streaming; at any time */
    struct buf payload;
    bool without_socket;        /* of the command line */
    char out[16384], err[4096]; /* of the last command */
};

static inline void stage_answer(struct stage *stage, int fd)
{
    char line[256];
    char text[4096];
    ssize_t got = read(fd, line, sizeof(line) - 1);

    if (got <= 0 || line[got - 1] != '\n') {
        return;
    }
    line[got - 1] = '\0';
    for (size_t i = 0; i < stage->reply_count; i++) {
        if (strcmp(line, stage->replies[i].request) == 0) {
            /* %s in an answer is the application socket */
            const char *at = strstr(stage->replies[i].answer, "%s");

            if (at) {
                snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - stage->replies[i].answer),
                         stage->replies[i].answer, stage->app.path, at + 2);
            } else {
                snprintf(text, sizeof(text), "%s", stage->replies[i].answer);
            }
            (void)!write(fd, text, strlen(text));
        }
    }
}

static inline void *stage_serve(void *user)
{
    struct stage *stage = user;
    int fd;

    while ((fd = accept(stage->listener, NULL, NULL)) >= 0) {
        stage_answer(stage, fd);
        close(fd);
    }
    return NULL;
}

static inline void piece_send(struct stage *stage, uint64_t id, const char *text, bool restart)
{
    const struct answer_piece piece = {
        .text = (uint8_t *)(uintptr_t)text, .text_bytes = strlen(text), .restart = restart};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(answer_piece_pack(&piece, &header), 0);
    fake_send_header(&stage->app, FRAME_TOKENS, 0, id, &header);
    buf_fini(&header);
}

/* A session of this name is answered by two routes, the second of which begins again. */
#define SESSION_AGAIN "again"

static inline void pieces_send(struct stage *stage, uint64_t id)
{
    if (strcmp(stage->submit.session, SESSION_AGAIN) == 0) {
        piece_send(stage, id, "WRONG", false);
        piece_send(stage, id, "", true);
    }
    piece_send(stage, id, "I_", false);
    piece_send(stage, id, "WA", false);
}

static inline void *app_serve(void *user)
{
    struct stage *stage = user;
    uint64_t id;

    for (;;) {
        (void)fake_accept_thread(&stage->app);
        if (stage->app.fd < 0) {
            return NULL;
        }
        while (fake_request(&stage->app, &stage->submit, &stage->payload, &id) == 0) {
            atomic_store(&stage->stream, stage->submit.stream);
            if (strcmp(stage->submit.route, "edge") == 0) {
                fake_send_error(&stage->app, id, TANDEM_ENOROUTE, "no edge is connected", "41");
            } else if (strcmp(stage->submit.task, "commands") == 0) {
                struct local_answer answer = {.id = "42",
                                              .answer = {.kind = WIRE_GENERATE,
                                                         .text = (char *)"I_WALK",
                                                         .text_bytes = 6,
                                                         .tokens = 1,
                                                         .finish = WIRE_FINISH_END},
                                              .route = "cascade",
                                              .outcome_route = "local",
                                              .reason = "sure enough",
                                              .latency_us = 2500,
                                              .met_deadline = true};

                if (stage->submit.stream) {
                    pieces_send(stage, id);
                }
                fake_send_answer(&stage->app, id, &answer);
            } else {
                fake_send_label(&stage->app, id, "cup");
            }
        }
        fake_hang_up(&stage->app);
    }
}

static inline void stage_start(struct stage *stage, const struct reply *replies, size_t count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(stage, 0, sizeof(*stage));
    stage->replies = replies;
    stage->reply_count = count;
    fake_start(&stage->app);
    buf_init(&stage->payload, 0);
    snprintf(stage->status_path, sizeof(stage->status_path), "%s/status.sock", stage->app.dir);
    strcpy(address.sun_path, stage->status_path);
    stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stage->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(stage->listener, 8), 0);
    assert_int_equal(pthread_create(&stage->thread, NULL, stage_serve, stage), 0);
    assert_int_equal(pthread_create(&stage->app_thread, NULL, app_serve, stage), 0);
}

static inline void stage_stop(struct stage *stage)
{
    shutdown(stage->listener, SHUT_RDWR);
    shutdown(stage->app.listener, SHUT_RDWR);
    assert_int_equal(pthread_join(stage->thread, NULL), 0);
    assert_int_equal(pthread_join(stage->app_thread, NULL), 0);
    close(stage->listener);
    unlink(stage->status_path);
    buf_fini(&stage->payload);
    fake_stop(&stage->app);
}

static inline void capture_end(FILE *from, int saved, int file, char *ret_text, size_t bytes)
{
    ssize_t got;

    fflush(from);
    dup2(saved, fileno(from));
    close(saved);
    got = pread(file, ret_text, bytes - 1, 0);
    ret_text[got > 0 ? got : 0] = '\0';
    close(file);
}

/* Runs `tandemctl WORDS...`, with --socket PATH unless `without_socket`, and keeps what it printed.
 */
static inline int ctl(struct stage *stage, const char *first, ...)
{
    char *argv[16] = {(char *)"tandemctl"};
    char out_name[] = "/tmp/tandem-test-out-XXXXXX", err_name[] = "/tmp/tandem-test-err-XXXXXX";
    int out = mkstemp(out_name), err = mkstemp(err_name);
    int saved_out = dup(1), saved_err = dup(2);
    int argc = 1;
    va_list words;
    int code;

    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *)) {
        argv[argc++] = (char *)(uintptr_t)word;
    }
    va_end(words);
    if (!stage->without_socket) {
        argv[argc++] = (char *)"--socket";
        argv[argc++] = stage->status_path;
    }
    unlink(out_name);
    unlink(err_name);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    code = ctl_main(argc, argv);
    capture_end(stdout, saved_out, out, stage->out, sizeof(stage->out));
    capture_end(stderr, saved_err, err, stage->err, sizeof(stage->err));
    return code;
}

#define STATUS                                                                                     \
    "{\"schema\":1,\"daemon\":\"tandem-client\",\"app_socket\":\"%s\",\"tasks\":["                 \
    "{\"name\":\"objects\",\"kind\":\"classify\"},"                                                \
    "{\"name\":\"commands\",\"kind\":\"generate\",\"kv_pages_free\":7}],"                          \
    "\"edges\":[{\"name\":\"hall\",\"state\":\"up\"}],\"results\":{\"entries\":3},"                \
    "\"batches\":{\"steps\":3,\"cached_tokens\":5},\"sessions\":2}\n"
#define FIRST                                                                                      \
    "{\"schema\":1,\"id\":\"1\",\"task\":\"objects\",\"route\":\"local\",\"outcome\":{\"route\":"  \
    "\"local\"}}\n"
#define SECOND                                                                                     \
    "{\"schema\":1,\"id\":\"2\",\"task\":\"objects\",\"route\":\"edge:hall\",\"outcome\":null}\n"
#define SECOND_ENDED                                                                               \
    "{\"schema\":1,\"id\":\"2\",\"task\":\"objects\",\"route\":\"edge:hall\",\"outcome\":{"        \
    "\"route\":\"local\"}}\n"

static const struct reply replies[] = {
    {"status", STATUS},
    {"decisions 20", FIRST SECOND},
    {"decisions 300", FIRST SECOND},
    {"decisions 1", SECOND},
    {"explain 1", FIRST},
    {"explain 3", "{\"schema\":1,\"daemon\":\"tandem-client\",\"error\":\"no decision 3\"}\n"},
    {"explain 4", "not json\n"},
    {"explain 5", "{\"cut\":"},
    {"follow", FIRST SECOND_ENDED},
};
#define REPLY_COUNT (sizeof(replies) / sizeof(replies[0]))

#endif
