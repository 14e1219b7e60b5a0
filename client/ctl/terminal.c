#include "client/ctl/terminal.h"

#include "client/ctl/screen.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SCREEN_BEGIN "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define SCREEN_END   "\033[?25h\033[?1049l"

void terminal_begin(struct terminal *terminal)
{
    sigset_t taken;
    struct termios settings;

    *terminal = (struct terminal){.screen = screen_is_terminal(), .signals = -1};
    if (!terminal->screen) {
        return;
    }
    (void)sigemptyset(&taken);
    (void)sigaddset(&taken, SIGINT);
    (void)sigaddset(&taken, SIGTERM);
    (void)sigaddset(&taken, SIGHUP);
    (void)sigaddset(&taken, SIGWINCH);
    (void)sigprocmask(SIG_BLOCK, &taken, &terminal->mask);
    terminal->signals = signalfd(-1, &taken, SFD_CLOEXEC);
    terminal->keys = tcgetattr(STDIN_FILENO, &terminal->settings) == 0;
    if (terminal->keys) {
        settings = terminal->settings;
        settings.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        settings.c_cc[VMIN] = 1;
        settings.c_cc[VTIME] = 0;
        settings.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped top would leave the screen as it is */
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    }
    (void)fputs(SCREEN_BEGIN, stdout);
}

void terminal_end(struct terminal *terminal)
{
    if (!terminal->screen) {
        return;
    }
    (void)fputs(SCREEN_END, stdout);
    (void)fflush(stdout);
    if (terminal->keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal->settings);
    }
    if (terminal->signals >= 0) {
        (void)close(terminal->signals);
    }
    (void)sigprocmask(SIG_SETMASK, &terminal->mask, NULL);
}

void terminal_draw(const struct terminal *terminal, struct buf *text)
{
    const size_t rows = screen_rows();
    size_t at = 0;

    if (!terminal->screen) {
        (void)fwrite(text->data, 1, text->bytes, stdout);
        buf_clear(text);
        return;
    }
    (void)fputs("\033[H", stdout);
    for (size_t row = 0; at < text->bytes && (rows == 0 || row < rows); row++) {
        const uint8_t *end = memchr(text->data + at, '\n', text->bytes - at);
        const size_t bytes = end ? (size_t)(end - text->data) - at : text->bytes - at;

        /* What stood on the rest of the line goes; no newline after the last, which would roll. */
        (void)fputs(row > 0 ? "\r\n" : "", stdout);
        (void)fwrite(text->data + at, 1, bytes, stdout);
        (void)fputs("\033[K", stdout);
        at += bytes + 1;
    }
    (void)fputs("\033[J", stdout);
    buf_clear(text);
}

bool terminal_wait(const struct terminal *terminal, int milliseconds)
{
    struct pollfd polls[2] = {
        {.fd = terminal->keys ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = terminal->signals, .events = POLLIN},
    };
    struct signalfd_siginfo signal;
    char key = 0;

    if (poll(polls, 2, milliseconds) <= 0) {
        return false;
    }
    if (polls[1].revents) {
        return read(terminal->signals, &signal, sizeof(signal)) != (ssize_t)sizeof(signal) ||
               signal.ssi_signo != SIGWINCH;
    }
    /* Another key draws at once. The end of the input is a reader who has left. */
    return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == 4;
}
