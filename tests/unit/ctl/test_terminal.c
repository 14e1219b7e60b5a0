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

static void tty_begin(struct tty *tty)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};

    memset(tty, 0, sizeof(*tty));
    stage_start(&tty->stage, replies, REPLY_COUNT);
    tty->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(tty->master >= 0);
    assert_int_equal(grantpt(tty->master), 0);
    assert_int_equal(unlockpt(tty->master), 0);
    tty->slave = open(ptsname(tty->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(tty->slave >= 0);
    assert_int_equal(ioctl(tty->slave, TIOCSWINSZ, &size), 0);
}

/* Runs `tandemctl WORDS... --socket PATH` on the terminal, in a process of its own. */
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
    struct tty *tty = malloc(sizeof(*tty));
    struct termios before, after;

    (void)state;
    assert_non_null(tty);
    tty_begin(tty);
    assert_int_equal(tcgetattr(tty->slave, &before), 0);
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
    assert_int_equal(write(tty->master, "q", 1), 1);
    tty_read(tty, "\033[?1049l");
    assert_int_equal(tty_wait(tty), CTL_DONE);
    assert_int_equal(tcgetattr(tty->slave, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    tty_run(tty, "top", NULL);
    tty_read(tty, "\033[J");
    assert_int_equal(kill(tty->child, SIGTERM), 0);
    tty_read(tty, "\033[?1049l"); /* a signal leaves the terminal as it was, too */
    assert_int_equal(tty_wait(tty), CTL_DONE);
    assert_int_equal(tcgetattr(tty->slave, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    tty_end(tty);
    free(tty);
}

static void test_text_as_it_comes(void **state)
{
    struct tty *tty = malloc(sizeof(*tty));

    (void)state;
    assert_non_null(tty);
    tty_begin(tty);
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
        cmocka_unit_test(test_text_as_it_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
