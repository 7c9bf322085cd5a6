/*
 * Template source to tokens, as Jinja2's lexer with trim_blocks and lstrip_blocks does: white
 * space control, raw blocks and comments are dealt with here and leave no trace. Private to the
 * parser.
 */
#ifndef LC_TEXT_JINJA_LEX_H
#define LC_TEXT_JINJA_LEX_H

#include "text/jinja_program.h"

typedef enum lc_jtoken_type {
    LC_T_END,
    LC_T_DATA,
    LC_T_PRINT_BEGIN,
    LC_T_PRINT_END,
    LC_T_BLOCK_BEGIN,
    LC_T_BLOCK_END,
    LC_T_NAME,
    LC_T_STRING,
    LC_T_INTEGER,
    LC_T_FLOAT,
    LC_T_ADD,
    LC_T_SUBTRACT,
    LC_T_DIVIDE,
    LC_T_FLOOR_DIVIDE,
    LC_T_MULTIPLY,
    LC_T_MODULO,
    LC_T_POWER,
    LC_T_TILDE,
    LC_T_LEFT_BRACKET,
    LC_T_RIGHT_BRACKET,
    LC_T_LEFT_PAREN,
    LC_T_RIGHT_PAREN,
    LC_T_LEFT_BRACE,
    LC_T_RIGHT_BRACE,
    LC_T_EQUAL,
    LC_T_NOT_EQUAL,
    LC_T_GREATER,
    LC_T_GREATER_EQUAL,
    LC_T_LESS,
    LC_T_LESS_EQUAL,
    LC_T_ASSIGN,
    LC_T_DOT,
    LC_T_COLON,
    LC_T_PIPE,
    LC_T_COMMA,
    LC_T_SEMICOLON,
    LC_T_FAILED, /* the source is wrong here; `value` is the message, told when it is reached */
} lc_jtoken_type;

typedef struct lc_jtoken {
    lc_jtoken_type type;
    int line;
    lc_jvalue value; /* of data, names, strings and numbers */
} lc_jtoken;

typedef struct lc_jtokens {
    lc_jtoken *items; /* owned; the last one is END or FAILED */
    size_t count, capacity;
} lc_jtokens;

/* Texts live in the program's memory. Only memory can fail: bad source is a token. */
LC_WARN_UNUSED lc_code lc_jinja_lex(lc_jcompiler *compiler, const char *source, size_t bytes,
                                    lc_jtokens *out);
void lc_jinja_tokens_release(lc_jtokens *tokens);
/* "end of print statement", "=="; a name as itself. */
void lc_jinja_describe_token(const lc_jtoken *token, char *out, size_t capacity);
const char *lc_jinja_token_name(lc_jtoken_type type);

#endif
