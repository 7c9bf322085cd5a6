/* A communicator of the fake NCCL: what fake_nccl_comm.cpp makes and fake_nccl.cpp uses. */
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <nccl.h>
#include <string>
#include <vector>

#include "nccl_shared.h"

namespace emu
{
// The part of a communicator that pending operations hold on to.
struct Member {
    SharedWorld world = {};
    std::string name;
    int rank = 0, rank_count = 0, device = 0;
    std::atomic<bool> is_aborted{false};
    uint64_t next_collective = 0;
    uint64_t next_send[MAX_RANKS] = {}, next_receive[MAX_RANKS] = {};

    ~Member()
    {
        if (world.memory)
            shared_close(&world);
    }
};
using MemberPointer = std::shared_ptr<Member>;

// What a group collects, to be posted in this order when it ends.
struct Group {
    int depth = 0;
    std::vector<std::function<ncclResult_t()>> starts, receives, ends;
};

// The calling thread's group.
Group *nccl_group();
// Reports why a call is refused, also through ncclGetLastError, and returns the result.
ncclResult_t nccl_refuse(ncclResult_t result, const std::string &why);
bool nccl_has_everyone(const Member &member);
} // namespace emu

struct ncclComm {
    emu::MemberPointer member;
    bool is_blocking;
};
