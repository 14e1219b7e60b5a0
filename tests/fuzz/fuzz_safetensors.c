/* Any bytes as a .safetensors file. */
#include "common/model/safetensors.h"
#include "tests/fuzz/source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    source_fuzz(safetensors_load, data, bytes);
    return 0;
}
