/* attention_cudnn.h where cuDNN's headers were not at hand: there is no library. */
#include "attention_cudnn.h"

#include <stdio.h>

int lc_cudnn_version(char why[LC_CUDNN_TEXT_BYTES])
{
    (void)snprintf(why, LC_CUDNN_TEXT_BYTES, "built without cuDNN's headers");
    return 0;
}

lc_cudnn *lc_cudnn_open(cudaStream_t stream, char why[LC_CUDNN_TEXT_BYTES])
{
    (void)stream;
    (void)lc_cudnn_version(why);
    return NULL;
}

void lc_cudnn_close(lc_cudnn *library)
{
    (void)library;
}

lc_cudnn_plan *lc_cudnn_plan_make(lc_cudnn *library, const lc_cudnn_case *of, const char *wanted,
                                  char why[LC_CUDNN_TEXT_BYTES])
{
    (void)library;
    (void)of;
    (void)wanted;
    (void)lc_cudnn_version(why);
    return NULL;
}

void lc_cudnn_plan_free(lc_cudnn_plan *plan)
{
    (void)plan;
}

const char *lc_cudnn_plan_name(const lc_cudnn_plan *plan)
{
    (void)plan;
    return "none";
}

size_t lc_cudnn_plan_workspace(const lc_cudnn_plan *plan)
{
    (void)plan;
    return 0;
}

bool lc_cudnn_run(lc_cudnn *library, lc_cudnn_plan *plan, const lc_cudnn_tensors *tensors,
                  void *workspace, char why[LC_CUDNN_TEXT_BYTES])
{
    (void)library;
    (void)plan;
    (void)tensors;
    (void)workspace;
    (void)lc_cudnn_version(why);
    return false;
}
