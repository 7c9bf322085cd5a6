/* Sampling settings; see sampling.h. */
#include "infer/sampling.h"

#include <float.h>
#include <math.h>

lc_code lc_sampling_check(const lc_sampling *sampling, lc_err *err)
{
    if (!(sampling->temperature >= 0.0 && sampling->temperature <= LC_MAX_TEMPERATURE)) {
        return lc_fail_param(err, LC_ERR_USAGE, "temperature",
                             "temperature %g is out of range: expected 0 (greedy) to %g",
                             sampling->temperature, LC_MAX_TEMPERATURE);
    }
    if (!(sampling->top_p > 0.0 && sampling->top_p <= 1.0)) {
        return lc_fail_param(err, LC_ERR_USAGE, "top_p",
                             "top-p %g is out of range: expected a number above 0, at most 1",
                             sampling->top_p);
    }
    return LC_OK;
}

/* A positive temperature is never greedy, and less than all of the weight is never all. */
lc_sample_row lc_sampling_row(const lc_sampling *sampling, uint32_t stream)
{
    static const double log2_e = 1.4426950408889634, whole = 4294967296.0;
    lc_sample_row row = {.seed = sampling->seed, .stream = stream};
    if (sampling->temperature > 0.0) {
        const double sharpness = log2_e / sampling->temperature;
        row.sharpness = sharpness < (double)FLT_MAX ? (float)sharpness : FLT_MAX;
    }
    if (sampling->top_p < 1.0) {
        const double share = rint(sampling->top_p * whole);
        row.top_p = (uint32_t)fmin(fmax(share, 1.0), whole - 1.0);
    }
    return row;
}
