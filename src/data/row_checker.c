/*
 * The tools of the row rules: places and reports, members of objects, sets of names.
 */
#include "data/row_checker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "lorac/mem.h"

#define MAX_PLACES 16
#define SHOWN      60 /* bytes of a value in a message */
#define MIN_NAMES  64

lc_code lc_row_checker_open(lc_row_checker **out, lc_err *err)
{
    *out = lc_calloc(1, sizeof **out);
    return *out != NULL ? LC_OK : lc_fail(err, LC_ERR_MEMORY, "no memory to check rows");
}

void lc_row_checker_close(lc_row_checker *checker)
{
    if (checker != NULL) {
        lc_json_tape_release(&checker->tape);
        lc_json_tape_release(&checker->inner);
        lc_free(checker->tools.slots);
        lc_free(checker->calls.slots);
        lc_free(checker->decoded);
        lc_free(checker);
    }
}

/* ---- reports ---- */

static void format_path(const lc_place *place, char *out, size_t capacity)
{
    const lc_place *places[MAX_PLACES];
    size_t count = 0, used = 0;
    for (; place != NULL && count < MAX_PLACES; place = place->up) {
        places[count++] = place;
    }
    out[0] = '\0';
    while (count-- > 0 && used < capacity) {
        const lc_place *one = places[count];
        used += one->key != NULL
                    ? (size_t)snprintf(out + used, capacity - used, "%s%s", used > 0 ? "." : "",
                                       one->key)
                    : (size_t)snprintf(out + used, capacity - used, "[%" PRId64 "]", one->index);
    }
}

void lc_row_report(lc_row_checker *c, lc_finding_code code, const lc_place *place,
                   const char *format, ...)
{
    char path[LC_FINDING_PATH_BYTES] = "", message[LC_FINDING_MESSAGE_BYTES] = "";
    if (lc_findings_wants(c->findings, code)) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(message, sizeof message, format, arguments);
        va_end(arguments);
        format_path(place, path, sizeof path);
    }
    lc_findings_add(c->findings, code, c->row.line, path, message);
}

const char *lc_row_reason(const lc_err *why)
{
    static const char prefix[] = "JSON: line 1 ";
    const size_t length = sizeof prefix - 1;
    return why->message + (strncmp(why->message, prefix, length) == 0 ? length : 0);
}

const char *lc_row_show(lc_row_checker *c, const lc_json_node *value)
{
    char *out = c->shown[c->next_shown];
    const size_t capacity = sizeof c->shown[0];
    c->next_shown ^= 1;
    if (value == NULL) {
        return "missing";
    }
    if (value->kind == LC_JSON_ARRAY) {
        return "a list";
    }
    if (value->kind == LC_JSON_OBJECT) {
        return "an object";
    }
    const char *text = lc_json_node_text(&c->tape, value);
    const char *quote = value->kind == LC_JSON_STRING ? "\"" : "";
    size_t length = value->bytes;
    if (length > SHOWN) {
        for (length = SHOWN; ((unsigned char)text[length] & 0xC0) == 0x80; length--) {}
    }
    (void)snprintf(out, capacity, "%s%.*s%s%s", quote, (int)length, text,
                   length < value->bytes ? "..." : "", quote);
    return out;
}

/* ---- members ---- */

static size_t find_name(const lc_row_checker *c, const lc_json_node *key, const char *const *names)
{
    size_t i = 0;
    while (names[i] != NULL && !lc_json_node_is(&c->tape, key, names[i])) {
        i++;
    }
    return i;
}

int64_t lc_row_members(lc_row_checker *c, const lc_place *place, const lc_json_node *object,
                       const char *const *names, const lc_json_node **values, bool any_key)
{
    int64_t unknown = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        values[i] = NULL;
    }
    const lc_json_node *end = lc_json_node_end(&c->tape, object);
    for (const lc_json_node *key = lc_json_node_first(object); key != end;
         key = lc_json_node_next(&c->tape, key + 1)) {
        const size_t i = find_name(c, key, names);
        if (names[i] != NULL) {
            values[i] = key[1].kind == LC_JSON_NULL ? NULL : key + 1;
            continue;
        }
        unknown++;
        if (!any_key) {
            lc_row_report(c, LC_FINDING_UNKNOWN_KEY, place, "%s is no key of the format",
                          lc_row_show(c, key));
        }
    }
    return unknown;
}

/* ---- names ---- */

const char *lc_row_decode(lc_row_checker *c, const lc_json_node *string, size_t *bytes)
{
    *bytes = string->bytes;
    if (!string->has_escapes) {
        return lc_json_node_text(&c->tape, string);
    }
    if (c->decoded_capacity < string->bytes) {
        char *grown = lc_realloc(c->decoded, string->bytes);
        if (grown == NULL) {
            c->failed = true;
            return NULL;
        }
        c->decoded = grown;
        c->decoded_capacity = string->bytes;
    }
    *bytes = lc_json_node_decode(&c->tape, string, c->decoded, c->decoded_capacity);
    return c->decoded;
}

uint64_t lc_row_hash(lc_row_checker *c, const lc_json_node *string)
{
    uint64_t hash[2] = {0, 0};
    size_t bytes;
    const char *text = lc_row_decode(c, string, &bytes);
    if (text != NULL) {
        lc_hash128(text, bytes, hash);
    }
    return hash[0];
}

static lc_name *slot_of(const lc_row_checker *c, const lc_names *names, uint64_t hash)
{
    size_t i = (size_t)hash & (names->capacity - 1);
    while (names->slots[i].row == c->row_count && names->slots[i].hash != hash) {
        i = (i + 1) & (names->capacity - 1);
    }
    return &names->slots[i];
}

lc_name *lc_names_find(const lc_row_checker *c, const lc_names *names, uint64_t hash)
{
    lc_name *slot = names->capacity > 0 ? slot_of(c, names, hash) : NULL;
    return slot != NULL && slot->row == c->row_count ? slot : NULL;
}

static bool grow_names(lc_row_checker *c, lc_names *names)
{
    const lc_names old = *names;
    const size_t capacity = old.capacity > 0 ? 2 * old.capacity : MIN_NAMES;
    names->slots = lc_calloc(capacity, sizeof *names->slots);
    if (names->slots == NULL) {
        *names = old;
        c->failed = true;
        return false;
    }
    names->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].row == c->row_count) {
            *slot_of(c, names, old.slots[i].hash) = old.slots[i];
        }
    }
    lc_free(old.slots);
    return true;
}

lc_name *lc_names_add(lc_row_checker *c, lc_names *names, uint64_t hash, bool *is_new)
{
    if (2 * names->count >= names->capacity && !grow_names(c, names)) {
        return NULL;
    }
    lc_name *slot = slot_of(c, names, hash);
    *is_new = slot->row != c->row_count;
    if (*is_new) {
        *slot = (lc_name){.hash = hash, .row = c->row_count};
        names->count++;
    }
    return slot;
}
