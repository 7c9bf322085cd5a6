/*
 * The one place that reads the environment. Each parameter: name, type, bounds, default, help; the
 * same table feeds `lorac doctor` and the docs.
 */
#ifndef LC_BASE_PARAMS_H
#define LC_BASE_PARAMS_H

#include <stdint.h>

#include "lorac/err.h"

typedef enum lc_param_id {
    LC_PARAM_THREADS,      /* LORAC_THREADS: compute threads, 1..256; default: lc_cpu_count() */
    LC_PARAM_FAULT,        /* LORAC_FAULT: see fault.h */
    LC_PARAM_LOG_LEVEL,    /* LORAC_LOG: debug, info, warn, error */
    LC_PARAM_NO_COLOR,     /* NO_COLOR: any value turns colours off */
    LC_PARAM_COLUMNS,      /* COLUMNS: terminal width */
    LC_PARAM_CUDA_LIBRARY, /* LORAC_CUDA_LIBRARY: file of the CUDA backend */
    LC_PARAM_ATTENTION,    /* LORAC_ATTENTION: auto, lorac, cudnn */
    LC_PARAM_TUNING,       /* LORAC_TUNING: file of the tuning table, or "off" */
    LC_PARAM_DATASETS,     /* LORAC_DATASETS: folder of tokenized data sets, or "off" */
    LC_PARAM_CACHE_HOME,   /* XDG_CACHE_HOME: where caches lie */
    LC_PARAM_HOME,         /* HOME: .cache in it, without the former */
    LC_PARAM_COMM_TIMEOUT, /* LORAC_COMM_TIMEOUT: seconds that ranks wait for each other */

    /* What launchers set for their ranks; see comm/launch.h. */
    LC_PARAM_NCCL_COMM_ID,
    LC_PARAM_MASTER_ADDR,
    LC_PARAM_MASTER_PORT,
    LC_PARAM_RANK, /* torchrun */
    LC_PARAM_WORLD_SIZE,
    LC_PARAM_LOCAL_RANK,
    LC_PARAM_LOCAL_WORLD_SIZE,
    LC_PARAM_TORCH_AGENT_STORE, /* TORCHELASTIC_USE_AGENT_STORE */
    LC_PARAM_OMPI_RANK,         /* Open MPI: OMPI_COMM_WORLD_RANK and so on */
    LC_PARAM_OMPI_SIZE,
    LC_PARAM_OMPI_LOCAL_RANK,
    LC_PARAM_OMPI_LOCAL_SIZE,
    LC_PARAM_PMIX_NAMESPACE,
    LC_PARAM_PMI_RANK, /* MPICH and its relatives */
    LC_PARAM_PMI_SIZE,
    LC_PARAM_MPI_LOCAL_RANK, /* MPI_LOCALRANKID */
    LC_PARAM_MPI_LOCAL_SIZE, /* MPI_LOCALNRANKS */
    LC_PARAM_SLURM_PROCID,   /* srun */
    LC_PARAM_SLURM_NTASKS,
    LC_PARAM_SLURM_LOCALID,
    LC_PARAM_SLURM_JOB_ID,
    LC_PARAM_SLURM_STEP_NODELIST,
    LC_PARAM_SLURM_JOB_NODELIST,
    LC_PARAM_COUNT
} lc_param_id;

#define LC_PARAM_FIRST_LAUNCHER LC_PARAM_NCCL_COMM_ID

typedef struct lc_param {
    const char *name, *type, *default_text, *help;
    int64_t min, max;
} lc_param;

const lc_param *lc_param_describe(lc_param_id id);
/* The text of the environment, or NULL. */
const char *lc_param_text(lc_param_id id);
/* An integer parameter or its default; out of bounds or not a number: LC_ERR_USAGE naming it. */
LC_WARN_UNUSED lc_code lc_param_int(lc_param_id id, int64_t fallback, int64_t *out, lc_err *err);

#endif
