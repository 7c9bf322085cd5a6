/*
 * Who started this process, and which of how many ranks it is: read from the variables of torchrun,
 * mpirun (Open MPI, MPICH) or srun. Knows no transport; lc_backend.comm_open takes what is found.
 */
#ifndef LC_COMM_LAUNCH_H
#define LC_COMM_LAUNCH_H

#include "lorac/comm.h"

#define LC_LAUNCH_ADDRESS_BYTES 272 /* a host name and ":65535" */

typedef struct lc_launch {
    const char *launcher; /* "torchrun", "Open MPI", "MPICH", "srun"; "none": one process */
    int rank;             /* 0..world_size-1 */
    int world_size;       /* 1..LC_MAX_RANKS */
    int local_rank;       /* on this node, from 0: index of the GPU */
    char address[LC_LAUNCH_ADDRESS_BYTES]; /* "host:port" where rank 0 listens; "": one rank */
    const char *address_source;            /* variables that gave it, for people */
} lc_launch;

/* Finds the launcher: torchrun may run under srun or mpirun, mpirun under srun, and the inner one
 * counts. The address comes from NCCL_COMM_ID, else MASTER_ADDR and MASTER_PORT, else loopback
 * where all ranks are known to be on one node, else Slurm's list of nodes. One rank needs nothing.
 * LC_ERR_USAGE names the variable that is missing, malformed or does not go with the others
 * (err->param is its name). */
LC_WARN_UNUSED lc_code lc_launch_detect(lc_launch *out, lc_err *err);

/* The first host of a list as Slurm writes it: "gpu[003-005,9],login" gives "gpu003".
 * LC_ERR_INVALID where it is malformed or the name does not fit. */
LC_WARN_UNUSED lc_code lc_launch_first_host(const char *list, char *out, size_t capacity,
                                            lc_err *err);

#endif
