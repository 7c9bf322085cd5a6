/* See jinja_lex.h. The regular expressions of Jinja2's lexer, written out. */
#include "text/jinja_lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lorac/mem.h"
#include "text/jinja_escapes.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

#define MAX_OPEN 4096 /* brackets */

typedef enum mode { IN_TEXT, IN_PRINT, IN_BLOCK } mode;

typedef struct lexer {
    lc_jcompiler *compiler;
    lc_jtokens *tokens;
    const char *at, *end, *begin; /* newlines are \n */
    int line;
    bool at_line_start; /* the last thing taken ended with a newline */
    mode mode;
    char open[MAX_OPEN]; /* the closing brackets that are due */
    size_t open_count;
    bool has_failed;
} lexer;

/* ---- tokens ---- */

static lc_code push(lexer *l, lc_jtoken_type type, int line, lc_jvalue value)
{
    lc_jtokens *tokens = l->tokens;
    if (tokens->count == tokens->capacity) {
        const size_t capacity = tokens->capacity > 0 ? 2 * tokens->capacity : 256;
        lc_jtoken *grown = lc_realloc(tokens->items, capacity * sizeof *grown);
        if (grown == NULL) {
            return lc_fail(l->compiler->err, LC_ERR_MEMORY, "no memory for a template's tokens");
        }
        tokens->items = grown;
        tokens->capacity = capacity;
    }
    tokens->items[tokens->count++] = (lc_jtoken){.type = type, .line = line, .value = value};
    return LC_OK;
}

static lc_code copy_text(lexer *l, const char *text, size_t bytes, lc_jvalue *out)
{
    void *copy = NULL;
    LC_TRY(lc_jinja_compile_alloc(l->compiler, bytes, &copy));
    memcpy(copy, text, bytes);
    *out = lc_jinja_text(copy, bytes);
    return LC_OK;
}

/* The parser meets what was wrong where it stands: an error before it goes first. */
static lc_code fail(lexer *l, const char *format, ...) LC_PRINTF(2, 3);

static lc_code fail(lexer *l, const char *format, ...)
{
    char message[256];
    lc_jvalue value;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    l->has_failed = true;
    LC_TRY(copy_text(l, message, strlen(message) + 1, &value));
    return push(l, LC_T_FAILED, l->line, value);
}

static void count_lines(lexer *l, const char *from, const char *to)
{
    for (; from < to; from++) {
        l->line += *from == '\n';
    }
}

static void take(lexer *l, const char *to)
{
    count_lines(l, l->at, to);
    l->at_line_start = to > l->at ? to[-1] == '\n' : false;
    l->at = to;
}

static bool starts_with(const lexer *l, const char *at, const char *text)
{
    const size_t bytes = strlen(text);
    return (size_t)(l->end - at) >= bytes && memcmp(at, text, bytes) == 0;
}

/* One character and where the next begins. */
static uint32_t next_code(const lexer *l, const char *at, const char **next)
{
    size_t length = 1;
    (void)lc_utf8_next(at, (size_t)(l->end - at), &length);
    *next = at + length;
    return lc_utf8_decode(at, length);
}

static const char *skip_space(const lexer *l, const char *at)
{
    const char *next = at;
    while (at < l->end && lc_char_is_space(next_code(l, at, &next))) {
        at = next;
    }
    return at;
}

static const char *strip_space(const char *begin, const char *end)
{
    while (end > begin) {
        const char *at = end - 1;
        while (at > begin && ((unsigned char)*at & 0xc0) == 0x80) {
            at--;
        }
        if (!lc_char_is_space(lc_utf8_decode(at, (size_t)(end - at)))) {
            break;
        }
        end = at;
    }
    return end;
}

/* ---- text ---- */

/* Text before a tag: stripped as the tag's sign ('-', '+' or 0) and lstrip_blocks say. */
static lc_code push_text(lexer *l, const char *end, char sign, bool is_print)
{
    const char *from = l->at, *to = end;
    const int line = l->line;
    if (sign == '-') {
        to = strip_space(from, end);
    } else if (sign != '+' && !is_print) {
        const char *last = end;
        while (last > from && last[-1] != '\n') {
            last--;
        }
        if ((last > from || l->at_line_start) && skip_space(l, last) >= end) {
            to = last;
        }
    }
    take(l, end);
    if (to == from) {
        return LC_OK;
    }
    lc_jvalue value;
    LC_TRY(copy_text(l, from, (size_t)(to - from), &value));
    return push(l, LC_T_DATA, line, value);
}

static char sign_at(const lexer *l, const char *at)
{
    return at < l->end && (*at == '-' || *at == '+') ? *at : '\0';
}

/* Behind "%}" or "#}": one newline goes (trim_blocks). */
static const char *trim_newline(const lexer *l, const char *at)
{
    return at < l->end && *at == '\n' ? at + 1 : at;
}

/* Behind the end of a tag that begins at `at` ("-%}", "+%}", "%}"; `close` is "%}" or "#}"), or
 * NULL. */
static const char *match_end(const lexer *l, const char *at, const char *close)
{
    if (starts_with(l, at, close)) {
        return trim_newline(l, at + 2);
    }
    if (at < l->end && starts_with(l, at + 1, close)) {
        return *at == '-' ? skip_space(l, at + 3) : *at == '+' ? at + 3 : NULL;
    }
    return NULL;
}

static lc_code lex_comment(lexer *l)
{
    const char *at = l->at;
    for (; at < l->end; at++) {
        const char *behind = match_end(l, at, "#}");
        if (behind != NULL) {
            take(l, behind);
            return LC_OK;
        }
    }
    return l->at < l->end ? fail(l, "Missing end of comment tag") : LC_OK;
}

/* "{% raw %}" that begins at `at`: behind it, or NULL. */
static const char *match_raw(const lexer *l, const char *at, const char *word)
{
    const char *in = at + 2 + (sign_at(l, at + 2) != '\0');
    in = skip_space(l, in);
    if (!starts_with(l, in, word)) {
        return NULL;
    }
    return skip_space(l, in + strlen(word));
}

static const char *match_raw_begin(const lexer *l, const char *at)
{
    const char *in = match_raw(l, at, "raw");
    if (in == NULL) {
        return NULL;
    }
    return starts_with(l, in, "-%}")  ? skip_space(l, in + 3)
           : starts_with(l, in, "%}") ? in + 2
                                      : NULL;
}

static lc_code lex_raw(lexer *l)
{
    for (const char *at = l->at; at + 1 < l->end; at++) {
        if (!starts_with(l, at, "{%")) {
            continue;
        }
        const char *in = match_raw(l, at, "endraw");
        const char *behind = in != NULL ? match_end(l, in, "%}") : NULL;
        if (behind != NULL) {
            LC_TRY(push_text(l, at, sign_at(l, at + 2), false));
            take(l, behind);
            return LC_OK;
        }
    }
    return l->at < l->end ? fail(l, "Missing end of raw directive") : LC_OK;
}

static lc_code lex_tag(lexer *l, const char *at)
{
    const char *raw = at[1] == '%' ? match_raw_begin(l, at) : NULL;
    const char sign = sign_at(l, at + 2);
    LC_TRY(push_text(l, at, sign, at[1] == '{'));
    if (raw != NULL) {
        take(l, raw);
        return lex_raw(l);
    }
    const int line = l->line;
    take(l, at + 2 + (sign != '\0'));
    if (at[1] == '#') {
        return lex_comment(l);
    }
    l->mode = at[1] == '{' ? IN_PRINT : IN_BLOCK;
    return push(l, at[1] == '{' ? LC_T_PRINT_BEGIN : LC_T_BLOCK_BEGIN, line, lc_jinja_none());
}

static lc_code lex_text(lexer *l)
{
    for (const char *at = l->at; at + 1 < l->end; at++) {
        if (*at == '{' && (at[1] == '{' || at[1] == '%' || at[1] == '#')) {
            return lex_tag(l, at);
        }
    }
    return push_text(l, l->end, '+', false);
}

/* ---- expressions ---- */

static bool is_digit(const lexer *l, const char *at)
{
    return at < l->end && *at >= '0' && *at <= '9';
}

/* Digits with single underscores between them. */
static const char *skip_digits(const lexer *l, const char *at)
{
    while (is_digit(l, at) || (at < l->end && *at == '_' && is_digit(l, at + 1))) {
        at++;
    }
    return at;
}

/* Behind the number if it is a float, else NULL. */
static const char *match_float(const lexer *l)
{
    if (!is_digit(l, l->at) || (l->at > l->begin && l->at[-1] == '.')) {
        return NULL;
    }
    const char *at = skip_digits(l, l->at);
    const bool has_fraction = at < l->end && *at == '.' && is_digit(l, at + 1);
    if (has_fraction) {
        at = skip_digits(l, at + 1);
    }
    if (at < l->end && (*at == 'e' || *at == 'E')) {
        const char *power = at + 1 + (at + 1 < l->end && (at[1] == '+' || at[1] == '-'));
        if (is_digit(l, power)) {
            return skip_digits(l, power);
        }
    }
    return has_fraction ? at : NULL;
}

static bool is_digit_of(char c, int base)
{
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : 99;
    return digit < base;
}

/* 0x, 0o and 0b numbers: behind them, or NULL. */
static const char *match_prefixed(const lexer *l, int *base)
{
    if (l->end - l->at < 3 || l->at[0] != '0') {
        return NULL;
    }
    const char letter = (char)(l->at[1] | 0x20);
    *base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    const char *at = l->at + 2, *from = at;
    while (
        *base != 0 && at < l->end &&
        (is_digit_of(*at, *base) || (*at == '_' && at + 1 < l->end && is_digit_of(at[1], *base)))) {
        at++;
    }
    return at > from ? at : NULL;
}

/* The digits without underscores into out. */
static bool plain_digits(const char *from, const char *to, char *out, size_t capacity)
{
    size_t count = 0;
    for (; from < to; from++) {
        if (*from != '_') {
            if (count + 1 >= capacity) {
                return false;
            }
            out[count++] = *from;
        }
    }
    out[count] = '\0';
    return true;
}

static lc_code push_float(lexer *l, const char *behind)
{
    char digits[512];
    if (!plain_digits(l->at, behind, digits, sizeof digits)) {
        return fail(l, "a number of more than %zu digits", sizeof digits);
    }
    LC_TRY(push(l, LC_T_FLOAT, l->line, lc_jinja_float(strtod(digits, NULL))));
    take(l, behind);
    return LC_OK;
}

static lc_code push_integer(lexer *l, const char *behind, int base)
{
    char digits[128];
    const char *from = l->at + (base == 10 ? 0 : 2);
    errno = 0;
    if (!plain_digits(from, behind, digits, sizeof digits)) {
        errno = ERANGE;
    }
    const long long value = errno == 0 ? strtoll(digits, NULL, base) : 0;
    if (errno != 0) {
        return fail(l, "the number %.*s is beyond 64 bits, which is not supported",
                    behind - l->at < 40 ? (int)(behind - l->at) : 40, l->at);
    }
    LC_TRY(push(l, LC_T_INTEGER, l->line, lc_jinja_int(value)));
    take(l, behind);
    return LC_OK;
}

static lc_code lex_number(lexer *l)
{
    int base = 10;
    const char *behind = match_float(l);
    if (behind != NULL) {
        return push_float(l, behind);
    }
    behind = match_prefixed(l, &base);
    if (behind == NULL) {
        base = 10;
        behind = l->at + 1;
        while (is_digit(l, behind) ||
               (behind < l->end && *behind == '_' && is_digit(l, behind + 1))) {
            if (*l->at == '0' && *behind != '0' && *behind != '_') {
                break; /* 0 stands alone; what follows is a number of its own */
            }
            if (*l->at == '0' && *behind == '_' && behind[1] != '0') {
                break;
            }
            behind++;
        }
    }
    return push_integer(l, behind, base);
}

static lc_code lex_name(lexer *l)
{
    const char *at = l->at, *next = at;
    bool is_fine = (lc_char_classes(next_code(l, at, &next)) & LC_CHAR_NAME_START) != 0;
    while (at < l->end) {
        const unsigned classes = lc_char_classes(next_code(l, at, &next));
        if ((classes & (LC_CHAR_NAME | LC_CHAR_NUMERIC)) == 0) {
            break;
        }
        is_fine = is_fine && (classes & LC_CHAR_NAME) != 0;
        at = next;
    }
    if (!is_fine) {
        return fail(l, "Invalid character in identifier");
    }
    lc_jvalue value;
    LC_TRY(copy_text(l, l->at, (size_t)(at - l->at), &value));
    LC_TRY(push(l, LC_T_NAME, l->line, value));
    take(l, at);
    return LC_OK;
}

/* Behind the closing quote, or NULL. */
static const char *match_string(const lexer *l)
{
    for (const char *at = l->at + 1; at < l->end; at++) {
        if (*at == *l->at) {
            return at + 1;
        }
        if (*at == '\\') {
            at++;
        }
    }
    return NULL;
}

static lc_code lex_string(lexer *l, const char *behind)
{
    const size_t bytes = (size_t)(behind - l->at) - 2;
    const char *problem = NULL;
    void *text = NULL;
    size_t length = 0;
    LC_TRY(lc_jinja_compile_alloc(l->compiler, lc_jinja_unescaped_bytes(bytes), &text));
    problem = lc_jinja_unescape(l->at + 1, bytes, text, &length);
    if (problem != NULL) {
        return fail(l, "%s", problem);
    }
    LC_TRY(push(l, LC_T_STRING, l->line, lc_jinja_text(text, length)));
    take(l, behind);
    return LC_OK;
}

static const struct {
    const char *text;
    lc_jtoken_type type;
} operators[] = {
    {"//", LC_T_FLOOR_DIVIDE}, {"**", LC_T_POWER},         {"==", LC_T_EQUAL},
    {"!=", LC_T_NOT_EQUAL},    {">=", LC_T_GREATER_EQUAL}, {"<=", LC_T_LESS_EQUAL},
    {"+", LC_T_ADD},           {"-", LC_T_SUBTRACT},       {"/", LC_T_DIVIDE},
    {"*", LC_T_MULTIPLY},      {"%", LC_T_MODULO},         {"~", LC_T_TILDE},
    {"[", LC_T_LEFT_BRACKET},  {"]", LC_T_RIGHT_BRACKET},  {"(", LC_T_LEFT_PAREN},
    {")", LC_T_RIGHT_PAREN},   {"{", LC_T_LEFT_BRACE},     {"}", LC_T_RIGHT_BRACE},
    {">", LC_T_GREATER},       {"<", LC_T_LESS},           {"=", LC_T_ASSIGN},
    {".", LC_T_DOT},           {":", LC_T_COLON},          {"|", LC_T_PIPE},
    {",", LC_T_COMMA},         {";", LC_T_SEMICOLON},
};
#define OPERATOR_COUNT (sizeof operators / sizeof *operators)

static bool is_open_fine(lexer *l, char c, lc_code *code)
{
    *code = LC_OK;
    if (c == '(' || c == '[' || c == '{') {
        if (l->open_count == MAX_OPEN) {
            *code = fail(l, "more than %d brackets are open", MAX_OPEN);
            return false;
        }
        l->open[l->open_count++] = (char)(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
        if (l->open_count == 0) {
            *code = fail(l, "unexpected '%c'", c);
            return false;
        }
        if (l->open[--l->open_count] != c) {
            *code = fail(l, "unexpected '%c', expected '%c'", c, l->open[l->open_count]);
            return false;
        }
    }
    return true;
}

static lc_code lex_operator(lexer *l)
{
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        if (starts_with(l, l->at, operators[i].text)) {
            lc_code code;
            if (!is_open_fine(l, *l->at, &code)) {
                return code;
            }
            LC_TRY(push(l, operators[i].type, l->line, lc_jinja_none()));
            take(l, l->at + strlen(operators[i].text));
            return LC_OK;
        }
    }
    const char *next = NULL;
    (void)next_code(l, l->at, &next);
    return fail(
        l, *l->at == '\'' ? "unexpected char \"%.*s\" at %zu" : "unexpected char '%.*s' at %zu",
        (int)(next - l->at), l->at, (size_t)(l->at - l->begin));
}

/* The end of "{{ ... }}" or "{% ... %}" where no bracket is open: behind it, or NULL. */
static const char *match_tag_end(const lexer *l)
{
    if (l->open_count > 0) {
        return NULL;
    }
    if (l->mode == IN_BLOCK) {
        return match_end(l, l->at, "%}");
    }
    return starts_with(l, l->at, "}}")    ? l->at + 2
           : starts_with(l, l->at, "-}}") ? skip_space(l, l->at + 3)
                                          : NULL;
}

static lc_code lex_inside(lexer *l)
{
    const char *behind = match_tag_end(l);
    if (behind != NULL) {
        LC_TRY(push(l, l->mode == IN_PRINT ? LC_T_PRINT_END : LC_T_BLOCK_END, l->line,
                    lc_jinja_none()));
        take(l, behind);
        l->mode = IN_TEXT;
        return LC_OK;
    }
    const char *next = NULL;
    const uint32_t code = next_code(l, l->at, &next);
    if (lc_char_is_space(code)) {
        take(l, skip_space(l, l->at));
        return LC_OK;
    }
    if (code >= '0' && code <= '9') {
        return lex_number(l);
    }
    if ((lc_char_classes(code) & (LC_CHAR_NAME | LC_CHAR_NUMERIC)) != 0) {
        return lex_name(l);
    }
    if (code == '\'' || code == '"') {
        behind = match_string(l);
        if (behind != NULL) {
            return lex_string(l, behind);
        }
    }
    return lex_operator(l);
}

/* Newlines become \n, and one at the very end goes. */
static size_t normalise(const char *source, size_t bytes, char *out)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (source[i] == '\r') {
            out[count++] = '\n';
            i += i + 1 < bytes && source[i + 1] == '\n';
        } else {
            out[count++] = source[i];
        }
    }
    return count > 0 && out[count - 1] == '\n' ? count - 1 : count;
}

lc_code lc_jinja_lex(lc_jcompiler *compiler, const char *source, size_t bytes, lc_jtokens *out)
{
    char *text = lc_malloc(bytes + 1);
    lexer *l = lc_malloc(sizeof *l);
    *out = (lc_jtokens){0};
    if (text == NULL || l == NULL) {
        lc_free(text);
        lc_free(l);
        return lc_fail(compiler->err, LC_ERR_MEMORY, "no memory for a template");
    }
    *l = (lexer){.compiler = compiler, .tokens = out, .line = 1, .at_line_start = true};
    l->begin = l->at = text;
    l->end = text + normalise(source, bytes, text);
    lc_code code = LC_OK;
    while (code == LC_OK && l->at < l->end && !l->has_failed) {
        code = l->mode == IN_TEXT ? lex_text(l) : lex_inside(l);
    }
    if (code == LC_OK && !l->has_failed) {
        code = push(l, LC_T_END, l->line, lc_jinja_none());
    }
    lc_free(text);
    lc_free(l);
    return code;
}

void lc_jinja_tokens_release(lc_jtokens *tokens)
{
    lc_free(tokens->items);
    *tokens = (lc_jtokens){0};
}

const char *lc_jinja_token_name(lc_jtoken_type type)
{
    static const char *const names[] = {
        [LC_T_END] = "end of template",
        [LC_T_DATA] = "template data / text",
        [LC_T_PRINT_BEGIN] = "begin of print statement",
        [LC_T_PRINT_END] = "end of print statement",
        [LC_T_BLOCK_BEGIN] = "begin of statement block",
        [LC_T_BLOCK_END] = "end of statement block",
        [LC_T_NAME] = "name",
        [LC_T_STRING] = "string",
        [LC_T_INTEGER] = "integer",
        [LC_T_FLOAT] = "float",
        [LC_T_FAILED] = "error",
    };
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        if (operators[i].type == type) {
            return operators[i].text;
        }
    }
    return names[type];
}

void lc_jinja_describe_token(const lc_jtoken *token, char *out, size_t capacity)
{
    if (token->type == LC_T_NAME) {
        (void)snprintf(out, capacity, "%.*s",
                       token->value.bytes < 100 ? (int)token->value.bytes : 100, token->value.text);
    } else {
        (void)snprintf(out, capacity, "%s", lc_jinja_token_name(token->type));
    }
}
