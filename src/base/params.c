/*
 * Parameters of the environment: the table, and the only getenv of the program. `lorac doctor` and
 * the docs print the table.
 */
#include "base/params.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#define LAST_RANK 1023 /* LC_MAX_RANKS of lorac/comm.h */

/* A variable of a launcher: it is read, never asked for. */
#define FROM_LAUNCHER(name, type, help, min, max) \
    {                                             \
        name, type, "unset", help, min, max       \
    }

static const lc_param table[LC_PARAM_COUNT] = {
    [LC_PARAM_THREADS] = {"LORAC_THREADS", "integer", "the cores this process may use",
                          "compute threads; the results do not depend on it", 1, 256},
    [LC_PARAM_FAULT] = {"LORAC_FAULT", "text", "off",
                        "test aid: fail the n-th call (alloc:N, io:N:ENOSPC, io:N:EIO, io:N:SHORT, "
                        "kill:N; a + at the end: and every later one)",
                        0, 0},
    [LC_PARAM_LOG_LEVEL] = {"LORAC_LOG", "text", "warn",
                            "least level shown on stderr: debug, info, warn or error", 0, 0},
    [LC_PARAM_NO_COLOR] = {"NO_COLOR", "flag", "unset", "any value turns colours off", 0, 0},
    [LC_PARAM_CUDA_LIBRARY] = {"LORAC_CUDA_LIBRARY", "file",
                               "liblorac_cuda.so beside lorac, in ../lib or the system's folders",
                               "the CUDA backend to load", 0, 0},
    [LC_PARAM_ATTENTION] = {"LORAC_ATTENTION", "text", "auto",
                            "attention on a GPU: auto, lorac (our own kernels) or cudnn (an error "
                            "where it cannot be had)",
                            0, 0},
    [LC_PARAM_TUNING] = {"LORAC_TUNING", "file",
                         "the device's own in lorac/tuning of XDG_CACHE_HOME",
                         "the tuning table that a new job on a GPU begins with; off: none", 0, 0},
    [LC_PARAM_DATASETS] = {"LORAC_DATASETS", "folder", "lorac/datasets in XDG_CACHE_HOME",
                           "tokenized data sets, kept for the next run; off: none", 0, 0},
    [LC_PARAM_CACHE_HOME] = {"XDG_CACHE_HOME", "folder", ".cache in HOME",
                             "where tuning tables and tokenized data sets lie", 0, 0},
    [LC_PARAM_HOME] = {"HOME", "folder", "none", "used where XDG_CACHE_HOME is not set", 0, 0},
    [LC_PARAM_COLUMNS] = {"COLUMNS", "integer", "asked from the terminal",
                          "width of the terminal in characters", 20, 1000},
    [LC_PARAM_COMM_TIMEOUT] = {"LORAC_COMM_TIMEOUT", "integer", "300",
                               "seconds that ranks wait for each other before they give up", 1,
                               86400},
    [LC_PARAM_NCCL_COMM_ID] =
        FROM_LAUNCHER("NCCL_COMM_ID", "text", "where rank 0 listens, host:port", 0, 0),
    [LC_PARAM_MASTER_ADDR] = FROM_LAUNCHER("MASTER_ADDR", "text", "host of rank 0", 0, 0),
    [LC_PARAM_MASTER_PORT] =
        FROM_LAUNCHER("MASTER_PORT", "integer", "port of rank 0 on MASTER_ADDR", 1, 65535),
    [LC_PARAM_RANK] = FROM_LAUNCHER("RANK", "integer", "rank, from torchrun", 0, LAST_RANK),
    [LC_PARAM_WORLD_SIZE] =
        FROM_LAUNCHER("WORLD_SIZE", "integer", "ranks, from torchrun", 1, LAST_RANK + 1),
    [LC_PARAM_LOCAL_RANK] =
        FROM_LAUNCHER("LOCAL_RANK", "integer", "rank on this node, from torchrun", 0, LAST_RANK),
    [LC_PARAM_LOCAL_WORLD_SIZE] = FROM_LAUNCHER(
        "LOCAL_WORLD_SIZE", "integer", "ranks on this node, from torchrun", 1, LAST_RANK + 1),
    [LC_PARAM_TORCH_AGENT_STORE] = FROM_LAUNCHER(
        "TORCHELASTIC_USE_AGENT_STORE", "text",
        "True: torchrun itself listens at MASTER_PORT, ranks take the next one", 0, 0),
    [LC_PARAM_OMPI_RANK] =
        FROM_LAUNCHER("OMPI_COMM_WORLD_RANK", "integer", "rank, from Open MPI", 0, LAST_RANK),
    [LC_PARAM_OMPI_SIZE] =
        FROM_LAUNCHER("OMPI_COMM_WORLD_SIZE", "integer", "ranks, from Open MPI", 1, LAST_RANK + 1),
    [LC_PARAM_OMPI_LOCAL_RANK] = FROM_LAUNCHER("OMPI_COMM_WORLD_LOCAL_RANK", "integer",
                                               "rank on this node, from Open MPI", 0, LAST_RANK),
    [LC_PARAM_OMPI_LOCAL_SIZE] =
        FROM_LAUNCHER("OMPI_COMM_WORLD_LOCAL_SIZE", "integer", "ranks on this node, from Open MPI",
                      1, LAST_RANK + 1),
    [LC_PARAM_PMIX_NAMESPACE] =
        FROM_LAUNCHER("PMIX_NAMESPACE", "text", "names the job of Open MPI", 0, 0),
    [LC_PARAM_PMI_RANK] = FROM_LAUNCHER("PMI_RANK", "integer", "rank, from MPICH", 0, LAST_RANK),
    [LC_PARAM_PMI_SIZE] =
        FROM_LAUNCHER("PMI_SIZE", "integer", "ranks, from MPICH", 1, LAST_RANK + 1),
    [LC_PARAM_MPI_LOCAL_RANK] =
        FROM_LAUNCHER("MPI_LOCALRANKID", "integer", "rank on this node, from MPICH", 0, LAST_RANK),
    [LC_PARAM_MPI_LOCAL_SIZE] = FROM_LAUNCHER("MPI_LOCALNRANKS", "integer",
                                              "ranks on this node, from MPICH", 1, LAST_RANK + 1),
    [LC_PARAM_SLURM_PROCID] =
        FROM_LAUNCHER("SLURM_PROCID", "integer", "rank, from srun", 0, LAST_RANK),
    [LC_PARAM_SLURM_NTASKS] =
        FROM_LAUNCHER("SLURM_NTASKS", "integer", "ranks, from srun", 1, LAST_RANK + 1),
    [LC_PARAM_SLURM_LOCALID] =
        FROM_LAUNCHER("SLURM_LOCALID", "integer", "rank on this node, from srun", 0, LAST_RANK),
    [LC_PARAM_SLURM_JOB_ID] = FROM_LAUNCHER("SLURM_JOB_ID", "integer",
                                            "gives the port of rank 0 under Slurm", 0, UINT32_MAX),
    [LC_PARAM_SLURM_STEP_NODELIST] =
        FROM_LAUNCHER("SLURM_STEP_NODELIST", "text", "nodes of a step of srun", 0, 0),
    [LC_PARAM_SLURM_JOB_NODELIST] =
        FROM_LAUNCHER("SLURM_JOB_NODELIST", "text", "nodes of a Slurm job", 0, 0),
};

const lc_param *lc_param_describe(lc_param_id id)
{
    assert((unsigned)id < LC_PARAM_COUNT);
    return &table[id];
}

const char *lc_param_text(lc_param_id id)
{
    return getenv(lc_param_describe(id)->name);
}

lc_code lc_param_int(lc_param_id id, int64_t fallback, int64_t *out, lc_err *err)
{
    const lc_param *param = lc_param_describe(id);
    const char *text = lc_param_text(id);
    if (text == NULL || text[0] == '\0') {
        *out = fallback;
        return LC_OK;
    }
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    const bool starts_well = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    if (!starts_well || errno != 0 || *end != '\0' || value < param->min || value > param->max) {
        return lc_fail_param(err, LC_ERR_USAGE, param->name,
                             "%s must be an integer from %" PRId64 " to %" PRId64
                             ", not \"%.100s\"",
                             param->name, param->min, param->max, text);
    }
    *out = value;
    return LC_OK;
}
