/*
 * Reading tokenizer.json. What this version cannot do is refused by name here, so that encoding
 * never differs in silence from Hugging Face's tokenizers.
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

/* GPT-2's split, built into ByteLevel with use_regex. */
#define GPT2_PATTERN \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static lc_code read_root(lc_tokenizer *t, const cJSON *root, lc_err *err);
static lc_code read_pre_tokenizer(lc_tokenizer *t, const cJSON *root, lc_err *err);
static lc_code read_model(lc_tokenizer *t, const cJSON *root, lc_err *err);
static lc_code read_added(lc_tokenizer *t, const cJSON *list, lc_err *err);
static lc_code read_post_processor(lc_tokenizer *t, const cJSON *root, lc_err *err);

static lc_code load(lc_tokenizer *t, const char *path, lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    cJSON *root = NULL;
    LC_TRY(lc_file_read(path, LC_MAX_TOKENIZER_BYTES, &text, &bytes, err));
    lc_sha256_of(text, bytes, t->sha256);
    lc_code code = lc_json_parse(text, bytes, LC_JSON_DEFAULT, FILE_NAME, &root, err);
    lc_free(text);
    if (code == LC_OK) {
        code = read_root(t, root, err);
    }
    cJSON_Delete(root);
    return code;
}

lc_code lc_tokenizer_load(const char *model_dir, lc_tokenizer **out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    *out = NULL;
    LC_TRY(lc_path_join(model_dir, FILE_NAME, path, err));
    lc_tokenizer *t = lc_calloc(1, sizeof *t);
    if (t == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a tokenizer");
    }
    lc_arena_init(&t->arena, "tokenizer");
    const lc_code code = load(t, path, err);
    if (code != LC_OK) {
        lc_tokenizer_free(t);
        (void)lc_err_context(err, "%s", path);
        return code;
    }
    *out = t;
    return LC_OK;
}

lc_code lc_tokenizer_load_for(const char *model_dir, int64_t vocab_size, lc_tokenizer **out,
                              lc_err *err)
{
    LC_TRY(lc_tokenizer_load(model_dir, out, err));
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
    for (int i = 0; i < tokenizer->split_count; i++) {
        lc_regex_free(tokenizer->splits[i].regex);
    }
    lc_arena_release(&tokenizer->arena);
    lc_free(tokenizer);
}

/* ---- helpers ---- */

static lc_code refuse_type(const char *part, const char *type, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, part, "%s type \"%.64s\" is not supported", part,
                         lc_is_printable(type) ? type : "(unprintable)");
}

static lc_code refuse_option(const char *part, const char *option, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, part, "%s: %s is not supported", part, option);
}

/* The "type" of a part. */
static lc_code part_type(const char *part, const cJSON *item, const char **type, lc_err *err)
{
    if (!cJSON_IsObject(item)) {
        return lc_fail_param(err, LC_ERR_INVALID, part, "%s is not an object", part);
    }
    if (lc_json_string(item, "type", true, type, err) != LC_OK) {
        return lc_err_context(err, "%s", part);
    }
    return LC_OK;
}

/* A token id: an integer in 0..LC_MAX_TOKEN_COUNT-1. */
static bool read_id(const cJSON *item, int32_t *id)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0) ||
        !(item->valuedouble < (double)LC_MAX_TOKEN_COUNT)) {
        return false;
    }
    *id = (int32_t)item->valuedouble;
    return (double)*id >= item->valuedouble && (double)*id <= item->valuedouble;
}

static lc_code read_root(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const char *type = NULL;
    const cJSON *added = NULL;
    if (!cJSON_IsObject(root)) {
        return lc_fail(err, LC_ERR_INVALID, "it is not a JSON object");
    }
    /* "truncation" and "padding" belong to the caller: transformers sets both on every call. */
    const cJSON *normalizer = lc_json_get(root, "normalizer");
    if (normalizer != NULL) {
        LC_TRY(part_type("normalizer", normalizer, &type, err));
        return refuse_type("normalizer", type, err);
    }
    LC_TRY(read_pre_tokenizer(t, root, err));
    const cJSON *decoder = lc_json_get(root, "decoder");
    if (decoder == NULL) {
        return refuse_option("decoder", "null", err);
    }
    LC_TRY(part_type("decoder", decoder, &type, err));
    if (strcmp(type, "ByteLevel") != 0) {
        return refuse_type("decoder", type, err);
    }
    LC_TRY(read_model(t, root, err));
    LC_TRY(lc_json_array(root, "added_tokens", false, &added, err));
    LC_TRY(read_added(t, added, err));
    return read_post_processor(t, root, err);
}

/* ---- pre-tokenizer ---- */

static lc_code add_split(lc_tokenizer *t, lc_regex *regex, bool keep_matched, bool keep_unmatched,
                         lc_err *err)
{
    if (t->split_count == LC_MAX_SPLITS) {
        lc_regex_free(regex);
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "pre_tokenizer",
                             "pre_tokenizer: more than %d steps are not supported", LC_MAX_SPLITS);
    }
    t->splits[t->split_count++] = (lc_split){regex, keep_matched, keep_unmatched};
    return LC_OK;
}

static lc_code read_split(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    const char *behavior = NULL, *pattern = NULL;
    const cJSON *object = NULL;
    bool invert = false;
    LC_TRY(lc_json_object(item, "pattern", true, &object, err));
    LC_TRY(lc_json_string(item, "behavior", true, &behavior, err));
    LC_TRY(lc_json_bool(item, "invert", false, &invert, err));
    if (lc_json_get(object, "String") != NULL) {
        return refuse_option("pre_tokenizer", "a Split by String", err);
    }
    LC_TRY(lc_json_string(object, "Regex", true, &pattern, err));
    const bool removed = strcmp(behavior, "Removed") == 0;
    if (!removed && strcmp(behavior, "Isolated") != 0) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "pre_tokenizer",
                             "pre_tokenizer: Split behavior \"%.32s\" is not supported",
                             lc_is_printable(behavior) ? behavior : "(unprintable)");
    }
    lc_regex *regex = NULL;
    if (lc_regex_compile(pattern, &regex, err) != LC_OK) {
        return lc_err_context(err, "pre_tokenizer Split");
    }
    return add_split(t, regex, !removed || invert, !removed || !invert, err);
}

static lc_code read_digits(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    bool individual = false;
    lc_regex *regex = NULL;
    LC_TRY(lc_json_bool(item, "individual_digits", false, &individual, err));
    LC_TRY(lc_regex_compile_digits(individual, &regex, err));
    return add_split(t, regex, true, true, err);
}

static lc_code read_byte_level(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    bool add_prefix_space = true, use_regex = true;
    lc_regex *regex = NULL;
    LC_TRY(lc_json_bool(item, "add_prefix_space", false, &add_prefix_space, err));
    LC_TRY(lc_json_bool(item, "use_regex", false, &use_regex, err));
    if (add_prefix_space) {
        return refuse_option("pre_tokenizer", "ByteLevel with add_prefix_space", err);
    }
    if (!use_regex) {
        return LC_OK;
    }
    LC_TRY(lc_regex_compile(GPT2_PATTERN, &regex, err));
    return add_split(t, regex, true, true, err);
}

/* One step; *ends: it was ByteLevel, after which nothing may come. */
static lc_code read_step(lc_tokenizer *t, const cJSON *item, bool *ends, lc_err *err)
{
    const char *type = NULL;
    LC_TRY(part_type("pre_tokenizer", item, &type, err));
    *ends = strcmp(type, "ByteLevel") == 0;
    if (*ends) {
        return read_byte_level(t, item, err);
    }
    if (strcmp(type, "Split") == 0) {
        return read_split(t, item, err);
    }
    if (strcmp(type, "Digits") == 0) {
        return read_digits(t, item, err);
    }
    return refuse_type("pre_tokenizer", type, err);
}

static lc_code read_pre_tokenizer(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, "pre_tokenizer");
    const cJSON *steps = NULL;
    const char *type = NULL;
    bool ends = false;
    if (item == NULL) {
        return refuse_option("pre_tokenizer", "null", err);
    }
    LC_TRY(part_type("pre_tokenizer", item, &type, err));
    if (strcmp(type, "Sequence") != 0) {
        LC_TRY(read_step(t, item, &ends, err));
    } else {
        LC_TRY(lc_json_array(item, "pretokenizers", true, &steps, err));
        cJSON_ArrayForEach(item, steps)
        {
            if (ends) {
                return refuse_option("pre_tokenizer", "a step behind ByteLevel", err);
            }
            LC_TRY(read_step(t, item, &ends, err));
        }
    }
    return ends ? LC_OK : refuse_option("pre_tokenizer", "a pre-tokenizer without ByteLevel", err);
}

/* ---- model ---- */

static lc_code check_model(const cJSON *model, lc_err *err)
{
    const char *type = "BPE", *text = "";
    double dropout = 0.0;
    LC_TRY(lc_json_string(model, "type", false, &type, err));
    if (strcmp(type, "BPE") != 0) {
        return refuse_type("model", type, err);
    }
    LC_TRY(lc_json_double(model, "dropout", false, 0.0, 1.0, &dropout, err));
    if (dropout > 0.0) {
        return refuse_option("model", "dropout", err);
    }
    LC_TRY(lc_json_string(model, "continuing_subword_prefix", false, &text, err));
    if (text[0] != '\0') {
        return refuse_option("model", "continuing_subword_prefix", err);
    }
    LC_TRY(lc_json_string(model, "end_of_word_suffix", false, &text, err));
    if (text[0] != '\0') {
        return refuse_option("model", "end_of_word_suffix", err);
    }
    return LC_OK;
}

/* Largest id over vocabulary and added tokens, and how many bytes all spellings take with their
 * NULs. */
static lc_code measure(const cJSON *root, const cJSON *vocab, int32_t *largest, size_t *bytes,
                       lc_err *err)
{
    const cJSON *item = NULL, *added = NULL;
    const char *content = NULL;
    int32_t id = 0;
    *largest = -1;
    *bytes = 0;
    cJSON_ArrayForEach(item, vocab)
    {
        if (!read_id(item, &id)) {
            return lc_fail_param(
                err, LC_ERR_INVALID, "vocab",
                "model: the id of a vocabulary entry is not an integer in 0..%" PRId64,
                LC_MAX_TOKEN_COUNT - 1);
        }
        *largest = id > *largest ? id : *largest;
        *bytes += strlen(item->string) + 1;
    }
    LC_TRY(lc_json_array(root, "added_tokens", false, &added, err));
    cJSON_ArrayForEach(item, added)
    {
        if (!cJSON_IsObject(item) || !read_id(lc_json_get(item, "id"), &id)) {
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

/* Fills a token from its spelling; pools have room. */
static void fill_token(lc_token *token, const char *spelled, char **spellings, char **raw)
{
    const size_t length = strlen(spelled);
    memcpy(*spellings, spelled, length + 1);
    token->spelled = *spellings;
    token->spelled_bytes = (uint32_t)length;
    token->bytes = *raw;
    token->byte_count = (uint32_t)lc_byte_unspell(spelled, length, *raw);
    *spellings += length + 1;
    *raw += length + 1;
}

static lc_code enter_vocab(lc_tokenizer *t, const cJSON *vocab, char **spellings, char **raw,
                           lc_err *err)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, vocab)
    {
        int32_t id = 0;
        if (!read_id(item, &id) || t->bpe.tokens[id].spelled != NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, "vocab",
                                 "model: two vocabulary entries have the id %d", id);
        }
        fill_token(&t->bpe.tokens[id], item->string, spellings, raw);
        if (!lc_bpe_enter(&t->bpe, id)) {
            return lc_fail_param(err, LC_ERR_INVALID, "vocab",
                                 "model: a vocabulary entry is there twice");
        }
        if (t->bpe.ignore_merges && t->bpe.tokens[id].byte_count > 256) {
            return refuse_option("model", "ignore_merges with tokens above 256 bytes", err);
        }
    }
    return LC_OK;
}

/* The tokens of the single bytes. Where some are missing, Hugging Face drops the byte unless
 * unk_token says otherwise. */
static lc_code enter_bytes(lc_tokenizer *t, const cJSON *model, lc_err *err)
{
    bool complete = true, byte_fallback = false;
    for (int byte = 0; byte < 256; byte++) {
        char spelled[4];
        const size_t length = lc_byte_spell((uint8_t)byte, spelled);
        t->bpe.byte_ids[byte] = lc_bpe_find(&t->bpe, spelled, length);
        complete = complete && t->bpe.byte_ids[byte] >= 0;
    }
    LC_TRY(lc_json_bool(model, "byte_fallback", false, &byte_fallback, err));
    if (!complete && byte_fallback) {
        return refuse_option("model", "byte_fallback", err);
    }
    if (!complete && lc_json_get(model, "unk_token") != NULL) {
        return refuse_option("model", "unk_token with a vocabulary that lacks bytes", err);
    }
    return LC_OK;
}

/* The two sides of a merge: "a b" or ["a", "b"]. */
static bool merge_sides(const cJSON *item, const char **left, size_t *left_bytes,
                        const char **right)
{
    if (cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) {
            return false;
        }
        *left = item->valuestring;
        *left_bytes = (size_t)(space - item->valuestring);
        *right = space + 1;
        return true;
    }
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 || !cJSON_IsString(item->child) ||
        !cJSON_IsString(item->child->next)) {
        return false;
    }
    *left = item->child->valuestring;
    *left_bytes = strlen(*left);
    *right = item->child->next->valuestring;
    return true;
}

static lc_code enter_merges(lc_tokenizer *t, const cJSON *merges, lc_err *err)
{
    uint32_t rank = 0;
    const cJSON *item = NULL;
    lc_text whole;
    lc_text_init(&whole);
    cJSON_ArrayForEach(item, merges)
    {
        const char *left = NULL, *right = NULL;
        size_t left_bytes = 0;
        int32_t left_id = -1, right_id = -1, merged = -1;
        if (merge_sides(item, &left, &left_bytes, &right)) {
            const size_t right_bytes = strlen(right);
            whole.length = 0;
            lc_text_add(&whole, left, left_bytes);
            lc_text_add(&whole, right, right_bytes);
            if (whole.failed) {
                break;
            }
            left_id = lc_bpe_find(&t->bpe, left, left_bytes);
            right_id = lc_bpe_find(&t->bpe, right, right_bytes);
            merged = lc_bpe_find(&t->bpe, whole.data, whole.length);
        }
        if (left_id < 0 || right_id < 0 || merged < 0) {
            lc_text_release(&whole);
            return lc_fail_param(
                err, LC_ERR_INVALID, "merges",
                "model: merges[%u] does not join two tokens of the vocabulary to a third", rank);
        }
        lc_bpe_enter_merge(&t->bpe, left_id, right_id, rank++, merged);
    }
    const lc_code code = whole.failed ? lc_text_finish(&whole, "merges", err) : LC_OK;
    lc_text_release(&whole);
    return code;
}

static lc_code read_model(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *model = NULL, *vocab = NULL, *merges = NULL;
    int32_t largest = 0;
    size_t bytes = 0;
    LC_TRY(lc_json_object(root, "model", true, &model, err));
    LC_TRY(check_model(model, err));
    LC_TRY(lc_json_object(model, "vocab", true, &vocab, err));
    LC_TRY(lc_json_array(model, "merges", true, &merges, err));
    LC_TRY(lc_json_bool(model, "ignore_merges", false, &t->bpe.ignore_merges, err));
    LC_TRY(measure(root, vocab, &largest, &bytes, err));
    const int64_t vocab_count = cJSON_GetArraySize(vocab), merge_count = cJSON_GetArraySize(merges);
    if (vocab_count == 0 || vocab_count > LC_MAX_TOKEN_COUNT || merge_count > LC_MAX_MERGES) {
        return lc_fail_param(err, LC_ERR_INVALID, "model",
                             "model: %" PRId64 " vocabulary entries and %" PRId64
                             " merges (limits 1..%" PRId64 " and %" PRId64 ")",
                             vocab_count, merge_count, LC_MAX_TOKEN_COUNT, LC_MAX_MERGES);
    }
    LC_TRY(lc_bpe_init(&t->bpe, largest + 1, (size_t)vocab_count, (size_t)merge_count, &t->arena,
                       err));
    void *spellings = NULL, *raw = NULL;
    LC_TRY(lc_arena_alloc(&t->arena, bytes + 1, 1, &spellings, err));
    LC_TRY(lc_arena_alloc(&t->arena, bytes + 1, 1, &raw, err));
    t->spellings = spellings;
    t->raw = raw;
    LC_TRY(enter_vocab(t, vocab, &t->spellings, &t->raw, err));
    LC_TRY(enter_bytes(t, model, err));
    t->vocab_count = (int32_t)vocab_count;
    return enter_merges(t, merges, err);
}

/* ---- added tokens ---- */

static lc_code check_added_flags(const cJSON *item, const char *shown, lc_err *err)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        bool set = false;
        LC_TRY(lc_json_bool(item, flags[i], false, &set, err));
        if (set) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, "added_tokens",
                                 "added token \"%.64s\": %s is not supported", shown, flags[i]);
        }
    }
    return LC_OK;
}

/* Hugging Face gives an added token the id that the vocabulary has for it, else the next free one,
 * whatever the file says; a file that says something else is refused. */
static lc_code check_added_id(lc_tokenizer *t, const char *content, int32_t id, int32_t *largest,
                              const char *shown, lc_err *err)
{
    int32_t expected = lc_bpe_find(&t->bpe, content, strlen(content));
    if (expected < 0) {
        expected = *largest >= t->vocab_count ? *largest + 1 : t->vocab_count;
    }
    if (id != expected) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "added_tokens",
                             "added token \"%.64s\" has id %d where %d would follow: not supported",
                             shown, id, expected);
    }
    *largest = id > *largest ? id : *largest;
    return LC_OK;
}

static lc_code read_added_token(lc_tokenizer *t, const cJSON *item, int32_t *largest,
                                bool *normalized, lc_err *err)
{
    const char *content = NULL;
    int32_t id = 0;
    bool special = false;
    *normalized = true;
    LC_TRY(lc_json_string(item, "content", true, &content, err));
    const char *shown = lc_is_printable(content) ? content : "(unprintable)";
    LC_TRY(lc_json_bool(item, "special", false, &special, err));
    *normalized = !special;
    LC_TRY(lc_json_bool(item, "normalized", false, normalized, err));
    LC_TRY(check_added_flags(item, shown, err));
    if (content[0] == '\0' || !read_id(lc_json_get(item, "id"), &id)) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens", "an added token has no content");
    }
    LC_TRY(check_added_id(t, content, id, largest, shown, err));
    lc_token *token = &t->bpe.tokens[id];
    if (token->added) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "added token \"%.64s\" is there twice", shown);
    }
    if (token->spelled == NULL) {
        fill_token(token, content, &t->spellings, &t->raw);
    } else if (strcmp(token->spelled, content) != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "added token \"%.64s\" has the id %d of another token", shown, id);
    }
    token->special = special;
    token->added = true;
    t->added_ids[t->added_count++] = id;
    return LC_OK;
}

/* qsort has no context: the tokens being sorted carry all it needs. */
typedef struct sort_key {
    const lc_token *token;
    int32_t id;
} sort_key;

static int compare_added(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    const uint8_t bx = (uint8_t)x->token->spelled[0], by = (uint8_t)y->token->spelled[0];
    if (bx != by) {
        return bx < by ? -1 : 1;
    }
    if (x->token->spelled_bytes != y->token->spelled_bytes) {
        return x->token->spelled_bytes > y->token->spelled_bytes ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static lc_code index_added(lc_tokenizer *t, lc_added_set *set, sort_key *keys, int32_t count,
                           lc_err *err)
{
    void *memory = NULL;
    qsort(keys, (size_t)count, sizeof *keys, compare_added);
    LC_TRY(lc_arena_alloc(&t->arena, (size_t)count + 1, sizeof *set->ids, &memory, err));
    set->ids = memory;
    for (int32_t i = 0; i < count; i++) {
        set->ids[i] = keys[i].id;
        set->first[(uint8_t)keys[i].token->spelled[0] + 1]++;
    }
    for (int byte = 0; byte < 256; byte++) {
        set->first[byte + 1] += set->first[byte];
    }
    return LC_OK;
}

static lc_code read_added_list(lc_tokenizer *t, const cJSON *list, sort_key *keys, int32_t count,
                               lc_err *err)
{
    int32_t largest = -1, first_pass = 0, second_pass = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        bool normalized = true;
        LC_TRY(read_added_token(t, item, &largest, &normalized, err));
        const int32_t id = t->added_ids[t->added_count - 1];
        const int32_t place = normalized ? count - 1 - second_pass++ : first_pass++;
        keys[place] = (sort_key){&t->bpe.tokens[id], id};
    }
    LC_TRY(index_added(t, &t->added[0], keys, first_pass, err));
    return index_added(t, &t->added[1], keys + first_pass, second_pass, err);
}

static lc_code read_added(lc_tokenizer *t, const cJSON *list, lc_err *err)
{
    const int64_t count = list != NULL ? cJSON_GetArraySize(list) : 0;
    void *memory = NULL;
    if (count > LC_MAX_ADDED_TOKENS) {
        return lc_fail_param(err, LC_ERR_INVALID, "added_tokens",
                             "%" PRId64 " added tokens, more than the limit of %d", count,
                             LC_MAX_ADDED_TOKENS);
    }
    LC_TRY(lc_arena_alloc(&t->arena, (size_t)count + 1, sizeof *t->added_ids, &memory, err));
    t->added_ids = memory;
    LC_TRY(lc_new(&memory, (size_t)count + 1, sizeof(sort_key), "added tokens", err));
    const lc_code code = read_added_list(t, list, memory, (int32_t)count, err);
    lc_free(memory);
    return code;
}

/* ---- post-processor ---- */

/* The ids of one SpecialToken of a template, onto one side of the sequence. */
static lc_code read_affix(lc_tokenizer *t, const cJSON *processor, const cJSON *entry, bool behind,
                          lc_err *err)
{
    const char *name = NULL;
    const cJSON *known = NULL, *ids = NULL, *item = NULL;
    LC_TRY(lc_json_string(entry, "id", true, &name, err));
    LC_TRY(lc_json_object(processor, "special_tokens", true, &known, err));
    LC_TRY(lc_json_object(known, name, true, &known, err));
    LC_TRY(lc_json_array(known, "ids", true, &ids, err));
    int32_t *side = behind ? t->suffix : t->prefix;
    int *count = behind ? &t->suffix_count : &t->prefix_count;
    cJSON_ArrayForEach(item, ids)
    {
        int32_t id = 0;
        if (*count == LC_MAX_AFFIX_TOKENS) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, "post_processor",
                                 "post_processor: more than %d special tokens on one side of the "
                                 "text are not supported",
                                 LC_MAX_AFFIX_TOKENS);
        }
        if (!read_id(item, &id) || id >= t->bpe.token_count || t->bpe.tokens[id].spelled == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, "post_processor",
                                 "post_processor: a special token's id is not in the vocabulary");
        }
        side[(*count)++] = id;
    }
    return LC_OK;
}

static lc_code read_template(lc_tokenizer *t, const cJSON *processor, lc_err *err)
{
    const cJSON *single = NULL, *item = NULL;
    int sequences = 0;
    if (t->prefix_count + t->suffix_count > 0) {
        return refuse_option("post_processor", "a second TemplateProcessing", err);
    }
    LC_TRY(lc_json_array(processor, "single", true, &single, err));
    cJSON_ArrayForEach(item, single)
    {
        const cJSON *special = lc_json_get(item, "SpecialToken");
        const cJSON *sequence = lc_json_get(item, "Sequence");
        const char *id = NULL;
        if (special != NULL) {
            LC_TRY(read_affix(t, processor, special, sequences > 0, err));
            continue;
        }
        if (sequence == NULL || sequences++ > 0) {
            return refuse_option("post_processor", "this TemplateProcessing", err);
        }
        LC_TRY(lc_json_string(sequence, "id", true, &id, err));
        if (strcmp(id, "A") != 0) {
            return refuse_option("post_processor", "this TemplateProcessing", err);
        }
    }
    return sequences == 1 ? LC_OK : refuse_option("post_processor", "this TemplateProcessing", err);
}

static lc_code read_processor(lc_tokenizer *t, const cJSON *item, const char *type, lc_err *err)
{
    if (strcmp(type, "ByteLevel") == 0) {
        return LC_OK; /* moves offsets only */
    }
    if (strcmp(type, "TemplateProcessing") == 0) {
        return read_template(t, item, err);
    }
    return refuse_type("post_processor", type, err);
}

static lc_code read_post_processor(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, "post_processor"), *list = NULL;
    const char *type = NULL;
    if (item == NULL) {
        return LC_OK;
    }
    LC_TRY(part_type("post_processor", item, &type, err));
    if (strcmp(type, "Sequence") != 0) {
        return read_processor(t, item, type, err);
    }
    LC_TRY(lc_json_array(item, "processors", true, &list, err));
    cJSON_ArrayForEach(item, list)
    {
        LC_TRY(part_type("post_processor", item, &type, err));
        LC_TRY(read_processor(t, item, type, err));
    }
    return LC_OK;
}
