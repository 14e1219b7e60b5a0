#include "common/model/tokenizer_files.h"

#include "common/base/limits.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3 };

struct tokenizer_files {
    bool pieces;         /* bytes are tokens of their own, spaces are U+2581: the kind `llama` */
    const char **tokens; /* [count], borrowed from the JSON; NULL: a hole */
    int32_t *types;
    uint32_t count;
    const char **merges; /* owned texts when `merge_texts` */
    size_t merge_count, merge_capacity;
    cJSON *json;
    char *merges_text; /* merges.txt, cut into lines */
    char **made;       /* pairs of the newer tokenizer.json, joined */
    size_t made_count;
};

static int file_read(const struct convert *convert, const char *path, char **ret_text,
                     size_t *ret_bytes)
{
    struct stat status;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t bytes = 0;
    char *text;

    if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        const int why = file < 0 ? errno : EINVAL;

        if (file >= 0) {
            close(file);
        }
        return convert_fail(convert, TANDEM_EIO, "%.300s: %s", path,
                            why == EINVAL ? "not a file" : strerror(why));
    }
    if (status.st_size > LIMIT_TOKENIZER_FILE_BYTES) {
        close(file);
        return convert_fail(convert, TANDEM_ETOOBIG, "%.300s: too large", path);
    }
    text = malloc((size_t)status.st_size + 1);
    while (text && bytes < (size_t)status.st_size) {
        const ssize_t got = read(file, text + bytes, (size_t)status.st_size - bytes);

        if (got <= 0) {
            break;
        }
        bytes += (size_t)got;
    }
    close(file);
    if (!text) {
        return convert_fail(convert, TANDEM_ENOMEM, "%.300s: no memory to read it", path);
    }
    text[bytes] = '\0';
    *ret_text = text;
    *ret_bytes = bytes;
    return 0;
}

static int token_put(const struct convert *convert, struct tokenizer_files *files, const char *text,
                     const cJSON *id, int32_t type)
{
    if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble >= files->count ||
        id->valuedouble != (double)(uint32_t)id->valuedouble) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "%.200s: token \"%.60s\" has an id outside the model's %u tokens",
                            convert->options->tokenizer, text, files->count);
    }
    files->tokens[(uint32_t)id->valuedouble] = text;
    files->types[(uint32_t)id->valuedouble] = type;
    return 0;
}

static int merge_put(const struct convert *convert, struct tokenizer_files *files,
                     const char *merge)
{
    if (files->merge_count == files->merge_capacity) {
        const size_t capacity = files->merge_capacity ? files->merge_capacity * 2 : 1024;
        const char **grown = realloc(files->merges, capacity * sizeof(*grown));

        if (!grown) {
            return convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
        }
        files->merges = grown;
        files->merge_capacity = capacity;
    }
    files->merges[files->merge_count++] = merge;
    return 0;
}

/* merges.txt: a comment line, then "left right" a line, best first. */
static int merges_read(const struct convert *convert, struct tokenizer_files *files)
{
    char *next;
    size_t bytes;
    int result = file_read(convert, convert->options->merges, &files->merges_text, &bytes);

    next = files->merges_text;
    for (char *line; result == 0 && next && (line = strsep(&next, "\n"));) {
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '\0' || strncmp(line, "#version", 8) == 0) {
            continue;
        }
        result = strchr(line, ' ')
                     ? merge_put(convert, files, line)
                     : convert_fail(convert, TANDEM_EFORMAT, "%.200s: \"%.60s\" is no pair",
                                    convert->options->merges, line);
    }
    return result;
}

/* A merge is "left right" or, in newer files, ["left", "right"]. */
static int json_merge_put(const struct convert *convert, struct tokenizer_files *files,
                          const cJSON *merge)
{
    const cJSON *left = cJSON_GetArrayItem(merge, 0), *right = cJSON_GetArrayItem(merge, 1);

    if (cJSON_IsString(merge)) {
        return merge_put(convert, files, merge->valuestring);
    }
    if (!cJSON_IsString(left) || !cJSON_IsString(right)) {
        return convert_fail(convert, TANDEM_EFORMAT, "%.200s: model.merges has what is no pair",
                            convert->options->tokenizer);
    }
    if (asprintf(&files->made[files->made_count], "%s %s", left->valuestring, right->valuestring) <
        0) {
        files->made[files->made_count] = NULL;
        return convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
    }
    return merge_put(convert, files, files->made[files->made_count++]);
}

/* Other ways to cut text before the merges would give other tokens than the model was trained on.
 */
static int json_kind_find(const struct convert *convert, const cJSON *json,
                          struct tokenizer_files *files)
{
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(json, "model");
    const cJSON *before = cJSON_GetObjectItemCaseSensitive(json, "pre_tokenizer");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(before, "type");

    const char *wanted;

    files->pieces = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(model, "byte_fallback"));
    wanted = files->pieces ? "Metaspace" : "ByteLevel";
    if (cJSON_IsString(type) && strcmp(type->valuestring, wanted) != 0) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "%.200s: pre_tokenizer %.30s; of this kind only %s is read",
                            convert->options->tokenizer, type->valuestring, wanted);
    }
    return 0;
}

/* tokenizer.json: model.vocab, model.merges, added_tokens. */
static int json_read(const struct convert *convert, struct tokenizer_files *files)
{
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(files->json, "model"), *item;
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(model, "type");
    const cJSON *merges = cJSON_GetObjectItemCaseSensitive(model, "merges");
    int result = json_kind_find(convert, files->json, files);

    if (result != 0) {
        return result;
    }
    if (cJSON_IsString(type) && strcmp(type->valuestring, "BPE") != 0) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "%.200s: a tokenizer of type %.30s; only BPE is read",
                            convert->options->tokenizer, type->valuestring);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(model, "vocab"))
    {
        result = result ? result : token_put(convert, files, item->string, item, TOKEN_NORMAL);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(files->json, "added_tokens"))
    {
        const cJSON *text = cJSON_GetObjectItemCaseSensitive(item, "content");
        const bool special = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "special"));

        if (result == 0 && cJSON_IsString(text)) {
            result = token_put(convert, files, text->valuestring,
                               cJSON_GetObjectItemCaseSensitive(item, "id"),
                               special ? TOKEN_CONTROL : TOKEN_NORMAL);
        }
    }
    files->made = calloc((size_t)cJSON_GetArraySize(merges) + 1, sizeof(*files->made));
    if (result == 0 && !files->made) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
    }
    cJSON_ArrayForEach(item, merges)
    {
        result = result ? result : json_merge_put(convert, files, item);
    }
    return result;
}

/* vocab.json: {"token": id, ...}. GPT-2's end of text is not marked there. */
static int vocabulary_read(const struct convert *convert, struct tokenizer_files *files)
{
    const cJSON *item;
    int result = 0;

    if (!convert->options->merges) {
        return convert_fail(convert, TANDEM_EINVAL,
                            "%.200s is a vocabulary alone: give --merges merges.txt with it",
                            convert->options->tokenizer);
    }
    cJSON_ArrayForEach(item, files->json)
    {
        result = result ? result
                        : token_put(convert, files, item->string, item,
                                    strcmp(item->string, "<|endoftext|>") == 0 ? TOKEN_CONTROL
                                                                               : TOKEN_NORMAL);
    }
    return result ? result : merges_read(convert, files);
}

static int pairs_put(const struct convert *convert, struct tokenizer_files *files)
{
    struct gguf_writer *writer = &convert->target->writer;
    uint32_t known = files->count;

    while (known > 0 && !files->tokens[known - 1]) {
        known--; /* rows that only fill the table up */
    }
    for (uint32_t i = 0; i < known; i++) {
        if (!files->tokens[i]) {
            return convert_fail(convert, TANDEM_EFORMAT, "%.200s: no token has the id %u",
                                convert->options->tokenizer, i);
        }
    }
    if (known == 0) {
        return convert_fail(convert, TANDEM_EFORMAT, "%.200s: no tokens in it",
                            convert->options->tokenizer);
    }
    if (files->pieces) {
        return tokenizer_pieces_put(convert, files->json, files->tokens, files->types, known,
                                    files->merges, files->merge_count);
    }
    gguf_put_text(writer, "tokenizer.ggml.model", "gpt2");
    gguf_put_texts(writer, "tokenizer.ggml.tokens", files->tokens, NULL, known);
    gguf_put_i32s(writer, "tokenizer.ggml.token_type", files->types, known);
    gguf_put_texts(writer, "tokenizer.ggml.merges", files->merges, NULL, files->merge_count);
    for (uint32_t i = 0; i < known; i++) {
        if (strcmp(files->tokens[i], "<|endoftext|>") == 0) {
            gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", i);
        }
    }
    gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", false);
    return 0;
}

static int json_put(const struct convert *convert, struct tokenizer_files *files)
{
    int result;

    files->tokens = calloc(files->count, sizeof(*files->tokens));
    files->types = calloc(files->count, sizeof(*files->types));
    if (!files->tokens || !files->types) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
    } else if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(files->json, "model"))) {
        result = json_read(convert, files);
    } else {
        result = vocabulary_read(convert, files);
    }
    return result ? result : pairs_put(convert, files);
}

/* What a message begins with whose first field is 1 and has a length: its first piece. */
#define PIECES_BEGIN '\x0a'

int tokenizer_files_put(const struct convert *convert, uint32_t vocabulary)
{
    struct tokenizer_files files = {.count = vocabulary};
    char *text = NULL;
    size_t bytes = 0;
    int result;

    if (!convert->options->tokenizer) {
        return 0;
    }
    result = file_read(convert, convert->options->tokenizer, &text, &bytes);
    if (result != 0) {
        return result;
    }
    files.json = cJSON_Parse(text);
    if (cJSON_IsObject(files.json)) {
        result = json_put(convert, &files);
    } else if (text[0] == PIECES_BEGIN) {
        result = tokenizer_model_put(convert, text, bytes, vocabulary);
    } else {
        result = convert_fail(convert, TANDEM_EFORMAT, "%.300s: not a JSON object",
                              convert->options->tokenizer);
    }
    free(text);
    for (size_t i = 0; i < files.made_count; i++) {
        free(files.made[i]);
    }
    free(files.made);
    free(files.merges);
    free(files.merges_text);
    free(files.tokens);
    free(files.types);
    cJSON_Delete(files.json);
    return result;
}
