/* What holds for every kind of communicator; see lorac/comm.h. */
#include "lorac/comm.h"

lc_code lc_comm_agree(lc_comm *comm, lc_code code, lc_err *err)
{
    int32_t decided = (int32_t)code;
    lc_err own = {.code = LC_OK};
    const lc_code met = comm->broadcast(comm, &decided, sizeof decided, &own);
    if (code != LC_OK) {
        return code;
    }
    if (met != LC_OK) {
        return lc_fail(err, met, "%s", own.message);
    }
    return decided == (int32_t)LC_OK
               ? LC_OK
               : lc_fail(err, (lc_code)decided, "rank %d of %d: rank 0 has ended: %s", comm->rank,
                         comm->world_size, lc_code_name((lc_code)decided));
}
