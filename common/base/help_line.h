/* help_line.h: one line of a --help, as wide as a terminal: what it explains, and the text beside
 * it in a column of its own, wrapped at words. */
#ifndef TANDEM_BASE_HELP_LINE_H
#define TANDEM_BASE_HELP_LINE_H

#include <stdio.h>

#define HELP_WIDTH 79

/* `left` begins in column 2, `text` in column `column`, on a line of its own where `left` reaches
 * that far. A word that is wider than what is left of the line stands alone. */
void help_line(FILE *out, const char *left, int column, const char *text);

#endif
