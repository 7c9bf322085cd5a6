/*
 * Terminal and standard output; see terminal.h.
 */
#include "cli/terminal.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/params.h"

#define DEFAULT_COLUMNS 80

bool lc_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

int lc_terminal_columns(int fd)
{
    int64_t columns = 0;
    lc_err ignored = {.code = LC_OK};
    if (lc_param_int(LC_PARAM_COLUMNS, 0, &columns, &ignored) == LC_OK && columns > 0) {
        return (int)columns;
    }
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return DEFAULT_COLUMNS;
}

lc_code lc_print_text(lc_text *text, lc_err *err)
{
    const lc_code code = lc_text_finish(text, "output", err);
    if (code == LC_OK) {
        (void)fwrite(text->data, 1, text->length, stdout);
        (void)fputc('\n', stdout);
    }
    lc_text_release(text);
    return code;
}
