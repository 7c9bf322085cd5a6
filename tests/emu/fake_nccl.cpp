/* NCCL against the genuine header. A collective is two operations on its stream: one publishes the
 * rank's operand and waits for a free slot, one waits for all ranks and computes the result. So the
 * ranks may be driven by one host thread, by one each, or live in different processes, and a
 * missing rank shows as streams that are stuck. Sends wait until they are received, as the real
 * ones may; inside a group they do not hold up the group's receives. */
#include <stdio.h>
#include <string.h>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_stream.h"
#include "fake_nccl.h"
#include "nccl_collectives.h"

using namespace emu;

namespace
{
// ---- posting ----

ncclResult_t in_group(std::function<ncclResult_t()> start, std::function<ncclResult_t()> end)
{
    if (nccl_group()->depth > 0) {
        nccl_group()->starts.push_back(std::move(start));
        nccl_group()->ends.push_back(std::move(end));
        return ncclSuccess;
    }
    ncclResult_t result = start();
    return result == ncclSuccess ? end() : result;
}

ncclResult_t post(cudaStream_t stream, const char *name, bool is_counted,
                  std::function<Instance()> bind)
{
    cudaError_t error =
        enqueue(stream, {name, is_counted, cudaGraphNodeTypeKernel, {}, std::move(bind)});
    return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t check_call(ncclComm_t comm, cudaStream_t stream, const void *buffer, uint64_t bytes)
{
    if (!comm)
        return nccl_refuse(ncclInvalidArgument, "no communicator");
    if (!nccl_has_everyone(*comm->member))
        return nccl_refuse(ncclInvalidUsage, "the communicator is still being made");
    if (stream_device(stream) != comm->member->device)
        return nccl_refuse(ncclInvalidUsage, "stream and communicator are of different devices");
    if (bytes && !is_device_memory(buffer, size_t(bytes)))
        return nccl_refuse(ncclInvalidArgument, "a buffer is not, or not all, in device memory");
    return ncclSuccess;
}

// ---- collectives ----

Instance publish(const MemberPointer &m, const CollectiveArgs &args, const void *send,
                 uint64_t number)
{
    auto ready = [m, number] { // everybody has read what was in the slot before
        for (int rank = 0; rank < m->rank_count; rank++) {
            if (m->world.state->ranks[rank].finished + SLOTS <= number && !m->is_aborted)
                return false;
        }
        return true;
    };
    auto run = [m, args, send, number] {
        if (m->is_aborted)
            return;
        uint64_t bytes = operand_bytes(args, m->rank, m->rank_count);
        if (bytes > SLOT_BYTES)
            fatal("nccl: an operand of %llu bytes is over the limit", (unsigned long long)bytes);
        memcpy(shared_slot(&m->world, m->rank, number), send, size_t(bytes));
        RankState *state = &m->world.state->ranks[m->rank];
        state->signatures[number % SLOTS] = collective_signature(args);
        state->published = number + 1;
        wake();
    };
    return {run, ready};
}

Instance collect(const MemberPointer &m, const CollectiveArgs &args, void *receive, uint64_t number)
{
    auto ready = [m, number] {
        for (int rank = 0; rank < m->rank_count; rank++) {
            if (m->world.state->ranks[rank].published <= number && !m->is_aborted)
                return false;
        }
        return true;
    };
    auto run = [m, args, receive, number] {
        if (m->is_aborted)
            return;
        const char *operands[MAX_RANKS];
        for (int rank = 0; rank < m->rank_count; rank++) {
            const RankState &state = m->world.state->ranks[rank];
            if (state.signatures[number % SLOTS] != collective_signature(args))
                fatal("nccl: rank %d calls %s number %llu, rank %d something else", m->rank,
                      collective_name(args.kind), (unsigned long long)number, rank);
            operands[rank] = shared_slot(&m->world, rank, number);
        }
        collective_compute(args, m->rank, m->rank_count, operands, static_cast<char *>(receive));
        m->world.state->ranks[m->rank].finished = number + 1;
        count_operands(collective_name(args.kind), operand_bytes(args, m->rank, m->rank_count),
                       result_bytes(args, m->rank, m->rank_count));
        wake();
    };
    return {run, ready};
}

ncclResult_t call(const CollectiveArgs &args, const void *send, void *receive, ncclComm_t comm,
                  cudaStream_t stream)
{
    MemberPointer m = comm ? comm->member : nullptr;
    int count = m ? m->rank_count : 0, rank = m ? m->rank : 0;
    ncclResult_t result = check_call(comm, stream, send, operand_bytes(args, rank, count));
    if (result == ncclSuccess)
        result = check_call(comm, stream, receive, result_bytes(args, rank, count));
    if (result != ncclSuccess)
        return result;
    if (args.root < 0 || args.root >= count || !nccl_type_bytes(args.type))
        return nccl_refuse(ncclInvalidArgument, "root or data type");
    // The number of the collective is drawn when it is put on the stream: for a captured one, at
    // each graph launch.
    auto number = std::make_shared<uint64_t>(0);
    auto bind_first = [=] {
        *number = m->next_collective++;
        return publish(m, args, send, *number);
    };
    auto bind_second = [=] { return collect(m, args, receive, *number); };
    auto start = [=] { return post(stream, collective_name(args.kind), true, bind_first); };
    auto end = [=] { return post(stream, "nccl result", false, bind_second); };
    return in_group(start, end);
}

ncclResult_t call_reduction(const CollectiveArgs &args, const void *send, void *receive,
                            ncclComm_t comm, cudaStream_t stream)
{
    if (args.op >= ncclNumOps || !nccl_can_reduce(args.type))
        return nccl_refuse(ncclInvalidArgument, "operation or data type of a reduction");
    return call(args, send, receive, comm, stream);
}

// ---- messages ----

Instance put(const MemberPointer &m, const void *buffer, uint64_t bytes, int peer, uint64_t number)
{
    Channel *channel = &m->world.state->channels[m->rank][peer];
    auto ready = [m, channel, number] {
        return channel->received + CHANNEL_SLOTS > number || m->is_aborted;
    };
    auto run = [=] {
        if (m->is_aborted)
            return;
        if (bytes > CHANNEL_BYTES)
            fatal("nccl: a message of %llu bytes is over the limit", (unsigned long long)bytes);
        memcpy(shared_channel(&m->world, m->rank, peer, number), buffer, size_t(bytes));
        channel->bytes[number % CHANNEL_SLOTS] = bytes;
        channel->sent = number + 1;
        count_operands("ncclSend", bytes, 0);
        wake();
    };
    return {run, ready};
}

Instance wait_until_received(const MemberPointer &m, int peer, uint64_t number)
{
    Channel *channel = &m->world.state->channels[m->rank][peer];
    return {nullptr, [m, channel, number] { return channel->received > number || m->is_aborted; }};
}

Instance take(const MemberPointer &m, void *buffer, uint64_t bytes, int peer, uint64_t number)
{
    Channel *channel = &m->world.state->channels[peer][m->rank];
    auto ready = [m, channel, number] { return channel->sent > number || m->is_aborted; };
    auto run = [=] {
        if (m->is_aborted)
            return;
        uint64_t sent = channel->bytes[number % CHANNEL_SLOTS];
        if (sent != bytes)
            fatal("nccl: rank %d receives %llu bytes from rank %d, which sends %llu", m->rank,
                  (unsigned long long)bytes, peer, (unsigned long long)sent);
        memcpy(buffer, shared_channel(&m->world, peer, m->rank, number), size_t(bytes));
        channel->received = number + 1;
        count_operands("ncclRecv", 0, bytes);
        wake();
    };
    return {run, ready};
}

ncclResult_t check_message(ncclComm_t comm, cudaStream_t stream, const void *buffer, uint64_t bytes,
                           int peer)
{
    ncclResult_t result = check_call(comm, stream, buffer, bytes);
    if (result == ncclSuccess && (peer < 0 || peer >= comm->member->rank_count))
        return nccl_refuse(ncclInvalidArgument, "no such peer");
    return result;
}
} // namespace

extern "C" {
ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return call_reduction({Collective::AllReduce, count, type, op, 0}, send, receive, comm, stream);
}

ncclResult_t ncclReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream)
{
    return call_reduction({Collective::Reduce, count, type, op, root}, send, receive, comm, stream);
}

ncclResult_t ncclReduceScatter(const void *send, void *receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return call_reduction({Collective::ReduceScatter, count, type, op, 0}, send, receive, comm,
                          stream);
}

ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    return call({Collective::Broadcast, count, type, ncclSum, root}, send, receive, comm, stream);
}

ncclResult_t ncclBcast(void *buffer, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                       cudaStream_t stream)
{
    return ncclBroadcast(buffer, buffer, count, type, root, comm, stream);
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    return call({Collective::AllGather, count, type, ncclSum, 0}, send, receive, comm, stream);
}

ncclResult_t ncclAlltoAll(const void *send, void *receive, size_t count, ncclDataType_t type,
                          ncclComm_t comm, cudaStream_t stream)
{
    return call({Collective::AlltoAll, count, type, ncclSum, 0}, send, receive, comm, stream);
}

ncclResult_t ncclGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                        int root, ncclComm_t comm, cudaStream_t stream)
{
    return call({Collective::Gather, count, type, ncclSum, root}, send, receive, comm, stream);
}

ncclResult_t ncclScatter(const void *send, void *receive, size_t count, ncclDataType_t type,
                         int root, ncclComm_t comm, cudaStream_t stream)
{
    return call({Collective::Scatter, count, type, ncclSum, root}, send, receive, comm, stream);
}

ncclResult_t ncclSend(const void *buffer, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    uint64_t bytes = count * nccl_type_bytes(type);
    ncclResult_t result = check_message(comm, stream, buffer, bytes, peer);
    if (result != ncclSuccess)
        return result;
    MemberPointer m = comm->member;
    auto number = std::make_shared<uint64_t>(0);
    auto bind_first = [=] {
        *number = m->next_send[peer]++;
        return put(m, buffer, bytes, peer, *number);
    };
    auto bind_second = [=] { return wait_until_received(m, peer, *number); };
    return in_group([=] { return post(stream, "ncclSend", true, bind_first); },
                    [=] { return post(stream, "ncclSend end", false, bind_second); });
}

ncclResult_t ncclRecv(void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    uint64_t bytes = count * nccl_type_bytes(type);
    ncclResult_t result = check_message(comm, stream, buffer, bytes, peer);
    if (result != ncclSuccess)
        return result;
    MemberPointer m = comm->member;
    auto bind = [=] { return take(m, buffer, bytes, peer, m->next_receive[peer]++); };
    auto start = [=] { return post(stream, "ncclRecv", true, bind); };
    if (nccl_group()->depth == 0)
        return start();
    nccl_group()->receives.push_back(start);
    return ncclSuccess;
}
}
