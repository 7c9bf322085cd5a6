/*
 * The tape of a JSON text: see json_tape.h. The scanner makes it; here are its beginning, its end
 * and the strings on it.
 */
#include "base/json_tape.h"

#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "lorac/mem.h"

#define MIN_NODES 64
#define NO_NODE   UINT32_MAX

lc_code lc_json_tape_read(lc_json_tape *tape, const char *text, size_t bytes, lc_err *err)
{
    tape->text = text;
    tape->count = 0;
    tape->is_cut = tape->is_next_opaque = false;
    tape->opaque_depth = 0;
    return lc_json_scan(text, bytes, LC_JSON_DEFAULT, "JSON", tape, err);
}

void lc_json_tape_release(lc_json_tape *tape)
{
    lc_free(tape->nodes);
    tape->nodes = NULL;
    tape->count = tape->capacity = 0;
}

/* ---- for the scanner ---- */

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

lc_code lc_json_tape_note(lc_json_tape *tape, const lc_json_noted *value, uint32_t *index,
                          lc_err *err)
{
    *index = NO_NODE;
    if (tape->opaque_depth > 0 || tape->is_cut) {
        return LC_OK;
    }
    tape->is_next_opaque = false;
    if (tape->count == tape->capacity) {
        if (tape->count == LC_MAX_JSON_NODES) {
            tape->is_cut = true;
            return LC_OK;
        }
        LC_TRY(grow(tape, err));
    }
    const size_t quote = value->kind == LC_JSON_STRING;
    *index = (uint32_t)tape->count++;
    tape->nodes[*index] = (lc_json_node){.begin = (uint32_t)(value->begin + quote),
                                         .bytes = (uint32_t)(value->end - value->begin - 2 * quote),
                                         .next = *index + 1,
                                         .kind = (uint8_t)value->kind,
                                         .has_escapes = value->has_escapes};
    return LC_OK;
}

lc_code lc_json_tape_note_key(lc_json_tape *tape, size_t begin, size_t bytes, bool has_escapes,
                              int depth, lc_err *err)
{
    uint32_t index;
    const lc_json_noted key = {.kind = LC_JSON_STRING,
                               .begin = begin - 1,
                               .end = begin + bytes + 1,
                               .has_escapes = has_escapes};
    LC_TRY(lc_json_tape_note(tape, &key, &index, err));
    tape->is_next_opaque = index != NO_NODE && tape->is_opaque != NULL &&
                           tape->is_opaque(tape->text + begin, bytes, depth);
    return LC_OK;
}

lc_code lc_json_tape_open(lc_json_tape *tape, bool is_object, size_t begin, int depth,
                          uint32_t *index, lc_err *err)
{
    const bool is_opaque = tape->is_next_opaque;
    const lc_json_noted value = {
        .kind = is_object ? LC_JSON_OBJECT : LC_JSON_ARRAY, .begin = begin, .end = begin};
    LC_TRY(lc_json_tape_note(tape, &value, index, err));
    if (is_opaque) {
        tape->opaque_depth = depth;
    }
    return LC_OK;
}

void lc_json_tape_close(lc_json_tape *tape, uint32_t index, size_t end, int depth)
{
    if (tape->opaque_depth == depth) {
        tape->opaque_depth = 0;
    }
    if (index != NO_NODE) {
        tape->nodes[index].bytes = (uint32_t)end - tape->nodes[index].begin;
        tape->nodes[index].next = (uint32_t)tape->count;
    }
}

/* ---- strings ---- */

/* UTF-8 of a code point; returns its length. */
static size_t encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    const size_t count = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = count - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    out[0] = (char)(leads[count] | point);
    return count;
}

/* The character of an escape at `at`, behind which *step more bytes begin the next. */
static size_t decode_escape(const char *at, char out[4], size_t *step)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const unsigned char *digits = (const unsigned char *)at + 2;
    if (at[1] != 'u') {
        const char *found = strchr(from, at[1]);
        out[0] = found != NULL ? to[found - from] : at[1];
        *step = 2;
        return 1;
    }
    uint32_t point = (uint32_t)lc_json_hex4(digits);
    *step = 6;
    if (point >= 0xD800 && point <= 0xDBFF) {
        const uint32_t low = (uint32_t)lc_json_hex4(digits + 6);
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        *step = 12;
    }
    return encode(point, out);
}

size_t lc_json_node_decode(const lc_json_tape *tape, const lc_json_node *node, char *out,
                           size_t capacity)
{
    const char *text = lc_json_node_text(tape, node);
    size_t used = 0;
    for (size_t at = 0; at < node->bytes;) {
        char character[4] = {text[at]};
        size_t step = 1, count = 1;
        if (text[at] == '\\') {
            count = decode_escape(text + at, character, &step);
        }
        for (size_t i = 0; i < count; i++, used++) {
            if (used < capacity) {
                out[used] = character[i];
            }
        }
        at += step;
    }
    return used;
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
