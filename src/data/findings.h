/*
 * What was found in a file of training rows: every finding is counted, the first of each code are
 * kept with their line, path and words. Filled by the row rules (row_rules.h) and the file check
 * (file_check.h), shown by `lorac validate` and in the errors of train and tokenize.
 */
#ifndef LC_DATA_FINDINGS_H
#define LC_DATA_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/finding_codes.h"
#include "lorac/err.h"

#define LC_MAX_FINDINGS_KEPT     10 /* of each code */
#define LC_FINDING_PATH_BYTES    96
#define LC_FINDING_MESSAGE_BYTES 240

typedef enum lc_severity { LC_SEVERITY_ERROR, LC_SEVERITY_WARNING } lc_severity;

typedef struct lc_finding_kind {
    const char *name; /* "unknown_role" */
    lc_severity severity;
    const char *service; /* the code of OpenAI or Azure, "-": none */
    const char *meaning;
    const char *advice;
} lc_finding_kind;
extern const lc_finding_kind lc_finding_kinds[LC_FINDING_COUNT];

typedef struct lc_finding {
    lc_finding_code code;
    int64_t line;                     /* from 1; 0: the file as a whole */
    char path[LC_FINDING_PATH_BYTES]; /* of a value in the row: messages[2].role; "": the row */
    char message[LC_FINDING_MESSAGE_BYTES];
} lc_finding;

/* Zero-initialise. */
typedef struct lc_findings {
    int64_t counts[LC_FINDING_COUNT];
    int64_t error_count, warning_count;
    int64_t kept_of[LC_FINDING_COUNT];
    lc_finding *kept; /* owned; in the order in which they were found */
    int64_t kept_count, kept_capacity;
    bool failed; /* there was no memory for a finding */
} lc_findings;

void lc_findings_release(lc_findings *findings);
/* Forgets all, keeps the memory. */
void lc_findings_clear(lc_findings *findings);

/* Whether the next finding of this code is kept: if not, its words need not be made. */
bool lc_findings_wants(const lc_findings *findings, lc_finding_code code);

/* Counts one; path NULL or "": the row. Control characters of the message become '?', and it is cut
 * to its size at a character. */
void lc_findings_add(lc_findings *findings, lc_finding_code code, int64_t line, const char *path,
                     const char *message);

/* Takes back all findings of this code. */
void lc_findings_drop(lc_findings *findings, lc_finding_code code);

/* Appends all of `from`, whose lines count from line `first_line`. */
void lc_findings_merge(lc_findings *findings, const lc_findings *from, int64_t first_line);

/* Error of a row or file with findings of severity error: as many of them as there is room for, as
 * "line 3, messages[0].role: ... [unknown_role]", and how many more. LC_OK when there are none;
 * LC_ERR_UNSUPPORTED when all are of things that this version does not do; LC_ERR_MEMORY when a
 * finding was lost. */
LC_WARN_UNUSED lc_code lc_findings_fail(const lc_findings *findings, lc_err *err);

#endif
