/* NCCL's communicators against the genuine header: joining, leaving, errors, registered memory,
 * groups. */
#include <algorithm>
#include <chrono>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thread>
#include <time.h>
#include <unistd.h>

#include "emu_config.h"
#include "emu_stream.h"
#include "fake_nccl.h"

using namespace emu;

struct ncclWindow_vidmem {
    void *buffer;
};

namespace
{
thread_local Group group;
thread_local std::string last_error;

ncclResult_t wait_for_everyone(const MemberPointer &member)
{
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(config().timeout_s);
    while (!nccl_has_everyone(*member)) {
        if (member->is_aborted || std::chrono::steady_clock::now() > deadline)
            return nccl_refuse(ncclSystemError, "not all ranks have joined the communicator");
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    shared_unlink(member->name.c_str());
    return ncclSuccess;
}

// Configuration fields as the real library wants them; unset ones hold NCCL_CONFIG_UNDEF_INT.
bool is_valid(const ncclConfig_t &config)
{
    auto is_set = [](int value) { return value != NCCL_CONFIG_UNDEF_INT; };
    if (config.magic != 0xcafebeef || config.size < sizeof(size_t) + 2 * sizeof(unsigned))
        return false;
    bool is_right = !is_set(config.blocking) || config.blocking == 0 || config.blocking == 1;
    is_right = is_right && (!is_set(config.minCTAs) || config.minCTAs > 0);
    is_right = is_right && (!is_set(config.maxCTAs) || config.maxCTAs > 0);
    if (is_set(config.minCTAs) && is_set(config.maxCTAs))
        is_right = is_right && config.minCTAs <= config.maxCTAs;
    return is_right && (!is_set(config.cgaClusterSize) ||
                        (config.cgaClusterSize >= 0 && config.cgaClusterSize <= 8));
}

ncclResult_t join(ncclComm_t *comm, int rank_count, const ncclUniqueId &id, int rank, int device,
                  bool is_blocking)
{
    if (rank_count < 1 || rank_count > MAX_RANKS || rank < 0 || rank >= rank_count)
        return nccl_refuse(ncclInvalidArgument, "rank or number of ranks");
    auto member = std::make_shared<Member>();
    member->name = std::string(id.internal, strnlen(id.internal, sizeof id.internal));
    member->rank = rank;
    member->rank_count = rank_count;
    member->device = device;
    if (!shared_open(&member->world, member->name.c_str(), rank_count))
        return nccl_refuse(ncclSystemError, "no file under TMPDIR to meet in");
    int expected = 0;
    if (!member->world.state->ranks[rank].pid.compare_exchange_strong(expected, int(getpid())))
        return nccl_refuse(ncclInvalidUsage, "two members have the same rank");
    member->world.state->joined++;
    *comm = new ncclComm{member, is_blocking};
    if (!is_blocking)
        return ncclInProgress;
    auto finish = [member] { return wait_for_everyone(member); };
    if (group.depth == 0)
        return finish();
    group.starts.push_back(finish);
    return ncclSuccess;
}

void close_member(ncclComm_t comm, bool is_abort)
{
    Member *m = comm->member.get();
    if (is_abort)
        m->is_aborted = true;
    m->world.state->ranks[m->rank].has_left = 1;
    wake();
    delete comm;
}
} // namespace

namespace emu
{
Group *nccl_group()
{
    return &group;
}

ncclResult_t nccl_refuse(ncclResult_t result, const std::string &why)
{
    last_error = why;
    fprintf(stderr, "EMU: nccl: %s\n", why.c_str());
    return result;
}

bool nccl_has_everyone(const Member &member)
{
    return member.world.state->joined >= member.rank_count;
}
} // namespace emu

extern "C" {
// ---- communicators ----

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

// NCCL_COMM_ID names the meeting point for processes that share nothing else, as with the real
// library.
ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static std::atomic<int> count;
    memset(id, 0, sizeof *id);
    const char *address = getenv("NCCL_COMM_ID");
    if (address && *address) {
        snprintf(id->internal, sizeof id->internal, "at_%s", address);
        std::replace(id->internal, id->internal + sizeof id->internal, '/', '_');
    } else {
        snprintf(id->internal, sizeof id->internal, "%d_%d_%lld", int(getpid()), count++,
                 (long long)time(nullptr));
    }
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int rank_count, ncclUniqueId id, int rank)
{
    int device = 0;
    cudaGetDevice(&device);
    return join(comm, rank_count, id, rank, device, true);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int rank_count, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    int device = 0;
    cudaGetDevice(&device);
    if (config && !is_valid(*config))
        return nccl_refuse(ncclInvalidArgument, "a field of the configuration");
    bool is_blocking = !config || config->blocking != 0;
    return join(comm, rank_count, id, rank, device, is_blocking);
}

ncclResult_t ncclCommInitAll(ncclComm_t *comms, int device_count, const int *devices)
{
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    ncclGroupStart();
    ncclResult_t result = ncclSuccess;
    for (int i = 0; i < device_count && result == ncclSuccess; i++)
        result = join(&comms[i], device_count, id, i, devices ? devices[i] : i, true);
    ncclResult_t end = ncclGroupEnd();
    return result != ncclSuccess ? result : end;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    return comm ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (comm)
        close_member(comm, false);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    if (comm)
        close_member(comm, true);
    return ncclSuccess;
}

// A rank that aborted, or whose process is gone, is a remote error for the others.
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error)
{
    const Member &m = *comm->member;
    *error = nccl_has_everyone(m) ? ncclSuccess : ncclInProgress;
    if (*error == ncclSuccess && !comm->is_blocking)
        shared_unlink(m.name.c_str());
    for (int rank = 0; rank < m.rank_count; rank++) {
        const RankState &state = m.world.state->ranks[rank];
        int pid = state.pid;
        bool is_gone = pid && pid != getpid() && kill(pid, 0) != 0 && errno == ESRCH;
        bool is_unfinished = state.finished < m.next_collective;
        if (pid && is_unfinished && (state.has_left || is_gone))
            *error = ncclRemoteError;
    }
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count)
{
    *count = comm->member->rank_count;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank)
{
    *rank = comm->member->rank;
    return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device)
{
    *device = comm->member->device;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const TEXTS[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};
    return result >= 0 && result < ncclNumResults ? TEXTS[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t)
{
    return last_error.c_str();
}

// ---- memory ----

ncclResult_t ncclMemAlloc(void **p, size_t bytes)
{
    return cudaMalloc(p, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclMemFree(void *p)
{
    return cudaFree(p) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void *buffer, size_t bytes,
                                    ncclWindow_t *window, int flags)
{
    if (!comm || !is_device_memory(buffer, bytes) || (flags & ~NCCL_WIN_COLL_SYMMETRIC))
        return nccl_refuse(ncclInvalidArgument, "window");
    *window = reinterpret_cast<ncclWindow_t>(new ncclWindow_vidmem{buffer});
    return ncclSuccess;
}

ncclResult_t ncclCommWindowDeregister(ncclComm_t, ncclWindow_t window)
{
    delete reinterpret_cast<ncclWindow_vidmem *>(window);
    return ncclSuccess;
}

ncclResult_t ncclCommRegister(const ncclComm_t comm, void *buffer, size_t bytes, void **handle)
{
    if (!comm || !is_device_memory(buffer, bytes))
        return nccl_refuse(ncclInvalidArgument, "buffer to register");
    *handle = buffer;
    return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t, void *)
{
    return ncclSuccess;
}

// ---- groups ----

ncclResult_t ncclGroupStart()
{
    group.depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd()
{
    if (group.depth == 0)
        return nccl_refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    if (--group.depth > 0)
        return ncclSuccess;
    Group posted = std::move(group);
    group = {};
    ncclResult_t result = ncclSuccess;
    for (const auto *list : {&posted.starts, &posted.receives, &posted.ends}) {
        for (const auto &step : *list) {
            ncclResult_t done = step();
            result = result == ncclSuccess ? done : result;
        }
    }
    return result;
}
}
