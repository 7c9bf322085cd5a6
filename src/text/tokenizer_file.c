/*
 * Reading tokenizer.json in one pass, see tokenizer_file.h: the two long lists are pulled value by
 * value; the text without their entries is parsed to a tree.
 */
#include "text/tokenizer_file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/json_pull.h"
#include "lorac/mem.h"

#define ENTRY_DEPTH 3 /* root, model, list */

typedef struct stretch {
    size_t begin, end;
} stretch;

typedef struct reading {
    lc_json_pull pull;
    lc_json_value value; /* the next one */
    lc_tokenizer_file *file;
    size_t used; /* of the spellings */
    size_t vocab_capacity, merge_capacity;
    int64_t max_id;
    stretch entries[2]; /* of the text, in the order in which they came */
    int list_count;
    lc_err *err;
} reading;

static lc_code read_values(reading *r);
static lc_code parse_rest(reading *r, const char *text, size_t bytes, const char *what);

lc_code lc_tokenizer_file_parse(const char *text, size_t bytes, const char *what, int64_t max_id,
                                lc_tokenizer_file *file, lc_err *err)
{
    reading r; /* not cleared: most of it is the reader's stack */
    *file = (lc_tokenizer_file){0};
    file->spellings = lc_malloc(bytes + 1);
    if (file->spellings == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: no memory for its %zu bytes", what, bytes);
    }
    r.file = file;
    r.err = err;
    r.max_id = max_id;
    r.used = r.vocab_capacity = r.merge_capacity = 0;
    r.list_count = 0;
    lc_json_pull_begin(&r.pull, text, bytes, LC_JSON_DEFAULT, what, err);
    const lc_code code = read_values(&r);
    lc_json_pull_end(&r.pull);
    return code == LC_OK ? parse_rest(&r, text, bytes, what) : code;
}

void lc_tokenizer_file_release(lc_tokenizer_file *file)
{
    cJSON_Delete(file->root);
    lc_free(file->vocab);
    lc_free(file->merges);
    lc_free(file->spellings);
    *file = (lc_tokenizer_file){0};
}

/* ---- the lists ---- */

/* Makes room for one entry more. */
static lc_code grow(void **list, size_t count, size_t *capacity, size_t entry_bytes, lc_err *err)
{
    if (count < *capacity) {
        return LC_OK;
    }
    const size_t wanted = *capacity < 1024 ? 1024 : 2 * *capacity;
    void *grown = lc_realloc(*list, wanted * entry_bytes);
    if (grown == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a list of %zu entries", wanted);
    }
    *list = grown;
    *capacity = wanted;
    return LC_OK;
}

/* The decoded characters behind what is there; a text of n bytes has less than n of them. */
static size_t add_spelling(reading *r, const lc_json_raw *raw)
{
    const size_t count =
        lc_json_decode((const char *)r->pull.text, raw, r->file->spellings + r->used, raw->bytes);
    r->used += count;
    return count;
}

static lc_code read_vocab_entry(reading *r)
{
    lc_tokenizer_file *file = r->file;
    uint64_t id = 0;
    void *list = file->vocab;
    LC_TRY(grow(&list, file->vocab_count, &r->vocab_capacity, sizeof *file->vocab, r->err));
    file->vocab = list;
    if (!lc_json_unsigned(&r->pull, &r->value, (uint64_t)r->max_id, &id)) {
        return lc_fail_param(r->err, LC_ERR_INVALID, "vocab",
                             "model: the id of a vocabulary entry is not an integer in 0..%" PRId64,
                             r->max_id);
    }
    lc_vocab_entry *entry = &file->vocab[file->vocab_count++];
    entry->at = (uint32_t)r->used;
    entry->bytes = (uint32_t)add_spelling(r, &r->value.key);
    entry->id = (int32_t)id;
    file->spellings[r->used++] = '\0';
    return lc_json_next(&r->pull, &r->value);
}

/* The first line of a merges.txt. Hugging Face leaves out all strings that begin so. */
static bool is_version(const char *spelling, size_t bytes)
{
    static const char version[] = "#version";
    return bytes >= sizeof version - 1 && memcmp(spelling, version, sizeof version - 1) == 0;
}

/* "left right": the blank between them is taken out of the spelling. */
static bool read_merge_string(reading *r, lc_merge_entry *entry)
{
    char *spelling = r->file->spellings + r->used;
    const size_t bytes = add_spelling(r, &r->value.raw);
    if (is_version(spelling, bytes)) {
        r->file->merge_count--;
        r->used -= bytes;
        return true;
    }
    const char *blank = memchr(spelling, ' ', bytes);
    if (blank == NULL) {
        return false;
    }
    entry->left_bytes = (uint32_t)(blank - spelling);
    entry->right_bytes = (uint32_t)(bytes - 1 - entry->left_bytes);
    if (memchr(blank + 1, ' ', entry->right_bytes) != NULL) {
        return false;
    }
    memmove(spelling + entry->left_bytes, blank + 1, entry->right_bytes);
    r->used--;
    return true;
}

/* ["left", "right"]; r->value is then what follows the second, or what should not be there. */
static lc_code read_merge_pair(reading *r, lc_merge_entry *entry, bool *is_pair)
{
    uint32_t *sides[] = {&entry->left_bytes, &entry->right_bytes};
    *is_pair = r->pull.is_open;
    LC_TRY(lc_json_next(&r->pull, &r->value));
    for (int i = 0; i < 2 && *is_pair; i++) {
        *is_pair = r->value.kind == LC_JSON_STRING && r->value.depth == ENTRY_DEPTH + 1;
        if (*is_pair) {
            *sides[i] = (uint32_t)add_spelling(r, &r->value.raw);
            LC_TRY(lc_json_next(&r->pull, &r->value));
        }
    }
    *is_pair = *is_pair && r->value.depth <= ENTRY_DEPTH;
    return LC_OK;
}

static lc_code read_merge_entry(reading *r)
{
    lc_tokenizer_file *file = r->file;
    bool is_merge = false;
    void *list = file->merges;
    LC_TRY(grow(&list, file->merge_count, &r->merge_capacity, sizeof *file->merges, r->err));
    file->merges = list;
    lc_merge_entry *entry = &file->merges[file->merge_count++];
    *entry = (lc_merge_entry){.at = (uint32_t)r->used};
    if (r->value.kind == LC_JSON_ARRAY) {
        LC_TRY(read_merge_pair(r, entry, &is_merge));
    } else {
        is_merge = r->value.kind == LC_JSON_STRING && read_merge_string(r, entry);
        LC_TRY(lc_json_next(&r->pull, &r->value));
    }
    while (r->value.depth > ENTRY_DEPTH) {
        LC_TRY(lc_json_next(&r->pull, &r->value));
    }
    if (!is_merge) {
        entry->at = LC_NO_MERGE;
    }
    return LC_OK;
}

/* All entries of the list that r->value begins; r->value is then what follows it. */
static lc_code read_list(reading *r, lc_code (*read_entry)(reading *))
{
    stretch *entries = &r->entries[r->list_count++];
    entries->begin = entries->end = r->value.raw.at + 1;
    if (!r->pull.is_open) {
        return lc_json_next(&r->pull, &r->value);
    }
    r->pull.foreign_depth = r->value.kind == LC_JSON_OBJECT ? ENTRY_DEPTH : 0;
    LC_TRY(lc_json_next(&r->pull, &r->value));
    while (r->value.depth == ENTRY_DEPTH) {
        LC_TRY(read_entry(r));
    }
    entries->end = r->pull.closed_at[ENTRY_DEPTH - 1];
    r->pull.foreign_depth = 0;
    return LC_OK;
}

static lc_code read_values(reading *r)
{
    bool in_model = false;
    const lc_json_value *v = &r->value;
    LC_TRY(lc_json_next(&r->pull, &r->value));
    while (v->kind != LC_JSON_DONE) {
        if (v->depth == 1) {
            in_model = v->has_key && v->kind == LC_JSON_OBJECT &&
                       lc_json_raw_is(&r->pull, &v->key, "model");
        }
        const bool is_list = in_model && v->depth == ENTRY_DEPTH - 1 && v->has_key;
        if (is_list && v->kind == LC_JSON_OBJECT && lc_json_raw_is(&r->pull, &v->key, "vocab") &&
            r->file->vocab == NULL) {
            LC_TRY(read_list(r, read_vocab_entry));
        } else if (is_list && v->kind == LC_JSON_ARRAY && r->file->merges == NULL &&
                   lc_json_raw_is(&r->pull, &v->key, "merges")) {
            LC_TRY(read_list(r, read_merge_entry));
        } else {
            LC_TRY(lc_json_next(&r->pull, &r->value));
        }
    }
    return LC_OK;
}

/* The tree of the text without the entries. */
static lc_code parse_rest(reading *r, const char *text, size_t bytes, const char *what)
{
    size_t from = 0;
    lc_text rest;
    lc_text_init(&rest);
    for (int i = 0; i < r->list_count; i++) {
        lc_text_add(&rest, text + from, r->entries[i].begin - from);
        from = r->entries[i].end;
    }
    lc_text_add(&rest, text + from, bytes - from);
    lc_code code = lc_text_finish(&rest, what, r->err);
    if (code == LC_OK) {
        code = lc_json_parse(rest.data, rest.length, LC_JSON_DEFAULT, what, &r->file->root, r->err);
    }
    lc_text_release(&rest);
    return code;
}
