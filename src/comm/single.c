/* One process, one rank: sums are what they are. */
#include "lorac/comm.h"

#include <stddef.h>

static lc_code reserve(lc_comm *comm, int64_t most_count, lc_err *err)
{
    (void)comm, (void)most_count, (void)err;
    return LC_OK;
}

static lc_code sum_f32(lc_comm *comm, float *values, int64_t count, lc_err *err)
{
    (void)comm, (void)values, (void)count, (void)err;
    return LC_OK;
}

static lc_code sum_f64(lc_comm *comm, double *values, int64_t count, lc_err *err)
{
    (void)comm, (void)values, (void)count, (void)err;
    return LC_OK;
}

static lc_code broadcast(lc_comm *comm, void *data, size_t bytes, lc_err *err)
{
    (void)comm, (void)data, (void)bytes, (void)err;
    return LC_OK;
}

static void release(lc_comm *comm)
{
    (void)comm;
}

void lc_comm_single_init(lc_comm *comm)
{
    const lc_comm single = {.name = "single",
                            .rank = 0,
                            .world_size = 1,
                            .state = NULL,
                            .reserve = reserve,
                            .sum_f32 = sum_f32,
                            .sum_f64 = sum_f64,
                            .broadcast = broadcast,
                            .release = release};
    *comm = single;
}
