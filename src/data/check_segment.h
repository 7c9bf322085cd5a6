/* One segment of a file of rows: what a task of the file check does. Private to src/data. */
#ifndef LC_DATA_CHECK_SEGMENT_H
#define LC_DATA_CHECK_SEGMENT_H

#include "base/file.h"
#include "data/file_check.h"

#define LC_SEGMENT_BYTES ((int64_t)256 << 10)

/* Of a row, for joining. Lines count from 1 in the segment. */
typedef struct lc_segment_row {
    uint64_t hash[2];
    uint32_t line;
    bool is_hashed, has_tokens;
    int32_t tokens, trained, cut_tokens;
} lc_segment_row;

/* What was found in a segment; reused. Zero-initialise. */
typedef struct lc_segment {
    int64_t line_count; /* lines that begin in it, */
    int64_t row_count;  /* and of these, those that are not blank */
    int64_t good_rows, tool_rows;
    int64_t messages_of[LC_ROLE_COUNT];
    bool begins_blank, ends_blank; /* its first line, its last one */
    int64_t last_blank_line;       /* where the blank lines at its end begin */
    lc_segment_row *noted;         /* owned */
    int64_t noted_count, noted_capacity;
    lc_findings findings;
} lc_segment;
void lc_segment_release(lc_segment *segment);

/* Memory of a thread. Zero-initialise. */
typedef struct lc_segment_worker {
    char *buffer; /* owned */
    size_t capacity;
    lc_row_checker *checker; /* owned */
    lc_tokens tokens;
    float *weights; /* owned */
} lc_segment_worker;
void lc_segment_worker_release(lc_segment_worker *worker);

/* Checks the lines that begin in segment `index`. */
LC_WARN_UNUSED lc_code lc_segment_check(lc_segment_worker *worker, const lc_check_options *options,
                                        const lc_reader *reader, int64_t index, lc_segment *out,
                                        lc_err *err);

#endif
