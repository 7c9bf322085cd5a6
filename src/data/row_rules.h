/*
 * The rules for one row of training data, of each method: Azure's and OpenAI's formats, and what
 * this version can train on. All problems of a row are found, not only the first. One rule set for
 * `lorac validate`, the data set loader and every other reader of rows; works on the row's text
 * without building a tree.
 */
#ifndef LC_DATA_ROW_RULES_H
#define LC_DATA_ROW_RULES_H

#include "data/findings.h"

#define LC_MAX_MESSAGES      2048 /* the service's limit, as LC_MAX_TOOLS */
#define LC_MAX_TOOLS         128
#define LC_MAX_FUNCTION_NAME 64

typedef enum lc_method {
    LC_METHOD_SUPERVISED,
    LC_METHOD_DPO,
    LC_METHOD_REINFORCEMENT,
    LC_METHOD_COUNT
} lc_method;
/* As job files and --method spell them; NULL-terminated. */
extern const char *const lc_method_names[LC_METHOD_COUNT + 1];

typedef enum lc_role {
    LC_ROLE_SYSTEM,
    LC_ROLE_DEVELOPER,
    LC_ROLE_USER,
    LC_ROLE_ASSISTANT,
    LC_ROLE_TOOL,
    LC_ROLE_FUNCTION,
    LC_ROLE_COUNT
} lc_role;
extern const char *const lc_role_names[LC_ROLE_COUNT + 1];

/* What a row holds, as far as it could be read. */
typedef struct lc_row_facts {
    int64_t messages_of[LC_ROLE_COUNT];
    bool has_tools;
} lc_row_facts;

/* One row of a file. offset: of its first byte in the file, -1 where there is no file. */
typedef struct lc_row_text {
    const char *text; /* borrowed; one line without its line break */
    size_t bytes;
    int64_t line;
    int64_t offset;
} lc_row_text;

/* Memory that is used from row to row, by one thread. At most 16 MiB for the values of a row, 64
 * for its keys while their uniqueness is checked, and 24 for call ids. */
typedef struct lc_row_checker lc_row_checker;
LC_WARN_UNUSED lc_code lc_row_checker_open(lc_row_checker **out, lc_err *err);
void lc_row_checker_close(lc_row_checker *checker);

/* Adds what is wrong with the row to the findings. Fails only for want of memory. */
LC_WARN_UNUSED lc_code lc_row_check(lc_row_checker *checker, const lc_row_text *row,
                                    lc_method method, lc_findings *findings, lc_row_facts *facts,
                                    lc_err *err);

#endif
