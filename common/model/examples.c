#include "common/model/examples.h"

#include "common/base/limits.h"
#include "common/model/progress.h"
#include "common/model/tool.h"

#include <stdlib.h>
#include <string.h>

int example_class(const struct engine_model_info *info, const char *word, uint32_t *ret_class,
                  char error[ENGINE_ERROR_BYTES])
{
    char *end = NULL;
    unsigned long number;

    for (uint32_t i = 0; info->labels && i < info->n_class; i++) {
        if (strcmp(info->labels[i], word) == 0) {
            *ret_class = i;
            return 0;
        }
    }
    number = strtoul(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || number >= info->n_class) {
        snprintf(error, ENGINE_ERROR_BYTES, "\"%.60s\" is no class of the model", word);
        return TANDEM_EINVAL;
    }
    *ret_class = (uint32_t)number;
    return 0;
}

int example_path(const char *list, const char *picture, char ret_path[EXAMPLE_PATH_BYTES],
                 char error[ENGINE_ERROR_BYTES])
{
    const char *slash = strrchr(list, '/');
    const int folder = picture[0] == '/' || !slash ? 0 : (int)(slash + 1 - list);

    if (snprintf(ret_path, EXAMPLE_PATH_BYTES, "%.*s%s", folder, list, picture) >=
        EXAMPLE_PATH_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES, "the path of the picture is too long");
        return TANDEM_ETOOBIG;
    }
    return 0;
}

int example_picture(struct engine_model *model, struct engine_context *context, const char *list,
                    const char *picture, const float **ret_logits, char error[ENGINE_ERROR_BYTES])
{
    char path[EXAMPLE_PATH_BYTES];
    const int rc = example_path(list, picture, path, error);

    return rc ? rc : input_encode_picture(model, context, path, ret_logits, error);
}

/* `line` is cut in place. */
static int line_take(char *line, bool may_lack_truths, example_fn on_example, void *user,
                     char error[ENGINE_ERROR_BYTES])
{
    char *tab = strchr(line, '\t');

    if (!tab && may_lack_truths) {
        return on_example(line, NULL, user, error);
    }
    if (!tab || tab == line || strchr(tab + 1, '\t')) {
        snprintf(error, ENGINE_ERROR_BYTES, "an input, one tab and the truth are expected");
        return TANDEM_EFORMAT;
    }
    *tab = '\0';
    return on_example(line, tab + 1, user, error);
}

/* The lines of `text`, which ends with a NUL. */
static int lines_take(const char *path, char *text, size_t bytes, bool may_lack_truths, FILE *notes,
                      example_fn on_example, void *user, char error[ENGINE_ERROR_BYTES])
{
    struct progress progress;
    const progress_fn show = progress_begin(&progress, notes, "B", 1);
    char why[ENGINE_ERROR_BYTES] = "";
    size_t line = 0, examples = 0;
    int rc = 0;

    for (char *at = text, *end; rc == 0 && *at; at = end) {
        end = at + strcspn(at, "\n");
        if (*end == '\n') {
            *end++ = '\0';
        }
        line++;
        if (*at) {
            examples++;
            rc = line_take(at, may_lack_truths, on_example, user, why);
        }
        if (rc == 0 && show) {
            show((uint64_t)(end - text), bytes, &progress);
        }
    }
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.200s:%zu: %.250s", path, line, why);
    } else if (examples == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: no examples", path);
        rc = TANDEM_EFORMAT;
    }
    return rc;
}

int examples_each(const char *path, bool may_lack_truths, FILE *notes, example_fn on_example,
                  void *user, char error[ENGINE_ERROR_BYTES])
{
    struct buf text;
    int rc;

    buf_init(&text, LIMIT_TEXT_FILE_BYTES + 1);
    rc = input_file(path, LIMIT_TEXT_FILE_BYTES, &text, error);
    rc = rc ? rc : buf_append_u8(&text, '\0');
    rc = rc ? rc
            : lines_take(path, (char *)text.data, text.bytes - 1, may_lack_truths, notes,
                         on_example, user, error);
    buf_fini(&text);
    return rc;
}
