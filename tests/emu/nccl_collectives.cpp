/* Collectives as functions of all operands. */
#include "nccl_collectives.h"

#include <algorithm>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <string.h>

#include "emu_config.h"
#include "emu_internal.h"

namespace emu
{
namespace
{
template <class T> T widen(T value)
{
    return value;
}

float widen(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

float widen(__half value)
{
    return __half2float(value);
}

template <class T, class A> void narrow(A value, T *out)
{
    *out = value;
}

void narrow(float value, __nv_bfloat16 *out)
{
    *out = __float2bfloat16(value);
}

void narrow(float value, __half *out)
{
    *out = __float2half(value);
}

template <class A> A combine(A a, A b, ncclRedOp_t op)
{
    switch (op) {
    case ncclProd:
        return A(a * b);
    case ncclMax:
        return std::max(a, b);
    case ncclMin:
        return std::min(a, b);
    default:
        return A(a + b); // ncclSum, ncclAvg
    }
}

// result[i] = the reduction of element first + i, in T's wider type.
template <class T>
void reduce(const char *const *operands, int rank_count, uint64_t first, uint64_t count,
            ncclRedOp_t op, char *result)
{
    T *out = reinterpret_cast<T *>(result);
    int start = config().nccl_first_rank % rank_count;
    for (uint64_t i = 0; i < count; i++) {
        auto total = widen(reinterpret_cast<const T *>(operands[start])[first + i]);
        for (int step = 1; step < rank_count; step++) {
            int rank = (start + step) % rank_count;
            total =
                combine(total, widen(reinterpret_cast<const T *>(operands[rank])[first + i]), op);
        }
        if (op == ncclAvg)
            total = decltype(total)(total / rank_count);
        narrow(total, out + i);
    }
}

void reduce_any(const CollectiveArgs &args, const char *const *operands, int rank_count,
                uint64_t first, char *result)
{
    switch (args.type) {
    case ncclFloat32:
        return reduce<float>(operands, rank_count, first, args.count, args.op, result);
    case ncclFloat64:
        return reduce<double>(operands, rank_count, first, args.count, args.op, result);
    case ncclBfloat16:
        return reduce<__nv_bfloat16>(operands, rank_count, first, args.count, args.op, result);
    case ncclFloat16:
        return reduce<__half>(operands, rank_count, first, args.count, args.op, result);
    case ncclInt32:
        return reduce<int32_t>(operands, rank_count, first, args.count, args.op, result);
    case ncclUint32:
        return reduce<uint32_t>(operands, rank_count, first, args.count, args.op, result);
    case ncclInt64:
        return reduce<int64_t>(operands, rank_count, first, args.count, args.op, result);
    case ncclUint64:
        return reduce<uint64_t>(operands, rank_count, first, args.count, args.op, result);
    default:
        fatal("nccl: no reduction in type %d", int(args.type));
    }
}

uint64_t block_bytes(const CollectiveArgs &args)
{
    return args.count * nccl_type_bytes(args.type);
}

// Is it `count` elements for each rank, on this side, for this rank?
bool gives_all(const CollectiveArgs &args, int rank)
{
    return args.kind == Collective::ReduceScatter || args.kind == Collective::AlltoAll ||
           (args.kind == Collective::Scatter && rank == args.root);
}

bool gets_all(const CollectiveArgs &args, int rank)
{
    return args.kind == Collective::AllGather || args.kind == Collective::AlltoAll ||
           (args.kind == Collective::Gather && rank == args.root);
}
} // namespace

uint64_t nccl_type_bytes(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
        return 1;
    case ncclFloat16:
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

bool nccl_can_reduce(ncclDataType_t type)
{
    return nccl_type_bytes(type) >= 2;
}

const char *collective_name(Collective kind)
{
    static const char *const NAMES[] = {"ncclAllReduce", "ncclReduce",        "ncclBroadcast",
                                        "ncclAllGather", "ncclReduceScatter", "ncclAlltoAll",
                                        "ncclGather",    "ncclScatter"};
    return NAMES[int(kind)];
}

uint64_t operand_bytes(const CollectiveArgs &args, int rank, int rank_count)
{
    if ((args.kind == Collective::Broadcast || args.kind == Collective::Scatter) &&
        rank != args.root)
        return 0;
    return block_bytes(args) * (gives_all(args, rank) ? uint64_t(rank_count) : 1);
}

uint64_t result_bytes(const CollectiveArgs &args, int rank, int rank_count)
{
    if ((args.kind == Collective::Reduce || args.kind == Collective::Gather) && rank != args.root)
        return 0;
    return block_bytes(args) * (gets_all(args, rank) ? uint64_t(rank_count) : 1);
}

uint64_t collective_signature(const CollectiveArgs &args)
{
    return uint64_t(args.kind) | uint64_t(args.type) << 4 | uint64_t(args.op & 7) << 9 |
           uint64_t(args.root & 255) << 12 | args.count << 20;
}

void collective_compute(const CollectiveArgs &args, int rank, int rank_count,
                        const char *const *operands, char *result)
{
    uint64_t bytes = block_bytes(args);
    switch (args.kind) {
    case Collective::AllReduce:
        return reduce_any(args, operands, rank_count, 0, result);
    case Collective::Reduce:
        if (rank == args.root)
            reduce_any(args, operands, rank_count, 0, result);
        return;
    case Collective::ReduceScatter:
        return reduce_any(args, operands, rank_count, uint64_t(rank) * args.count, result);
    case Collective::Broadcast:
        memcpy(result, operands[args.root], bytes);
        return;
    case Collective::Scatter:
        memcpy(result, operands[args.root] + uint64_t(rank) * bytes, bytes);
        return;
    case Collective::AllGather:
    case Collective::Gather:
        for (int from = 0; from < rank_count && gets_all(args, rank); from++)
            memcpy(result + uint64_t(from) * bytes, operands[from], bytes);
        return;
    case Collective::AlltoAll:
        for (int from = 0; from < rank_count; from++)
            memcpy(result + uint64_t(from) * bytes, operands[from] + uint64_t(rank) * bytes, bytes);
        return;
    }
}
} // namespace emu
