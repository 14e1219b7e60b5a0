#include "client/ctl/print.h"

#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 256
#define DEPTH_MAX 8

const char *print_number(const cJSON *value, int decimals, char ret_text[PRINT_NUMBER_BYTES])
{
    if (!cJSON_IsNumber(value)) {
        return strcpy(ret_text, "-");
    }
    snprintf(ret_text, PRINT_NUMBER_BYTES, "%.*f", decimals, value->valuedouble);
    return ret_text;
}

static bool is_list_of_objects(const cJSON *value)
{
    return cJSON_IsArray(value) && cJSON_IsObject(value->child);
}

/* What a table of scalars would leave out: "local" is an object, "edges" a list. */
static bool is_tasks_of_client(const cJSON *list)
{
    return strcmp(list->string, "tasks") == 0 &&
           cJSON_GetObjectItemCaseSensitive(list->child, "local") &&
           cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(list->child, "edges"));
}

static bool is_scalar(const cJSON *value)
{
    return !cJSON_IsObject(value) && !is_list_of_objects(value);
}

/* A number or text as it stands in a cell; lists of them with commas. */
static int value_append(const cJSON *value, struct buf *out)
{
    int result = 0;

    if (cJSON_IsString(value)) {
        return buf_append_text(out, value->valuestring[0] ? value->valuestring : "-");
    }
    if (cJSON_IsBool(value)) {
        return buf_append_text(out, cJSON_IsTrue(value) ? "yes" : "no");
    }
    if (cJSON_IsNumber(value)) {
        double number = value->valuedouble;

        return buf_printf(out, fabs(number) < 1e15 && number == floor(number) ? "%.0f" : "%.4g",
                          number);
    }
    if (cJSON_IsArray(value) && value->child) {
        for (const cJSON *item = value->child; result == 0 && item; item = item->next) {
            result = value_append(item, out);
            if (result == 0 && item->next) {
                result = buf_append_text(out, ", ");
            }
        }
        return result;
    }
    return buf_append_text(out, "-");
}

static void value_cell(struct table *table, const cJSON *value)
{
    struct buf text;
    int result;

    buf_init(&text, 0);
    result = value ? value_append(value, &text) : 0;
    table_cell_text(table, result, &text);
}

static void scalars_add(struct table *table, const cJSON *object, const char *prefix,
                        unsigned depth)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        char key[KEY_BYTES];

        snprintf(key, sizeof(key), "%s%s%s", prefix, prefix[0] ? "." : "", item->string);
        if (cJSON_IsObject(item) && depth < DEPTH_MAX) {
            scalars_add(table, item, key, depth + 1);
        } else if (is_scalar(item) && strcmp(key, "schema") != 0) {
            table_cell(table, "%s", key);
            value_cell(table, item);
        }
    }
}

/* The columns of a list: the keys of its objects, in the order they are met. */
static size_t list_columns(const cJSON *list, struct table_column columns[TABLE_COLUMNS_MAX])
{
    size_t count = 0;

    for (const cJSON *row = list->child; row; row = row->next) {
        for (const cJSON *item = cJSON_IsObject(row) ? row->child : NULL; item; item = item->next) {
            size_t i = 0;

            while (i < count && strcmp(columns[i].title, item->string) != 0) {
                i++;
            }
            if (i == count && count < TABLE_COLUMNS_MAX && is_scalar(item)) {
                columns[count++] =
                    (struct table_column){.title = item->string, .right = cJSON_IsNumber(item)};
            }
        }
    }
    return count;
}

/* What is wider than the reader's lines: a block for each object, a key a line. */
static int blocks_print(const cJSON *list, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "key"}, {.title = "value"}};
    struct table table;
    int result = 0;

    table_init(&table, columns, 2);
    table.without_titles = true;
    table.wrap = true;
    for (const cJSON *row = list->child; result == 0 && row; row = row->next) {
        for (const cJSON *item = cJSON_IsObject(row) ? row->child : NULL; item; item = item->next) {
            if (is_scalar(item)) {
                table_cell(&table, "%s", item->string);
                value_cell(&table, item);
            }
        }
        result = table_print(&table, style, out);
        result = result == 0 && row->next ? buf_append_u8(out, '\n') : result;
    }
    table_fini(&table);
    return result;
}

int print_list(const cJSON *list, const struct table_style *style, struct buf *out)
{
    struct table_column columns[TABLE_COLUMNS_MAX];
    size_t count = list_columns(list, columns);
    struct table table;
    int result;

    if (count == 0) {
        return 0;
    }
    table_init(&table, columns, count);
    for (const cJSON *row = list->child; row; row = row->next) {
        for (size_t i = 0; i < count; i++) {
            value_cell(&table, cJSON_GetObjectItemCaseSensitive(row, columns[i].title));
        }
    }
    result = style->width > 0 && table_width(&table) > style->width
                 ? blocks_print(list, style, out)
                 : table_print(&table, style, out);
    table_fini(&table);
    return result;
}

static int lists_print(const cJSON *object, const struct table_style *style, struct buf *out,
                       unsigned depth)
{
    int result = 0;

    for (const cJSON *item = object->child; result == 0 && item; item = item->next) {
        if (is_list_of_objects(item)) {
            result = buf_append_u8(out, '\n');
            if (result == 0) {
                result = text_clean_append(out, item->string, false);
            }
            if (result == 0) {
                result = buf_append_u8(out, '\n');
            }
            if (result == 0) {
                result = is_tasks_of_client(item) ? print_tasks(item, style, out)
                                                  : print_list(item, style, out);
            }
            if (result == 0 && is_tasks_of_client(item)) {
                result = print_predictions(item, style, out);
            }
        } else if (cJSON_IsObject(item) && depth < DEPTH_MAX) {
            result = lists_print(item, style, out, depth + 1);
        }
    }
    return result;
}

int print_object(const cJSON *object, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "key"}, {.title = "value"}};
    struct table table;
    int result;

    table_init(&table, columns, 2);
    table.without_titles = true;
    table.wrap = true;
    scalars_add(&table, object, "", 0);
    result = table_print(&table, style, out);
    table_fini(&table);
    return result == 0 ? lists_print(object, style, out, 0) : result;
}
