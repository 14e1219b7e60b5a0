/* Moments as people write them, in a zone with summer time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/ctl/when.h"
#include "common/base/error.h"

#include <stdlib.h>

/* 2026-11-24 10:00:00 in Berlin, UTC+1 */
#define NOW INT64_C(1795510800)

static void test_moments(void **state)
{
    static const struct {
        const char *text;
        int64_t unix_s;
    } moments[] = {
        {"now", NOW},
        {"2h", NOW - 7200},
        {"30m", NOW - 1800},
        {"45s", NOW - 45},
        {"1h30m", NOW - 5400},
        {"3d", NOW - 3 * 86400},
        {"2w", NOW - 14 * 86400},
        {"0s", NOW},
        {"today", NOW - 10 * 3600},
        {"yesterday", NOW - 34 * 3600},
        {"yesterday 22:00", NOW - 12 * 3600},
        {"today 06:00", NOW - 4 * 3600},
        {"today 12:00", NOW + 2 * 3600}, /* said so: a moment to come */
        {"03:00", NOW - 7 * 3600},
        {"3:00", NOW - 7 * 3600},
        {"10:00", NOW},
        {"10:00:01", NOW - 86400 + 1}, /* not yet today */
        {"23:30", NOW - 10 * 3600 - 1800},
        {"2026-11-24", NOW - 10 * 3600},
        {"2026-11-24 03:00", NOW - 7 * 3600},
        {"2026-11-24T03:00:30", NOW - 7 * 3600 + 30},
        {"2026-07-01 12:00", INT64_C(1782900000)}, /* summer: UTC+2 */
        {"2028-02-29", INT64_C(1835391600)},
        {"1795510800", NOW},
        {"@1795510800", NOW},
        {"@7", 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        int64_t unix_s = -1;

        if (when_parse(moments[i].text, NOW, &unix_s) != 0 || unix_s != moments[i].unix_s) {
            fail_msg("%s is read as %lld, not %lld", moments[i].text, (long long)unix_s,
                     (long long)moments[i].unix_s);
        }
    }
}

/* On the day that summer time ends, the day before begins 25 hours earlier. */
static void test_the_long_day(void **state)
{
    const time_t monday = 1792972800; /* 2026-10-26 01:00 in Berlin, UTC+1 */
    int64_t unix_s;

    (void)state;
    assert_int_equal(when_parse("yesterday", monday, &unix_s), 0);
    assert_int_equal(unix_s, monday - 3600 - 25 * 3600);
}

static void test_nonsense(void **state)
{
    static const char *const texts[] = {"",
                                        "2",
                                        "12345678",
                                        "h",
                                        "2x",
                                        "2h30",
                                        "-2h",
                                        " 2h",
                                        "24:00",
                                        "12:60",
                                        "12:5",
                                        "12:05:",
                                        "12:05 ",
                                        "2026-02-29",
                                        "2026-13-01",
                                        "2026-11-24 ",
                                        "2026-11-24 3",
                                        "2026-11-2403:00",
                                        "26-11-24",
                                        "tomorrow",
                                        "yesterday22:00",
                                        "yesterday 25:00",
                                        "todayx",
                                        "@",
                                        "@x",
                                        "1795510800x",
                                        "9999999999999",
                                        "99999999999w"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t unix_s = -1;

        if (when_parse(texts[i], NOW, &unix_s) != TANDEM_EINVAL || unix_s != -1) {
            fail_msg("'%s' is taken for %lld", texts[i], (long long)unix_s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moments),
                                       cmocka_unit_test(test_the_long_day),
                                       cmocka_unit_test(test_nonsense)};

    /* The rule itself, so that the machine needs no list of zones. */
    (void)setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
