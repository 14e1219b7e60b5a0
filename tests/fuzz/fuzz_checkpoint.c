/* Any bytes as a PyTorch checkpoint: the zip file, its pickle, and the tensors it names. */
#include "common/model/pt.h"
#include "tests/fuzz/source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    source_fuzz(pt_load, data, bytes);
    return 0;
}
