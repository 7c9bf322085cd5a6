/*
 * lorac bench: what this machine reaches, op by op and step by step. Each part is a file of its
 * own.
 */
#include "cli/bench.h"

#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"

static const struct {
    const char *name;
    lc_command_fn run;
} parts[] = {{"ops", lc_bench_ops}, {"step", lc_bench_step}, {"--tune", lc_bench_tune_command}};

lc_code lc_command_bench(int argc, char **argv, lc_err *err)
{
    static const char *const choices[] = {"ops", "step", "--tune", NULL};
    const char *part = NULL;
    bool done = false;
    for (size_t i = 0; argc > 0 && i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(argv[0], parts[i].name) == 0) {
            return parts[i].run(argc - 1, argv + 1, err);
        }
    }
    const lc_option options[] = {
        {.name = "WHAT",
         .help =
             "ops: every op of a layer; step: whole training steps; --tune: the matrix products of "
             "a GPU. Each has a --help of its own",
         .text = &part,
         .choices = choices,
         .is_required = true},
    };
    const lc_command command = {
        .name = "bench",
        .description = "Measures this machine, beside the ceilings that it reaches in the same "
                       "run.\n",
        .examples = "  lorac bench ops --model models/sprout-3m\n"
                    "  lorac bench step --model models/sprout-3m --tokens 512 --steps 5\n"
                    "  lorac bench --tune --job job.json\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return LC_OK;
}
