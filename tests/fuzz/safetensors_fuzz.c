/* Any bytes as a .safetensors file: the header check ends, and an error says what is wrong. */
#include <stdlib.h>

#include "data/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    const lc_code code = lc_safetensors_check(data, size, &err);
    if (code != err.code || code == LC_ERR_INTERNAL ||
        (code != LC_OK) != (err.message[0] != '\0')) {
        abort();
    }
    return 0;
}
