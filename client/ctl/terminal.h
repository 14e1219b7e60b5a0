/* terminal.h: a screen that is drawn again in place, with a key to leave. Where none is wanted, or
 * standard output is no terminal, nothing is steered; where standard input is none there are no
 * keys. One thread; signals that would leave the terminal as it should not stay are taken while it
 * lasts. */
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

void terminal_begin(struct terminal *terminal, bool wanted);
void terminal_end(struct terminal *terminal);
/* Writes one screen and clears `text`: in place of the last one and in one piece, cut to the
 * terminal's lines and columns, or as it is. 0, or TANDEM_ENOMEM with nothing written. */
int terminal_draw(const struct terminal *terminal, struct buf *text);
/* Waits so long, or until there is a new size to draw for. True: the reader wants to leave (q, or a
 * signal). */
bool terminal_wait(const struct terminal *terminal, int milliseconds);

#endif
