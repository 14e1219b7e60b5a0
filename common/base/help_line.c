#include "common/base/help_line.h"

#include <string.h>

void help_line(FILE *out, const char *left, int column, const char *text)
{
    int at = fprintf(out, "  %s", left);

    if (at >= column) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", column - at, "");
    at = column;
    while (*text) {
        const int word = (int)strcspn(text, " ");

        if (at > column && at + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        }
        at += fprintf(out, "%s%.*s", at > column ? " " : "", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}
