/* request_check.h: whether a caller's request may be sent at all. Pure. */
#ifndef TANDEM_LIB_REQUEST_CHECK_H
#define TANDEM_LIB_REQUEST_CHECK_H

#include "tandem.h"

#include <stdbool.h>

/* Copies `caller`, which may be of an older or newer header (struct_bytes), and checks every field
 * against its bound. On failure *ret_why says what is wrong (static storage). The copy borrows what
 * `caller` borrows. */
int request_check(const struct tandem_request *caller, struct tandem_request *ret_request,
                  const char **ret_why);

bool request_has_picture(const struct tandem_request *request);
size_t request_text_bytes(const struct tandem_request *request);
/* Of the picture or text. */
size_t request_input_bytes(const struct tandem_request *request);

#endif
