/* Which requests the library refuses before they cost anything. */
#include "client/lib/request_check.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char byte = 1;

static struct tandem_request text_request(void)
{
    struct tandem_request request;

    tandem_request_init(&request, "commands");
    request.text = "walk";
    return request;
}

static struct tandem_request picture_request(void)
{
    struct tandem_request request;

    tandem_request_init(&request, "objects");
    request.picture = (struct tandem_picture){
        .format = TANDEM_PIXELS_RGB, .width = 4, .height = 2, .data = &byte, .bytes = 24};
    return request;
}

static int check(const struct tandem_request *request)
{
    struct tandem_request copy;
    const char *why = NULL;
    int result = request_check(request, &copy, &why);

    assert_true(result == 0 || (why && why[0]));
    return result;
}

static void test_good(void **state)
{
    static const char *const routes[] = {NULL,          "",       "auto", "local", "edge",
                                         "edge:hall-2", "cascade"};
    struct tandem_request request = text_request();

    (void)state;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        request.route = routes[i];
        assert_int_equal(check(&request), 0);
    }
    request = picture_request();
    assert_int_equal(check(&request), 0);
}

static void test_names(void **state)
{
    char name[LIMIT_NAME_BYTES + 2];
    struct tandem_request request = text_request();

    (void)state;
    memset(name, 'a', sizeof(name));
    name[LIMIT_NAME_BYTES] = '\0';
    request.task = name;
    request.session = name;
    assert_int_equal(check(&request), 0);
    memset(name, 'a', sizeof(name));
    name[LIMIT_NAME_BYTES + 1] = '\0';
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.task = "commands";
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.session = "s/1";
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.session = NULL;
    request.task = NULL;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.task = "";
    assert_int_equal(check(&request), TANDEM_EINVAL);
}

static void test_routes(void **state)
{
    static const char *const routes[] = {"Local", "edge:", "edge:a b", "cache", "edges", "local "};
    struct tandem_request request = text_request();

    (void)state;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        request.route = routes[i];
        assert_int_equal(check(&request), TANDEM_EINVAL);
    }
}

static void test_input(void **state)
{
    struct tandem_request request = text_request();
    char *text = calloc(1, LIMIT_TEXT_BYTES + 2);

    (void)state;
    assert_non_null(text);
    request.picture = picture_request().picture;
    assert_int_equal(check(&request), TANDEM_EINVAL); /* both */
    request = text_request();
    request.text = NULL;
    assert_int_equal(check(&request), TANDEM_EINVAL); /* neither */
    request.text = "";
    assert_int_equal(check(&request), TANDEM_EINVAL);
    memset(text, 'x', LIMIT_TEXT_BYTES);
    request.text = text;
    assert_int_equal(check(&request), 0);
    text[LIMIT_TEXT_BYTES] = 'x';
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
    request.text_bytes = LIMIT_TEXT_BYTES;
    assert_int_equal(check(&request), 0);
    request.text_bytes = LIMIT_TEXT_BYTES + 1;
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
    free(text);
}

static void test_picture(void **state)
{
    struct tandem_request request = picture_request();
    struct tandem_picture good = request.picture;

    (void)state;
    request.picture.bytes = 0;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.picture.bytes = LIMIT_MEMFD_BYTES;
    assert_int_equal(check(&request), 0);
    request.picture.bytes = (size_t)LIMIT_MEMFD_BYTES + 1;
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
    request.picture = good;
    request.picture.width = 0;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.picture.width = LIMIT_PICTURE_SIDE_PIXELS;
    assert_int_equal(check(&request), 0);
    request.picture.width = LIMIT_PICTURE_SIDE_PIXELS + 1;
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
    request.picture = good;
    request.picture.stride_bytes = LIMIT_STRIDE_BYTES + 1;
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
    request.picture = good;
    request.picture.format = (enum tandem_pixel_format)(TANDEM_PIXELS_YUYV + 1);
    assert_int_equal(check(&request), TANDEM_EUNSUPPORTED);
    request.picture = good;
    request.picture.reserved = 1;
    assert_int_equal(check(&request), TANDEM_EUNSUPPORTED);
    request.picture = (struct tandem_picture){.data = &byte, .bytes = LIMIT_PICTURE_BYTES};
    assert_int_equal(check(&request), 0);
    request.picture.bytes++;
    assert_int_equal(check(&request), TANDEM_ETOOBIG);
}

static void test_numbers(void **state)
{
    struct tandem_request request = text_request();

    (void)state;
    request.deadline_ms = LIMIT_DEADLINE_MS;
    request.max_new_tokens = LIMIT_MAX_NEW_TOKENS;
    request.temperature = LIMIT_TEMPERATURE;
    request.top_p = 1;
    assert_int_equal(check(&request), 0);
    request.deadline_ms++;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request = text_request();
    request.max_new_tokens = LIMIT_MAX_NEW_TOKENS + 1;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request = text_request();
    request.temperature = NAN;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request.temperature = -1;
    assert_int_equal(check(&request), TANDEM_EINVAL);
    request = text_request();
    request.top_p = 1.5f;
    assert_int_equal(check(&request), TANDEM_EINVAL);
}

/* A program built against a newer header: fine as long as it does not use what this library lacks.
 */
static void test_versions(void **state)
{
    struct {
        struct tandem_request request;
        uint64_t newer;
    } later;
    struct tandem_request copy, old = text_request();
    const char *why;

    (void)state;
    tandem_request_init_bytes(&later.request, sizeof(later), "commands");
    later.request.text = "walk";
    assert_int_equal(later.newer, 0);
    assert_int_equal(request_check(&later.request, &copy, &why), 0);
    assert_string_equal(copy.text, "walk");
    later.newer = 5;
    assert_int_equal(check(&later.request), TANDEM_EUNSUPPORTED);
    old.struct_bytes = 8;
    assert_int_equal(check(&old), TANDEM_EINVAL);
    old.struct_bytes = 0;
    assert_int_equal(check(&old), TANDEM_EINVAL);
    old.struct_bytes = SIZE_MAX;
    assert_int_equal(check(&old), TANDEM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_routes),   cmocka_unit_test(test_input),
        cmocka_unit_test(test_picture),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
