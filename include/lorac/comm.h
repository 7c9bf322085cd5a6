/*
 * Communication between ranks. One rank is a plain copy; NCCL and MPI implement the same table.
 * Reductions add in rank order, so that the bytes do not depend on topology or timing.
 */
#ifndef LORAC_COMM_H
#define LORAC_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_MAX_RANKS 1024

/* Every rank makes the same calls in the same order. After an error the communicator is of no more
 * use; LC_ERR_DEVICE names this rank, the call and what went wrong. */
typedef struct lc_comm lc_comm;
struct lc_comm {
    const char *name; /* "single", "nccl", "mpi" */
    int rank;         /* 0..world_size-1 */
    int world_size;   /* 1..LC_MAX_RANKS */
    void *state;      /* owned by the implementation */
    /* Device memory for sums of up to `most_count` values (lc_memory_rules.comm_bytes), once,
     * before the first of them. */
    LC_WARN_UNUSED lc_code (*reserve)(lc_comm *comm, int64_t most_count, lc_err *err);
    /* values[i] = the sum over ranks, added in rank order; `count` values in the device memory of
     * the job's backend, at most what was reserved. Queued like an op: what waits for the device
     * reports what went wrong. */
    LC_WARN_UNUSED lc_code (*sum_f32)(lc_comm *comm, float *values, int64_t count, lc_err *err);
    /* The same for a few doubles in device memory (loss sums, weights): at most LC_COMM_DOUBLES. */
    LC_WARN_UNUSED lc_code (*sum_f64)(lc_comm *comm, double *values, int64_t count, lc_err *err);
    /* `bytes` of host memory become those of rank 0. Waits until they are there. */
    LC_WARN_UNUSED lc_code (*broadcast)(lc_comm *comm, void *data, size_t bytes, lc_err *err);
    void (*release)(lc_comm *comm);
};

#define LC_COMM_DOUBLES 64

/* Waits until rank 0 has come here, and takes over its outcome: returns this rank's own `code`
 * where that is a failure, else rank 0's. */
LC_WARN_UNUSED lc_code lc_comm_agree(lc_comm *comm, lc_code code, lc_err *err);

/* One process, one rank. */
void lc_comm_single_init(lc_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
