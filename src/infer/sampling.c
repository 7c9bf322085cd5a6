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
    if (!(fabs(sampling->presence_penalty) <= LC_MAX_PENALTY)) {
        return lc_fail_param(err, LC_ERR_USAGE, "presence_penalty",
                             "presence penalty %g is out of range: expected -2 to 2",
                             sampling->presence_penalty);
    }
    if (!(fabs(sampling->frequency_penalty) <= LC_MAX_PENALTY)) {
        return lc_fail_param(err, LC_ERR_USAGE, "frequency_penalty",
                             "frequency penalty %g is out of range: expected -2 to 2",
                             sampling->frequency_penalty);
    }
    return sampling->bias_count <= LC_MAX_BIASES
               ? LC_OK
               : lc_fail_param(err, LC_ERR_USAGE, "logit_bias",
                               "logit_bias has %d tokens, at most %d may be given",
                               sampling->bias_count, LC_MAX_BIASES);
}

bool lc_sampling_is_biased(const lc_sampling *sampling)
{
    return fabs(sampling->presence_penalty) > 0.0 || fabs(sampling->frequency_penalty) > 0.0 ||
           sampling->bias_count > 0;
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
