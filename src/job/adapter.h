/* Which linears a job adapts: what its job file says, put to the model. Used by the run and by
 * `lorac plan`. */
#ifndef LC_JOB_ADAPTER_H
#define LC_JOB_ADAPTER_H

#include "job/spec.h"
#include "model/adapter.h"

/* From init_adapter when the job file names one, else from rank, alpha, targets and layers. *out is
 * owned by the caller (lc_free), also after a failure. */
LC_WARN_UNUSED lc_code lc_job_adapter_spec(const lc_job_spec *spec, const lc_model_config *config,
                                           lc_adapter_spec **out, lc_err *err);

#endif
