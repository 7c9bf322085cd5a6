/*
 * A whole file of training rows against the row rules, on all cores and in bounded memory: what
 * `lorac validate` shows and what the data set loader asks before it tokenizes. The file is cut
 * into segments of 256 KiB, each checked by one thread; results are joined in the file's order, so
 * the report does not depend on the number of threads.
 *
 * Memory: LC_CHECK_BASE_BYTES and LC_CHECK_THREAD_BYTES a thread at the very most, reached only by
 * lines at their limit and by millions of tiny rows; usual files take a few MiB.
 */
#ifndef LC_DATA_FILE_CHECK_H
#define LC_DATA_FILE_CHECK_H

#include "data/dataset.h"
#include "data/findings.h"
#include "data/length_counts.h"
#include "data/row_rules.h"

#define LC_MAX_TRAINED_TOKENS INT64_C(2000000000) /* the service's limit on tokens x epochs */

#define LC_CHECK_BASE_BYTES   ((int64_t)256 << 20)
#define LC_CHECK_THREAD_BYTES ((int64_t)256 << 20)

typedef struct lc_check_options {
    const char *path;
    const char *what; /* "Training file" in the message on too few rows */
    lc_method method;
    int threads; /* 1..LC_MAX_THREADS */
    /* NULL, or: tokens of good rows are counted too, each conversation cut to max_tokens. */
    const lc_tokenizer *tokenizer;
    const lc_chat_template *chat_template;
    int64_t max_tokens;
    bool finds_duplicates;
    /* NULL, or called as the file is passed, from any thread but never from two at once. */
    void (*on_progress)(void *context, int64_t bytes, int64_t total_bytes);
    void *context; /* borrowed */
} lc_check_options;

typedef struct lc_check_report {
    int64_t bytes;     /* of the file */
    int64_t rows;      /* lines that are not blank */
    int64_t good_rows; /* without an error */
    int64_t tool_rows;
    int64_t messages_of[LC_ROLE_COUNT];
    int64_t duplicate_rows;
    bool are_duplicates_partial;              /* more than LC_MAX_DISTINCT_ROWS different rows */
    lc_length_counts tokens;                  /* of good rows, after cutting: both of dpo */
    lc_length_counts trained;                 /* tokens of each that are trained */
    int64_t truncated_rows, truncated_tokens; /* tokens that are cut off */
    lc_findings findings;
} lc_check_report;

void lc_check_report_release(lc_check_report *report);

/* LC_OK however bad the file is: that is in the findings. A file that cannot be read is a finding
 * too, and an error (NOT_FOUND, IO, INVALID); the report is valid then as well. */
LC_WARN_UNUSED lc_code lc_check_file(const lc_check_options *options, lc_check_report *report,
                                     lc_err *err);

/* Warns of more tokens x epochs than the service trains, LC_MAX_TRAINED_TOKENS. */
void lc_check_epochs(lc_check_report *report, int64_t n_epochs);

/* For the loader of a supervised file: errors become the error (lc_findings_fail; param
 * "n_examples" when there are only too few rows), warnings go to the log, a line a code. */
LC_WARN_UNUSED lc_code lc_check_training_file(const char *path, const char *what, int threads,
                                              lc_err *err);

#endif
