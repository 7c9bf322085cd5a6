/* Gradient norm, clipping and AdamW over flat parameter buffers, in fixed runs. */
#include "ops/cpu/cpu.h"

#include <math.h>

#define RUN_FLOATS 16384
#define CLIP_EPS   1e-6 /* torch.nn.utils.clip_grad_norm_ */

static int64_t run_length(int64_t count, int64_t index)
{
    const int64_t left = count - index * RUN_FLOATS;
    return left < RUN_FLOATS ? left : RUN_FLOATS;
}

/* One partial per run; more than LC_MAX_PARTIALS runs share partials, each a fixed range of runs.
 */
typedef struct sum_job {
    lc_cpu *cpu;
    const lc_adamw_args *args;
    int64_t runs, runs_per_partial;
} sum_job;

static void sum_task(void *context, int64_t index, int worker)
{
    (void)worker;
    const sum_job *job = context;
    const int64_t first = index * job->runs_per_partial;
    double sum = 0.0;
    for (int64_t run = first; run < first + job->runs_per_partial && run < job->runs; run++) {
        sum += job->cpu->kernels->sum_squares(job->args->grad + run * RUN_FLOATS,
                                              run_length(job->args->count, run));
    }
    job->cpu->partials[index] = sum;
}

static double sum_squares(lc_cpu *cpu, const lc_adamw_args *args)
{
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
    return sum;
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

static double clip_factor(double clip, double norm)
{
    const double factor = clip / (norm + CLIP_EPS);
    return clip > 0.0 && factor < 1.0 ? factor : 1.0;
}

static lc_adamw_scalars scalars_of(const lc_adamw_args *args, double grad_scale, int64_t t)
{
    const double bias1 = 1.0 - pow(args->beta1, (double)t);
    const double bias2 = 1.0 - pow(args->beta2, (double)t);
    const double lr = args->values->learning_rate;
    return (lc_adamw_scalars){.grad_scale = (float)grad_scale,
                              .decay = (float)(1.0 - lr * args->weight_decay),
                              .one_minus_beta1 = (float)(1.0 - args->beta1),
                              .beta2 = (float)args->beta2,
                              .one_minus_beta2 = (float)(1.0 - args->beta2),
                              .bias2_sqrt = (float)sqrt(bias2),
                              .eps = (float)args->eps,
                              .step_size = (float)(lr / bias1)};
}

lc_code lc_cpu_adamw(lc_device *device, const lc_adamw_args *args, lc_err *err)
{
    LC_TRY(lc_adamw_check(args, err));
    lc_cpu *cpu = lc_cpu_of(device);
    lc_update *update = args->update;
    const double weight = args->values->weight;
    const double norm = sqrt(sum_squares(cpu, args)) / weight;
    const double grad_scale = clip_factor(args->clip, norm) / weight;
    update->grad_norm = norm;
    update->skipped =
        !isfinite(norm) || !isfinite(args->sums->loss) || !isfinite((float)grad_scale);
    if (update->skipped != 0) {
        return LC_OK;
    }
    update->count++;
    adamw_job job = {
        .cpu = cpu, .args = args, .scalars = scalars_of(args, grad_scale, update->count)};
    lc_cpu_run(cpu, (args->count + RUN_FLOATS - 1) / RUN_FLOATS, adamw_task, &job);
    return LC_OK;
}
