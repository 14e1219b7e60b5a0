/* tandemctl on a terminal of 80 columns and 24 lines: top draws in place until q, a text is shown
 * as it comes. */
#include "tests/unit/ctl/stage.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#define PATIENCE_MS 30000

struct tty {
    struct stage stage;
    int master, slave;
    pid_t child;
    char text[65536];
    size_t bytes;
};

static void tty_resize(const struct tty *tty, unsigned short columns, unsigned short rows)
{
    const struct winsize size = {.ws_row = rows, .ws_col = columns};

    assert_int_equal(ioctl(tty->slave, TIOCSWINSZ, &size), 0);
}

static void tty_begin(struct tty *tty, const struct reply *answers, size_t count)
{
    memset(tty, 0, sizeof(*tty));
    stage_start(&tty->stage, answers, count);
    tty->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(tty->master >= 0);
    assert_int_equal(grantpt(tty->master), 0);
    assert_int_equal(unlockpt(tty->master), 0);
    tty->slave = open(ptsname(tty->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(tty->slave >= 0);
    tty_resize(tty, 80, 24);
}

/* Runs `tandemctl WORDS... --socket PATH` on the terminal, in a session of its own, so that its
 * keys and its size become signals. */
static void tty_run(struct tty *tty, const char *first, ...)
{
    char *argv[16] = {(char *)"tandemctl"};
    int argc = 1;
    va_list words;

    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *)) {
        argv[argc++] = (char *)(uintptr_t)word;
    }
    va_end(words);
    argv[argc++] = (char *)"--socket";
    argv[argc++] = tty->stage.status_path;
    tty->bytes = 0;
    tty->child = fork();
    assert_true(tty->child >= 0);
    if (tty->child == 0) {
        (void)setsid();
        (void)ioctl(tty->slave, TIOCSCTTY, 0);
        dup2(tty->slave, 0);
        dup2(tty->slave, 1);
        dup2(tty->slave, 2);
        int code = ctl_main(argc, argv);

        fflush(stdout);
        _exit(code);
    }
}

static bool tty_has(const struct tty *tty, const char *word)
{
    return memmem(tty->text, tty->bytes, word, strlen(word)) != NULL;
}

/* Reads until `word` was shown, or for NULL what is there. */
static void tty_read(struct tty *tty, const char *word)
{
    struct pollfd poll_fd = {.fd = tty->master, .events = POLLIN};

    while (!word || !tty_has(tty, word)) {
        ssize_t got;

        if (poll(&poll_fd, 1, word ? PATIENCE_MS : 0) <= 0) {
            if (word) {
                fail_msg("no %s in %.*s", word, (int)tty->bytes, tty->text);
            }
            return;
        }
        got = read(tty->master, tty->text + tty->bytes, sizeof(tty->text) - tty->bytes);
        assert_true(got > 0);
        tty->bytes += (size_t)got;
    }
}

/* The exit code; what was shown is read to its end. */
static int tty_wait(struct tty *tty)
{
    int status;

    assert_int_equal(waitpid(tty->child, &status, 0), tty->child);
    tty_read(tty, NULL);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void tty_end(struct tty *tty)
{
    close(tty->slave);
    close(tty->master);
    stage_stop(&tty->stage);
}

static void test_top_quits(void **state)
{
    static const char *const keys[] = {"q", "Q", "\004", "\003", "\034", NULL}; /* NULL: SIGTERM */
    struct tty *tty = malloc(sizeof(*tty));
    struct termios before, after;

    (void)state;
    assert_non_null(tty);
    tty_begin(tty, replies, REPLY_COUNT);
    assert_int_equal(tcgetattr(tty->slave, &before), 0);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        tty_run(tty, "top", NULL);
        tty_read(tty, "\033[J");
        assert_int_equal(tcgetattr(tty->slave, &after), 0);
        assert_false(after.c_lflag & ECHO);
        assert_true(tty_has(tty, "\033[?1049h")); /* a screen of its own */
        assert_true(tty_has(tty, "\033[H"));
        assert_false(tty_has(tty, "\033[2J")); /* that would flicker */
        assert_true(tty_has(tty, "ROUTE>BY"));
        assert_int_equal(write(tty->master, "x", 1), 1); /* draws again */
        tty->bytes = 0;
        tty_read(tty, "\033[J");
        if (keys[i]) {
            assert_int_equal(write(tty->master, keys[i], 1), 1);
        } else {
            assert_int_equal(kill(tty->child, SIGTERM), 0);
        }
        tty_read(tty, "\033[?25h\033[?1049l"); /* the cursor, and the screen that was there */
        assert_int_equal(tty_wait(tty), CTL_DONE);
        assert_int_equal(tcgetattr(tty->slave, &after), 0);
        assert_int_equal(after.c_lflag, before.c_lflag);
        assert_memory_equal(after.c_cc, before.c_cc, sizeof(before.c_cc));
    }
    tty_end(tty);
    free(tty);
}

/* A busy client, and names that are as long as people make them. */
#define BUSY                                                                                       \
    "{\"schema\":1,\"daemon\":\"tandem-client\",\"version\":\"0.1.0\",\"uptime_s\":1234567,"       \
    "\"draining\":true,\"applications\":48,\"in_flight\":64,\"mode\":\"observe\","                 \
    "\"observe_route\":\"cascade\",\"budget\":{\"bytes\":{\"limit\":5e7,\"used\":12345678},"       \
    "\"joule\":null},\"shadows\":{\"under_way\":1,\"local\":3,\"edge\":7},\"counters\":{"          \
    "\"requests\":9876543210},\"tasks\":["                                                         \
    "{\"name\":\"objects-of-the-northern-hall\"},{\"name\":\"commands\"}],\"edges\":["             \
    "{\"name\":\"hall-of-the-second-floor\",\"url\":\"tcp://192.0.2.10:7447\",\"state\":"          \
    "\"connecting\",\"rtt_ms\":12345.67,\"bandwidth_mbit_s\":12345.6,\"next_attempt_ms\":12000,"   \
    "\"why\":\"the name on its certificate is not the one of the address\"}]}\n"
#define BUSY_DECISIONS                                                                             \
    "{\"schema\":1,\"id\":\"18446744073709551615\",\"time_unix_ns\":1764000000123456789,\"task\":" \
    "\"objects-of-the-northern-hall\",\"route\":\"cascade\",\"reason\":\"local first, edge if "    \
    "not sure: not sure, 0.60 < 0.70, the edge was asked\",\"outcome\":{\"route\":"                \
    "\"edge:hall-of-the-second-floor\",\"latency_ms\":61.26,\"met_deadline\":true}}\n"

/* The lines of the screen that ends with the text: none wider than `width` or longer than `rows`,
 * and one as wide as that is not followed by what would clear its last character. */
static void screen_check(const struct tty *tty, size_t width, size_t rows)
{
    size_t at = tty->bytes, used = 0, lines = 1;

    while (at > 0 && memcmp(tty->text + at, "\033[H", 3) != 0) {
        at--;
    }
    for (; at < tty->bytes; at++) {
        const char *text = tty->text + at;

        if (*text == '\033') {
            const size_t bytes = strcspn(text, "HKJmhl");

            assert_true(text[bytes] != 'K' || used < width);
            at += bytes;
        } else if (*text == '\n') {
            used = 0;
            lines++;
        } else if (*text != '\r') {
            used += ((unsigned char)*text & 0xc0) != 0x80;
        }
        if (used > width || lines > rows) {
            fail_msg("%zu columns, line %zu: %.*s", used, lines, (int)tty->bytes, tty->text);
        }
    }
}

static void test_top_never_wraps(void **state)
{
    static const struct reply busy[] = {{"status", BUSY}, {"decisions 300", BUSY_DECISIONS}};
    static const unsigned short sizes[][2] = {{80, 24}, {79, 24}, {132, 50}, {60, 24}, {40, 12},
                                              {20, 5},  {1, 1},   {10, 24},  {80, 24}};
    struct tty *tty = malloc(sizeof(*tty));

    (void)state;
    assert_non_null(tty);
    tty_begin(tty, busy, 2);
    tty_run(tty, "top", NULL);
    tty_read(tty, "\033[J");
    assert_true(tty_has(tty, "tandem-client 0.1.0, up 342:56:07, draining, 9876543210 requests"));
    assert_false(tty_has(tty, "under way,")); /* 48 applications: no room, so no part of it */
    assert_true(tty_has(tty, "shadow runs: 3 local, 7 at an edge, 1 under way\033[K"));
    assert_true(tty_has(tty, "this hour 12.3 of 50.0 MB to and from edges\033[K"));
    assert_true(tty_has(tty, "only observing: requests go cascade, ROUTE says"));
    assert_true(tty_has(tty, "ok    local")); /* a line each: the reason is cut, not below */
    assert_false(tty_has(tty, "\r\n    local"));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        tty->bytes = 0;
        tty_resize(tty, sizes[i][0], sizes[i][1]); /* at the same size nothing is said */
        assert_int_equal(write(tty->master, "x", 1), 1);
        tty_read(tty, "\033[J");
        for (int wait = 0; wait < 20; wait++) { /* the last of what came of both */
            tty_read(tty, NULL);
            (void)poll(NULL, 0, 10);
        }
        screen_check(tty, sizes[i][0], sizes[i][1]);
    }
    assert_int_equal(write(tty->master, "q", 1), 1);
    assert_int_equal(tty_wait(tty), CTL_DONE);
    tty_end(tty);
    free(tty);
}

/* A new size alone is enough to be drawn for. */
static void test_top_resizes(void **state)
{
    static const struct reply busy[] = {{"status", BUSY}, {"decisions 300", BUSY_DECISIONS}};
    struct tty *tty = malloc(sizeof(*tty));

    (void)state;
    assert_non_null(tty);
    tty_begin(tty, busy, 2);
    tty_run(tty, "top", NULL);
    tty_read(tty, "\033[J");
    assert_false(tty_has(tty, "DEADLINE")); /* which only a wide one has */
    tty->bytes = 0;
    tty_resize(tty, 200, 50);
    tty_read(tty, "DEADLINE");
    assert_int_equal(write(tty->master, "q", 1), 1);
    assert_int_equal(tty_wait(tty), CTL_DONE);
    tty_end(tty);
    free(tty);
}

static void test_text_as_it_comes(void **state)
{
    struct tty *tty = malloc(sizeof(*tty));

    (void)state;
    assert_non_null(tty);
    tty_begin(tty, replies, REPLY_COUNT);
    tty_run(tty, "run", "commands", "walk", NULL);
    assert_int_equal(tty_wait(tty), CTL_DONE);
    assert_true(atomic_load(&tty->stage.stream));
    assert_true(tty->bytes > 8 && memcmp(tty->text, "I_WALK\r\n", 8) == 0);
    assert_true(tty_has(tty, "decision 42: cascade"));
    tty_run(tty, "run", "commands", "walk", "--session", SESSION_AGAIN, NULL);
    assert_int_equal(tty_wait(tty), CTL_DONE);
    assert_true(tty_has(tty, "WRONG [begun again]\r\nI_WALK\r\ndecision 42"));
    tty_run(tty, "run", "commands", "walk", "--json", NULL);
    assert_int_equal(tty_wait(tty), CTL_DONE);
    assert_false(atomic_load(&tty->stage.stream));
    assert_true(tty->bytes > 0 && tty->text[0] == '{');
    tty_end(tty);
    free(tty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_quits),
        cmocka_unit_test(test_top_never_wraps),
        cmocka_unit_test(test_top_resizes),
        cmocka_unit_test(test_text_as_it_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
