/* Columns, cutting, and that nothing steers a terminal. */
#include "client/ctl/table.h"

#include "common/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct table_column columns[] = {
    {.title = "NAME"}, {.title = "MS", .right = true}, {.title = "WHY"}};

static void expect(struct table *table, struct table_style style, const char *text)
{
    struct buf out;

    buf_init(&out, 0);
    assert_int_equal(table_print(table, &style, &out), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    assert_string_equal((const char *)out.data, text);
    buf_fini(&out);
}

static void test_aligned(void **state)
{
    struct table table;

    (void)state;
    table_init(&table, columns, 3);
    table_cell(&table, "küche"); /* one column a character, whatever its bytes */
    table_cell(&table, "%.1f", 12.25);
    table_cell(&table, "fast");
    table_cell(&table, "a");
    table_cell(&table, "7");
    table_cell(&table, "%s", "");
    expect(&table, (struct table_style){.width = 0},
           "NAME     MS  WHY\nküche  12.2  fast\na         7  \n");
    expect(&table, (struct table_style){.width = 0},
           "NAME  MS  WHY\n"); /* the rows were forgotten */
    table.columns[0].min_width = 6;
    table.without_titles = true;
    table_cell(&table, "b");
    table_cell(&table, "1");
    table_cell(&table, "x");
    expect(&table, (struct table_style){.bold = true}, "b       1  x\n");
    table_fini(&table);
}

static void test_terminal(void **state)
{
    struct table table;

    (void)state;
    table_init(&table, columns, 3);
    table_cell(&table, "a");
    table_cell(&table, "1");
    table_cell(&table, "a räther long reason");
    expect(&table, (struct table_style){.bold = true, .width = 14, .screen = true},
           "\033[1mNAME  MS  WHY\n\033[0ma      1  a rä\n");
    table_fini(&table);
}

/* What may be left out goes before anything is cut, and what is left is cut where the line ends. */
static void test_columns_left_out(void **state)
{
    static const struct table_column four[] = {{.title = "NAME"},
                                               {.title = "FIRST", .right = true, .drop = 2},
                                               {.title = "SECOND", .drop = 1},
                                               {.title = "LAST", .right = true}};
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {{25, "NAME  FIRST  SECOND  LAST\na         1  2          3\n"},
                 {24, "NAME  SECOND  LAST\na     2          3\n"},
                 {17, "NAME  LAST\na        3\n"},
                 {8, "NAME  LA\na       \n"},
                 {5, "NAME\na\n"},
                 {3, "NAM\na\n"}};
    struct table table;

    (void)state;
    table_init(&table, four, 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        table_cell(&table, "a");
        table_cell(&table, "1");
        table_cell(&table, "2");
        table_cell(&table, "3");
        expect(&table, (struct table_style){.width = cases[i].width, .screen = true},
               cases[i].text);
    }
    table_fini(&table);
}

/* Where a row may have more lines, what has no room on the first stands below, with its title. */
static void test_columns_below(void **state)
{
    static const struct table_column four[] = {{.title = "NAME"},
                                               {.title = "FIRST", .right = true, .drop = 2},
                                               {.title = "SECOND", .drop = 1},
                                               {.title = "LAST", .right = true}};
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {{25, "NAME  FIRST  SECOND  LAST\na         1  2          3\n"},
                 {24, "NAME  SECOND  LAST\na     2          3\n    FIRST 1\n"},
                 {20, "NAME  SECOND  LAST\na     2          3\n    FIRST 1\n"},
                 {12, "NAME  LAST\na        3\n    FIRST 1,\n    SECOND 2\n"}};
    struct table table;

    (void)state;
    table_init(&table, four, 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        table_cell(&table, "a");
        table_cell(&table, "1");
        table_cell(&table, "2");
        table_cell(&table, "3");
        expect(&table, (struct table_style){.width = cases[i].width}, cases[i].text);
    }
    table_fini(&table);
}

static void test_wrapped_text(void **state)
{
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {{0, "one two three four\n"},
                 {18, "one two three four\n"},
                 {13, "one two three\n    four\n"},
                 {9, "one two\n    three\n    four\n"},
                 {6, "one\n    tw\n    o\n    th\n    re\n    e\n    fo\n    ur\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;

        buf_init(&out, 0);
        assert_int_equal(text_wrapped_append(&out, "one two three four", cases[i].width), 0);
        assert_int_equal(buf_append_u8(&out, 0), 0);
        assert_string_equal((const char *)out.data, cases[i].text);
        buf_fini(&out);
    }
}

static void test_control_bytes(void **state)
{
    struct table table;
    struct buf out;

    (void)state;
    table_init(&table, columns, 1);
    table_cell(&table, "%s", "x\033[2Jy\nz\x7f\xc2\x9b");
    expect(&table, (struct table_style){.width = 0}, "NAME\nx?[2Jy?z??\n");
    table_fini(&table);
    table_init(&table, &(struct table_column){.title = "k\033[2Je\xc2\x9by"}, 1);
    table_cell(&table, "1");
    expect(&table, (struct table_style){.width = 0}, "k?[2Je?y\n1\n");
    table_fini(&table);
    buf_init(&out, 0);
    assert_int_equal(text_clean_append(&out, "a\n\tb\r\033é", true), 0);
    assert_int_equal(out.bytes, 8);
    assert_memory_equal(out.data, "a\n\tb??é", 8);
    buf_fini(&out);
}

/* A text that was put together is a cell, an empty one says so, and what went wrong is the table's
 * error; the first of them stays. */
static void test_text_cells(void **state)
{
    struct table table;
    struct buf text;

    (void)state;
    table_init(&table, columns, 3);
    buf_init(&text, 0);
    assert_int_equal(buf_append_text(&text, "put together"), 0);
    table_cell_text(&table, 0, &text);
    assert_null(text.data);
    table_cell_text(&table, 0, &text);
    table_cell(&table, "x");
    expect(&table, (struct table_style){0}, "NAME          MS  WHY\nput together   -  x\n");
    assert_int_equal(buf_append_text(&text, "half"), 0);
    table_cell_text(&table, TANDEM_ETOOBIG, &text);
    assert_int_equal(table.error, TANDEM_ETOOBIG);
    table_cell_text(&table, TANDEM_ENOMEM, &text);
    assert_int_equal(table.error, TANDEM_ETOOBIG);
    table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned),          cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_columns_left_out), cmocka_unit_test(test_columns_below),
        cmocka_unit_test(test_wrapped_text),     cmocka_unit_test(test_control_bytes),
        cmocka_unit_test(test_text_cells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
