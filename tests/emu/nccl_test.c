/* The fake NCCL from C11: every collective, messages, capture, errors; the ranks driven by one
 * thread, by one thread each, and by one process each. Needs EMU_DEVICES=4. */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_testing.h"

enum { RANKS = 4, COUNT = 1000 };
#define BLOCK_BYTES ((size_t)COUNT * sizeof(float))

typedef struct {
    int rank;
    ncclComm_t comm;
    cudaStream_t stream;
    float *in, *out; // device, RANKS * COUNT
    float *host;
} member;

static float value_of(int rank, int i)
{
    return (float)(i + 1000 * rank);
}

static void member_open(member *m, int rank, int device, ncclComm_t comm)
{
    m->rank = rank;
    m->comm = comm;
    OK(cudaSetDevice(device));
    OK(cudaStreamCreateWithFlags(&m->stream, cudaStreamNonBlocking));
    OK(cudaMalloc((void **)&m->in, RANKS * BLOCK_BYTES));
    OK(ncclMemAlloc((void **)&m->out, RANKS * BLOCK_BYTES));
    OK(cudaHostAlloc((void **)&m->host, RANKS * BLOCK_BYTES, 0));
    for (int i = 0; i < RANKS * COUNT; i++)
        m->host[i] = value_of(rank, i);
    OK(cudaMemcpyAsync(m->in, m->host, RANKS * BLOCK_BYTES, cudaMemcpyHostToDevice, m->stream));
    OK(cudaStreamSynchronize(m->stream));
}

static void member_close(member *m)
{
    OK(cudaStreamSynchronize(m->stream));
    OK(cudaFree(m->in));
    OK(ncclMemFree(m->out));
    OK(cudaFreeHost(m->host));
    OK(cudaStreamDestroy(m->stream));
}

static const float *fetch(member *m)
{
    OK(cudaMemcpyAsync(m->host, m->out, RANKS * BLOCK_BYTES, cudaMemcpyDeviceToHost, m->stream));
    OK(cudaStreamSynchronize(m->stream));
    return m->host;
}

// ---- collectives: a call, and what out[i] is for i < count ----

typedef ncclResult_t (*call)(member *m);
typedef float (*result)(int rank, int i);

static ncclResult_t all_reduce(member *m)
{
    return ncclAllReduce(m->in, m->out, RANKS * COUNT, ncclFloat32, ncclSum, m->comm, m->stream);
}

static float all_reduced(int rank, int i)
{
    (void)rank;
    return 4.0f * (float)i + 6000.0f;
}

static ncclResult_t reduce_scatter(member *m)
{
    return ncclReduceScatter(m->in, m->out, COUNT, ncclFloat32, ncclSum, m->comm, m->stream);
}

static float reduce_scattered(int rank, int i)
{
    return all_reduced(0, rank * COUNT + i);
}

static ncclResult_t all_gather(member *m)
{
    return ncclAllGather(m->in, m->out, COUNT, ncclFloat32, m->comm, m->stream);
}

static float all_gathered(int rank, int i)
{
    (void)rank;
    return value_of(i / COUNT, i % COUNT);
}

static ncclResult_t all_to_all(member *m)
{
    return ncclAlltoAll(m->in, m->out, COUNT, ncclFloat32, m->comm, m->stream);
}

static float all_to_alled(int rank, int i)
{
    return value_of(i / COUNT, rank * COUNT + i % COUNT);
}

static ncclResult_t broadcast(member *m)
{
    return ncclBroadcast(m->in, m->out, COUNT, ncclFloat32, 2, m->comm, m->stream);
}

static float broadcasted(int rank, int i)
{
    (void)rank;
    return value_of(2, i);
}

// All to all again, by messages: two to each peer, itself included.
static ncclResult_t messages(member *m)
{
    OK(ncclGroupStart());
    for (int peer = 0; peer < RANKS; peer++) {
        for (int half = 0; half < 2; half++) {
            size_t at = (size_t)(peer * COUNT + half * COUNT / 2);
            OK(ncclSend(m->in + at, COUNT / 2, ncclFloat32, peer, m->comm, m->stream));
            OK(ncclRecv(m->out + at, COUNT / 2, ncclFloat32, peer, m->comm, m->stream));
        }
    }
    return ncclGroupEnd();
}

static const struct {
    const char *name;
    call run;
    result expected;
    int count;
} COLLECTIVES[] = {
    {"AllReduce", all_reduce, all_reduced, RANKS *COUNT},
    {"ReduceScatter", reduce_scatter, reduce_scattered, COUNT},
    {"AllGather", all_gather, all_gathered, RANKS *COUNT},
    {"AlltoAll", all_to_all, all_to_alled, RANKS *COUNT},
    {"Broadcast", broadcast, broadcasted, COUNT},
    {"messages", messages, all_to_alled, RANKS *COUNT},
};
enum { COLLECTIVE_COUNT = sizeof COLLECTIVES / sizeof *COLLECTIVES };

static int count_wrong(member *m, int which)
{
    const float *values = fetch(m);
    int wrong = 0;
    for (int i = 0; i < COLLECTIVES[which].count; i++)
        wrong += !(fabsf(values[i] - COLLECTIVES[which].expected(m->rank, i)) <= 0);
    if (wrong)
        printf("rank %d: %s gave %d wrong values\n", m->rank, COLLECTIVES[which].name, wrong);
    return wrong;
}

// A rank's whole program, for a thread or a process of its own.
static int run_rank(int rank, int device, ncclUniqueId id)
{
    member m;
    ncclComm_t comm;
    int wrong = 0;
    OK(cudaSetDevice(device));
    OK(ncclCommInitRank(&comm, RANKS, id, rank));
    member_open(&m, rank, device, comm);
    for (int round = 0; round < 3; round++) {
        for (int which = 0; which < COLLECTIVE_COUNT; which++) {
            OK(COLLECTIVES[which].run(&m));
            wrong += count_wrong(&m, which);
        }
    }
    member_close(&m);
    OK(ncclCommDestroy(comm));
    return wrong;
}

// ---- one thread for all ranks ----

static void open_all(member *members)
{
    ncclComm_t comms[RANKS];
    OK(ncclCommInitAll(comms, RANKS, NULL));
    for (int rank = 0; rank < RANKS; rank++)
        member_open(&members[rank], rank, rank, comms[rank]);
}

static void close_all(member *members)
{
    for (int rank = 0; rank < RANKS; rank++) {
        member_close(&members[rank]);
        OK(ncclCommDestroy(members[rank].comm));
    }
}

static void test_one_thread(void)
{
    member members[RANKS];
    open_all(members);
    for (int which = 0; which < COLLECTIVE_COUNT; which++) {
        OK(ncclGroupStart());
        for (int rank = 0; rank < RANKS; rank++)
            OK(COLLECTIVES[which].run(&members[rank]));
        OK(ncclGroupEnd());
        for (int rank = 0; rank < RANKS; rank++)
            EXPECT(count_wrong(&members[rank], which) == 0);
    }
    close_all(members);
}

// A captured collective joins the others anew at each launch.
static void test_capture(void)
{
    member members[RANKS];
    cudaGraphExec_t execs[RANKS];
    open_all(members);
    for (int rank = 0; rank < RANKS; rank++) {
        cudaGraph_t graph;
        member *m = &members[rank];
        OK(cudaStreamBeginCapture(m->stream, cudaStreamCaptureModeThreadLocal));
        OK(all_reduce(m));
        OK(ncclAllReduce(m->out, m->out, COUNT, ncclFloat32, ncclMax, m->comm, m->stream));
        OK(cudaStreamEndCapture(m->stream, &graph));
        OK(cudaGraphInstantiate(&execs[rank], graph, 0));
        OK(cudaGraphDestroy(graph));
    }
    for (int round = 0; round < 3; round++) {
        for (int rank = 0; rank < RANKS; rank++)
            OK(cudaGraphLaunch(execs[rank], members[rank].stream));
        for (int rank = 0; rank < RANKS; rank++)
            EXPECT(count_wrong(&members[rank], 0) == 0);
    }
    for (int rank = 0; rank < RANKS; rank++)
        OK(cudaGraphExecDestroy(execs[rank]));
    close_all(members);
}

static void test_registration_and_errors(void)
{
    member members[RANKS];
    ncclWindow_t window;
    void *registered;
    open_all(members);
    member *m = &members[0];
    OK(cudaSetDevice(0));
    OK(ncclCommWindowRegister(m->comm, m->out, BLOCK_BYTES, &window, NCCL_WIN_COLL_SYMMETRIC));
    OK(ncclCommWindowDeregister(m->comm, window));
    OK(ncclCommRegister(m->comm, m->in, BLOCK_BYTES, &registered));
    OK(ncclCommDeregister(m->comm, registered));
    EXPECT_RESULT(
        ncclAllReduce(m->host, m->out, COUNT, ncclFloat32, ncclSum, m->comm, members[1].stream),
        ncclInvalidUsage);
    EXPECT_RESULT(ncclAllReduce(m->in, m->out, 5 * COUNT, ncclFloat32, ncclSum, m->comm, m->stream),
                  ncclInvalidArgument);
    EXPECT_RESULT(ncclBroadcast(m->in, m->out, 1, ncclFloat32, RANKS, m->comm, m->stream),
                  ncclInvalidArgument);
    close_all(members);
}

// A rank that never comes: the others see it once it has left, and can abort what they wait for.
static void test_abort(void)
{
    member members[RANKS];
    ncclResult_t error;
    open_all(members);
    for (int rank = 0; rank < RANKS - 1; rank++)
        OK(all_reduce(&members[rank]));
    EXPECT(cudaStreamQuery(members[0].stream) == cudaErrorNotReady);
    OK(ncclCommGetAsyncError(members[0].comm, &error));
    EXPECT(error == ncclSuccess);
    OK(ncclCommAbort(members[RANKS - 1].comm));
    OK(ncclCommGetAsyncError(members[0].comm, &error));
    EXPECT(error == ncclRemoteError);
    for (int rank = 0; rank < RANKS - 1; rank++)
        OK(ncclCommAbort(members[rank].comm));
    for (int rank = 0; rank < RANKS; rank++)
        member_close(&members[rank]);
}

static void test_nonblocking_init(void)
{
    ncclComm_t comms[RANKS];
    ncclUniqueId id;
    ncclResult_t state;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER, wrong = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.minCTAs = 1;
    config.maxCTAs = 8;
    config.CTAPolicy = NCCL_CTA_POLICY_ZERO;
    wrong.minCTAs = 8;
    wrong.maxCTAs = 4;
    OK(ncclGetUniqueId(&id));
    EXPECT_RESULT(ncclCommInitRankConfig(&comms[0], RANKS, id, 0, &wrong), ncclInvalidArgument);
    for (int rank = 0; rank < RANKS; rank++) {
        OK(cudaSetDevice(rank));
        EXPECT_RESULT(ncclCommInitRankConfig(&comms[rank], RANKS, id, rank, &config),
                      ncclInProgress);
        OK(ncclCommGetAsyncError(comms[0], &state));
        EXPECT(state == (rank + 1 < RANKS ? ncclInProgress : ncclSuccess));
    }
    for (int rank = 0; rank < RANKS; rank++)
        OK(ncclCommDestroy(comms[rank]));
}

// ---- a thread, or a process, for each rank ----

typedef struct {
    int rank, wrong;
    ncclUniqueId id;
} thread_rank;

static void *thread_main(void *argument)
{
    thread_rank *t = argument;
    t->wrong = run_rank(t->rank, t->rank, t->id);
    return NULL;
}

static void test_threads(void)
{
    thread_rank ranks[RANKS];
    pthread_t threads[RANKS];
    ncclUniqueId id;
    OK(ncclGetUniqueId(&id));
    for (int rank = 0; rank < RANKS; rank++) {
        ranks[rank] = (thread_rank){.rank = rank, .wrong = 0, .id = id};
        OK(pthread_create(&threads[rank], NULL, thread_main, &ranks[rank]));
    }
    for (int rank = 0; rank < RANKS; rank++) {
        OK(pthread_join(threads[rank], NULL));
        EXPECT(ranks[rank].wrong == 0);
    }
}

// Before anything else has used CUDA, which does not survive a fork. The processes share no id:
// they find each other through NCCL_COMM_ID.
static void test_processes(void)
{
    pid_t children[RANKS];
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", (int)getpid());
    setenv("NCCL_COMM_ID", address, 1);
    for (int rank = 0; rank < RANKS; rank++) {
        children[rank] = fork();
        if (children[rank] == 0) {
            ncclUniqueId id;
            OK(ncclGetUniqueId(&id));
            exit(run_rank(rank, 0, id) != 0);
        }
    }
    unsetenv("NCCL_COMM_ID");
    for (int rank = 0; rank < RANKS; rank++) {
        int status = 0;
        waitpid(children[rank], &status, 0);
        EXPECT(status == 0);
    }
}

int main(void)
{
    test_processes();
    test_one_thread();
    test_threads();
    test_capture();
    test_registration_and_errors();
    test_abort();
    test_nonblocking_init();
    return test_finish();
}
