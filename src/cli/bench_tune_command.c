/*
 * lorac bench --tune: its options. Jobs never time anything; they read what this writes.
 */
#include "cli/bench.h"
#include "cli/bench_tune.h"
#include "cli/commands.h"
#include "cli/options.h"

#define MAX_BATCHES 100000

static lc_code check_options(const lc_bench_tune_options *options, lc_err *err)
{
    if ((options->job_file != NULL) == (options->model_dir != NULL)) {
        return lc_fail(err, LC_ERR_USAGE, "--tune needs --job FILE or --model DIR%s",
                       options->job_file != NULL ? ", not both" : "");
    }
    return LC_OK;
}

lc_code lc_bench_tune_command(int argc, char **argv, lc_err *err)
{
    lc_bench_tune_options o = {.batches = 32};
    bool done = false;
    const lc_option options[] = {
        {.name = "--job",
         .value = "FILE",
         .help = "job file: its model, adapter and data give the products",
         .text = &o.job_file},
        {.name = "--model",
         .value = "DIR",
         .help = "base model: a job with the defaults of a job file gives the products, with whole "
                 "micro-batches of random tokens",
         .text = &o.model_dir},
        {.name = "--batches",
         .value = "N",
         .help = "look at so many micro-batches of the job at most",
         .fallback = "32",
         .integer = &o.batches,
         .low = 1,
         .high = MAX_BATCHES},
        {.name = "--device",
         .value = "KIND",
         .help = "device to tune",
         .fallback = "the job's; cuda with --model",
         .text = &o.device,
         .choices = lc_device_choices},
        {.name = "--out",
         .value = "FILE",
         .help = "table to write; what it has for other products of this device is kept",
         .fallback = "where jobs look: LORAC_TUNING, else lorac/tuning/GPU.json in XDG_CACHE_HOME "
                     "or ~/.cache",
         .text = &o.out_file},
    };
    const lc_command command = {.name = "bench --tune",
                                .description =
                                    "Times the GPU library's algorithms for each matrix product "
                                    "of a training step and writes the table\nof the fastest ones "
                                    "that new jobs on this GPU begin with. A job times nothing: it "
                                    "takes its\nalgorithms from the table or the library's first "
                                    "proposal, and stores what it took.\n",
                                .examples = "  lorac bench --tune --job job.json\n"
                                            "  lorac bench --tune --model models/sprout-3m\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    LC_TRY(check_options(&o, err));
    return lc_bench_tune(&o, err);
}
