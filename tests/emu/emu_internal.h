/* What the parts of the emulator know of each other: the state of a thread block that is being run,
 * and the hooks through which the checker (emu_check.cpp) watches it. Kernels and the fake
 * libraries do not see this. */
#pragma once

#include "emu_config.h"
#include "emu_fiber.h"
#include "emu_kernel.h"
#include "emu_ptx.h"

#include <vector>

namespace emu
{
// A cp.async that was issued and not waited for.
struct PendingCopy {
    void *shared;
    const void *global;
    int bytes, source_bytes;
    int group;
    void *pc;
};

struct Thread {
    Fiber *fiber; // null until the thread first runs
    uint3 index;
    int linear; // threadIdx as one number; warps and lanes follow it
    short warp;
    signed char lane;
    bool is_done;
    int copy_group;
    std::vector<PendingCopy> copies;
    const char *wait_what; // for the deadlock report
    Site wait_site;
};

// A warp collective that some of its lanes have reached.
struct Rendezvous {
    unsigned mask, arrived;
    WarpOp op;
    Site site;
    bool orders_memory;
};

struct Warp {
    unsigned alive;
    int active; // of meetings
    Rendezvous meetings[32];
    void *args[32]; // by lane
};

// Threads that can run, by index; a ring.
struct RunQueue {
    std::vector<unsigned short> ring;
    unsigned head = 0, tail = 0, mask = 0;
};

struct SharedArray {
    const SharedSite *site;
    size_t offset;
};

// Global memory that the blocks of a launch moved; counted by the checker.
struct Traffic {
    uint64_t read_bytes, written_bytes;                   // every access
    uint64_t distinct_read_bytes, distinct_written_bytes; // each 4-byte word once a launch
};

// One OS thread that runs blocks, and the block it is running.
struct Worker {
    ThreadOrder order = ThreadOrder::InOrder; // config()'s, near at hand
    bool strict_exit = false;

    std::vector<Thread> threads;
    std::vector<Warp> warps;
    RunQueue queue;
    bool is_lifo = false; // the thread that was made runnable last goes first

    std::vector<unsigned short> waiting; // at the block's barrier
    int live = 0, arrived = 0, predicate_sum = 0, barrier_result = 0;
    Site barrier_site = {};
    unsigned epoch = 0; // barriers passed

    Fiber main_fiber;
    Fiber *current_fiber = nullptr;
    Thread *current = nullptr;
    std::vector<Fiber *> idle_fibers;

    // Shared memory: the dynamic part, then the static arrays between red zones.
    char *arena = nullptr;
    size_t dynamic_bytes = 0, arena_used = 0;
    std::vector<SharedArray> arrays;

    void (*run)(void *) = nullptr;
    char *args = nullptr;
    size_t args_bytes = 0;
    const char *kernel_name = "";
    unsigned launch = 0, block = 0;
    uint64_t random_state = 1;
    Traffic traffic = {};
};

extern __thread Worker *worker; // null outside kernels

constexpr size_t STATIC_SHARED_LIMIT = 48 << 10;
constexpr size_t ARENA_BYTES = 512 << 10;
constexpr int MAX_BLOCK_THREADS = 1024;

enum AccessFlags { ACCESS_ATOMIC = 1, ACCESS_IN_FLIGHT = 2 };

// Set by the checker where it is linked in.
struct Hooks {
    void (*block_begin)(Worker *) = nullptr;
    void (*warp_sync)(Worker *, int warp, unsigned mask) = nullptr;
    void (*access)(Worker *, const void *, size_t bytes, bool is_write, int flags,
                   void *pc) = nullptr;
    void (*memory_alloc)(void *, size_t bytes) = nullptr;
    void (*memory_free)(void *) = nullptr;
    void (*memory_hide)(void *, size_t bytes, bool is_hidden) = nullptr;
};
extern Hooks hooks;

// Runs all blocks of a launch; returns when they are done.
void run_grid(const Launch &launch);
// Runs one block on this worker (its threads are set up).
void run_block(Worker *w, unsigned block);
// The next number of the worker's generator.
uint64_t next_random(Worker *w);
// Reports an error with the kernel, block and thread that made it; the program ends with status 66.
[[noreturn]] void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Fills with 0xFF, a NaN in fp32 and bf16, unless EMU_POISON=0.
void poison(void *p, size_t bytes);
// Tells AddressSanitizer, where it is on, whether a part of an arena or a stack may be touched.
void set_accessible(void *p, size_t bytes, bool is_accessible);
} // namespace emu
