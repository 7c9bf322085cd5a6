/*
 * The verbs of the command line, one file each. Each parses its own arguments, prints its results
 * on standard output, and reports failure through err: main.c prints that once and turns it into
 * the exit status.
 */
#ifndef LC_CLI_COMMANDS_H
#define LC_CLI_COMMANDS_H

#include "lorac/err.h"

/* argv[0..argc-1] begin behind the verb. */
typedef lc_code (*lc_command_fn)(int argc, char **argv, lc_err *err);

LC_WARN_UNUSED lc_code lc_command_train(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_plan(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_tokenize(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_validate(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_template(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_chat(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_eval(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_export(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_bench(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_doctor(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_serve(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_command_keys(int argc, char **argv, lc_err *err);

#endif
