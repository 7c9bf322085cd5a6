/*
 * One table per command describes its arguments; it feeds the parser and the text of --help alike,
 * so that neither can know an option that the other does not.
 */
#ifndef LC_CLI_OPTIONS_H
#define LC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lorac/backend.h"

#define LC_MAX_OPTIONS 32

/* A name that begins with "--" is an option, any other a positional argument (in table order).
 * Exactly one of flag, text, integer and number is set: where the value goes. What it holds
 * before parsing is the default. */
typedef struct lc_option {
    const char *name; /* "--out", or "JOB" */
    const char
        *value; /* what --help calls the value: "DIR"; NULL for flags and positional arguments */
    const char *fallback; /* the default in words for --help; NULL: none worth telling */
    const char *help;
    bool is_required;
    bool is_alone; /* a flag: with it nothing is required */
    bool *flag;
    const char **text;
    int64_t *integer;
    int64_t low, high; /* bounds of integer, inclusive */
    double *number;
    double min, max;            /* bounds of number, inclusive */
    const char *const *choices; /* NULL-terminated: text must be one of them; NULL: any text */
} lc_option;

typedef struct lc_command {
    const char *name;        /* "train" */
    const char *description; /* paragraphs, ending in a newline */
    const char *examples;    /* lines, ending in a newline */
    const char *exits;       /* exit codes beside the common ones, lines; NULL: none */
    const lc_option *options;
    size_t option_count;
} lc_command;

/* Parses argv[0..argc-1], which begin behind the command's name. "--name value" and
 * "--name=value"; "--" ends the options. *help is set when --help or -h is among them; then
 * nothing is required. Everything wrong is LC_ERR_USAGE: an unknown option (with the nearest
 * known one), a missing or superfluous argument, a value of the wrong type or out of bounds, an
 * option given twice. Texts are borrowed from argv. */
LC_WARN_UNUSED lc_code lc_options_parse(const lc_command *command, int argc, char **argv,
                                        bool *help, lc_err *err);

/* The whole help of a command: synopsis, description, every option with type and default,
 * examples, exits. */
void lc_options_help(const lc_command *command, FILE *out);

/* What each command does first: parses, and prints the help when asked (*done: nothing else to
 * do). */
LC_WARN_UNUSED lc_code lc_command_begin(const lc_command *command, int argc, char **argv,
                                        bool *done, lc_err *err);

/* The nearest of `count` names to `word`, NULL when none is near enough to be meant. stride:
 * bytes from one `const char *` to the next in the caller's table. */
const char *lc_nearest_name(const char *word, const char *const *names, size_t count,
                            size_t stride);

/* Choices of --dtype and --device, and the kind that one of the latter names. */
extern const char *const lc_dtype_choices[];
extern const char *const lc_device_choices[];
lc_device_kind lc_device_choice(const char *name);

#endif
