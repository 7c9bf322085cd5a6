/*
 * Parsing a command's arguments and writing its help, both from one table; see options.h.
 */
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORD      64
#define HELP_WIDTH    92
#define HELP_INDENT   26
#define MAX_FAR_WORDS 2 /* edits at which a name still is "near" */

/* ---- did you mean ---- */

/* Levenshtein distance with a swap of neighbours as one edit, of words up to MAX_WORD; longer:
 * far. */
static int edit_distance(const char *a, const char *b)
{
    const size_t a_length = strlen(a), b_length = strlen(b);
    int rows[3][MAX_WORD + 1];
    if (a_length > MAX_WORD || b_length > MAX_WORD) {
        return MAX_WORD;
    }
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = (int)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        int *now = rows[i % 3];
        const int *before = rows[(i - 1) % 3], *two_before = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_before[j - 2] + 1 < best) {
                best = two_before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

const char *lc_nearest_name(const char *word, const char *const *names, size_t count, size_t stride)
{
    const char *nearest = NULL;
    const size_t length = strlen(word);
    int best = MAX_FAR_WORDS + 1;
    for (size_t i = 0; i < count; i++) {
        const char *name =
            *(const char *const *)(const void *)((const char *)(const void *)names + i * stride);
        int distance = edit_distance(word, name);
        if (length >= 4 && strncmp(word, name, length) == 0) {
            distance = 1; /* an abbreviation */
        }
        if (distance < best && (size_t)distance < length) {
            best = distance;
            nearest = name;
        }
    }
    return nearest;
}

/* ---- parsing ---- */

static bool is_option(const lc_option *option)
{
    return option->name[0] == '-';
}

typedef struct lc_parse {
    const lc_command *command;
    bool given[LC_MAX_OPTIONS];
    lc_err *err;
} lc_parse;

/* Strict: all of the text, decimal, no blanks. */
static lc_code store_integer(const lc_parse *parse, const lc_option *option, const char *text)
{
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    const bool is_number =
        (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && text[1] != '\0');
    if (!is_number || *end != '\0' || errno != 0 || value < option->low || value > option->high) {
        return lc_fail_param(parse->err, LC_ERR_USAGE, option->name,
                             "%s \"%s\": expected a whole number from %lld to %lld", option->name,
                             text, (long long)option->low, (long long)option->high);
    }
    *option->integer = value;
    return LC_OK;
}

static lc_code store_number(const lc_parse *parse, const lc_option *option, const char *text)
{
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    const bool is_number =
        (text[0] >= '0' && text[0] <= '9') || text[0] == '.' || (text[0] == '-' && text[1] != '\0');
    if (!is_number || *end != '\0' || !isfinite(value) || value < option->min ||
        value > option->max) {
        return lc_fail_param(parse->err, LC_ERR_USAGE, option->name,
                             "%s \"%s\": expected a number from %g to %g", option->name, text,
                             option->min, option->max);
    }
    *option->number = value;
    return LC_OK;
}

static lc_code store_text(const lc_parse *parse, const lc_option *option, const char *text)
{
    if (text[0] == '\0' && option->is_required) {
        return lc_fail_param(parse->err, LC_ERR_USAGE, option->name, "%s is empty", option->name);
    }
    for (size_t i = 0; option->choices != NULL; i++) {
        if (option->choices[i] == NULL) {
            char list[256] = "";
            size_t used = 0;
            for (size_t j = 0; option->choices[j] != NULL && used < sizeof list; j++) {
                used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                         j == 0 ? "" : ", ", option->choices[j]);
            }
            return lc_fail_param(parse->err, LC_ERR_USAGE, option->name,
                                 "%s \"%s\": expected one of %s", option->name, text, list);
        }
        if (strcmp(option->choices[i], text) == 0) {
            break;
        }
    }
    *option->text = text;
    return LC_OK;
}

static lc_code store(lc_parse *parse, size_t index, const char *text)
{
    const lc_option *option = &parse->command->options[index];
    if (parse->given[index]) {
        return lc_fail_param(parse->err, LC_ERR_USAGE, option->name, "%s is given twice",
                             option->name);
    }
    parse->given[index] = true;
    if (option->integer != NULL) {
        return store_integer(parse, option, text);
    }
    return option->number != NULL ? store_number(parse, option, text)
                                  : store_text(parse, option, text);
}

static lc_code fail_unknown(const lc_parse *parse, const char *name, size_t length)
{
    const lc_command *command = parse->command;
    char word[MAX_WORD + 1];
    (void)snprintf(word, sizeof word, "%.*s", (int)(length < MAX_WORD ? length : MAX_WORD), name);
    const char *nearest = command->option_count == 0
                              ? NULL
                              : lc_nearest_name(word, &command->options[0].name,
                                                command->option_count, sizeof(lc_option));
    if (nearest != NULL && nearest[0] == '-') {
        return lc_fail_param(parse->err, LC_ERR_USAGE, word,
                             "unknown option %s; did you mean %s? See lorac %s --help", word,
                             nearest, command->name);
    }
    return lc_fail_param(parse->err, LC_ERR_USAGE, word, "unknown option %s; see lorac %s --help",
                         word, command->name);
}

/* One "--name", "--name=value" or "--name value"; *used counts the arguments it took. */
static lc_code parse_option(lc_parse *parse, int argc, char **argv, int *used)
{
    const char *name = argv[0];
    const char *equals = strchr(name, '=');
    const size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    *used = 1;
    for (size_t i = 0; i < parse->command->option_count; i++) {
        const lc_option *option = &parse->command->options[i];
        if (!is_option(option) || strncmp(option->name, name, length) != 0 ||
            option->name[length] != '\0') {
            continue;
        }
        if (option->flag != NULL) {
            if (equals != NULL) {
                return lc_fail_param(parse->err, LC_ERR_USAGE, option->name, "%s takes no value",
                                     option->name);
            }
            *option->flag = true;
            return LC_OK;
        }
        if (equals == NULL && argc < 2) {
            return lc_fail_param(parse->err, LC_ERR_USAGE, option->name, "%s needs a value: %s %s",
                                 option->name, option->name, option->value);
        }
        *used = equals != NULL ? 1 : 2;
        return store(parse, i, equals != NULL ? equals + 1 : argv[1]);
    }
    return fail_unknown(parse, name, length);
}

static lc_code parse_positional(lc_parse *parse, const char *text)
{
    for (size_t i = 0; i < parse->command->option_count; i++) {
        if (!is_option(&parse->command->options[i]) && !parse->given[i]) {
            return store(parse, i, text);
        }
    }
    return lc_fail(parse->err, LC_ERR_USAGE, "unexpected argument \"%s\"; see lorac %s --help",
                   text, parse->command->name);
}

static bool stands_alone(const lc_command *command)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].is_alone && *command->options[i].flag) {
            return true;
        }
    }
    return false;
}

static lc_code check_required(const lc_parse *parse)
{
    if (stands_alone(parse->command)) {
        return LC_OK;
    }
    for (size_t i = 0; i < parse->command->option_count; i++) {
        const lc_option *option = &parse->command->options[i];
        if (!option->is_required || parse->given[i]) {
            continue;
        }
        return lc_fail_param(parse->err, LC_ERR_USAGE, option->name,
                             "%s%s%s is missing; see lorac %s --help", option->name,
                             is_option(option) ? " " : "", is_option(option) ? option->value : "",
                             parse->command->name);
    }
    return LC_OK;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

lc_code lc_options_parse(const lc_command *command, int argc, char **argv, bool *help, lc_err *err)
{
    lc_parse parse = {.command = command, .err = err};
    *help = asks_for_help(argc, argv);
    if (command->option_count > LC_MAX_OPTIONS) {
        return lc_fail(err, LC_ERR_INTERNAL, "lorac %s has more than %d options", command->name,
                       LC_MAX_OPTIONS);
    }
    bool options_ended = *help;
    for (int i = 0; i < argc && !*help;) {
        int used = 1;
        if (!options_ended && strcmp(argv[i], "--") == 0) {
            options_ended = true;
        } else if (!options_ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            LC_TRY(parse_option(&parse, argc - i, argv + i, &used));
        } else {
            LC_TRY(parse_positional(&parse, argv[i]));
        }
        i += used;
    }
    return *help ? LC_OK : check_required(&parse);
}

/* ---- help ---- */

static void print_synopsis(const lc_command *command, FILE *out)
{
    fprintf(out, "Usage: lorac %s", command->name);
    for (size_t i = 0; i < command->option_count; i++) {
        const lc_option *option = &command->options[i];
        if (!is_option(option)) {
            fprintf(out, option->is_required ? " %s" : " [%s]", option->name);
        } else if (option->is_required) {
            fprintf(out, " %s %s", option->name, option->value);
        }
    }
    fprintf(out, " [options]\n\n");
}

static void begin_line(FILE *out)
{
    fprintf(out, "\n%*s", HELP_INDENT, "");
}

/* Words of `text` in lines from column HELP_INDENT, where the cursor is, to HELP_WIDTH. */
static void print_wrapped(FILE *out, const char *text)
{
    int at = HELP_INDENT;
    while (*text != '\0') {
        const int length = (int)strcspn(text, " ");
        if (at > HELP_INDENT && at + 1 + length > HELP_WIDTH) {
            begin_line(out);
            at = HELP_INDENT;
        } else if (at > HELP_INDENT) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", length, text);
        at += length;
        text += length;
        text += strspn(text, " ");
    }
}

/* "whole number 1..256", "text: fp32, bf16", ... */
static void describe_type(const lc_option *option, char *out, size_t capacity)
{
    if (option->integer != NULL && option->high > INT32_MAX) {
        (void)snprintf(out, capacity, "whole number, %lld or more", (long long)option->low);
    } else if (option->integer != NULL) {
        (void)snprintf(out, capacity, "whole number %lld..%lld", (long long)option->low,
                       (long long)option->high);
    } else if (option->number != NULL) {
        (void)snprintf(out, capacity, "number %.7g..%.7g", option->min, option->max);
    } else {
        size_t used = (size_t)snprintf(out, capacity, option->flag != NULL ? "flag" : "text");
        for (size_t i = 0; option->choices != NULL && option->choices[i] != NULL && used < capacity;
             i++) {
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", i == 0 ? ": " : ", ",
                                     option->choices[i]);
        }
    }
}

/* Type and default of an option in parentheses, on a line of its own. */
static void print_type(const lc_option *option, FILE *out)
{
    char type[256], note[600];
    describe_type(option, type, sizeof type);
    if (option->is_required) {
        (void)snprintf(note, sizeof note, "(%s; required)", type);
    } else {
        (void)snprintf(note, sizeof note, "(%s; default: %s)", type,
                       option->flag != NULL       ? "off"
                       : option->fallback != NULL ? option->fallback
                                                  : "none");
    }
    begin_line(out);
    print_wrapped(out, note);
}

static void print_option(const lc_option *option, FILE *out)
{
    const int width = fprintf(out, "  %s%s%s", option->name, option->value != NULL ? " " : "",
                              option->value != NULL ? option->value : "");
    if (width > HELP_INDENT - 2) {
        begin_line(out);
    } else {
        fprintf(out, "%*s", HELP_INDENT - width, "");
    }
    print_wrapped(out, option->help);
    if (is_option(option)) {
        print_type(option, out);
    }
    fputc('\n', out);
}

static void print_options(const lc_command *command, FILE *out, bool positional, const char *title)
{
    bool is_first = true;
    for (size_t i = 0; i < command->option_count; i++) {
        if (is_option(&command->options[i]) == positional) {
            continue;
        }
        fprintf(out, "%s%s", is_first ? title : "", is_first ? "\n" : "");
        is_first = false;
        print_option(&command->options[i], out);
    }
    if (!is_first) {
        fputc('\n', out);
    }
}

void lc_options_help(const lc_command *command, FILE *out)
{
    print_synopsis(command, out);
    fprintf(out, "%s\n", command->description);
    print_options(command, out, true, "Arguments:");
    print_options(command, out, false, "Options:");
    fprintf(out, "Examples:\n%s\n", command->examples);
    fprintf(out,
            "Exit status:\n"
            "  0  done\n"
            "  1  something else failed: memory, a device, an I/O error\n"
            "  2  wrong call of the command\n"
            "  3  bad data or configuration; trying again will not help\n%s",
            command->exits != NULL ? command->exits : "");
}

lc_code lc_command_begin(const lc_command *command, int argc, char **argv, bool *done, lc_err *err)
{
    LC_TRY(lc_options_parse(command, argc, argv, done, err));
    if (*done) {
        lc_options_help(command, stdout);
    }
    return LC_OK;
}

const char *const lc_dtype_choices[] = {"auto", "fp32", "bf16", NULL};
const char *const lc_device_choices[] = {"auto", "cpu", "cuda", "emu",
                                         NULL}; /* of lc_device_kind */

lc_device_kind lc_device_choice(const char *name)
{
    int kind = LC_DEVICE_KIND_COUNT - 1;
    while (kind > 0 && strcmp(lc_device_choices[kind], name) != 0) {
        kind--;
    }
    return (lc_device_kind)kind;
}
