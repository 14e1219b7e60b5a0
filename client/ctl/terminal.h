/* terminal.h: a screen that is drawn again in place, with a key to leave. Where standard output is
 * no terminal nothing is steered, and where standard input is none there are no keys. One thread;
 * signals that would leave the terminal as it should not stay are taken while it lasts. */
#ifndef TANDEM_CTL_TERMINAL_H
#define TANDEM_CTL_TERMINAL_H

#include "common/base/buf.h"

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

struct terminal {
    bool screen, keys;
    int signals; /* signalfd; -1: none */
    sigset_t mask;
    struct termios settings; /* as they were */
};

void terminal_begin(struct terminal *terminal);
void terminal_end(struct terminal *terminal);
/* Writes one screen and clears `text`: in place of the last one, cut to the terminal's lines, or as
 * it is. */
void terminal_draw(const struct terminal *terminal, struct buf *text);
/* Waits so long, or until there is a new size to draw for. True: the reader wants to leave (q, or a
 * signal). */
bool terminal_wait(const struct terminal *terminal, int milliseconds);

#endif
