/* Where keys stand in a file, and the one line that names what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/config_source.h"
#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>

static const struct config_key size_key = {.section = "box", .key = "size"},
                               url_key = {.section = "edge", .key = "url"};

static void fill(struct config_source *source)
{
    static char path[] = "f.conf";

    *source = (struct config_source){.path = strdup(path)};
    assert_non_null(source->path);
    assert_int_equal(config_source_add(source, &size_key, "", 2), 0);
    assert_int_equal(config_source_add(source, &url_key, "a", 5), 0);
    assert_int_equal(config_source_add(source, &url_key, "b", 7), 0);
}

static void test_lines(void **state)
{
    struct config_source source;

    (void)state;
    fill(&source);
    assert_int_equal(config_source_line(&source, "box", "", "size"), 2);
    assert_int_equal(config_source_line(&source, "edge", "a", "url"), 5);
    assert_int_equal(config_source_line(&source, "edge", "b", "url"), 7);
    assert_int_equal(config_source_line(&source, "edge", "c", "url"), 0);
    assert_int_equal(config_source_line(&source, "box", "", "weight"), 0);
    config_source_free(&source);
    assert_int_equal(source.count, 0);
}

static void test_what_is_wrong(void **state)
{
    char error[CONFIG_ERROR_BYTES], path[2 * CONFIG_ERROR_BYTES];
    struct config_source source;

    (void)state;
    fill(&source);
    assert_int_equal(config_wrong(&source, "edge", "b", "url", error, "is %d", 3), TANDEM_ECONFIG);
    assert_string_equal(error, "f.conf:7: [edge b] url: is 3");
    (void)config_wrong(&source, "box", "", "size", error, "too large");
    assert_string_equal(error, "f.conf:2: [box] size: too large");
    (void)config_wrong(&source, "box", "", "weight", error, "needed"); /* not in the file */
    assert_string_equal(error, "f.conf: [box] weight: needed");
    (void)config_wrong(&source, "edge", "a", NULL, error, "is odd");
    assert_string_equal(error, "f.conf: [edge a]: is odd");
    free(source.path);
    memset(path, 'x', sizeof(path) - 1); /* leaves room for what is wrong */
    path[sizeof(path) - 1] = '\0';
    source.path = strdup(path);
    (void)config_wrong(&source, "box", "", "size", error, "too large");
    assert_non_null(strstr(error, "x:2: [box] size: too large"));
    config_source_free(&source);
}

static void test_tls_is_whole_or_not_there(void **state)
{
    char error[CONFIG_ERROR_BYTES] = "";
    const struct config_source source = {0};

    (void)state;
    assert_int_equal(config_tls_check(&source, "", "", "", error), 0);
    assert_int_equal(config_tls_check(&source, "c", "k", "a", error), 0);
    assert_string_equal(error, "");
    assert_int_equal(config_tls_check(&source, "c", "", "a", error), TANDEM_ECONFIG);
    assert_string_equal(error, ": [tls] ca: key is missing: cert, key and ca, all three or none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_what_is_wrong),
                                       cmocka_unit_test(test_tls_is_whole_or_not_there)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
