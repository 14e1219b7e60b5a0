#include "client/ctl/terminal.h"

#include "client/ctl/screen.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SCREEN_BEGIN "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define SCREEN_END   "\033[?25h\033[?1049l"

void terminal_begin(struct terminal *terminal, bool wanted)
{
    sigset_t taken;
    struct termios settings;

    *terminal = (struct terminal){.screen = wanted && screen_is_terminal(), .signals = -1};
    if (!terminal->screen) {
        return;
    }
    (void)sigemptyset(&taken);
    (void)sigaddset(&taken, SIGINT);
    (void)sigaddset(&taken, SIGTERM);
    (void)sigaddset(&taken, SIGHUP);
    (void)sigaddset(&taken, SIGQUIT);
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

/* Appends the line as far as `width` characters (0: all of it), and clears what stood behind it;
 * what steers the terminal takes no room, and is sent in any case. */
static int line_append(const uint8_t *line, size_t bytes, size_t width, struct buf *out)
{
    size_t used = 0;
    int result = 0;

    for (size_t i = 0; result == 0 && i < bytes; i++) {
        if (line[i] == '\033') { /* as table.c makes them: ESC [ ... m */
            const uint8_t *end = memchr(line + i, 'm', bytes - i);
            const size_t taken = end ? (size_t)(end - (line + i)) + 1 : bytes - i;

            result = buf_append(out, line + i, taken);
            i += taken - 1;
            continue;
        }
        used += (line[i] & 0xc0) != 0x80; /* bytes that begin a character */
        result = width == 0 || used <= width ? buf_append_u8(out, line[i]) : 0;
    }
    /* Behind a full line the cursor is still on its last character. */
    return result == 0 && (width == 0 || used < width) ? buf_append_text(out, "\033[K") : result;
}

static int screen_compose(const struct buf *text, struct buf *out)
{
    const size_t rows = screen_rows(), width = screen_style().width;
    int result = buf_append_text(out, "\033[H");
    size_t at = 0;

    for (size_t row = 0; result == 0 && at < text->bytes && (rows == 0 || row < rows); row++) {
        const uint8_t *end = memchr(text->data + at, '\n', text->bytes - at);
        const size_t bytes = end ? (size_t)(end - text->data) - at : text->bytes - at;

        /* No newline after the last, which would roll. */
        result = buf_append_text(out, row > 0 ? "\r\n" : "");
        result = result == 0 ? line_append(text->data + at, bytes, width, out) : result;
        at += bytes + 1;
    }
    return result == 0 ? buf_append_text(out, "\033[J") : result;
}

int terminal_draw(const struct terminal *terminal, struct buf *text)
{
    struct buf screen;
    int result;

    if (!terminal->screen) {
        (void)fwrite(text->data, 1, text->bytes, stdout);
        buf_clear(text);
        return 0;
    }
    buf_init(&screen, 0);
    result = screen_compose(text, &screen);
    if (result == 0) {
        (void)fwrite(screen.data, 1, screen.bytes, stdout);
    }
    buf_fini(&screen);
    buf_clear(text);
    return result;
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
