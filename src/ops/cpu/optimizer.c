/* Sums of squares and AdamW over flat parameter buffers, in fixed runs. */
#include "ops/check.h"
#include "ops/cpu/cpu.h"

#include <math.h>

#define RUN_FLOATS 16384

static int64_t run_length(int64_t count, int64_t index)
{
    const int64_t left = count - index * RUN_FLOATS;
    return left < RUN_FLOATS ? left : RUN_FLOATS;
}

/* One partial per run; more than LC_MAX_PARTIALS runs share partials, each a fixed range of runs.
 */
typedef struct sum_job {
    lc_cpu *cpu;
    const lc_sum_squares_args *args;
    int64_t runs, runs_per_partial;
} sum_job;

static void sum_task(void *context, int64_t index, int worker)
{
    (void)worker;
    const sum_job *job = context;
    const int64_t first = index * job->runs_per_partial;
    double sum = 0.0;
    for (int64_t run = first; run < first + job->runs_per_partial && run < job->runs; run++) {
        sum += job->cpu->kernels->sum_squares(job->args->values + run * RUN_FLOATS,
                                              run_length(job->args->count, run));
    }
    job->cpu->partials[index] = sum;
}

lc_code lc_cpu_sum_squares(lc_device *device, const lc_sum_squares_args *args, lc_err *err)
{
    LC_TRY(lc_sum_squares_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    sum_job job = {.cpu = cpu, .args = args};
    job.runs = (args->count + RUN_FLOATS - 1) / RUN_FLOATS;
    job.runs_per_partial = (job.runs + LC_MAX_PARTIALS - 1) / LC_MAX_PARTIALS;
    const int64_t partials =
        job.runs > 0 ? (job.runs + job.runs_per_partial - 1) / job.runs_per_partial : 0;
    lc_cpu_run(cpu, partials, sum_task, &job);
    double sum = 0.0;
    for (int64_t i = 0; i < partials; i++) {
        sum += cpu->partials[i];
    }
    *args->sum_squares = sum;
    return LC_OK;
}

typedef struct adamw_job {
    lc_cpu *cpu;
    const lc_adamw_args *args;
    lc_adamw_scalars scalars;
} adamw_job;

static void adamw_task(void *context, int64_t index, int worker)
{
    (void)worker;
    const adamw_job *job = context;
    const lc_adamw_args *args = job->args;
    const int64_t at = index * RUN_FLOATS;
    job->cpu->kernels->adamw(args->param + at, args->grad + at, args->m + at, args->v + at,
                             run_length(args->count, index), &job->scalars);
}

lc_code lc_cpu_adamw(lc_device *device, const lc_adamw_args *args, lc_err *err)
{
    LC_TRY(lc_adamw_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    const double bias1 = 1.0 - pow(args->beta1, (double)args->t);
    const double bias2 = 1.0 - pow(args->beta2, (double)args->t);
    adamw_job job = {.cpu = cpu,
                     .args = args,
                     .scalars = {.grad_scale = (float)args->grad_scale,
                                 .decay = (float)(1.0 - args->lr * args->weight_decay),
                                 .one_minus_beta1 = (float)(1.0 - args->beta1),
                                 .beta2 = (float)args->beta2,
                                 .one_minus_beta2 = (float)(1.0 - args->beta2),
                                 .bias2_sqrt = (float)sqrt(bias2),
                                 .eps = (float)args->eps,
                                 .step_size = (float)(args->lr / bias1)}};
    lc_cpu_run(cpu, (args->count + RUN_FLOATS - 1) / RUN_FLOATS, adamw_task, &job);
    return LC_OK;
}
