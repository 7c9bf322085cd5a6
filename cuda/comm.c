/*
 * Ranks over NCCL: lc_comm on a CUDA device. NCCL only moves data, whose sums are made here in rank
 * order; what it does is queued on the device's stream. The communicator does not block: the host
 * polls it with the stream, so that a rank that is gone ends in an error and not in a hang.
 */
#include "cuda.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libraries.h"
#include "memory_rules.h"

/* Doubles of all ranks fit. */
static_assert(LC_MAX_RANKS * LC_COMM_DOUBLES * sizeof(double) <= LC_CUDA_COMM_STAGE_BYTES, "stage");

#define BUSY_POLLS      200 /* before the host sleeps between two looks */
#define PAUSE_NS        20000
#define OPERATION_BYTES 96
#define WHY_BYTES       200

struct lc_cuda_comm {
    lc_cuda *cuda;
    ncclComm_t nccl; /* NULL: given up, or not there yet */
    int rank, world_size;
    int deadline_s;
    int64_t most_count;
    void *stage;  /* owned device memory: LC_CUDA_COMM_STAGE_BYTES */
    float *parts; /* owned device memory: world_size chunks, and one for their sum */
    int64_t call_count;
    char operation[OPERATION_BYTES]; /* the last one queued, for errors */
};

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void pause_between(int64_t polls)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    if (polls >= BUSY_POLLS) {
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- errors ---- */

/* Ends all that NCCL still does, so that the stream comes to its end, and says why. */
static lc_code give_up(lc_cuda_comm *self, const char *why, lc_err *err)
{
    if (self->nccl != NULL) {
        (void)LC_NCCL(ncclCommAbort)(self->nccl);
        self->nccl = NULL;
    }
    return lc_fail(err, LC_ERR_DEVICE, "rank %d of %d, %s: %s", self->rank, self->world_size,
                   self->operation, why);
}

static lc_code give_up_late(lc_cuda_comm *self, lc_err *err)
{
    char why[WHY_BYTES];
    (void)snprintf(why, sizeof why,
                   "nothing came for %d s (LORAC_COMM_TIMEOUT); a rank hangs or is gone",
                   self->deadline_s);
    return give_up(self, why, err);
}

static lc_code give_up_on(lc_cuda_comm *self, ncclResult_t result, lc_err *err)
{
    char why[WHY_BYTES];
    const char *detail = LC_NCCL(ncclGetLastError)(self->nccl);
    (void)snprintf(why, sizeof why, "NCCL: %s%s%.100s", LC_NCCL(ncclGetErrorString)(result),
                   detail != NULL && detail[0] != '\0' ? ": " : "", detail != NULL ? detail : "");
    return give_up(self, why, err);
}

/* A call that does not block may have only begun: waits until it has been made. */
static lc_code settle(lc_cuda_comm *self, ncclResult_t result, lc_err *err)
{
    const double end = now_s() + self->deadline_s;
    for (int64_t polls = 0; result == ncclInProgress; polls++) {
        pause_between(polls);
        if (LC_NCCL(ncclCommGetAsyncError)(self->nccl, &result) != ncclSuccess) {
            result = ncclInternalError;
        }
        if (result == ncclInProgress && now_s() > end) {
            return give_up_late(self, err);
        }
    }
    return result == ncclSuccess ? LC_OK : give_up_on(self, result, err);
}

void lc_cuda_comm_place(const lc_cuda_comm *self, int *rank, int *world_size)
{
    *rank = self->rank;
    *world_size = self->world_size;
}

lc_code lc_cuda_comm_wait(lc_cuda_comm *self, cudaEvent_t event, lc_err *err)
{
    const double end = now_s() + self->deadline_s;
    for (int64_t polls = 0;; polls++) {
        ncclResult_t state = ncclSuccess;
        if (self->nccl == NULL) {
            return give_up(self, "given up before", err);
        }
        const cudaError_t done =
            event != NULL ? cudaEventQuery(event) : cudaStreamQuery(self->cuda->stream);
        if (done != cudaErrorNotReady) {
            return lc_cuda_result(done, "waiting for the GPU", err);
        }
        (void)cudaGetLastError(); /* not ready is no error of the next launch */
        if (LC_NCCL(ncclCommGetAsyncError)(self->nccl, &state) != ncclSuccess) {
            state = ncclInternalError;
        }
        if (state != ncclSuccess && state != ncclInProgress) {
            return give_up_on(self, state, err);
        }
        if (now_s() > end) {
            return give_up_late(self, err);
        }
        pause_between(polls);
    }
}

/* ---- calls ---- */

/* Notes what is done, as "sum of", 12, "gradients". */
static lc_code begin(lc_cuda_comm *self, const char *what, int64_t count, const char *unit,
                     lc_err *err)
{
    if (self->nccl == NULL) {
        return give_up(self, "given up before", err);
    }
    self->call_count++;
    (void)snprintf(self->operation, sizeof self->operation, "%s %lld %s (call %lld)", what,
                   (long long)count, unit, (long long)self->call_count);
    return LC_OK;
}

/* How many of `count` values are in a rank's chunk. */
static int64_t values_in(int64_t count, int64_t chunk, int rank)
{
    const int64_t left = count - rank * chunk;
    return left <= 0 ? 0 : left < chunk ? left : chunk;
}

/* parts[p] = this rank's chunk of rank p's values. */
static lc_code exchange(lc_cuda_comm *self, const float *values, int64_t count, int64_t chunk,
                        lc_err *err)
{
    const cudaStream_t stream = self->cuda->stream;
    const int64_t mine = values_in(count, chunk, self->rank);
    ncclResult_t result = LC_NCCL(ncclGroupStart)();
    for (int peer = 0; peer < self->world_size && result == ncclSuccess; peer++) {
        const int64_t theirs = values_in(count, chunk, peer);
        if (theirs > 0) {
            result = LC_NCCL(ncclSend)(values + peer * chunk, (size_t)theirs, ncclFloat32, peer,
                                       self->nccl, stream);
        }
        if (mine > 0 && (result == ncclSuccess || result == ncclInProgress)) {
            result = LC_NCCL(ncclRecv)(self->parts + peer * chunk, (size_t)mine, ncclFloat32, peer,
                                       self->nccl, stream);
        }
        result = result == ncclInProgress ? ncclSuccess : result;
    }
    const ncclResult_t end = LC_NCCL(ncclGroupEnd)();
    return settle(self, result != ncclSuccess ? result : end, err);
}

static lc_code reserve(lc_comm *comm, int64_t most_count, lc_err *err)
{
    lc_cuda_comm *self = comm->state;
    void *memory = NULL;
    if (self->parts != NULL) {
        return lc_fail(err, LC_ERR_INTERNAL, "memory for sums over ranks is reserved twice");
    }
    LC_TRY(lc_cuda_alloc(&self->cuda->device, lc_cuda_comm_sum_bytes(most_count, self->world_size),
                         &memory, err));
    self->parts = memory;
    self->most_count = most_count;
    return LC_OK;
}

/* Everybody's chunk to its owner, the sum there, and the sums back to everybody. */
static lc_code sum_f32(lc_comm *comm, float *values, int64_t count, lc_err *err)
{
    lc_cuda_comm *self = comm->state;
    const cudaStream_t stream = self->cuda->stream;
    const int64_t chunk = lc_cuda_comm_chunk(count, self->world_size);
    float *sum = self->parts + self->world_size * chunk;
    if (count < 0 || count > self->most_count) {
        return lc_fail(err, LC_ERR_INTERNAL, "a sum of %lld values over ranks, reserved for %lld",
                       (long long)count, (long long)self->most_count);
    }
    if (count == 0) {
        return LC_OK;
    }
    LC_TRY(begin(self, "sum of", count, "gradients", err));
    LC_TRY(exchange(self, values, count, chunk, err));
    CUDA_TRY(lc_cuda_sum_ranks_f32(self->parts, chunk, self->world_size,
                                   values_in(count, chunk, self->rank), sum, stream));
    LC_TRY(settle(
        self,
        LC_NCCL(ncclAllGather)(sum, self->parts, (size_t)chunk, ncclFloat32, self->nccl, stream),
        err));
    CUDA_TRY(cudaMemcpyAsync(values, self->parts, (size_t)count * sizeof *values,
                             cudaMemcpyDeviceToDevice, stream));
    return LC_OK;
}

/* Few enough to send all to everybody. */
static lc_code sum_f64(lc_comm *comm, double *values, int64_t count, lc_err *err)
{
    lc_cuda_comm *self = comm->state;
    double *parts = self->stage;
    if (count < 1 || count > LC_COMM_DOUBLES) {
        return lc_fail(err, LC_ERR_INTERNAL, "a sum of %lld doubles over ranks, at most %d",
                       (long long)count, LC_COMM_DOUBLES);
    }
    LC_TRY(begin(self, "sum of", count, "losses and counts", err));
    LC_TRY(settle(self,
                  LC_NCCL(ncclAllGather)(values, parts, (size_t)count, ncclFloat64, self->nccl,
                                         self->cuda->stream),
                  err));
    CUDA_TRY(
        lc_cuda_sum_ranks_f64(parts, count, self->world_size, count, values, self->cuda->stream));
    return LC_OK;
}

static lc_code broadcast_part(lc_cuda_comm *self, void *data, size_t bytes, lc_err *err)
{
    const cudaStream_t stream = self->cuda->stream;
    if (self->rank == 0) {
        CUDA_TRY(cudaMemcpyAsync(self->stage, data, bytes, cudaMemcpyHostToDevice, stream));
    }
    LC_TRY(settle(
        self,
        LC_NCCL(ncclBroadcast)(self->stage, self->stage, bytes, ncclUint8, 0, self->nccl, stream),
        err));
    if (self->rank != 0) {
        CUDA_TRY(cudaMemcpyAsync(data, self->stage, bytes, cudaMemcpyDeviceToHost, stream));
    }
    return lc_cuda_comm_wait(self, NULL, err);
}

static lc_code broadcast(lc_comm *comm, void *data, size_t bytes, lc_err *err)
{
    lc_cuda_comm *self = comm->state;
    const size_t most = LC_CUDA_COMM_STAGE_BYTES;
    LC_TRY(begin(self, "rank 0 to all,", (int64_t)bytes, "bytes", err));
    for (size_t done = 0; done < bytes;) {
        const size_t part = bytes - done < most ? bytes - done : most;
        LC_TRY(broadcast_part(self, (char *)data + done, part, err));
        done += part;
    }
    return LC_OK;
}

/* ---- opening and closing ---- */

/* Work that is still queued may wait for ranks that are gone: then nothing is waited for. */
static void leave(lc_cuda_comm *self)
{
    lc_err ignored = {.code = LC_OK};
    if (self->nccl == NULL) {
        return;
    }
    if (cudaStreamQuery(self->cuda->stream) != cudaSuccess) {
        (void)cudaGetLastError();
        (void)give_up(self, "left", &ignored);
    } else if (settle(self, LC_NCCL(ncclCommFinalize)(self->nccl), &ignored) == LC_OK) {
        (void)LC_NCCL(ncclCommDestroy)(self->nccl);
        self->nccl = NULL;
    }
}

static void release(lc_comm *comm)
{
    lc_cuda_comm *self = comm->state;
    leave(self);
    if (self->cuda->comm == self) {
        self->cuda->comm = NULL;
    }
    (void)cudaFree(self->parts);
    (void)cudaFree(self->stage);
    free(self);
    comm->state = NULL;
}

/* All ranks make their id of one address, at which rank 0 then listens. */
static lc_code meet(lc_cuda_comm *self, const char *address, lc_err *err)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    config.blocking = 0;
    if (setenv("NCCL_COMM_ID", address, 0) != 0) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for NCCL_COMM_ID");
    }
    (void)snprintf(self->operation, sizeof self->operation, "waiting for all ranks at %.60s",
                   address);
    LC_TRY(settle(self, LC_NCCL(ncclGetUniqueId)(&id), err));
    const ncclResult_t result =
        LC_NCCL(ncclCommInitRankConfig)(&self->nccl, self->world_size, id, self->rank, &config);
    return settle(self, result, err);
}

lc_code lc_cuda_comm_open(lc_device *device, const lc_comm_options *options, lc_comm *out,
                          lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    LC_TRY(lc_cuda_load_nccl(err));
    lc_cuda_comm *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the ranks");
    }
    self->cuda = cuda;
    self->rank = options->rank;
    self->world_size = options->world_size;
    self->deadline_s = options->deadline_s;
    lc_comm comm = {.name = "nccl",
                    .rank = options->rank,
                    .world_size = options->world_size,
                    .state = self,
                    .reserve = reserve,
                    .sum_f32 = sum_f32,
                    .sum_f64 = sum_f64,
                    .broadcast = broadcast,
                    .release = release};
    lc_code code = lc_cuda_alloc(device, LC_CUDA_COMM_STAGE_BYTES, &self->stage, err);
    code = code == LC_OK ? meet(self, options->address, err) : code;
    if (code != LC_OK) {
        release(&comm);
        return code;
    }
    cuda->comm = self;
    *out = comm;
    return LC_OK;
}
