/*
 * lorac worker: the inference worker of `lorac serve`, a process per base model. Not for people:
 * lines of JSON on standard input and output (infer/worker.h).
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "infer/worker.h"
#include "model/config.h"

static volatile sig_atomic_t is_stopping;

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static void catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

lc_code lc_command_worker(int argc, char **argv, lc_err *err)
{
    const char *device = "auto";
    int64_t threads = 0;
    bool done = false;
    lc_worker_run_options o = {.dtype = "auto",
                               .adapters = LC_MAX_WORKER_LOADED,
                               .fd_in = STDIN_FILENO,
                               .fd_out = STDOUT_FILENO,
                               .is_stopping = &is_stopping};
    const lc_option options[] = {
        {.name = "--model",
         .value = "DIR",
         .help = "base model directory (Hugging Face layout)",
         .text = &o.model_dir,
         .is_required = true},
        {.name = "--slots",
         .value = "N",
         .fallback = "8",
         .help = "sequences generated at once",
         .integer = &o.slots,
         .low = 1,
         .high = LC_MAX_WORKER_SLOTS},
        {.name = "--context",
         .value = "N",
         .fallback = "4096 or the model's context",
         .help = "tokens of a conversation with its answer",
         .integer = &o.context,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--adapters",
         .value = "N",
         .fallback = "16, the most",
         .help = "loaded at once; each takes its memory when it is loaded",
         .integer = &o.adapters,
         .low = 0,
         .high = LC_MAX_WORKER_LOADED},
        {.name = "--dtype",
         .value = "TYPE",
         .fallback = "auto: fp32 on the CPU, bf16 on a GPU",
         .help = "type of the base weights in memory",
         .text = &o.dtype,
         .choices = lc_dtype_choices},
        {.name = "--device",
         .value = "NAME",
         .fallback = "auto: a GPU where there is one",
         .help = "where to compute",
         .text = &device,
         .choices = lc_device_choices},
        {.name = "--threads",
         .value = "N",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .help = "compute threads",
         .integer = &threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {
        .name = "worker",
        .description = "Answers the chats of one base model for lorac serve, which starts it: "
                       "reads one JSON\nobject a line and writes events. SIGTERM: takes no more "
                       "chats and ends when those it\nhas are through.\n",
        .examples = "  lorac worker --model models/sprout-3m\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    o.device = lc_device_choice(device);
    o.threads = (int)threads;
    catch_signals();
    return lc_worker_run(&o, err);
}
