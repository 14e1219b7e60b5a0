/* The bounds of tandem-client's configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/daemon/daemon_config.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Loads a configuration of so many edges, all on this machine. */
static int edges_load(size_t count, size_t *ret_count, char error[CONFIG_ERROR_BYTES])
{
    char name[] = "/tmp/tandem-test-XXXXXX";
    struct client_config config = {0};
    FILE *file = fdopen(mkstemp(name), "w");
    int result;

    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        assert_true(fprintf(file, "[edge e%zu]\nurl = ipc:///tmp/e%zu\n", i, i) > 0);
    }
    assert_int_equal(fclose(file), 0);
    result = client_config_load(name, &config, error);
    *ret_count = config.edge_count;
    config_free(&client_config_schema, &config);
    unlink(name);
    return result;
}

static void test_edges(void **state)
{
    char error[CONFIG_ERROR_BYTES] = "";
    size_t count = 0;

    (void)state;
    assert_int_equal(edges_load(LIMIT_EDGES, &count, error), 0);
    assert_int_equal(count, LIMIT_EDGES);
    assert_int_equal(edges_load(LIMIT_EDGES + 1, &count, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, ":33:")); /* the line where the seventeenth section begins */
    assert_non_null(strstr(error, "edge"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
