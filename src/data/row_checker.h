/* What the files of the row rules share: the row being checked, places in it, reports. */
#ifndef LC_DATA_ROW_CHECKER_H
#define LC_DATA_ROW_CHECKER_H

#include "base/json_tape.h"
#include "data/row_rules.h"

/* Where a value is: a chain up to the row, made on the way down. */
typedef struct lc_place {
    const struct lc_place *up; /* NULL: a member of the row itself */
    const char *key;           /* NULL: an element of a list */
    int64_t index;
} lc_place;

/* A set of strings of one row, by the hash of their text, with a note on each. */
typedef struct lc_name {
    uint64_t hash;
    uint64_t row;     /* the entry is of this row, else free */
    int64_t message;  /* number of the one that calls */
    bool is_answered; /* the call has its answer */
} lc_name;
typedef struct lc_names {
    lc_name *slots; /* owned */
    size_t capacity, count;
} lc_names;

struct lc_row_checker {
    lc_json_tape tape;
    lc_json_tape inner; /* of a string that is JSON itself */
    lc_names tools, calls;
    uint64_t row_count; /* stamps the names of a row */
    char *decoded;      /* owned: a string with escapes */
    size_t decoded_capacity;
    char shown[2][96]; /* lc_row_show's, in turn */
    int next_shown;
    /* the row */
    lc_row_text row;
    lc_method method;
    lc_findings *findings; /* borrowed */
    lc_row_facts *facts;   /* borrowed */
    bool are_tools_known;  /* the row has a readable list of tools */
    bool failed;           /* there was no memory */
};

/* A finding at `place` (NULL: the row), in words. */
void lc_row_report(lc_row_checker *c, lc_finding_code code, const lc_place *place,
                   const char *format, ...) LC_PRINTF(4, 5);

/* What is wrong with a text of one line, without saying that it is JSON's line 1. */
const char *lc_row_reason(const lc_err *why);

/* A value for a message: "abc", 1.5, a list, nothing. Good until the call after the next. */
const char *lc_row_show(lc_row_checker *c, const lc_json_node *value);

/* The members of an object by name: values[i] is NULL where names[i] is missing or null. names ends
 * with NULL. Any other member is reported as unknown_key unless `any_key`; returns how many those
 * were. */
int64_t lc_row_members(lc_row_checker *c, const lc_place *place, const lc_json_node *object,
                       const char *const *names, const lc_json_node **values, bool any_key);

/* A string with its escapes resolved, good until the next call; NULL without memory. */
const char *lc_row_decode(lc_row_checker *c, const lc_json_node *string, size_t *bytes);
/* Whether it is 1 to LC_MAX_FUNCTION_NAME letters, digits, _ and -. */
bool lc_row_is_name(lc_row_checker *c, const lc_json_node *string);
/* Hash of it. */
uint64_t lc_row_hash(lc_row_checker *c, const lc_json_node *string);

/* The entry of this hash, NULL: none. _add makes one unless there is one; NULL without memory. */
lc_name *lc_names_find(const lc_row_checker *c, const lc_names *names, uint64_t hash);
lc_name *lc_names_add(lc_row_checker *c, lc_names *names, uint64_t hash, bool *is_new);

/* "tools" or the old "functions" of a row or of a preference row's input; fills c->tools. */
void lc_row_check_tools(lc_row_checker *c, const lc_place *up, const lc_json_node *tools,
                        const lc_json_node *functions, const lc_json_node *parallel);

/* What is known of a conversation while its messages are read. Messages are numbered through all
 * conversations of a row. */
typedef struct lc_conversation {
    bool is_output;       /* one of the completions of a preference row */
    const lc_place *list; /* where it is */
    int64_t first;        /* number of its first message, */
    int64_t message;      /* of the current one, */
    int64_t calling;      /* and of the last of the assistant */
    int64_t open_calls;   /* calls of that one which have no answer yet */
    lc_role last;         /* of the newest message; LC_ROLE_COUNT: not known */
    bool is_unclear;      /* some message has no known role */
    bool has_system;      /* seen so far: a system or developer message, */
    bool has_turn;        /* any other, */
    bool has_assistant;   /* one of the assistant, */
    bool has_trained;     /* one of these to train on */
} lc_conversation;

/* A list of messages that is one already; false when it is empty. */
bool lc_row_check_messages(lc_row_checker *c, const lc_place *place, const lc_json_node *messages,
                           lc_conversation *conversation);

/* "tool_calls" and "function_call" of an assistant message. */
void lc_row_check_calls(lc_row_checker *c, const lc_place *up, const lc_json_node *calls,
                        const lc_json_node *function_call, lc_conversation *conversation);
/* "tool_call_id" of a tool message. */
void lc_row_check_answer(lc_row_checker *c, const lc_place *up, const lc_json_node *id,
                         lc_conversation *conversation);

#endif
