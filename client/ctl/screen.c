#include "client/ctl/screen.h"

#include "client/ctl/ctl.h"
#include "common/base/error.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool screen_is_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

/* Characters of a line; 0: no terminal, or it does not say. */
static size_t width_of(int fd)
{
    struct winsize size;

    return isatty(fd) == 1 && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

struct table_style screen_style(void)
{
    return (struct table_style){.bold = screen_is_terminal(), .width = width_of(STDOUT_FILENO)};
}

struct table_style screen_drawn_style(void)
{
    struct table_style style = screen_style();

    style.screen = true;
    return style;
}

size_t screen_error_width(void)
{
    return width_of(STDERR_FILENO);
}

size_t screen_rows(void)
{
    struct winsize size;

    return screen_is_terminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

int screen_put(int result, struct buf *text)
{
    if (result != 0) {
        return ctl_fail(result, "%s", tandem_error_text(result));
    }
    if (text->bytes > 0) {
        (void)fwrite(text->data, 1, text->bytes, stdout); /* ctl_main looks at ferror */
    }
    buf_clear(text);
    return CTL_DONE;
}
