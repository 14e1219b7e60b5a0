/* Any bytes as a model file: gguf_load gives a file whose every tensor lies inside the bytes, or
 * one line of error. What it accepts is read to the end: all tensors' first and last byte, and the
 * tokenizer. */
#include "common/engine/gguf.h"
#include "common/engine/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void tensors_touch(const struct gguf *gguf, const uint8_t *file, size_t bytes)
{
    for (size_t i = 0; i < gguf_tensor_count(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        const uint8_t *first = tensor->data;

        assert(first >= file && tensor->bytes <= bytes - (size_t)(first - file));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct tokenizer *tokenizer = NULL;
    struct gguf *gguf = NULL;
    uint32_t ids[64];
    size_t count;

    if (gguf_load(data, bytes, &gguf, error) != 0) {
        assert(error[0] != '\0' && !strchr(error, '\n'));
        return 0;
    }
    tensors_touch(gguf, data, bytes);
    if (tokenizer_load(gguf, 1000, &tokenizer, error) == 0 && tokenizer) {
        const char *text = "Walk  to the caf\xC3\xA9, it's 12 metres \xF0\x9F\x98\x80";

        (void)tokenizer_encode_prompt(tokenizer, text, strlen(text), ids, 64, &count, error);
    }
    tokenizer_free(tokenizer);
    gguf_free(gguf);
    return 0;
}
