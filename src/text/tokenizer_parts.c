/*
 * The parts of a tokenizer.json around its model: normalizer, pre-tokenizer, post-processor and
 * decoder become rows of steps. A Sequence, and one within another, is the row of its steps.
 */
#include "text/tokenizer_internal.h"

#include <string.h>

#include "text/text_checks.h"
#include "text/utf8.h"

/* GPT-2's split, built into ByteLevel with use_regex. */
#define GPT2_PATTERN \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* Reads one step of a part. */
typedef lc_code (*read_step_fn)(lc_tokenizer *t, const cJSON *item, const char *type, lc_err *err);

/* Reads a part, or the steps that it lists under `list` when it is a Sequence. The depth is that of
 * the JSON text, at most LC_MAX_JSON_DEPTH. */
static lc_code read_part(lc_tokenizer *t, const char *part, const cJSON *item, const char *list,
                         read_step_fn read_step, lc_err *err)
{
    const char *type = NULL;
    const cJSON *steps = NULL;
    if (!cJSON_IsObject(item)) {
        return lc_fail_param(err, LC_ERR_INVALID, part, "%s is not an object", part);
    }
    if (lc_json_string(item, "type", true, &type, err) != LC_OK) {
        return lc_err_context(err, "%s", part);
    }
    if (strcmp(type, "Sequence") != 0) {
        return read_step(t, item, type, err);
    }
    LC_TRY(lc_json_array(item, list, true, &steps, err));
    cJSON_ArrayForEach(item, steps)
    {
        LC_TRY(read_part(t, part, item, list, read_step, err));
    }
    return LC_OK;
}

/* ---- what the parts share ---- */

/* A text of the file, kept with the tokenizer. */
static lc_code keep_text(lc_tokenizer *t, const char *text, const char **out, size_t *bytes,
                         lc_err *err)
{
    char *copy = NULL;
    *bytes = strlen(text);
    LC_TRY(lc_arena_strdup(&t->arena, text, *bytes, &copy, err));
    *out = copy;
    return LC_OK;
}

/* A member that is a single character. */
static lc_code read_character(lc_tokenizer *t, const char *part, const cJSON *item, const char *key,
                              const char **out, size_t *bytes, lc_err *err)
{
    const char *text = NULL;
    size_t length = 0;
    LC_TRY(lc_json_string(item, key, true, &text, err));
    if (text[0] == '\0' || lc_utf8_next(text, strlen(text), &length) != LC_UTF8_CHARACTER ||
        text[length] != '\0') {
        return lc_fail_param(err, LC_ERR_INVALID, part, "%s: \"%s\" is not one character", part,
                             key);
    }
    return keep_text(t, text, out, bytes, err);
}

static lc_code literal_finder(lc_tokenizer *t, const char *part, const char *text,
                              lc_finder *finder, lc_err *err)
{
    if (text[0] == '\0') {
        return lc_refuse_option(part, "an empty pattern", err);
    }
    finder->kind = LC_FIND_LITERAL;
    return keep_text(t, text, &finder->literal, &finder->literal_bytes, err);
}

/* {"String": ...} or {"Regex": ...}. */
static lc_code read_pattern(lc_tokenizer *t, const char *part, const char *type, const cJSON *item,
                            lc_finder *finder, lc_err *err)
{
    const cJSON *object = NULL;
    const char *pattern = NULL;
    LC_TRY(lc_json_object(item, "pattern", true, &object, err));
    if (lc_json_get(object, "String") != NULL) {
        LC_TRY(lc_json_string(object, "String", true, &pattern, err));
        return literal_finder(t, part, pattern, finder, err);
    }
    LC_TRY(lc_json_string(object, "Regex", true, &pattern, err));
    finder->kind = LC_FIND_REGEX;
    if (lc_regex_compile(pattern, &finder->regex, err) != LC_OK) {
        return lc_err_context(err, "%s %s", part, type);
    }
    return LC_OK;
}

typedef enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;

/* prepend_scheme of a Metaspace, and the older add_prefix_space, which may say the same. */
static lc_code read_scheme(const char *part, const cJSON *item, prepend_scheme *scheme, lc_err *err)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *name = "always";
    bool add_prefix_space = true;
    LC_TRY(lc_json_string(item, "prepend_scheme", false, &name, err));
    LC_TRY(lc_json_bool(item, "add_prefix_space", false, &add_prefix_space, err));
    for (int i = 0; i <= PREPEND_NEVER; i++) {
        if (strcmp(name, names[i]) == 0) {
            *scheme = (prepend_scheme)i;
            return add_prefix_space || *scheme == PREPEND_NEVER
                       ? LC_OK
                       : lc_fail_param(err, LC_ERR_INVALID, part,
                                       "%s: Metaspace has add_prefix_space false and "
                                       "prepend_scheme \"%s\"",
                                       part, name);
        }
    }
    return lc_refuse_option(part, "this prepend_scheme of Metaspace", err);
}

/* ---- normalizer ---- */

#define NORMALIZER "normalizer"

static lc_code new_normalizer(lc_tokenizer *t, lc_normal_kind kind, lc_normal_step **out,
                              lc_err *err)
{
    if (t->normalizer.count == LC_MAX_NORMALIZERS) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, NORMALIZER,
                             "normalizer: more than %d steps are not supported",
                             LC_MAX_NORMALIZERS);
    }
    *out = &t->normalizer.steps[t->normalizer.count++];
    **out = (lc_normal_step){.kind = kind};
    return LC_OK;
}

static lc_code read_replace(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_normal_step *step = NULL;
    const char *content = NULL;
    LC_TRY(new_normalizer(t, LC_NORMAL_REPLACE, &step, err));
    LC_TRY(lc_json_string(item, "content", true, &content, err));
    LC_TRY(keep_text(t, content, &step->content, &step->content_bytes, err));
    return read_pattern(t, NORMALIZER, "Replace", item, &step->finder, err);
}

static lc_code read_prepend(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_normal_step *step = NULL;
    const char *content = NULL;
    LC_TRY(new_normalizer(t, LC_NORMAL_PREPEND, &step, err));
    LC_TRY(lc_json_string(item, "prepend", true, &content, err));
    if (content[0] == '\0') {
        return lc_refuse_option(NORMALIZER, "an empty Prepend", err);
    }
    return keep_text(t, content, &step->content, &step->content_bytes, err);
}

static lc_code read_normalizer_step(lc_tokenizer *t, const cJSON *item, const char *type,
                                    lc_err *err)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    lc_normal_step *step = NULL;
    if (strcmp(type, "Replace") == 0) {
        return read_replace(t, item, err);
    }
    if (strcmp(type, "Prepend") == 0) {
        return read_prepend(t, item, err);
    }
    for (int form = LC_FORM_C; form <= LC_FORM_KD; form++) {
        if (strcmp(type, forms[form]) == 0) {
            LC_TRY(new_normalizer(t, LC_NORMAL_FORM, &step, err));
            step->form = (lc_form)form;
            return LC_OK;
        }
    }
    return lc_refuse_type(NORMALIZER, type, err);
}

lc_code lc_read_normalizer(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, NORMALIZER);
    return item == NULL ? LC_OK
                        : read_part(t, NORMALIZER, item, "normalizers", read_normalizer_step, err);
}

/* ---- pre-tokenizer ---- */

#define PRE_TOKENIZER "pre_tokenizer"

static lc_code new_step(lc_tokenizer *t, lc_step_kind kind, lc_step **out, lc_err *err)
{
    if (t->step_count == LC_MAX_STEPS) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, PRE_TOKENIZER,
                             "pre_tokenizer: more than %d steps are not supported", LC_MAX_STEPS);
    }
    *out = &t->steps[t->step_count++];
    **out = (lc_step){.kind = kind, .split = {.behavior = LC_SPLIT_ISOLATED}};
    return LC_OK;
}

static lc_code read_behavior(const cJSON *item, bool required, lc_behavior *behavior, lc_err *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = "Isolated";
    LC_TRY(lc_json_string(item, "behavior", required, &name, err));
    for (int i = LC_SPLIT_REMOVED; i <= LC_SPLIT_CONTIGUOUS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *behavior = (lc_behavior)i;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, PRE_TOKENIZER,
                         "pre_tokenizer: the behavior \"%.32s\" is not supported",
                         lc_is_printable(name) ? name : "(unprintable)");
}

static lc_code read_split(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_step *step = NULL;
    LC_TRY(new_step(t, LC_STEP_SPLIT, &step, err));
    LC_TRY(read_behavior(item, true, &step->split.behavior, err));
    LC_TRY(lc_json_bool(item, "invert", false, &step->split.invert, err));
    return read_pattern(t, PRE_TOKENIZER, "Split", item, &step->split.finder, err);
}

static lc_code read_digits(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    bool individual = false;
    lc_step *step = NULL;
    LC_TRY(lc_json_bool(item, "individual_digits", false, &individual, err));
    LC_TRY(new_step(t, LC_STEP_SPLIT, &step, err));
    return lc_regex_compile_digits(individual, &step->split.finder.regex, err);
}

static lc_code read_punctuation(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_step *step = NULL;
    LC_TRY(new_step(t, LC_STEP_SPLIT, &step, err));
    step->split.finder.kind = LC_FIND_PUNCTUATION;
    return read_behavior(item, false, &step->split.behavior, err);
}

static lc_code read_byte_level(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    bool add_prefix_space = true, use_regex = true;
    lc_step *step = NULL;
    LC_TRY(lc_json_bool(item, "add_prefix_space", false, &add_prefix_space, err));
    LC_TRY(lc_json_bool(item, "use_regex", false, &use_regex, err));
    if (add_prefix_space) {
        LC_TRY(new_step(t, LC_STEP_PREPEND, &step, err));
        step->content = " ";
        step->content_bytes = 1;
    }
    if (use_regex) {
        LC_TRY(new_step(t, LC_STEP_SPLIT, &step, err));
        LC_TRY(lc_regex_compile(GPT2_PATTERN, &step->split.finder.regex, err));
    }
    return new_step(t, LC_STEP_SPELL, &step, err);
}

/* Blanks become the replacement, which may also be put in front, and words begin with it. */
static lc_code read_metaspace(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    prepend_scheme scheme = PREPEND_ALWAYS;
    bool split = true;
    const char *replacement = NULL;
    size_t bytes = 0;
    lc_step *step = NULL;
    LC_TRY(read_character(t, PRE_TOKENIZER, item, "replacement", &replacement, &bytes, err));
    LC_TRY(read_scheme(PRE_TOKENIZER, item, &scheme, err));
    LC_TRY(lc_json_bool(item, "split", false, &split, err));
    LC_TRY(new_step(t, LC_STEP_REPLACE, &step, err));
    LC_TRY(literal_finder(t, PRE_TOKENIZER, " ", &step->split.finder, err));
    step->content = replacement;
    step->content_bytes = bytes;
    if (scheme != PREPEND_NEVER) {
        LC_TRY(new_step(t, LC_STEP_PREPEND, &step, err));
        step->content = replacement;
        step->content_bytes = bytes;
        step->only_first = scheme == PREPEND_FIRST;
    }
    if (split) {
        LC_TRY(new_step(t, LC_STEP_SPLIT, &step, err));
        step->split.behavior = LC_SPLIT_WITH_NEXT;
        return literal_finder(t, PRE_TOKENIZER, replacement, &step->split.finder, err);
    }
    return LC_OK;
}

static lc_code read_pre_tokenizer_step(lc_tokenizer *t, const cJSON *item, const char *type,
                                       lc_err *err)
{
    static const struct {
        const char *type;
        lc_code (*read)(lc_tokenizer *, const cJSON *, lc_err *);
    } known[] = {{"ByteLevel", read_byte_level},
                 {"Split", read_split},
                 {"Digits", read_digits},
                 {"Metaspace", read_metaspace},
                 {"Punctuation", read_punctuation}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(type, known[i].type) == 0) {
            return known[i].read(t, item, err);
        }
    }
    return lc_refuse_type(PRE_TOKENIZER, type, err);
}

lc_code lc_read_pre_tokenizer(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, PRE_TOKENIZER);
    return item == NULL
               ? LC_OK
               : read_part(t, PRE_TOKENIZER, item, "pretokenizers", read_pre_tokenizer_step, err);
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
        if (!lc_read_token_id(item, &id) || id >= t->bpe.token_count ||
            t->bpe.tokens[id].spelled == NULL) {
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
        return lc_refuse_option("post_processor", "a second TemplateProcessing", err);
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
            return lc_refuse_option("post_processor", "this TemplateProcessing", err);
        }
        LC_TRY(lc_json_string(sequence, "id", true, &id, err));
        if (strcmp(id, "A") != 0) {
            return lc_refuse_option("post_processor", "this TemplateProcessing", err);
        }
    }
    return sequences == 1 ? LC_OK
                          : lc_refuse_option("post_processor", "this TemplateProcessing", err);
}

/* Does nothing to the ids. */
static lc_code read_trimming(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    bool trims = true, add_prefix_space = true;
    LC_TRY(lc_json_bool(item, "trim_offsets", false, &trims, err));
    LC_TRY(lc_json_bool(item, "add_prefix_space", false, &add_prefix_space, err));
    if (trims && t->trims_offsets) {
        return lc_refuse_option("post_processor", "a second ByteLevel with trim_offsets", err);
    }
    if (trims) {
        t->trims_offsets = true;
        t->keeps_first_blank = add_prefix_space;
    }
    return LC_OK;
}

static lc_code read_processor(lc_tokenizer *t, const cJSON *item, const char *type, lc_err *err)
{
    if (strcmp(type, "ByteLevel") == 0) {
        return read_trimming(t, item, err);
    }
    if (strcmp(type, "TemplateProcessing") == 0) {
        return read_template(t, item, err);
    }
    return lc_refuse_type("post_processor", type, err);
}

lc_code lc_read_post_processor(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, "post_processor");
    return item == NULL ? LC_OK
                        : read_part(t, "post_processor", item, "processors", read_processor, err);
}

/* ---- decoder ---- */

#define DECODER "decoder"

/* A new step. Some kinds remember something from token to token, which the stream keeps once; and
 * behind one that makes a single text of all tokens only Strip makes sense. */
static lc_code new_decoder(lc_tokenizer *t, lc_decode_kind kind, lc_decode_step **out, lc_err *err)
{
    lc_decoder *d = &t->decoder;
    bool is_fused = false, is_there = false;
    for (int i = 0; i < d->count; i++) {
        is_fused = is_fused || d->steps[i].kind == LC_DECODE_FUSE ||
                   d->steps[i].kind == LC_DECODE_BYTE_LEVEL;
        is_there = is_there || d->steps[i].kind == kind;
    }
    if (d->count == LC_MAX_DECODERS) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, DECODER,
                             "decoder: more than %d steps are not supported", LC_MAX_DECODERS);
    }
    if (is_fused && kind != LC_DECODE_STRIP && kind != LC_DECODE_FUSE) {
        return lc_refuse_option(DECODER, "a step behind Fuse or ByteLevel other than Strip", err);
    }
    if (is_there && kind != LC_DECODE_REPLACE && kind != LC_DECODE_FUSE) {
        return lc_refuse_option(DECODER, "the same step twice", err);
    }
    *out = &d->steps[d->count++];
    **out = (lc_decode_step){.kind = kind, .is_fused = is_fused};
    return LC_OK;
}

static lc_code read_decode_replace(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_decode_step *step = NULL;
    const cJSON *pattern = NULL;
    const char *match = NULL, *content = NULL;
    LC_TRY(new_decoder(t, LC_DECODE_REPLACE, &step, err));
    LC_TRY(lc_json_object(item, "pattern", true, &pattern, err));
    if (lc_json_get(pattern, "Regex") != NULL) {
        return lc_refuse_option(DECODER, "Replace with a Regex", err);
    }
    LC_TRY(lc_json_string(pattern, "String", true, &match, err));
    LC_TRY(lc_json_string(item, "content", true, &content, err));
    if (match[0] == '\0') {
        return lc_refuse_option(DECODER, "an empty pattern", err);
    }
    LC_TRY(keep_text(t, match, &step->match, &step->match_bytes, err));
    return keep_text(t, content, &step->content, &step->content_bytes, err);
}

static lc_code read_decode_metaspace(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_decode_step *step = NULL;
    prepend_scheme scheme = PREPEND_ALWAYS;
    LC_TRY(new_decoder(t, LC_DECODE_METASPACE, &step, err));
    LC_TRY(read_scheme(DECODER, item, &scheme, err));
    step->drops_first = scheme != PREPEND_NEVER;
    step->content = " ";
    step->content_bytes = 1;
    return read_character(t, DECODER, item, "replacement", &step->match, &step->match_bytes, err);
}

static lc_code read_decode_strip(lc_tokenizer *t, const cJSON *item, lc_err *err)
{
    lc_decode_step *step = NULL;
    int64_t start = 0, stop = 0;
    LC_TRY(new_decoder(t, LC_DECODE_STRIP, &step, err));
    LC_TRY(lc_json_int(item, "start", true, 0, INT32_MAX, &start, err));
    LC_TRY(lc_json_int(item, "stop", true, 0, INT32_MAX, &stop, err));
    if (stop > 0) {
        return lc_refuse_option(DECODER, "Strip at the end (stop)", err);
    }
    step->start = (size_t)start;
    return read_character(t, DECODER, item, "content", &step->content, &step->content_bytes, err);
}

static lc_code read_decoder_step(lc_tokenizer *t, const cJSON *item, const char *type, lc_err *err)
{
    lc_decode_step *step = NULL;
    if (strcmp(type, "ByteLevel") == 0) {
        return new_decoder(t, LC_DECODE_BYTE_LEVEL, &step, err);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        return new_decoder(t, LC_DECODE_BYTE_FALLBACK, &step, err);
    }
    if (strcmp(type, "Fuse") == 0) {
        return new_decoder(t, LC_DECODE_FUSE, &step, err);
    }
    if (strcmp(type, "Replace") == 0) {
        return read_decode_replace(t, item, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_decode_metaspace(t, item, err);
    }
    return strcmp(type, "Strip") == 0 ? read_decode_strip(t, item, err)
                                      : lc_refuse_type(DECODER, type, err);
}

lc_code lc_read_decoder(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    const cJSON *item = lc_json_get(root, DECODER);
    lc_decode_step *step = NULL;
    return item == NULL ? new_decoder(t, LC_DECODE_JOIN, &step, err)
                        : read_part(t, DECODER, item, "decoders", read_decoder_step, err);
}
