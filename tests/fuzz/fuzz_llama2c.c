/* Any bytes as a llama2.c file, and as the tokenizer of a small one. */
#include "common/model/llama2c.h"
#include "tests/fuzz/source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void tokenizer_fuzz(const uint8_t *data, size_t bytes)
{
    char path[64], error[ENGINE_ERROR_BYTES] = "";
    struct target target;
    const struct convert_options options = {.tokenizer = path};
    const struct convert convert = {.target = &target, .options = &options, .error = error};
    const int file = memfd_create("fuzz", MFD_CLOEXEC);

    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    target_init(&target);
    assert(llama2c_tokenizer_put(&convert, 5) == 0 || error[0] != '\0');
    target_fini(&target);
    close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    source_fuzz(llama2c_load, data, bytes);
    tokenizer_fuzz(data, bytes);
    return 0;
}
