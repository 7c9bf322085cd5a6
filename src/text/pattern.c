/*
 * The published pre-tokenizing patterns, see pattern.h. Each function is the pattern's
 * alternatives in their order, with the backtracking of a regex engine worked out: what it would
 * give back is known from where a run ends.
 */
#include "text/pattern.h"

#include <stdint.h>
#include <string.h>

#include "text/unicode_class.h"

/* What is being cut. */
typedef struct subject {
    const char *text;
    size_t bytes;
} subject;

/* The end of the match that begins at `at`, `at` itself when there is none. */
typedef size_t matcher(const lc_pattern *p, subject s, size_t at);

struct lc_pattern {
    const char *regex;
    matcher *match;
    uint32_t word;     /* what a word is made of, beside what its matcher knows */
    size_t digits;     /* so many numbers at most in one match */
    bool contractions; /* of a cased word, behind it */
};

static matcher match_gpt2, match_words, match_cased, match_deepseek, match_run, match_kana;

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS       "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define PREFIX       "[^\\r\\n\\p{L}\\p{N}]?"
#define WORDS(numbers) \
    CONTRACTIONS "|" PREFIX "\\p{L}+|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS
#define CASED(contractions, numbers)                                                    \
    PREFIX UPPER "*" LOWER "+" contractions "|" PREFIX UPPER "+" LOWER "*" contractions \
                 "|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS

static const lc_pattern patterns[] = {
    /* ByteLevel: GPT-2, GPT-NeoX, Falcon, SmolLM2 */
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     match_gpt2, LC_CLASS_LETTERS, SIZE_MAX, false},
    /* cl100k as Llama-3, SmolLM3, Phi-4 and GLM-4 spell it */
    {WORDS("\\p{N}{1,3}"), match_words, LC_CLASS_LETTERS, 3, false},
    /* Qwen2, 2.5 and 3 */
    {WORDS("\\p{N}"), match_words, LC_CLASS_LETTERS, 1, false},
    /* o200k: gpt-oss */
    {CASED(CONTRACTIONS "?", "\\p{N}{1,3}"), match_cased, 0, 3, true},
    /* tekken: Mistral Nemo and later */
    {CASED("", "\\p{N}"), match_cased, 0, 1, false},
    /* DeepSeek V3: three splits */
    {"\\p{N}{1,3}", match_run, LC_CLASS_NUMBERS, 3, false},
    {"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", match_kana, 0, 0, false},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\\r\\n]*|" BLANKS,
     match_deepseek, LC_CLASS_LETTERS | LC_CLASS_MARK, 0, false},
    {"\\p{N}", match_run, LC_CLASS_NUMBERS, 1, false},
};

/* Digits. */
#define NUMERIC (LC_CLASS_NUMBERS | LC_CLASS_DIGIT_ONLY)
static const lc_pattern single_digits = {NULL, match_run, NUMERIC, 1, false};
static const lc_pattern digit_runs = {NULL, match_run, NUMERIC, SIZE_MAX, false};

const lc_pattern *lc_pattern_of(const char *regex)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strcmp(patterns[i].regex, regex) == 0) {
            return &patterns[i];
        }
    }
    return NULL;
}

const char *lc_pattern_text(size_t i)
{
    return i < sizeof patterns / sizeof patterns[0] ? patterns[i].regex : NULL;
}

const lc_pattern *lc_pattern_digits(bool individual)
{
    return individual ? &single_digits : &digit_runs;
}

bool lc_pattern_find(const lc_pattern *pattern, const char *text, size_t bytes, size_t from,
                     size_t *begin, size_t *end)
{
    const subject s = {text, bytes};
    size_t length = 0;
    for (size_t at = from; at < bytes; at += length) {
        const size_t behind = pattern->match(pattern, s, at);
        if (behind > at) {
            *begin = at;
            *end = behind;
            return true;
        }
        (void)lc_class_at(text + at, &length);
    }
    return false;
}

/* ---- runs ---- */

/* The class at `at`, 0 at the end of the text. */
static inline uint32_t class_at(subject s, size_t at, size_t *length)
{
    *length = 0;
    return at < s.bytes ? lc_class_at(s.text + at, length) : 0;
}

/* Behind the characters of these classes that stand at `at`. */
static inline size_t skip(subject s, size_t at, uint32_t classes)
{
    size_t length = 0;
    while ((class_at(s, at, &length) & classes) != 0) {
        at += length;
    }
    return at;
}

static inline bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

static inline size_t skip_newlines(subject s, size_t at, bool slashes)
{
    while (at < s.bytes && (is_newline(s.text[at]) || (slashes && s.text[at] == '/'))) {
        at++;
    }
    return at;
}

/* \p{N}{1,digits}, and `at` has the first. */
static size_t skip_numbers(subject s, size_t at, uint32_t classes, size_t digits)
{
    size_t length = 0;
    for (size_t count = 0; count < digits && (class_at(s, at, &length) & classes) != 0; count++) {
        at += length;
    }
    return at;
}

/* \s+(?!\S)|\s+ at a blank: a run in front of something leaves its last blank to it. With
 * `newlines`, \s*[\r\n]+ is asked before: up to the last newline of the run. */
static size_t match_blanks(subject s, size_t at, bool newlines)
{
    size_t last = at, behind_newline = 0, end = at, length = 0;
    while ((class_at(s, end, &length) & LC_CLASS_SPACE) != 0) {
        last = end;
        end += length;
        if (is_newline(s.text[last])) {
            behind_newline = end;
        }
    }
    if (newlines && behind_newline > 0) {
        return behind_newline;
    }
    return end == s.bytes || last == at ? end : last;
}

/* Length of 's 't 're 've 'm 'll 'd at `at`, else 0. `folded`: in any case, U+017F being an s. */
static size_t contraction(subject s, size_t at, bool folded)
{
    if (s.bytes - at < 2 || s.text[at] != '\'') {
        return 0;
    }
    const char bit = folded ? 0x20 : 0;
    const char first = (char)(s.text[at + 1] | bit);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return 2;
    }
    if (s.bytes - at < 3) {
        return 0;
    }
    const char second = (char)(s.text[at + 2] | bit);
    if (second == 'e' ? first == 'r' || first == 'v' : second == 'l' && first == 'l') {
        return 3;
    }
    return folded && memcmp(s.text + at + 1, "\xc5\xbf", 2) == 0 ? 3 : 0;
}

/* ---- the patterns ---- */

static size_t match_gpt2(const lc_pattern *p, subject s, size_t at)
{
    size_t length = 0;
    const size_t short_form = contraction(s, at, false);
    if (short_form > 0) {
        return at + short_form;
    }
    size_t inside = at + (s.text[at] == ' ');
    uint32_t class = class_at(s, inside, &length);
    if (class == 0 || (class & LC_CLASS_SPACE) != 0) {
        return match_blanks(s, at, false);
    }
    inside += length;
    if ((class & p->word) != 0) {
        return skip(s, inside, p->word);
    }
    if ((class & LC_CLASS_NUMBERS) != 0) {
        return skip(s, inside, LC_CLASS_NUMBERS);
    }
    return skip(s, inside, ~(p->word | LC_CLASS_NUMBERS | LC_CLASS_SPACE));
}

/* Behind [^\r\n\p{L}..]?word+ at `at`, where `class` stands; 0: it does not match. */
static inline size_t prefixed_word(subject s, size_t at, uint32_t class, size_t length,
                                   uint32_t no_prefix, uint32_t word)
{
    size_t next_length = 0;
    if ((class & no_prefix) == 0 && !is_newline(s.text[at]) &&
        (class_at(s, at + length, &next_length) & word) != 0) {
        return skip(s, at + length + next_length, word);
    }
    return (class & word) != 0 ? skip(s, at + length, word) : 0;
}

/* " ?[symbols]+[\r\n]*" at `at`; 0: it does not match. */
static inline size_t symbols(subject s, size_t at, uint32_t classes, bool slashes)
{
    const size_t inside = at + (s.text[at] == ' ');
    const size_t end = skip(s, inside, classes);
    return end > inside ? skip_newlines(s, end, slashes) : 0;
}

static size_t match_words(const lc_pattern *p, subject s, size_t at)
{
    size_t length = 0;
    const size_t short_form = contraction(s, at, true);
    if (short_form > 0) {
        return at + short_form;
    }
    const uint32_t class = class_at(s, at, &length);
    const uint32_t solid = LC_CLASS_LETTERS | LC_CLASS_NUMBERS;
    size_t end = prefixed_word(s, at, class, length, solid, p->word);
    if (end > 0) {
        return end;
    }
    if ((class & LC_CLASS_NUMBERS) != 0) {
        return skip_numbers(s, at, LC_CLASS_NUMBERS, p->digits);
    }
    end = symbols(s, at, ~(solid | LC_CLASS_SPACE), false);
    return end > 0 ? end : match_blanks(s, at, true);
}

#define BOTH_CASES (LC_CLASS_MODIFIER | LC_CLASS_CASELESS | LC_CLASS_MARK)

/* UPPER*LOWER+ at `from`, else, where `upper_only`, UPPER+LOWER* where the former does not match.
 * UPPER* takes all it can; LOWER+ then needs a lower-case letter behind, or a character of both
 * kinds given back, the last of the run. 0: no match. */
static size_t cased_word(subject s, size_t from, bool upper_only)
{
    size_t end = from, behind_both = 0, length = 0;
    uint32_t class = class_at(s, end, &length);
    while ((class & (LC_CLASS_UPPER | LC_CLASS_TITLE | BOTH_CASES)) != 0) {
        end += length;
        behind_both = (class & BOTH_CASES) != 0 ? end : behind_both;
        class = class_at(s, end, &length);
    }
    if (upper_only) {
        return end > from ? end : 0;
    }
    return (class & LC_CLASS_LOWER) != 0 ? skip(s, end, LC_CLASS_LOWER | BOTH_CASES) : behind_both;
}

static size_t match_cased(const lc_pattern *p, subject s, size_t at)
{
    size_t length = 0, end = 0;
    const uint32_t class = class_at(s, at, &length);
    const uint32_t solid = LC_CLASS_LETTERS | LC_CLASS_NUMBERS;
    const bool has_prefix = (class & solid) == 0 && !is_newline(s.text[at]);
    for (int upper_only = 0; upper_only < 2 && end == 0; upper_only++) {
        end = has_prefix ? cased_word(s, at + length, upper_only != 0) : 0;
        end = end > 0 ? end : cased_word(s, at, upper_only != 0);
    }
    if (end > 0) {
        return end + (p->contractions && end < s.bytes ? contraction(s, end, true) : 0);
    }
    if ((class & LC_CLASS_NUMBERS) != 0) {
        return skip_numbers(s, at, LC_CLASS_NUMBERS, p->digits);
    }
    end = symbols(s, at, ~(solid | LC_CLASS_SPACE), true);
    return end > 0 ? end : match_blanks(s, at, true);
}

static inline bool is_ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t match_deepseek(const lc_pattern *p, subject s, size_t at)
{
    size_t length = 0;
    const uint32_t class = class_at(s, at, &length);
    const uint32_t marks = LC_CLASS_PUNCT | LC_CLASS_SYMBOL;
    size_t end = at + 1;
    while (end < s.bytes && is_ascii_letter(s.text[end])) {
        end++;
    }
    if ((class & marks) != 0 && length == 1 && end > at + 1) {
        return end;
    }
    end = prefixed_word(s, at, class, length, LC_CLASS_LETTERS | marks, p->word);
    if (end == 0) {
        end = symbols(s, at, marks, false);
    }
    if (end > 0) {
        return end;
    }
    return (class & LC_CLASS_SPACE) != 0 ? match_blanks(s, at, true) : at;
}

static size_t match_run(const lc_pattern *p, subject s, size_t at)
{
    return skip_numbers(s, at, p->word, p->digits);
}

/* U+3040..U+30FF and U+4E00..U+9FA5, three bytes each. */
static size_t match_kana(const lc_pattern *p, subject s, size_t at)
{
    (void)p;
    while (at < s.bytes && ((uint8_t)s.text[at] & 0xf0) == 0xe0) {
        const uint8_t *c = (const uint8_t *)s.text + at;
        const uint32_t point = (c[0] & 0x0fu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
        if (!(point >= 0x3040 && point <= 0x30ff) && !(point >= 0x4e00 && point <= 0x9fa5)) {
            break;
        }
        at += 3;
    }
    return at;
}
