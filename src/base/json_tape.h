/*
 * A JSON text as a tape: where each value lies, in the order of the text, without copying it and
 * without memory per value. For those who look at very many texts and keep nothing of them: the
 * checks of data set rows. Made by the scanner that stands before cJSON (json_pull.h), so both
 * take the same texts.
 */
#ifndef LC_BASE_JSON_TAPE_H
#define LC_BASE_JSON_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json_pull.h"

#define LC_MAX_JSON_NODES ((size_t)1 << 20) /* 16 MiB of tape */

/* A value or a key. The nodes of what is in an array or object follow its own; those of an object
 * are key, value, key, value. */
typedef struct lc_json_node {
    uint32_t begin, bytes; /* where it is in the text; of strings what is between the quotes */
    uint32_t next;         /* index of the node behind it and all that is in it */
    uint8_t kind;          /* lc_json_kind, never LC_JSON_DONE */
    bool has_escapes;      /* of a string */
    uint16_t unused;
} lc_json_node;

/* Zero-initialise; reused from text to text, grows. */
typedef struct lc_json_tape {
    const char *text;    /* borrowed, of the last lc_json_tape_read */
    lc_json_node *nodes; /* owned */
    size_t count, capacity;
    bool is_cut;             /* there were more than LC_MAX_JSON_NODES: the tape ends early */
    lc_json_problem problem; /* after a failure, with the byte it was noticed at */
    size_t problem_at;
    /* NULL, or: of the value under this key (undecoded) only its own node is wanted, not those of
     * what is in it. depth: containers open there, 1 in the outermost object. */
    bool (*is_opaque)(const char *key, size_t bytes, int depth);
} lc_json_tape;

void lc_json_tape_release(lc_json_tape *tape);

/* Takes the texts that lc_json_parse takes with LC_JSON_DEFAULT. Node 0 is the whole value. `text`
 * must stay where it is. err may be NULL: then the reason is in `problem` alone, and costs
 * little. */
LC_WARN_UNUSED lc_code lc_json_tape_read(lc_json_tape *tape, const char *text, size_t bytes,
                                         lc_err *err);

static inline const char *lc_json_node_text(const lc_json_tape *tape, const lc_json_node *node)
{
    return tape->text + node->begin;
}

static inline const lc_json_node *lc_json_node_next(const lc_json_tape *tape,
                                                    const lc_json_node *node)
{
    return tape->nodes + node->next;
}

/* The first node in an array or object; lc_json_node_end when it is empty. */
static inline const lc_json_node *lc_json_node_first(const lc_json_node *node)
{
    return node + 1;
}
static inline const lc_json_node *lc_json_node_end(const lc_json_tape *tape,
                                                   const lc_json_node *node)
{
    return tape->nodes + node->next;
}

/* Whether a string, its escapes resolved, is this text. */
bool lc_json_node_is(const lc_json_tape *tape, const lc_json_node *node, const char *text);

/* Bytes of a string with its escapes resolved, into out when it has room for them (`capacity`);
 * returns how many they are. */
size_t lc_json_node_decode(const lc_json_tape *tape, const lc_json_node *node, char *out,
                           size_t capacity);

#endif
