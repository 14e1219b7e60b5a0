/* table.h: text in aligned columns for people. Cells are cleaned of control bytes, so that nothing
 * a model or a peer says can steer a terminal. Pure; one thread. */
#ifndef TANDEM_CTL_TABLE_H
#define TANDEM_CTL_TABLE_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_COLUMNS_MAX 32

struct table_column {
    const char *title; /* borrowed */
    size_t min_width;
    bool right;    /* numbers */
    unsigned drop; /* where a line is too narrow, the highest leaves it first; 0: the last to */
};

/* How the reader sees it. */
struct table_style {
    bool bold;    /* the reader is a terminal */
    size_t width; /* of its lines; 0: no limit */
    bool screen;  /* a row is one line, as on a screen that is drawn in place: what there is no room
                     for is left out or cut; else it stands below its row, with its title */
};

struct table {
    struct table_column columns[TABLE_COLUMNS_MAX];
    size_t column_count;
    bool without_titles;
    bool wrap;        /* the last column is a text that goes on in lines of its own */
    struct buf cells; /* NUL after each */
    size_t cell_count;
    int error; /* the first, of table_cell */
};

/* At most TABLE_COLUMNS_MAX; more are left out. */
void table_init(struct table *table, const struct table_column *columns, size_t count);
void table_fini(struct table *table);
/* The next cell, row by row. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same of a text that was put together, "-" of an empty one; `result` is what came of that.
 * Empties `text`. */
void table_cell_text(struct table *table, int result, struct buf *text);
/* What its lines take, were nothing left out, cut or wrapped. */
size_t table_width(const struct table *table);
/* Appends all rows, with the titles first; no line is wider than the style's width. Forgets the
 * rows. 0, TANDEM_ENOMEM, TANDEM_ETOOBIG. */
int table_print(struct table *table, const struct table_style *style, struct buf *out);
/* Appends `text` on lines of at most `width` characters (0: no limit) and ends the last one; the
 * second and later ones are indented. */
int text_wrapped_append(struct buf *out, const char *text, size_t width);

/* Appends `text` with control bytes as '?'; with `newlines`, '\n' and '\t' stay. */
int text_clean_append(struct buf *out, const char *text, bool newlines);
/* What it takes on a terminal, one column a character. */
size_t text_width(const char *text);

#endif
