/*
 * lorac train: runs a job through the public API (lorac.h), shows its progress, and turns SIGINT
 * and SIGTERM into a clean stop with a checkpoint.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "comm/launch.h"
#include "lorac/lorac.h"

/* What the signal handler needs; the only mutable global state of the command line. */
static lc_job *volatile running_job;
static volatile sig_atomic_t signal_count;

/* First signal: finish the micro-batch and keep a checkpoint. Second one: leave at once. */
static void on_signal(int number)
{
    static const char first[] =
        "\nlorac: stopping after this micro-batch; once more to leave at once\n";
    signal_count = signal_count + 1;
    if (signal_count > 1) {
        _exit(128 + number);
    }
    (void)!write(STDERR_FILENO, first, sizeof first - 1);
    if (running_job != NULL) {
        lc_job_stop(running_job);
    }
}

static void catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    sigset_t both; /* who started us may have held them back until now */
    (void)sigemptyset(&both);
    (void)sigaddset(&both, SIGINT);
    (void)sigaddset(&both, SIGTERM);
    (void)sigprocmask(SIG_UNBLOCK, &both, NULL);
    /* A reader of our output that goes away (lorac train ... | head) must not end the training. */
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

static void show_event(void *context, const lc_event *event)
{
    lc_progress_view *view = context;
    view->is_stopping = signal_count > 0;
    lc_progress_show(view, event);
}

static lc_code run_job(const lc_job_options *options, bool json, int rank, lc_err *err)
{
    lc_job *job = NULL;
    lc_progress_view view;
    LC_TRY(lc_job_open(options, &job, err));
    running_job = job;
    if (signal_count > 0) { /* it came while the job was being opened */
        lc_job_stop(job);
    }
    lc_progress_init(&view, stdout, json);
    const lc_code code = lc_job_run(job, rank == 0 ? show_event : NULL, &view, err);
    lc_progress_finish(&view);
    running_job = NULL;
    lc_job_close(job);
    return code;
}

static lc_code explain(lc_code code, const lc_job_options *options, bool json, lc_err *err)
{
    if (code == LC_OK && !json) {
        printf("Adapter: %s/adapter\nEvents:  %s/events.jsonl\nResults: %s/results.csv\n",
               options->out_dir, options->out_dir, options->out_dir);
    }
    if (code != LC_ERR_INTERRUPTED && code != LC_ERR_DISK_FULL) {
        return code;
    }
    lc_err whole = {.code = LC_OK};
    (void)lc_fail(&whole, code, "%.600s\n%s: lorac train %s --out %s --resume", err->message,
                  code == LC_ERR_DISK_FULL ? "Make room, then go on with" : "Go on with",
                  options->job_file, options->out_dir);
    *err = whole;
    return code;
}

lc_code lc_command_train(int argc, char **argv, lc_err *err)
{
    const char *job_file = NULL, *out_dir = NULL, *id = NULL;
    bool resume = false, json = false, done = false;
    int64_t threads = 0;
    const lc_option options[] = {
        {.name = "JOB",
         .help = "job file (JSON): model, training_file, method and the lorac object; paths in it "
                 "are relative "
                 "to the working directory",
         .text = &job_file,
         .is_required = true},
        {.name = "--out",
         .value = "DIR",
         .help = "job directory to make: adapter/, checkpoints/, events.jsonl, results.csv, "
                 "job.json, log.txt; "
                 "must be new or empty unless --resume is given",
         .text = &out_dir,
         .is_required = true},
        {.name = "--resume",
         .help = "go on from the newest valid checkpoint in DIR, or start when there is none",
         .flag = &resume},
        {.name = "--id",
         .value = "ID",
         .help = "id of a new job, \"ftjob-\" and 32 hex digits; names of models and events derive "
                 "from it",
         .fallback = "drawn",
         .text = &id},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads; the result does not depend on it",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &threads,
         .low = 1,
         .high = LC_MAX_THREADS},
        {.name = "--json",
         .help = "print one JSON object per event and step instead of progress",
         .flag = &json},
    };
    const lc_command command = {
        .name = "train",
        .description = "Fine-tunes the model that the job file names and writes a PEFT adapter to "
                       "DIR/adapter.\n"
                       "Shows a progress bar on a terminal, plain lines in a pipe.\n\n"
                       "SIGTERM or Ctrl-C: the current micro-batch is finished, a checkpoint of "
                       "the last whole step is\n"
                       "kept, exit status 75; run again with --resume. A second signal ends the "
                       "process at once.\n"
                       "A resumed run gives the same bytes as one that was never interrupted.\n\n"
                       "Several GPUs: start it with torchrun --no-python, mpirun or srun, one "
                       "process a GPU; rank 0\n"
                       "works on DIR and prints. docs/operations.md has the commands.\n",
        .examples = "  lorac train configs/quickstart/job.json --out runs/quickstart\n"
                    "  lorac train job.json --out runs/a --resume --threads 8\n"
                    "  lorac train job.json --out runs/a --json | jq .data.train_loss\n"
                    "  torchrun --no-python --nproc-per-node 8 lorac train job.json --out runs/a\n",
        .exits = "  75 stopped or disk full; a checkpoint is written, run again with --resume\n"
                 "  130, 143  ended at once by a second SIGINT, SIGTERM\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    const lc_job_options job_options = {.job_file = job_file,
                                        .out_dir = out_dir,
                                        .resume = resume,
                                        .id = id,
                                        .threads = (int)threads};
    catch_signals();
    lc_launch launch;
    LC_TRY(lc_launch_detect(&launch, err));
    lc_code code = run_job(&job_options, json, launch.rank, err);
    if (launch.rank == 0) { /* the others keep quiet but for what went wrong with them */
        code = explain(code, &job_options, json, err);
    }
    (void)fflush(stdout);
    clearerr(stdout); /* whoever read it may be gone; what counts is the job */
    return code;
}
