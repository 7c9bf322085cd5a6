/*
 * Patterns of tokenizer.json on PCRE2, see regex.h. The rewriting knows what the published byte-
 * level tokenizers use: literals, groups, look-around, classes, \s \d \p{..}, repeats.
 */
#include "text/regex.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "lorac/mem.h"
#include "text/pattern.h"
#include "text/unicode_new.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* White_Space of Unicode. PCRE2's \s has U+180E besides. */
#define SPACES                                                                                  \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{" \
    "205f}\\x{3000}"

/* PCRE2 sees this much of the text first, and may start at about FIRST_WINDOW^2 / window places. */
#define FIRST_WINDOW ((size_t)256)
#define FIRST_STEPS  256u
#define MORE_STEPS   4u /* times as many when they were too few */

struct lc_regex {
    const lc_pattern *pattern; /* or NULL, and */
    pcre2_code *code;          /* owned */
};

struct lc_matcher {
    pcre2_general_context *general;
    pcre2_match_context *context;
    pcre2_match_data *data;
    size_t first_window;
    uint64_t work; /* what this text may still cost */
};

/* One search on PCRE2. */
typedef struct search {
    const lc_regex *regex;
    lc_matcher *matcher;
    const char *text;
    size_t bytes;
    size_t start;   /* no match begins before it */
    size_t window;  /* bytes from there that PCRE2 may look at */
    size_t places;  /* at most, to start from */
    uint32_t steps; /* for each of them */
} search;

/* A pattern being rewritten. */
typedef struct rewriter {
    const char *at; /* the rest of the pattern */
    const char *whole;
    bool in_class;
    lc_text out;
    lc_err *err;
} rewriter;

static lc_code rewrite(rewriter *r);

/* ---- PCRE2 with our allocator ---- */

static void *allocate(size_t bytes, void *unused)
{
    (void)unused;
    return lc_malloc(bytes);
}

static void release(void *memory, void *unused)
{
    (void)unused;
    lc_free(memory);
}

static lc_code compile(const char *pattern, lc_regex **out, lc_err *err)
{
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                             PCRE2_NO_AUTO_CAPTURE | PCRE2_NO_UTF_CHECK | PCRE2_USE_OFFSET_LIMIT;
    int error = 0;
    PCRE2_SIZE error_at = 0;
    uint32_t matches_empty = 0;
    lc_code code = LC_OK;
    lc_regex *regex = lc_calloc(1, sizeof *regex);
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = general != NULL ? pcre2_compile_context_create(general) : NULL;
    if (regex == NULL || context == NULL) {
        code = lc_fail(err, LC_ERR_MEMORY, "no memory for a regular expression");
        goto done;
    }
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error,
                                &error_at, context);
    if (regex->code == NULL) {
        PCRE2_UCHAR text[128] = "";
        (void)pcre2_get_error_message(error, text, sizeof text);
        code = lc_fail(err, error == PCRE2_ERROR_HEAP_FAILED ? LC_ERR_MEMORY : LC_ERR_INVALID,
                       "%s at %zu of \"%.200s\"", (const char *)text, (size_t)error_at, pattern);
        goto done;
    }
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty != 0) {
        code = lc_fail(err, LC_ERR_UNSUPPORTED, "it can match an empty text: not supported");
        goto done;
    }
    /* a speed-up; fine when there is none */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
done:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (code != LC_OK) {
        lc_regex_free(regex);
        regex = NULL;
    }
    *out = regex;
    return code;
}

static lc_code create_matched_by_hand(const lc_pattern *pattern, lc_regex **out, lc_err *err)
{
    lc_regex *regex = lc_calloc(1, sizeof *regex);
    *out = regex;
    if (regex == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a regular expression");
    }
    regex->pattern = pattern;
    return LC_OK;
}

lc_code lc_regex_compile(const char *pattern, lc_regex **out, lc_err *err)
{
    const lc_pattern *known = lc_pattern_of(pattern);
    return known != NULL ? create_matched_by_hand(known, out, err)
                         : lc_regex_compile_pcre2(pattern, out, err);
}

lc_code lc_regex_compile_digits(bool individual, lc_regex **out, lc_err *err)
{
    return create_matched_by_hand(lc_pattern_digits(individual), out, err);
}

lc_code lc_regex_compile_pcre2(const char *pattern, lc_regex **out, lc_err *err)
{
    *out = NULL;
    if (strlen(pattern) > LC_MAX_REGEX_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "a regular expression of %zu bytes (limit %zu)",
                       strlen(pattern), LC_MAX_REGEX_BYTES);
    }
    rewriter r = {.at = pattern, .whole = pattern, .err = err};
    lc_text_init(&r.out);
    lc_code code = rewrite(&r);
    if (code == LC_OK) {
        code = lc_text_finish(&r.out, "regular expression", err);
    }
    if (code == LC_OK) {
        code = compile(r.out.data, out, err);
    }
    lc_text_release(&r.out);
    return code;
}

void lc_regex_free(lc_regex *regex)
{
    if (regex != NULL) {
        pcre2_code_free(regex->code);
        lc_free(regex);
    }
}

lc_code lc_matcher_create(lc_matcher **out, lc_err *err)
{
    lc_matcher *matcher = lc_calloc(1, sizeof *matcher);
    if (matcher != NULL) {
        matcher->general = pcre2_general_context_create(allocate, release, NULL);
    }
    if (matcher != NULL && matcher->general != NULL) {
        matcher->context = pcre2_match_context_create(matcher->general);
        matcher->data = pcre2_match_data_create(1, matcher->general);
    }
    if (matcher == NULL || matcher->context == NULL || matcher->data == NULL) {
        lc_matcher_free(matcher);
        *out = NULL;
        return lc_fail(err, LC_ERR_MEMORY, "no memory to match a regular expression");
    }
    matcher->first_window = FIRST_WINDOW;
    lc_matcher_begin(matcher, 0);
    *out = matcher;
    return LC_OK;
}

void lc_matcher_begin(lc_matcher *matcher, size_t text_bytes)
{
    matcher->work = LC_MAX_REGEX_WORK + (uint64_t)text_bytes * LC_MAX_REGEX_BYTE_WORK;
}

void lc_matcher_see(lc_matcher *matcher, size_t bytes)
{
    matcher->first_window = bytes;
}

void lc_matcher_free(lc_matcher *matcher)
{
    if (matcher != NULL) {
        pcre2_match_data_free(matcher->data);
        pcre2_match_context_free(matcher->context);
        pcre2_general_context_free(matcher->general);
        lc_free(matcher);
    }
}

/* ---- matching ---- */

static bool is_inside_character(const char *text, size_t at)
{
    return ((uint8_t)text[at] & 0xc0) == 0x80;
}

/* The end of the character that `at` lies in, `at` itself on a boundary. */
static size_t round_up(const search *s, size_t at)
{
    while (at < s->bytes && is_inside_character(s->text, at)) {
        at++;
    }
    return at < s->bytes ? at : s->bytes;
}

/* PCRE2 on text[0..end), with beginnings from s->start to last_start, the last byte of a character:
 * its JIT may try the place behind that one, too. Where the text goes on behind `end`, whatever
 * would look at that gives PCRE2_ERROR_PARTIAL. */
static int match_window(const search *s, size_t end, size_t last_start)
{
    lc_matcher *m = s->matcher;
    uint32_t options = PCRE2_NO_UTF_CHECK | (end < s->bytes ? PCRE2_PARTIAL_HARD : 0);
    (void)pcre2_set_match_limit(m->context, s->steps);
    (void)pcre2_set_offset_limit(m->context, last_start);
    int result = pcre2_match(s->regex->code, (PCRE2_SPTR)s->text, end, s->start, options, m->data,
                             m->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
        options |= PCRE2_NO_JIT;
        result = pcre2_match(s->regex->code, (PCRE2_SPTR)s->text, end, s->start, options, m->data,
                             m->context);
    }
    return result;
}

/* Takes the work off what is left, false when that is not enough. */
static bool spend(lc_matcher *matcher, uint64_t work)
{
    const bool enough = work <= matcher->work;
    matcher->work = enough ? matcher->work - work : 0;
    return enough;
}

static lc_code too_much(const search *s, int result, lc_err *err)
{
    if (result == PCRE2_ERROR_NOMEMORY) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to match a regular expression");
    }
    return lc_fail(err, LC_ERR_INVALID,
                   "splitting the text into words took too many steps (LC_MAX_REGEX_STEPS for a "
                   "match, LC_MAX_REGEX_WORK for a text; PCRE2 error %d at byte %zu)",
                   result, s->start);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Too few steps: one place alone, and then more steps. false: there are no more. */
static bool try_harder(search *s, size_t places)
{
    if (places > 1) {
        s->places = places / 8 > 0 ? places / 8 : 1;
        return true;
    }
    const bool has_more = s->steps < LC_MAX_REGEX_STEPS;
    s->steps = (uint32_t)least((size_t)s->steps * MORE_STEPS, LC_MAX_REGEX_STEPS);
    return has_more;
}

/*
 * A match of a backtracking engine can cost any power of what lies before it, and a search as many
 * times that as there are places to start from, each with all the steps of PCRE2's limit; and one
 * step may look at all that PCRE2 sees. So it sees a window of the text, from few places, with few
 * steps. The window grows when it was too small to know; where the steps were too few, the place
 * that needs more is found first and gets them alone. All that was, or may have been, looked at
 * counts against what the text may cost.
 */
static lc_code search_pcre2(search *s, bool *found, size_t *begin, size_t *end, lc_err *err)
{
    const PCRE2_SIZE *match = pcre2_get_ovector_pointer(s->matcher->data);
    *found = false;
    while (s->start < s->bytes) {
        const size_t seen = least(s->bytes - s->start, s->window);
        const size_t behind = round_up(s, s->start + seen);
        const size_t most = least(FIRST_WINDOW * FIRST_WINDOW / seen + 1, seen);
        const size_t places = least(s->places, most);
        const size_t last_start = round_up(s, s->start + places) - 1;
        const int result = match_window(s, behind, last_start);
        const bool has_place = result >= 0 || result == PCRE2_ERROR_PARTIAL;
        const size_t reached = has_place ? match[0] : last_start;
        uint64_t work = (uint64_t)(reached + 1 - s->start) * seen;
        if (result == PCRE2_ERROR_MATCHLIMIT) {
            work += (uint64_t)s->steps * (seen > FIRST_WINDOW ? seen : FIRST_WINDOW);
        }
        if (!spend(s->matcher, work) ||
            (result == PCRE2_ERROR_MATCHLIMIT && !try_harder(s, places))) {
            return too_much(s, PCRE2_ERROR_MATCHLIMIT, err);
        }
        if (result >= 0) {
            *found = true;
            *begin = match[0];
            *end = match[1];
            return LC_OK;
        }
        if (has_place) {
            s->start = reached;
            s->window *= 2;
        } else if (result == PCRE2_ERROR_NOMATCH) {
            s->start = reached + 1;
            s->places = 2 * places;
            s->steps = FIRST_STEPS;
        } else if (result != PCRE2_ERROR_MATCHLIMIT) {
            return too_much(s, result, err);
        }
    }
    return LC_OK;
}

lc_code lc_regex_find(const lc_regex *regex, lc_matcher *matcher, const char *text, size_t bytes,
                      size_t from, bool *found, size_t *begin, size_t *end, lc_err *err)
{
    if (regex->pattern != NULL) {
        *found = lc_pattern_find(regex->pattern, text, bytes, from, begin, end);
        return LC_OK;
    }
    search s = {.regex = regex,
                .matcher = matcher,
                .text = text,
                .bytes = bytes,
                .start = from,
                .window = matcher->first_window,
                .places = FIRST_WINDOW,
                .steps = FIRST_STEPS};
    return search_pcre2(&s, found, begin, end, err);
}

/* ---- rewriting ---- */

static void add(rewriter *r, const char *text)
{
    lc_text_add(&r->out, text, strlen(text));
}

static lc_code refuse(const rewriter *r, const char *construct)
{
    return lc_fail(r->err, LC_ERR_UNSUPPORTED,
                   "%s at %zu of the regular expression \"%.200s\" is not supported", construct,
                   (size_t)(r->at - r->whole), r->whole);
}

/* Whether the category of a range belongs to a property: "Lu" to "L" and to "Lu". */
static bool belongs(const char *category, const char *property)
{
    return strncmp(category, property, strlen(property)) == 0;
}

static void add_new_code_points(rewriter *r, const char *property)
{
    for (size_t i = 0; i < sizeof lc_unicode_new / sizeof lc_unicode_new[0]; i++) {
        const lc_unicode_range *range = &lc_unicode_new[i];
        if (belongs(range->category, property)) {
            lc_text_addf(&r->out, "\\x{%x}-\\x{%x}", range->first, range->last);
        }
    }
}

/* The members of a class escape, for use between brackets. */
static void add_members(rewriter *r, const char *escape, const char *property)
{
    add(r, escape);
    add_new_code_points(r, property);
}

/* \p{..} and \P{..}; r->at is behind the letter. */
static lc_code rewrite_property(rewriter *r, bool negated)
{
    static const char *const known[] = {"L", "Lu", "Ll", "Lt", "Lm", "Lo",
                                        "M", "N",  "Nd", "P",  "S",  "Z"};
    const char *close = r->at[0] == '{' ? strchr(r->at, '}') : NULL;
    char name[4] = "", escape[16];
    if (close == NULL || close - r->at - 1 < 1 || close - r->at - 1 > 3) {
        return refuse(r, "this \\p");
    }
    memcpy(name, r->at + 1, (size_t)(close - r->at - 1));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i]) == 0) {
            if (negated && r->in_class) {
                return refuse(r, "\\P in a class");
            }
            (void)snprintf(escape, sizeof escape, "\\p{%s}", name);
            add(r, r->in_class ? "" : negated ? "[^" : "[");
            add_members(r, escape, name);
            add(r, r->in_class ? "" : "]");
            r->at = close + 1;
            return LC_OK;
        }
    }
    return refuse(r, "this \\p");
}

/* \s \S \d \D; r->at is behind the letter. */
static lc_code rewrite_class_escape(rewriter *r, char letter)
{
    const bool negated = letter == 'S' || letter == 'D';
    if (r->in_class && letter == 'S') {
        add(r, "\\S\\x{180e}");
        return LC_OK;
    }
    if (r->in_class && letter == 'D') {
        return refuse(r, "\\D in a class");
    }
    add(r, r->in_class ? "" : negated ? "[^" : "[");
    if (letter == 's' || letter == 'S') {
        add(r, SPACES);
    } else {
        add_members(r, "\\d", "Nd");
    }
    add(r, r->in_class ? "" : "]");
    return LC_OK;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static lc_code rewrite_escape(rewriter *r)
{
    const char letter = r->at[1];
    if (letter == '\0') {
        return refuse(r, "a lone backslash");
    }
    if (letter != 's' && letter != 'S' && letter != 'd' && letter != 'D' && letter != 'p' &&
        letter != 'P' && letter != 'r' && letter != 'n' && letter != 't' &&
        (is_alphanumeric(letter) || (unsigned char)letter >= 0x80)) {
        return refuse(r, "this escape");
    }
    r->at += 2;
    if (letter == 'p' || letter == 'P') {
        return rewrite_property(r, letter == 'P');
    }
    if (letter == 's' || letter == 'S' || letter == 'd' || letter == 'D') {
        return rewrite_class_escape(r, letter);
    }
    const char same[3] = {'\\', letter, '\0'}; /* \r \n \t and escaped punctuation */
    add(r, same);
    return LC_OK;
}

/* Behind an opening parenthesis. */
static lc_code rewrite_group(rewriter *r)
{
    static const char *const kinds[] = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:"};
    add(r, "(");
    r->at++;
    if (r->at[0] == '*') {
        return refuse(r, "(*");
    }
    if (r->at[0] != '?') {
        return LC_OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(r->at, kinds[i], strlen(kinds[i])) == 0) {
            add(r, kinds[i]);
            r->at += strlen(kinds[i]);
            return LC_OK;
        }
    }
    return refuse(r, "this kind of group");
}

/* {n}, {n,} or {n,m}; a + behind it is possessive in PCRE2 only. */
static lc_code rewrite_interval(rewriter *r)
{
    const size_t length = 1 + strspn(r->at + 1, "0123456789,");
    if (r->at[1] < '0' || r->at[1] > '9' || r->at[length] != '}') {
        return refuse(r, "{");
    }
    if (r->at[length + 1] == '+') {
        return refuse(r, "}+");
    }
    lc_text_add(&r->out, r->at, length + 1);
    r->at += length + 1;
    return LC_OK;
}

static lc_code rewrite_class_start(rewriter *r)
{
    add(r, "[");
    r->at++;
    if (r->at[0] == '^') {
        add(r, "^");
        r->at++;
    }
    if (r->at[0] == ']') {
        return refuse(r, "] at the start of a class");
    }
    r->in_class = true;
    return LC_OK;
}

static lc_code rewrite_in_class(rewriter *r)
{
    if (r->at[0] == '\\') {
        return rewrite_escape(r);
    }
    if (r->at[0] == '[') {
        return refuse(r, "[ inside a class");
    }
    if (strncmp(r->at, "&&", 2) == 0) {
        return refuse(r, "&&");
    }
    r->in_class = r->at[0] != ']';
    lc_text_add(&r->out, r->at++, 1);
    return LC_OK;
}

static lc_code rewrite_outside(rewriter *r)
{
    switch (r->at[0]) {
    case '\\':
        return rewrite_escape(r);
    case '[':
        return rewrite_class_start(r);
    case '(':
        return rewrite_group(r);
    case '{':
        return rewrite_interval(r);
    case '$': /* the end of a line; PCRE2's is that of the text, or a newline that ends it */
        add(r, "(?=\\n|\\z)");
        r->at++;
        return LC_OK;
    case '^':
        return refuse(r, "an anchor");
    default:
        lc_text_add(&r->out, r->at++, 1);
        return LC_OK;
    }
}

static lc_code rewrite(rewriter *r)
{
    lc_text_add(&r->out, "", 0);
    while (r->at[0] != '\0') {
        LC_TRY(r->in_class ? rewrite_in_class(r) : rewrite_outside(r));
    }
    return LC_OK;
}
