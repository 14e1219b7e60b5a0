/* Any bytes as the tokenizer of a small model: vocab.json, tokenizer.json or SentencePiece's
 * tokenizer.model, with the same bytes as merges.txt. */
#include "common/model/tokenizer_files.h"
#include "tests/fuzz/source_fuzz.h"

#define VOCABULARY 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char path[64], error[ENGINE_ERROR_BYTES] = "";
    struct source source = {0};
    struct target target;
    const struct convert_options options = {.tokenizer = path, .merges = path};
    const struct convert convert = {
        .source = &source, .target = &target, .options = &options, .error = error};
    const int file = memfd_create("fuzz", MFD_CLOEXEC);

    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    target_init(&target);
    assert(tokenizer_files_put(&convert, VOCABULARY) == 0 || error[0] != '\0');
    target_fini(&target);
    close(file);
    return 0;
}
