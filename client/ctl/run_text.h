/* run_text.h: a generated text as it comes, on a terminal. One thread. */
#ifndef TANDEM_CTL_RUN_TEXT_H
#define TANDEM_CTL_RUN_TEXT_H

#include "tandem.h"

#include "common/base/buf.h"

#include <stdbool.h>

/* What stands on the terminal. Zero at the start. */
struct run_text {
    size_t bytes; /* of the text so far */
    bool shown;   /* the answer stands there whole */
    bool begun;   /* something stands on the last line */
    bool done;
    int error;
    struct tandem_answer *answer;
};

/* As tandem_call, and writes the pieces to standard output. A text that begins again, because
 * another route took over, begins on a line of its own. The last line is ended. */
int run_text_call(struct run_text *text, struct tandem *tandem,
                  const struct tandem_request *request, struct tandem_answer **ret_answer);

#endif
