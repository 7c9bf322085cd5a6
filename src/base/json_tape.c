/*
 * The tape of a JSON text: see json_tape.h. The scanner makes it; here are its beginning, its end
 * and the strings on it.
 */
#include "base/json_tape.h"

#include <assert.h>
#include <string.h>

#include "lorac/mem.h"

#define MIN_NODES 64
#define NO_NODE   UINT32_MAX

/* What is open while a tape is made. */
typedef struct reading {
    lc_json_tape *tape;
    lc_json_pull pull;
    uint32_t nodes[LC_MAX_JSON_DEPTH]; /* of the containers around; NO_NODE: not noted */
    int depth;
    int opaque_depth; /* > 0: inside an opaque value; so many containers were around it */
    lc_err *err;
} reading;

static lc_code read_values(reading *r);

lc_code lc_json_tape_read(lc_json_tape *tape, const char *text, size_t bytes, lc_err *err)
{
    reading r; /* not cleared, as the puller */
    r.tape = tape;
    r.depth = r.opaque_depth = 0;
    r.err = err;
    tape->text = text;
    tape->count = 0;
    tape->is_cut = false;
    lc_json_pull_begin(&r.pull, text, bytes, LC_JSON_DEFAULT, "JSON", err);
    const lc_code code = read_values(&r);
    lc_json_pull_end(&r.pull);
    tape->problem = r.pull.problem;
    tape->problem_at = r.pull.problem_at;
    return code;
}

void lc_json_tape_release(lc_json_tape *tape)
{
    lc_free(tape->nodes);
    tape->nodes = NULL;
    tape->count = tape->capacity = 0;
}

static lc_code grow(lc_json_tape *tape, lc_err *err)
{
    const size_t capacity = tape->capacity > 0 ? 2 * tape->capacity : MIN_NODES;
    lc_json_node *nodes = lc_realloc(tape->nodes, capacity * sizeof *nodes);
    if (nodes == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "out of memory for %zu values of JSON", capacity);
    }
    tape->nodes = nodes;
    tape->capacity = capacity;
    return LC_OK;
}
static_assert(LC_MAX_JSON_NODES % MIN_NODES == 0 &&
                  ((LC_MAX_JSON_NODES / MIN_NODES) & (LC_MAX_JSON_NODES / MIN_NODES - 1)) == 0,
              "the tape doubles up to its limit");

/* Writes a node unless it lies in an opaque value or beyond the tape's end: then *index is
 * NO_NODE. */
static lc_code note(const reading *r, lc_json_kind kind, const lc_json_raw *raw, uint32_t *index)
{
    lc_json_tape *tape = r->tape;
    *index = NO_NODE;
    if (r->opaque_depth > 0 || tape->is_cut) {
        return LC_OK;
    }
    if (tape->count == tape->capacity) {
        if (tape->count == LC_MAX_JSON_NODES) {
            tape->is_cut = true;
            return LC_OK;
        }
        LC_TRY(grow(tape, r->err));
    }
    *index = (uint32_t)tape->count++;
    tape->nodes[*index] = (lc_json_node){.begin = (uint32_t)raw->at,
                                         .bytes = (uint32_t)raw->bytes,
                                         .next = *index + 1,
                                         .kind = (uint8_t)kind,
                                         .has_escapes = raw->has_escapes};
    return LC_OK;
}

/* The container of that node has ended before `end`. */
static void close_node(const reading *r, uint32_t index, size_t end)
{
    if (index != NO_NODE) {
        r->tape->nodes[index].bytes = (uint32_t)end - r->tape->nodes[index].begin;
        r->tape->nodes[index].next = (uint32_t)r->tape->count;
    }
}

/* The containers that have ended before a value with `depth` around it. */
static void close_down_to(reading *r, int depth)
{
    while (r->depth > depth) {
        r->depth--;
        close_node(r, r->nodes[r->depth], r->pull.closed_at[r->depth] + 1);
        if (r->opaque_depth == r->depth + 1) {
            r->opaque_depth = 0;
        }
    }
}

static lc_code note_value(reading *r, const lc_json_value *value)
{
    uint32_t key = NO_NODE, index = NO_NODE;
    if (value->has_key) {
        LC_TRY(note(r, LC_JSON_STRING, &value->key, &key));
    }
    const bool is_opaque =
        key != NO_NODE && r->tape->is_opaque != NULL &&
        r->tape->is_opaque(r->tape->text + value->key.at, value->key.bytes, value->depth);
    LC_TRY(note(r, value->kind, &value->raw, &index));
    if (value->kind < LC_JSON_ARRAY) {
        return LC_OK;
    }
    if (!r->pull.is_open) { /* it is empty, and has ended already */
        close_node(r, index, r->pull.at);
        return LC_OK;
    }
    r->nodes[r->depth++] = index;
    if (is_opaque) {
        r->opaque_depth = r->depth;
    }
    return LC_OK;
}

static lc_code read_values(reading *r)
{
    lc_json_value value;
    for (;;) {
        LC_TRY(lc_json_next(&r->pull, &value));
        close_down_to(r, value.depth);
        if (value.kind == LC_JSON_DONE) {
            return LC_OK;
        }
        LC_TRY(note_value(r, &value));
    }
}

/* ---- strings ---- */

size_t lc_json_node_decode(const lc_json_tape *tape, const lc_json_node *node, char *out,
                           size_t capacity)
{
    const lc_json_raw raw = {node->begin, node->bytes, node->has_escapes};
    return lc_json_decode(tape->text, &raw, out, capacity);
}

bool lc_json_node_is(const lc_json_tape *tape, const lc_json_node *node, const char *text)
{
    char decoded[64];
    const size_t length = strlen(text);
    if (!node->has_escapes) {
        return node->bytes == length && memcmp(lc_json_node_text(tape, node), text, length) == 0;
    }
    return length <= sizeof decoded && node->bytes <= 12 * sizeof decoded &&
           lc_json_node_decode(tape, node, decoded, sizeof decoded) == length &&
           memcmp(decoded, text, length) == 0;
}
