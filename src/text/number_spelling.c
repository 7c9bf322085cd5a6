/* See number_spelling.h. Text and tree are walked side by side: numbers stand in the same order in
 * both. */
#include "text/number_spelling.h"

#include <math.h>
#include <string.h>

#include "lorac/mem.h"

/* The next number of the text. */
typedef struct number_scan {
    const char *at, *end;
    const char *token;
    size_t length;
} number_scan;

/* Just behind the closing quote of the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
    }
    return at < end ? at + 1 : end;
}

static bool next_number(number_scan *scan)
{
    while (scan->at < scan->end) {
        if (*scan->at == '"') {
            scan->at = skip_string(scan->at, scan->end);
        } else if (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9')) {
            scan->token = scan->at;
            while (scan->at < scan->end && strchr("+-.0123456789eE", *scan->at) != NULL &&
                   *scan->at != '\0') {
                scan->at++;
            }
            scan->length = (size_t)(scan->at - scan->token);
            return true;
        } else {
            scan->at++;
        }
    }
    return false;
}

static bool is_float(const number_scan *scan)
{
    for (size_t i = 0; i < scan->length; i++) {
        if (strchr(".eE", scan->token[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* A float that is a whole number: Python writes 1.0 for it, or 1e+16. */
static void spell_float(lc_text *text, double value)
{
    lc_text_add_double(text, value);
    if (text->data != NULL && strpbrk(text->data, ".e") == NULL) {
        lc_text_add(text, ".0", 2);
    }
}

static void spell(lc_text *text, const number_scan *scan, double value)
{
    if (is_float(scan)) {
        spell_float(text, value);
    } else if (scan->length == 2 && memcmp(scan->token, "-0", 2) == 0) {
        lc_text_add(text, "0", 1); /* an integer of Python has no sign at zero */
    } else {
        lc_text_add(text, scan->token, scan->length);
    }
}

/* Only whole numbers can differ: everything else is written in the shortest form by both. */
static lc_code keep(cJSON *item, const number_scan *scan, lc_err *err)
{
    const double value = item->valuedouble;
    const bool is_whole = !(trunc(value) < value) && !(trunc(value) > value);
    if (!is_whole || (!is_float(scan) && fabs(value) < 0x1p53 && scan->token[0] != '-')) {
        return LC_OK;
    }
    lc_text text;
    lc_text_init(&text);
    spell(&text, scan, value);
    const lc_code code = lc_text_finish(&text, "a number", err);
    if (code != LC_OK) {
        lc_text_release(&text);
        return code;
    }
    item->valuestring = text.data; /* cJSON_Delete frees it: cJSON allocates with lc_malloc */
    return LC_OK;
}

lc_code lc_json_keep_spelling(cJSON *root, const char *text, size_t bytes, lc_err *err)
{
    cJSON
        *open[LC_MAX_JSON_DEPTH]; /* containers around `item`; the scanner lets no deeper text in */
    int depth = 0;
    number_scan scan = {.at = text, .end = text + bytes};
    cJSON *item = root;
    while (item != NULL) {
        if (cJSON_IsNumber(item)) {
            if (!next_number(&scan)) {
                return lc_fail(err, LC_ERR_INTERNAL, "a JSON tree has more numbers than its text");
            }
            LC_TRY(keep(item, &scan, err));
        }
        if (item->child != NULL) {
            if (depth == LC_MAX_JSON_DEPTH) {
                return lc_fail(err, LC_ERR_INTERNAL, "a JSON tree is too deep");
            }
            open[depth++] = item;
            item = item->child;
            continue;
        }
        while (item != NULL && item->next == NULL) {
            item = depth > 0 ? open[--depth] : NULL;
            if (depth == 0 && item == root) {
                return LC_OK;
            }
        }
        item = item != NULL ? item->next : NULL;
    }
    return LC_OK;
}
