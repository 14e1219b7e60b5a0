/* screen.h: standard output, and what kind of reader it has. */
#ifndef TANDEM_CTL_SCREEN_H
#define TANDEM_CTL_SCREEN_H

#include "client/ctl/table.h"

#include <stdbool.h>

/* Bold titles and lines of its width for a terminal, plain text for everything else. */
struct table_style screen_style(void);
/* The same for what is drawn again in place: a line each, cut. */
struct table_style screen_drawn_style(void);
/* Characters of a line of standard error; 0: it is no terminal. */
size_t screen_error_width(void);
bool screen_is_terminal(void);
/* Lines of the terminal; 0: none, or it does not say. */
size_t screen_rows(void);
/* Writes and clears `text` when `result` is 0. Returns an exit code: `result` itself is said when
 * it is an error. */
int screen_put(int result, struct buf *text);

#endif
