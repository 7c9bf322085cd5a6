/* What `lorac validate` found out, and how it is shown. */
#ifndef LC_CLI_VALIDATE_H
#define LC_CLI_VALIDATE_H

#include "data/file_check.h"
#include "job/spec.h"

typedef struct lc_validation {
    const char *file;
    lc_method method;
    lc_check_report report;
    bool has_tokens; /* a model was given */
    int64_t max_tokens;
    bool has_job; /* and some row of a supervised file is good: what a job of defaults would do */
    lc_job_resolved job;
    const char *notes[4]; /* NULL-terminated */
} lc_validation;

/* For people, on standard output. */
LC_WARN_UNUSED lc_code lc_validation_print(const lc_validation *validation, lc_err *err);
/* One JSON object; docs/data-files.md has its keys. */
LC_WARN_UNUSED lc_code lc_validation_print_json(const lc_validation *validation, lc_err *err);
/* The table of codes as Markdown. */
LC_WARN_UNUSED lc_code lc_validation_print_codes(lc_err *err);

#endif
