/*
 * The fields of a job file, one row each: where it stands, its kind, bounds and default. The parser
 * (spec.c) and the canonical text (canonical.c) walk this table; private to src/job.
 */
#ifndef LC_JOB_FIELDS_H
#define LC_JOB_FIELDS_H

#include <stddef.h>

#include "job/spec.h"

typedef enum lc_job_section { LC_SECTION_ROOT, LC_SECTION_HYPER, LC_SECTION_LORAC } lc_job_section;

typedef enum lc_job_field_kind {
    LC_FIELD_STRING, /* const char *; not empty */
    LC_FIELD_INT,    /* int64_t */
    LC_FIELD_NUMBER, /* double */
    LC_FIELD_BOOL,   /* bool */
    LC_FIELD_CHOICE, /* int or an enum: one of a few words */
    LC_FIELD_SPECIAL /* read and written by a function of its own */
} lc_job_field_kind;

typedef struct lc_job_choice {
    const char *word;
    int value;
} lc_job_choice;

typedef struct lc_job_field {
    lc_job_section section;
    const char *key;
    lc_job_field_kind kind;
    size_t offset; /* in lc_job_spec */
    bool is_required;
    bool may_change;              /* on a resume: the results do not hang on it */
    bool has_auto;                /* "auto" and -1 are LC_AUTO */
    bool is_above_min;            /* min itself is out */
    bool is_below_max;            /* max itself is out */
    double min, max;              /* numbers; strings: max bytes */
    double fallback;              /* numbers, bool, choice; strings fall back to NULL */
    const lc_job_choice *choices; /* ends with a NULL word */
} lc_job_field;

extern const lc_job_field lc_job_fields[];
extern const size_t lc_job_field_count;

/* "", "method.supervised.hyperparameters." or "lorac.". */
const char *lc_job_section_prefix(lc_job_section section);

/* Fills in spec->canonical and spec->sha256 from the other fields. */
LC_WARN_UNUSED lc_code lc_job_spec_canonicalise(lc_job_spec *spec, lc_err *err);

#endif
