/* JSON as tandemctl reads it from a status socket or a file of decisions: whatever a peer or a
 * model puts into it, what is shown to people has no control byte that could steer a terminal. */
#include "client/ctl/print_top.h"
#include "common/base/error.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void shown_is_clean(int result, struct buf *out)
{
    check(result == 0 || result == TANDEM_ETOOBIG || result == TANDEM_ENOMEM);
    for (size_t i = 0; i < out->bytes; i++) {
        check(out->data[i] >= ' ' || out->data[i] == '\n' || out->data[i] == '\t');
        check(out->data[i] != 0x7f);
    }
    buf_clear(out);
}

static void top_is_clean(const cJSON *object, const struct table_style *style, struct buf *out)
{
    struct top_sums sums;

    if (top_sums_make(object, object, 1e18, &sums) == 0) {
        shown_is_clean(print_top_client(object, &sums, object, 9, style, out), out);
        cJSON_Delete(top_sums_json(&sums));
        top_sums_fini(&sums);
    }
    shown_is_clean(print_top_server(object, NULL, 0, style, out), out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct table_style style = {.width = bytes % 120};
    struct print_decisions rows;
    struct buf out;
    cJSON *object = cJSON_ParseWithLength((const char *)data, bytes);

    if (!object) {
        return 0;
    }
    buf_init(&out, 1u << 22);
    shown_is_clean(print_object(object, &style, &out), &out);
    shown_is_clean(print_list(object, &style, &out), &out);
    shown_is_clean(print_decision(object, &style, &out), &out);
    print_decisions_init(&rows, &style);
    print_decisions_add(&rows, object);
    shown_is_clean(table_print(&rows.table, &style, &out), &out);
    print_decisions_fini(&rows);
    shown_is_clean(print_edges(object, &style, &out), &out);
    top_is_clean(object, &style, &out);
    buf_fini(&out);
    cJSON_Delete(object);
    return 0;
}
