/*
 * Communication between ranks. One rank is a plain copy; NCCL and MPI implement the same table.
 * Reductions add in rank order, so that the bytes do not depend on topology or timing.
 */
#ifndef LORAC_COMM_H
#define LORAC_COMM_H

#include <stdint.h>

#include "lorac/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lc_comm lc_comm;
struct lc_comm {
    const char *name; /* "single", "nccl", "mpi" */
    int rank;
    int world_size;
    void *state; /* owned by the implementation */
    /* values[i] = sum over ranks, in rank order; values in device memory of the job's backend. */
    LC_WARN_UNUSED lc_code (*sum_f32)(lc_comm *comm, float *values, int64_t count, lc_err *err);
    /* The same for a few host scalars (loss sums, weights, counts). */
    LC_WARN_UNUSED lc_code (*sum_f64)(lc_comm *comm, double *values, int64_t count, lc_err *err);
    LC_WARN_UNUSED lc_code (*barrier)(lc_comm *comm, lc_err *err);
    void (*release)(lc_comm *comm);
};

/* One process, one rank. */
void lc_comm_single_init(lc_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
