/* lora.c in a program of your own: trains a job and prints its events.
 *   cc api_example.c $(pkg-config --cflags --libs lorac)
 *   ./a.out job.json runs/mine */
#include <stdio.h>
#include <string.h>

#include <lorac/lorac.h>

static void print_event(void *context, const lc_event *event)
{
    if (strcmp(event->type, "progress") != 0) {
        fprintf((FILE *)context, "%s\n", event->message);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s JOB.json DIRECTORY\n", argv[0]);
        return 2;
    }
    const lc_job_options options = {.job_file = argv[1], .out_dir = argv[2], .resume = 1};
    lc_err err = {0};
    lc_job *job = NULL;
    lc_code code = lc_job_open(&options, &job, &err);
    if (code == LC_OK) {
        code = lc_job_run(job, print_event, stdout, &err);
        lc_job_close(job);
    }
    if (code != LC_OK) {
        fprintf(stderr, "%s: %s\n", lc_code_name(code), err.message);
    }
    return lc_code_exit_status(code);
}
