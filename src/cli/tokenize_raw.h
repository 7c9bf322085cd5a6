/* lorac tokenize --raw: lines of JSON strings to lines of token ids, or back. */
#ifndef LC_CLI_TOKENIZE_RAW_H
#define LC_CLI_TOKENIZE_RAW_H

#include <stdbool.h>

#include "lorac/err.h"

typedef struct lc_raw_options {
    const char *model_dir;
    bool no_special; /* encode without the post-processor's tokens, decode without special ones */
    bool offsets;    /* {"ids": [...], "offsets": [[begin, end], ...]} in characters */
    bool decode;
} lc_raw_options;

LC_WARN_UNUSED lc_code lc_tokenize_raw(const lc_raw_options *options, lc_err *err);

#endif
