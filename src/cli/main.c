/*
 * `lorac`: picks the command, prints an error once, ends the process. The only file that calls
 * exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/params.h"
#include "cli/commands.h"
#include "ops/backend.h"
#include "cli/options.h"
#include "lorac/log.h"
#include "lorac/lorac.h"

typedef struct lc_verb {
    const char *name;
    const char *summary;
    lc_command_fn run;
} lc_verb;

static const lc_verb verbs[] = {
    {"train", "fine-tune a model: job file in, adapter out", lc_command_train},
    {"plan", "show the memory and the time a job will need", lc_command_plan},
    {"tokenize", "turn chat JSONL into a tokenized data set", lc_command_tokenize},
    {"validate", "check a chat JSONL file and count its tokens", lc_command_validate},
    {"template", "render conversations with a chat template", lc_command_template},
    {"chat", "talk to a model, with or without an adapter", lc_command_chat},
    {"eval", "loss and exact match on a file", lc_command_eval},
    {"export", "merge an adapter into its base; check who can load it", lc_command_export},
    {"bench", "measure this machine; tune the matrix products of a GPU", lc_command_bench},
    {"doctor", "what this machine can do, and why not", lc_command_doctor},
    {"serve", "the fine-tuning service for Azure's and OpenAI's clients", lc_command_serve},
    {"keys", "add, list and revoke the API keys of a service", lc_command_keys},
};
#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static void print_help(FILE *out)
{
    fprintf(
        out,
        "lorac %s: LoRA fine-tuning of language models\n\nUsage: lorac COMMAND ...\n\nCommands:\n",
        lc_version());
    for (size_t i = 0; i < VERB_COUNT; i++) {
        fprintf(out, "  %-10s%s\n", verbs[i].name, verbs[i].summary);
    }
    fprintf(out,
            "\nlorac COMMAND --help explains a command, lorac --version prints the version.\n\n"
            "A first run:\n"
            "  lorac validate train.jsonl --model models/sprout-3m\n"
            "  lorac train job.json --out runs/first\n"
            "  lorac chat --model models/sprout-3m --adapter runs/first/adapter\n");
}

static const lc_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static lc_code fail_unknown(const char *name, lc_err *err)
{
    const char *nearest = lc_nearest_name(name, &verbs[0].name, VERB_COUNT, sizeof verbs[0]);
    if (nearest != NULL) {
        return lc_fail(err, LC_ERR_USAGE,
                       "unknown command \"%.64s\"; did you mean %s? See lorac --help", name,
                       nearest);
    }
    return lc_fail(err, LC_ERR_USAGE, "unknown command \"%.64s\"; see lorac --help", name);
}

static lc_code set_log_level(lc_err *err)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *text = lc_param_text(LC_PARAM_LOG_LEVEL);
    if (text == NULL || text[0] == '\0') {
        return LC_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            lc_log_set_level((lc_log_level)i);
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_USAGE, "LORAC_LOG",
                         "LORAC_LOG must be debug, info, warn or error, not \"%.100s\"", text);
}

static lc_code run(int argc, char **argv, lc_err *err)
{
    static char help_option[] = "--help";
    if (argc < 2) {
        print_help(stderr);
        return lc_fail(err, LC_ERR_USAGE, "no command given");
    }
    const bool is_help = strcmp(argv[1], "help") == 0;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (is_help && argc == 2)) {
        print_help(stdout);
        return LC_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        printf("lorac %s\n", lc_version());
        return LC_OK;
    }
    const lc_verb *verb = find_verb(is_help ? argv[2] : argv[1]);
    if (verb == NULL) {
        return fail_unknown(is_help ? argv[2] : argv[1], err);
    }
    if (is_help) {
        char *arguments[] = {help_option, NULL};
        return verb->run(1, arguments, err);
    }
    LC_TRY(set_log_level(err)); /* help comes whatever the environment says */
    LC_TRY(lc_attention_path_check(err));
    return verb->run(argc - 2, argv + 2, err);
}

/* Descriptors 0 to 2 that were closed: a file opened later must not become standard output. */
static void fill_standard_files(void)
{
    for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;) {
        if (fd > 2) {
            (void)close(fd);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    fill_standard_files();
    lc_err err = {.code = LC_OK};
    lc_code code = run(argc, argv, &err);
    errno = 0;
    const bool is_lost = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (is_lost && errno != EPIPE && code == LC_OK) { /* a reader that went away is no failure */
        code = lc_fail(&err, LC_ERR_IO, "cannot write to standard output");
    }
    if (code != LC_OK) {
        fprintf(stderr, "lorac: %s\n", err.message[0] != '\0' ? err.message : lc_code_name(code));
    }
    exit(lc_code_exit_status(code));
}
