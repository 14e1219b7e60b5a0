#include "client/ctl/run_text.h"

#include "client/ctl/table.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without what could steer the terminal. */
static void piece_write(const char *data, size_t bytes)
{
    char *piece = strndup(data, bytes);
    struct buf clean;

    buf_init(&clean, 0);
    if (piece && text_clean_append(&clean, piece, true) == 0 && clean.bytes > 0) {
        (void)fwrite(clean.data, 1, clean.bytes, stdout); /* ctl_main looks at ferror */
        (void)fflush(stdout);
    }
    buf_fini(&clean);
    free(piece);
}

static void line_end(struct run_text *text)
{
    if (text->begun) {
        (void)putchar('\n');
    }
    text->begun = false;
}

static void on_partial(struct tandem *tandem, uint64_t request_id, size_t offset, const char *data,
                       size_t bytes, void *user)
{
    struct run_text *text = user;

    (void)tandem;
    (void)request_id;
    if (offset == 0) {
        if (text->begun) {
            (void)fputs(" [begun again]", stdout);
        }
        line_end(text);
        text->bytes = 0;
    }
    piece_write(data, bytes);
    text->bytes += bytes;
    text->begun = text->begun || bytes > 0;
}

static void on_done(struct tandem *tandem, uint64_t request_id, int error,
                    struct tandem_answer *answer, void *user)
{
    struct run_text *text = user;

    (void)tandem;
    (void)request_id;
    text->done = true;
    text->error = error;
    text->answer = answer;
}

int run_text_call(struct run_text *text, struct tandem *tandem,
                  const struct tandem_request *request, struct tandem_answer **ret_answer)
{
    size_t bytes;
    const char *whole;
    int result = tandem_submit(tandem, request, on_done, on_partial, text, NULL);

    if (result != 0) {
        return result;
    }
    while (!text->done) {
        (void)tandem_wait(tandem, -1); /* when the connection fails, the request has ended */
    }
    if (text->error != 0) {
        line_end(text);
        return text->error;
    }
    whole = tandem_answer_text(text->answer, &bytes);
    if (bytes > text->bytes) { /* a daemon need not send pieces */
        piece_write(whole + text->bytes, bytes - text->bytes);
    }
    text->begun = true;
    line_end(text);
    text->shown = true;
    *ret_answer = text->answer;
    return 0;
}
