/*
 * Reading tokenizer.json: the file, the model and the added tokens; tokenizer_parts.c reads the
 * parts around them. What is not known is refused by name, so that encoding never differs in
 * silence from Hugging Face's tokenizers.
 */
#include "text/tokenizer_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "text/text_checks.h"

#define FILE_NAME "tokenizer.json"

static lc_code read_root(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err);
static lc_code read_model(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err);
static lc_code read_added(lc_tokenizer *t, const cJSON *root, lc_err *err);

/* A text of tokenizer.json; with a folder the files beside it say more. */
typedef struct source {
    const char *text;
    size_t bytes;
    const char *dir; /* or NULL */
    int64_t limit;   /* of ids that those files add */
} source;

/* The hash is of added tokens too that tokenizer.json does not have. */
static lc_code hash_added(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    lc_sha256 hash;
    lc_text added;
    lc_text_init(&added);
    lc_text_add_json(&added, lc_json_get(root, "added_tokens"), false);
    const lc_code code = lc_text_finish(&added, "added tokens", err);
    if (code == LC_OK) {
        lc_sha256_init(&hash);
        lc_sha256_update(&hash, t->sha256, sizeof t->sha256);
        lc_sha256_update(&hash, added.data, added.length);
        lc_sha256_final(&hash, t->sha256);
    }
    lc_text_release(&added);
    return code;
}

static lc_code load(lc_tokenizer *t, const source *from, lc_err *err)
{
    lc_tokenizer_file file;
    bool changed = false;
    lc_sha256_of(from->text, from->bytes, t->sha256);
    lc_code code = lc_tokenizer_file_parse(from->text, from->bytes, FILE_NAME,
                                           LC_MAX_TOKEN_COUNT - 1, &file, err);
    if (code == LC_OK && from->dir != NULL) {
        code = lc_tokenizer_config_apply(from->dir, from->limit, &file, &changed, err);
    }
    if (code == LC_OK && changed) {
        code = hash_added(t, file.root, err);
    }
    if (code == LC_OK) {
        code = read_root(t, &file, err);
    }
    lc_tokenizer_file_release(&file);
    return code;
}

static lc_code create(const source *from, lc_tokenizer **out, lc_err *err)
{
    *out = NULL;
    lc_tokenizer *t = lc_calloc(1, sizeof *t);
    if (t == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a tokenizer");
    }
    lc_arena_init(&t->arena, "tokenizer");
    lc_code code = lc_encoder_pool_create(&t->pool, err);
    if (code == LC_OK) {
        code = load(t, from, err);
    }
    if (code != LC_OK) {
        lc_tokenizer_free(t);
        return code;
    }
    *out = t;
    return LC_OK;
}

lc_code lc_tokenizer_load_text(const char *text, size_t bytes, lc_tokenizer **out, lc_err *err)
{
    return create(&(source){.text = text, .bytes = bytes}, out, err);
}

static lc_code load_dir(const char *model_dir, int64_t limit, lc_tokenizer **out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    LC_TRY(lc_path_join(model_dir, FILE_NAME, path, err));
    LC_TRY(lc_file_read(path, LC_MAX_TOKENIZER_BYTES, &text, &bytes, err));
    const source from = {.text = text, .bytes = bytes, .dir = model_dir, .limit = limit};
    const lc_code code = create(&from, out, err);
    lc_free(text);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", path);
}

lc_code lc_tokenizer_load(const char *model_dir, lc_tokenizer **out, lc_err *err)
{
    return load_dir(model_dir, LC_MAX_TOKEN_COUNT, out, err);
}

lc_code lc_tokenizer_load_for(const char *model_dir, int64_t vocab_size, lc_tokenizer **out,
                              lc_err *err)
{
    LC_TRY(load_dir(model_dir, vocab_size, out, err));
    const int32_t last = lc_tokenizer_vocab_size(*out) - 1;
    if (last < vocab_size) {
        return LC_OK;
    }
    lc_tokenizer_free(*out);
    *out = NULL;
    return lc_fail_param(err, LC_ERR_INVALID, "tokenizer.json",
                         "%s: its tokenizer has ids up to %" PRId32
                         ", the model a vocabulary of %" PRId64,
                         model_dir, last, vocab_size);
}

void lc_tokenizer_free(lc_tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    for (int i = 0; i < tokenizer->step_count; i++) {
        lc_finder_release(&tokenizer->steps[i].split.finder);
    }
    lc_normalizer_release(&tokenizer->normalizer);
    lc_encoder_pool_free(tokenizer->pool);
    lc_arena_release(&tokenizer->arena);
    lc_free(tokenizer);
}

/* ---- helpers ---- */

lc_code lc_refuse_type(const char *part, const char *type, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, part, "%s type \"%.64s\" is not supported", part,
                         lc_is_printable(type) ? type : "(unprintable)");
}

lc_code lc_refuse_option(const char *part, const char *option, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, part, "%s: %s is not supported", part, option);
}

bool lc_read_token_id(const cJSON *item, int32_t *id)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0) ||
        !(item->valuedouble < (double)LC_MAX_TOKEN_COUNT)) {
        return false;
    }
    *id = (int32_t)item->valuedouble;
    return (double)*id >= item->valuedouble && (double)*id <= item->valuedouble;
}

/* Where the pre-tokenizer ends with the spelling of bytes and all of them have a token, BPE takes
 * the bytes as they are. */
static void leave_spelling_to_bpe(lc_tokenizer *t)
{
    if (t->step_count == 0 || t->steps[t->step_count - 1].kind != LC_STEP_SPELL) {
        return;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (t->bpe.byte_ids[byte] < 0) {
            return;
        }
    }
    t->step_count--;
    t->bpe.byte_level = true;
}

static lc_code check_whole_words(const lc_tokenizer *t, lc_err *err)
{
    for (int32_t id = 0; t->bpe.byte_level && t->bpe.ignore_merges && id < t->bpe.token_count;
         id++) {
        if (t->bpe.tokens[id].spelled_bytes > LC_MAX_WHOLE_WORD) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, "model",
                                 "model: ignore_merges with a token spelled in more than %d bytes "
                                 "is not supported",
                                 LC_MAX_WHOLE_WORD);
        }
    }
    return LC_OK;
}

static lc_code read_root(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err)
{
    const cJSON *root = file->root;
    if (!cJSON_IsObject(root)) {
        return lc_fail(err, LC_ERR_INVALID, "it is not a JSON object");
    }
    LC_TRY(lc_read_fit(t, root, err));
    LC_TRY(lc_read_normalizer(t, root, err));
    LC_TRY(lc_read_pre_tokenizer(t, root, err));
    LC_TRY(lc_read_decoder(t, root, err));
    LC_TRY(read_model(t, file, err));
    leave_spelling_to_bpe(t);
    LC_TRY(check_whole_words(t, err));
    LC_TRY(read_added(t, root, err));
    return lc_read_post_processor(t, root, err);
}

/* ---- model ---- */

static lc_code check_model(const cJSON *model, lc_err *err)
{
    const char *type = "BPE", *text = "";
    double dropout = 0.0;
    LC_TRY(lc_json_string(model, "type", false, &type, err));
    if (strcmp(type, "BPE") != 0) {
        return lc_refuse_type("model", type, err);
    }
    LC_TRY(lc_json_double(model, "dropout", false, 0.0, 1.0, &dropout, err));
    if (dropout > 0.0) {
        return lc_refuse_option("model", "dropout", err);
    }
    LC_TRY(lc_json_string(model, "continuing_subword_prefix", false, &text, err));
    if (text[0] != '\0') {
        return lc_refuse_option("model", "continuing_subword_prefix", err);
    }
    LC_TRY(lc_json_string(model, "end_of_word_suffix", false, &text, err));
    if (text[0] != '\0') {
        return lc_refuse_option("model", "end_of_word_suffix", err);
    }
    return LC_OK;
}

/* Largest id over vocabulary and added tokens, and how many bytes all spellings take with their
 * NULs. */
static lc_code measure(const lc_tokenizer_file *file, int32_t *largest, size_t *bytes, lc_err *err)
{
    const cJSON *item = NULL, *added = NULL;
    const char *content = NULL;
    int32_t id = 0;
    *largest = -1;
    *bytes = 0;
    for (size_t i = 0; i < file->vocab_count; i++) {
        *largest = file->vocab[i].id > *largest ? file->vocab[i].id : *largest;
        *bytes += file->vocab[i].bytes + 1;
    }
    LC_TRY(lc_json_array(file->root, "added_tokens", false, &added, err));
    cJSON_ArrayForEach(item, added)
    {
        if (!cJSON_IsObject(item) || !lc_read_token_id(lc_json_get(item, "id"), &id)) {
            return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                                 "added_tokens: an entry has no id in 0..%" PRId64,
                                 LC_MAX_TOKEN_COUNT - 1);
        }
        LC_TRY(lc_json_string(item, "content", true, &content, err));
        *largest = id > *largest ? id : *largest;
        *bytes += strlen(content) + 1;
    }
    return LC_OK;
}

/* Fills a token from its spelling; the pool has room. */
static void fill_token(lc_tokenizer *t, lc_token *token, const char *spelled, size_t length)
{
    memcpy(t->spellings, spelled, length + 1);
    token->spelled = token->shown = t->spellings;
    token->spelled_bytes = token->shown_bytes = (uint32_t)length;
    t->spellings += length + 1;
}

static lc_code enter_vocab(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err)
{
    for (size_t i = 0; i < file->vocab_count; i++) {
        const lc_vocab_entry *entry = &file->vocab[i];
        lc_token *token = &t->bpe.tokens[entry->id];
        if (token->spelled != NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, "vocab",
                                 "model: two vocabulary entries have the id %d", entry->id);
        }
        fill_token(t, token, file->spellings + entry->at, entry->bytes);
        if (!lc_bpe_enter(&t->bpe, entry->id)) {
            return lc_fail_param(err, LC_ERR_INVALID, "vocab",
                                 "model: a vocabulary entry is there twice");
        }
    }
    return LC_OK;
}

/* What becomes of characters without a token. */
static lc_code read_unknown(lc_tokenizer *t, const cJSON *model, lc_err *err)
{
    const char *unknown = NULL;
    char *copy = NULL;
    t->bpe.unknown_id = -1;
    LC_TRY(lc_json_bool(model, "ignore_merges", false, &t->bpe.ignore_merges, err));
    LC_TRY(lc_json_bool(model, "byte_fallback", false, &t->bpe.byte_fallback, err));
    LC_TRY(lc_json_bool(model, "fuse_unk", false, &t->bpe.fuse_unknown, err));
    LC_TRY(lc_json_string(model, "unk_token", false, &unknown, err));
    if (unknown != NULL) {
        LC_TRY(lc_arena_strdup(&t->arena, unknown, strlen(unknown), &copy, err));
        t->bpe.unknown = copy;
        t->bpe.unknown_id = lc_bpe_find(&t->bpe, unknown, strlen(unknown));
    }
    return LC_OK;
}

static lc_code enter_merges(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err)
{
    const size_t entered =
        lc_bpe_enter_merges(&t->bpe, file->spellings, file->merges, file->merge_count);
    return entered == file->merge_count
               ? LC_OK
               : lc_fail_param(
                     err, LC_ERR_INVALID, "merges",
                     "model: merges[%zu] does not join two tokens of the vocabulary to a third",
                     entered);
}

static lc_code read_model(lc_tokenizer *t, const lc_tokenizer_file *file, lc_err *err)
{
    const cJSON *model = NULL, *vocab = NULL, *merges = NULL;
    int32_t largest = 0;
    size_t bytes = 0;
    LC_TRY(lc_json_object(file->root, "model", true, &model, err));
    LC_TRY(check_model(model, err));
    LC_TRY(lc_json_object(model, "vocab", true, &vocab, err));
    LC_TRY(lc_json_array(model, "merges", true, &merges, err));
    LC_TRY(measure(file, &largest, &bytes, err));
    const int64_t vocab_count = (int64_t)file->vocab_count;
    const int64_t merge_count = (int64_t)file->merge_count;
    if (vocab_count == 0 || vocab_count > LC_MAX_TOKEN_COUNT || merge_count > LC_MAX_MERGES) {
        return lc_fail_param(err, LC_ERR_INVALID, "model",
                             "model: %" PRId64 " vocabulary entries and %" PRId64
                             " merges (limits 1..%" PRId64 " and %" PRId64 ")",
                             vocab_count, merge_count, LC_MAX_TOKEN_COUNT, LC_MAX_MERGES);
    }
    LC_TRY(lc_bpe_init(&t->bpe, largest + 1, (size_t)vocab_count, (size_t)merge_count, &t->arena,
                       err));
    void *spellings = NULL;
    LC_TRY(lc_arena_alloc(&t->arena, bytes + 1, 1, &spellings, err));
    t->spellings = spellings;
    LC_TRY(enter_vocab(t, file, err));
    LC_TRY(lc_bpe_index(&t->bpe, &t->arena, err));
    LC_TRY(read_unknown(t, model, err));
    t->vocab_count = (int32_t)vocab_count;
    return enter_merges(t, file, err);
}

/* ---- added tokens ---- */

/* Hugging Face gives an added token the id that the vocabulary has for it, else the next free one,
 * whatever the file says; a file that says something else is refused. */
static lc_code check_added_id(lc_tokenizer *t, const char *content, int32_t id, int32_t *next,
                              const char *shown, lc_err *err)
{
    int32_t expected = lc_bpe_find(&t->bpe, content, strlen(content));
    if (expected < 0) {
        expected = (*next)++;
    }
    return id == expected
               ? LC_OK
               : lc_fail_param(
                     err, LC_ERR_UNSUPPORTED, "added_tokens",
                     "added token \"%.64s\" has id %d where %d would follow: not supported", shown,
                     id, expected);
}

/* An added token as the file has it. */
typedef struct added_entry {
    const char *content; /* borrowed */
    const char *shown;   /* the same for messages */
    lc_added added;
    bool special, normalized;
} added_entry;

static lc_code read_entry(const cJSON *item, added_entry *entry, lc_err *err)
{
    *entry = (added_entry){0};
    LC_TRY(lc_json_string(item, "content", true, &entry->content, err));
    entry->shown = lc_is_printable(entry->content) ? entry->content : "(unprintable)";
    LC_TRY(lc_json_bool(item, "special", false, &entry->special, err));
    entry->normalized = !entry->special;
    LC_TRY(lc_json_bool(item, "normalized", false, &entry->normalized, err));
    LC_TRY(lc_json_bool(item, "single_word", false, &entry->added.single_word, err));
    LC_TRY(lc_json_bool(item, "lstrip", false, &entry->added.lstrip, err));
    LC_TRY(lc_json_bool(item, "rstrip", false, &entry->added.rstrip, err));
    if (entry->content[0] == '\0' || !lc_read_token_id(lc_json_get(item, "id"), &entry->added.id)) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens", "an added token has no content");
    }
    return LC_OK;
}

/* What is looked for, and what the decoder begins with: the content as the normalizer leaves it. */
static lc_code normalize_content(lc_tokenizer *t, lc_matcher *matcher, lc_tracked texts[2],
                                 const added_entry *entry, lc_token *token, lc_err *err)
{
    const lc_piece content = {.text = token->spelled, .bytes = token->spelled_bytes};
    lc_piece out = content;
    char *copy = NULL;
    LC_TRY(lc_normalizer_run(&t->normalizer, matcher, texts, &content, &out, err));
    if (out.bytes == 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "added token \"%.64s\": the normalizer leaves nothing of it",
                             entry->shown);
    }
    if (out.bytes == content.bytes && memcmp(out.text, content.text, content.bytes) == 0) {
        return LC_OK;
    }
    LC_TRY(lc_arena_strdup(&t->arena, out.text, out.bytes, &copy, err));
    token->shown = copy;
    token->shown_bytes = (uint32_t)out.bytes;
    return LC_OK;
}

static lc_code enter_added(lc_tokenizer *t, added_entry *entry, lc_matcher *matcher,
                           lc_tracked texts[2], lc_err *err)
{
    lc_token *token = &t->bpe.tokens[entry->added.id];
    if (token->spelled == NULL) {
        fill_token(t, token, entry->content, strlen(entry->content));
    } else if (strcmp(token->spelled, entry->content) != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "added token \"%.64s\" has the id %d of another token", entry->shown,
                             entry->added.id);
    }
    token->special = entry->special;
    token->added = true;
    if (entry->normalized) {
        LC_TRY(normalize_content(t, matcher, texts, entry, token, err));
    }
    entry->added.pattern = token->shown;
    entry->added.pattern_bytes = token->shown_bytes;
    lc_added_enter(&t->added[entry->normalized], entry->added);
    t->added_ids[t->added_count++] = entry->added.id;
    return LC_OK;
}

static lc_code read_added_list(lc_tokenizer *t, const cJSON *list, lc_matcher *matcher,
                               lc_tracked texts[2], lc_err *err)
{
    int32_t next = t->vocab_count;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        added_entry entry;
        LC_TRY(read_entry(item, &entry, err));
        LC_TRY(check_added_id(t, entry.content, entry.added.id, &next, entry.shown, err));
        LC_TRY(enter_added(t, &entry, matcher, texts, err));
    }
    return LC_OK;
}

static int by_spelling(const void *a, const void *b)
{
    const lc_token *const *x = a, *const *y = b;
    return strcmp((*x)->spelled, (*y)->spelled);
}

/* All added tokens by spelling, into sorted; none may be there twice. */
static lc_code sort_added(const lc_tokenizer *t, const lc_token **sorted, lc_err *err)
{
    const size_t count = (size_t)t->added_count;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &t->bpe.tokens[t->added_ids[i]];
    }
    qsort(sorted, count, sizeof *sorted, by_spelling);
    for (size_t i = 1; i < count; i++) {
        const char *spelled = sorted[i]->spelled;
        if (strcmp(sorted[i - 1]->spelled, spelled) == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                                 "added token \"%.64s\" is there twice",
                                 lc_is_printable(spelled) ? spelled : "(unprintable)");
        }
    }
    return LC_OK;
}

/* Decoding leaves out what reads like the content of a special token: a special token that the
 * normalizer changes does not. */
static void mark_skipped(lc_tokenizer *t, const lc_token **sorted)
{
    size_t count = 0;
    for (int32_t i = 0; i < t->added_count; i++) {
        if (sorted[i]->special) {
            sorted[count++] = sorted[i];
        }
    }
    for (int32_t i = 0; i < t->added_count; i++) {
        lc_token *token = &t->bpe.tokens[t->added_ids[i]];
        const lc_token shown = {.spelled = token->shown}, *key = &shown;
        token->is_skipped = bsearch(&key, sorted, count, sizeof key, by_spelling) != NULL;
    }
}

static lc_code compare_added(lc_tokenizer *t, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)t->added_count + 1, sizeof(lc_token *), "added tokens", err));
    const lc_code code = sort_added(t, memory, err);
    if (code == LC_OK) {
        mark_skipped(t, memory);
    }
    lc_free(memory);
    return code;
}

static lc_code read_added(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *list = NULL;
    LC_TRY(lc_json_array(root, "added_tokens", false, &list, err));
    const int64_t count = list != NULL ? cJSON_GetArraySize(list) : 0;
    void *memory = NULL;
    lc_matcher *matcher = NULL;
    lc_tracked texts[2] = {{0}, {0}};
    if (count > LC_MAX_ADDED_TOKENS) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "%" PRId64 " added tokens, more than the limit of %d", count,
                             LC_MAX_ADDED_TOKENS);
    }
    LC_TRY(lc_arena_alloc(&t->arena, (size_t)count + 1, sizeof *t->added_ids, &memory, err));
    t->added_ids = memory;
    LC_TRY(lc_added_init(&t->added[0], (int32_t)count, &t->arena, err));
    LC_TRY(lc_added_init(&t->added[1], (int32_t)count, &t->arena, err));
    LC_TRY(lc_matcher_create(&matcher, err));
    const lc_code code = read_added_list(t, list, matcher, texts, err);
    lc_tracked_release(&texts[0]);
    lc_tracked_release(&texts[1]);
    lc_matcher_free(matcher);
    LC_TRY(code);
    LC_TRY(compare_added(t, err));
    LC_TRY(lc_added_index(&t->added[0], err));
    return lc_added_index(&t->added[1], err);
}
