#include "client/ctl/table.h"

#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRAP_WIDTH_MIN 24 /* characters; narrower text is hard to read */
#define WRAP_INDENT    4
#define GAP            2        /* between two columns */
#define CUT_WIDTH_MIN  16       /* what is worth showing of a text that is cut */
#define LEFT_OUT       SIZE_MAX /* the width of a column that is not on the line */

void table_init(struct table *table, const struct table_column *columns, size_t count)
{
    *table = (struct table){.column_count = count < TABLE_COLUMNS_MAX ? count : TABLE_COLUMNS_MAX};
    memcpy(table->columns, columns, table->column_count * sizeof(*columns));
    buf_init(&table->cells, 0);
}

void table_fini(struct table *table)
{
    buf_fini(&table->cells);
}

size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80; /* bytes that begin a character */
    }
    return width;
}

/* Whether the byte at `text` steers a terminal: C0, DEL, and C1 as UTF-8 has it. */
static bool text_is_control(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;

    return byte[0] < 0x20 || byte[0] == 0x7f ||
           (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] < 0xa0);
}

int text_clean_append(struct buf *out, const char *text, bool newlines)
{
    size_t bytes = strlen(text);
    int result = buf_reserve(out, bytes);

    for (; result == 0 && *text; text++) {
        bool keep = !text_is_control(text) || (newlines && (*text == '\n' || *text == '\t'));

        result = buf_append_u8(out, (uint8_t)(keep ? *text : '?'));
        if (!keep && (unsigned char)*text == 0xc2) {
            text++;
        }
    }
    return result;
}

void table_cell(struct table *table, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    int bytes;

    va_start(arguments, format);
    bytes = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (bytes < 0) {
        table->error = table->error ? table->error : TANDEM_ENOMEM;
        return;
    }
    if (table->error == 0) {
        table->error = text_clean_append(&table->cells, text, false);
    }
    if (table->error == 0) {
        table->error = buf_append_u8(&table->cells, 0);
        table->cell_count++;
    }
    free(text);
}

void table_cell_text(struct table *table, int result, struct buf *text)
{
    if (result == 0 && text->bytes == 0) {
        result = buf_append_text(text, "-");
    }
    if (result == 0) {
        result = buf_append_u8(text, 0);
    }
    if (result == 0) {
        table_cell(table, "%s", (const char *)text->data);
    } else if (table->error == 0) {
        table->error = result;
    }
    buf_fini(text);
}

static void table_widths(const struct table *table, size_t widths[TABLE_COLUMNS_MAX])
{
    const char *cell = (const char *)table->cells.data;

    for (size_t i = 0; i < table->column_count; i++) {
        size_t title = table->without_titles ? 0 : text_width(table->columns[i].title);

        widths[i] = title > table->columns[i].min_width ? title : table->columns[i].min_width;
    }
    for (size_t i = 0; i < table->cell_count; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->column_count;

        if (text_width(cell) > widths[column]) {
            widths[column] = text_width(cell);
        }
    }
}

/* What the first `count` columns take. */
static size_t line_takes(const size_t widths[TABLE_COLUMNS_MAX], size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += widths[i] != LEFT_OUT ? widths[i] + (sum > 0 ? GAP : 0) : 0;
    }
    return sum;
}

size_t table_width(const struct table *table)
{
    size_t widths[TABLE_COLUMNS_MAX];

    table_widths(table, widths);
    return line_takes(widths, table->column_count);
}

/* The column that leaves the line next: the highest `drop`, then the last one. The first stays, and
 * so does a text at the end, which has lines of its own. Without one: column_count. */
static size_t column_leaving(const struct table *table, const size_t widths[TABLE_COLUMNS_MAX])
{
    const size_t count = table->column_count - (table->wrap ? 1 : 0);
    size_t worst = table->column_count;

    for (size_t i = 1; i < count; i++) {
        if (widths[i] != LEFT_OUT && (worst == table->column_count ||
                                      table->columns[i].drop >= table->columns[worst].drop)) {
            worst = i;
        }
    }
    return worst;
}

/* Leaves out what has no room. On a screen that is only what may be; the rest is cut. */
static void columns_leave(const struct table *table, const struct table_style *style,
                          size_t widths[TABLE_COLUMNS_MAX])
{
    const size_t last = table->column_count - 1, whole = widths[last];
    const size_t count = table->column_count - (table->wrap && !style->screen ? 1 : 0);

    if (table->wrap && style->screen && widths[last] > CUT_WIDTH_MIN) {
        widths[last] = CUT_WIDTH_MIN;
    }
    while (style->width > 0 && line_takes(widths, count) > style->width) {
        const size_t leaving = column_leaving(table, widths);

        if (leaving == table->column_count ||
            (style->screen && table->columns[leaving].drop == 0)) {
            break;
        }
        widths[leaving] = LEFT_OUT;
    }
    widths[last] = widths[last] == LEFT_OUT ? LEFT_OUT : whole;
}

static int pad(struct buf *out, size_t count)
{
    int result = 0;

    while (result == 0 && count-- > 0) {
        result = buf_append_u8(out, ' ');
    }
    return result;
}

/* Bytes of the first `width` characters. */
static size_t cut_bytes(const char *text, size_t width)
{
    const char *end = text;

    while (*end && (width > 0 || ((unsigned char)*end & 0xc0) == 0x80)) {
        width -= ((unsigned char)*end & 0xc0) != 0x80;
        end++;
    }
    return (size_t)(end - text);
}

/* Bytes of what goes on a line of `width` characters: whole words, where there is a blank. */
static size_t word_bytes(const char *text, size_t width)
{
    size_t bytes = cut_bytes(text, width);
    size_t end = bytes;

    if (text[bytes] == '\0') {
        return bytes;
    }
    while (end > 0 && text[end] != ' ') {
        end--;
    }
    return end > 0 ? end : bytes;
}

/* The last cell, which begins at column `at`: in the room that is left there, in that column, or
 * when it is too narrow to read, on the lines below. */
static int append_wrapped(struct buf *out, const char *text, size_t at, size_t line_width)
{
    size_t left = line_width > at ? line_width - at : 0;
    size_t indent = left >= WRAP_WIDTH_MIN ? at : WRAP_INDENT;
    size_t room = line_width > indent ? line_width - indent : 1;
    int result = 0;

    if (text_width(text) <= left) {
        return buf_append_text(out, text);
    }
    for (bool first = indent == at; result == 0 && *text; first = false) {
        size_t bytes = word_bytes(text, room);

        if (!first) {
            result = buf_append_u8(out, '\n');
            result = result == 0 ? pad(out, indent) : result;
        }
        result = result == 0 ? buf_append(out, text, bytes) : result;
        text += bytes;
        text += *text == ' ';
    }
    return result;
}

int text_wrapped_append(struct buf *out, const char *text, size_t width)
{
    const size_t room = width > WRAP_INDENT ? width : SIZE_MAX; /* narrower is nobody's terminal */
    int result = buf_append(out, text, word_bytes(text, room));

    text += word_bytes(text, room);
    while (result == 0 && *text) {
        const size_t bytes = word_bytes(text += *text == ' ', room - WRAP_INDENT);

        result = buf_append_u8(out, '\n');
        result = result == 0 ? pad(out, WRAP_INDENT) : result;
        result = result == 0 ? buf_append(out, text, bytes) : result;
        text += bytes;
    }
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

/* Below its row what had no room there: "    TITLE cell, TITLE cell". */
static int left_out_append(const struct table *table, const size_t *widths,
                           const char *const *cells, const struct table_style *style,
                           struct buf *out)
{
    const char *between = "    ";
    struct buf line;
    int result = 0;

    buf_init(&line, 0);
    for (size_t i = 0; result == 0 && i < table->column_count; i++) {
        if (widths[i] != LEFT_OUT) {
            continue;
        }
        result = buf_append_text(&line, between);
        result = result == 0 ? text_clean_append(&line, table->columns[i].title, false) : result;
        result = result == 0 ? buf_printf(&line, " %s", cells[i]) : result;
        between = ", ";
    }
    if (result == 0 && line.bytes > 0) {
        result = buf_append_u8(&line, 0);
        result =
            result == 0 ? text_wrapped_append(out, (const char *)line.data, style->width) : result;
    }
    buf_fini(&line);
    return result;
}

/* A cell in its column, cut to the `left` characters of the line. */
static int append_cell(const struct table_column *column, const char *text, size_t width,
                       size_t left, struct buf *out)
{
    const size_t fill = column->right ? width - text_width(text) : 0;
    const size_t before = fill < left ? fill : left;
    int result = pad(out, before);

    return result == 0 ? buf_append(out, text, cut_bytes(text, left - before)) : result;
}

static int table_line(const struct table *table, const size_t *widths, const char *const *cells,
                      const struct table_style *style, struct buf *out)
{
    size_t at = 0;
    int result = 0;

    for (size_t i = 0; result == 0 && i < table->column_count; i++) {
        const struct table_column *column = &table->columns[i];
        const size_t left = style->width == 0   ? SIZE_MAX
                            : style->width > at ? style->width - at
                                                : 0;

        if (widths[i] == LEFT_OUT) {
            continue;
        }
        if (i + 1 == table->column_count) {
            result = table->wrap && style->width > 0 && !style->screen
                         ? append_wrapped(out, cells[i], at, style->width)
                         : append_cell(column, cells[i], widths[i], left, out);
            continue;
        }
        result = append_cell(column, cells[i], widths[i], left, out);
        if (result == 0 && left > widths[i] + GAP) {
            result = pad(out, (column->right ? 0 : widths[i] - text_width(cells[i])) + GAP);
        }
        at += widths[i] + GAP;
    }
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

/* Titles may be keys of what a peer sent, so they are cleaned like cells; that changes no width. */
static int table_titles(const struct table *table, const size_t *widths,
                        const struct table_style *style, struct buf *out)
{
    const char *titles[TABLE_COLUMNS_MAX];
    size_t offsets[TABLE_COLUMNS_MAX];
    struct buf clean;
    int result = style->bold ? buf_append_text(out, "\033[1m") : 0;

    buf_init(&clean, 0);
    for (size_t i = 0; result == 0 && i < table->column_count; i++) {
        offsets[i] = clean.bytes;
        result = text_clean_append(&clean, table->columns[i].title, false);
        result = result == 0 ? buf_append_u8(&clean, 0) : result;
    }
    if (result == 0) {
        for (size_t i = 0; i < table->column_count; i++) {
            titles[i] = (const char *)clean.data + offsets[i];
        }
        result = table_line(table, widths, titles, style, out);
    }
    buf_fini(&clean);
    return result == 0 && style->bold ? buf_append_text(out, "\033[0m") : result;
}

int table_print(struct table *table, const struct table_style *style, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX];
    const char *cells[TABLE_COLUMNS_MAX];
    const char *cell = (const char *)table->cells.data;
    int result = table->error;

    table_widths(table, widths);
    columns_leave(table, style, widths);
    if (result == 0 && !table->without_titles) {
        result = table_titles(table, widths, style, out);
    }
    for (size_t i = 0; result == 0 && i < table->cell_count; i++, cell += strlen(cell) + 1) {
        cells[i % table->column_count] = cell;
        if ((i + 1) % table->column_count == 0) {
            result = table_line(table, widths, cells, style, out);
            result = result == 0 && !style->screen
                         ? left_out_append(table, widths, cells, style, out)
                         : result;
        }
    }
    buf_clear(&table->cells);
    table->cell_count = 0;
    return result;
}
