/* The adapter of a job; see adapter.h. */
#include "job/adapter.h"

lc_code lc_job_adapter_spec(const lc_job_spec *spec, const lc_model_config *config,
                            lc_adapter_spec **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the adapter's table", err));
    *out = memory;
    if (spec->init_adapter != NULL) {
        return lc_adapter_spec_load(spec->init_adapter, config, *out, err);
    }
    const lc_lora_options options = {.rank = (int32_t)spec->rank,
                                     .alpha = spec->alpha,
                                     .use_rslora = spec->use_rslora,
                                     .all_linear = spec->all_linear,
                                     .targets = spec->targets,
                                     .target_count = spec->target_count,
                                     .target_regex = spec->target_regex,
                                     .layers = spec->layers,
                                     .layer_count = spec->layer_count};
    return lc_adapter_spec_build(config, &options, *out, err);
}
