/* What the fake NCCL's collectives compute from all ranks' operands. */
#pragma once

#include <nccl.h>
#include <stdint.h>

namespace emu
{
enum class Collective {
    AllReduce,
    Reduce,
    Broadcast,
    AllGather,
    ReduceScatter,
    AlltoAll,
    Gather,
    Scatter
};

struct CollectiveArgs {
    Collective kind;
    uint64_t count; // elements, as in the call
    ncclDataType_t type;
    ncclRedOp_t op; // of the reductions
    int root;
};

// Bytes of an element; 0 for a type that is not known.
uint64_t nccl_type_bytes(ncclDataType_t type);
// Can reductions be computed in this type?
bool nccl_can_reduce(ncclDataType_t type);
const char *collective_name(Collective kind);
// Bytes that a rank gives and gets.
uint64_t operand_bytes(const CollectiveArgs &args, int rank, int rank_count);
uint64_t result_bytes(const CollectiveArgs &args, int rank, int rank_count);
// The same on all ranks that make the same call.
uint64_t collective_signature(const CollectiveArgs &args);
// Writes the result of `rank`. Reductions go over the ranks in order, from EMU_NCCL_FIRST_RANK on.
void collective_compute(const CollectiveArgs &args, int rank, int rank_count,
                        const char *const *operands, char *result);
} // namespace emu
