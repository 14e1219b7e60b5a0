/* annotate.c: prints the annotated example of one configuration table, the same table that parses the file. `make configs`
 * builds it once per table, with SCHEMA naming the table. */
#include "common/base/config.h"

#include <stdio.h>

extern const struct config_schema SCHEMA;

int main(void)
{
    struct buf text;
    int result;

    buf_init(&text, 0);
    result = config_annotate(&SCHEMA, &text);
    if (result == 0 && (fwrite(text.data, 1, text.bytes, stdout) != text.bytes || fflush(stdout) != 0)) {
        result = -1;
    }
    buf_fini(&text);
    return result == 0 ? 0 : 1;
}
