/*
 * The API's words for what goes wrong ("code" of its errors, and of a job's). The table is in
 * api_error.c.
 */
#ifndef LC_SERVE_API_CODE_H
#define LC_SERVE_API_CODE_H

#include "lorac/err.h"

/* Words that no lc_code stands for (lc_err_api_code). */
#define LC_API_QUOTA         "quotaExceeded" /* a limit of what an owner may have */
#define LC_API_BAD_FILE      "jsonlValidationFailed"
#define LC_API_IMPORT_FAILED "fileImportFailed"

const char *lc_api_code(lc_code code);

#endif
