/* A launch: its blocks, handed out to the workers in EMU_SCHED's order. One worker (EMU_THREADS)
 * makes runs reproducible; with the checker there is never more than one. */
#include "emu_counters_internal.h"
#include "emu_internal.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <sys/mman.h>
#include <thread>

namespace emu
{
namespace
{
struct Grid {
    const Launch *launch;
    std::vector<unsigned> order; // of the blocks
    std::atomic<unsigned> next{0};
    unsigned chunk; // blocks a worker takes at a time
    unsigned id;
};

Worker *make_worker()
{
    Worker *w = new Worker;
    w->order = config().thread_order;
    w->strict_exit = config().strict_exit;
    // Nothing of this may grow while a kernel runs: it would be allocated on a fiber, inside an
    // instrumented call.
    w->idle_fibers.reserve(2 * MAX_BLOCK_THREADS);
    w->waiting.reserve(2 * MAX_BLOCK_THREADS);
    w->arrays.reserve(64);
    void *arena =
        mmap(nullptr, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        fatal("no memory for shared memory");
    w->arena = static_cast<char *>(arena);
    return w;
}

// At the end of an OS thread, between kernels: all its fibers are idle. Whoever is given these
// addresses next may touch them.
struct FreeWorker {
    void operator()(Worker *w) const
    {
        for (Fiber *fiber : w->idle_fibers) {
            set_accessible(fiber->stack, fiber->stack_bytes, true);
            fiber_free(fiber);
        }
        set_accessible(w->arena, ARENA_BYTES, true);
        munmap(w->arena, ARENA_BYTES);
        delete w;
    }
};

void set_up_shape(Worker *w, dim3 block)
{
    int count = int(block.x * block.y * block.z);
    unsigned capacity = 1;
    while (capacity < unsigned(count) * 2)
        capacity *= 2;
    w->queue.ring.resize(capacity);
    w->queue.mask = capacity - 1;
    w->threads.resize(count);
    w->warps.resize((count + 31) / 32);
    for (int i = 0; i < count; i++) {
        Thread *thread = &w->threads[i];
        thread->linear = i;
        thread->index = make_uint3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
        thread->warp = short(i / 32);
        thread->lane = (signed char)(i % 32);
        thread->copies.reserve(64);
    }
}

// Runs blocks of the grid until none is left.
void work(Grid *grid)
{
    static thread_local std::unique_ptr<Worker, FreeWorker> mine(make_worker());
    Worker *w = worker = mine.get();
    const Launch &launch = *grid->launch;
    blockDim = make_uint3(launch.block.x, launch.block.y, launch.block.z);
    gridDim = make_uint3(launch.grid.x, launch.grid.y, launch.grid.z);
    w->run = launch.run;
    w->args = static_cast<char *>(launch.args);
    w->args_bytes = launch.args_bytes;
    w->kernel_name = launch.name;
    w->dynamic_bytes = launch.shared_bytes;
    w->launch = grid->id;
    w->traffic = {};
    set_up_shape(w, launch.block);
    unsigned count = unsigned(grid->order.size());
    for (unsigned first; (first = grid->next.fetch_add(grid->chunk)) < count;) {
        for (unsigned i = first; i < std::min(first + grid->chunk, count); i++)
            run_block(w, grid->order[i]);
    }
    count_traffic(launch.name, w->traffic);
    worker = nullptr;
}

// Helper OS threads; the thread that launches takes part as well.
class Pool
{
  public:
    void run(Grid *grid, int count)
    {
        std::lock_guard<std::mutex> one_at_a_time(turn_);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (int(helpers_.size()) < count - 1)
                helpers_.emplace_back([this] { help(); });
            grid_ = grid;
            generation_++;
            busy_ = int(helpers_.size());
        }
        start_.notify_all();
        work(grid);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

  private:
    [[noreturn]] void help()
    {
        unsigned seen = 0;
        for (;;) {
            Grid *grid = nullptr;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                start_.wait(lock, [&] { return generation_ != seen; });
                seen = generation_;
                grid = grid_;
            }
            work(grid);
            std::lock_guard<std::mutex> lock(mutex_);
            if (--busy_ == 0)
                done_.notify_all();
        }
    }

    std::mutex turn_, mutex_;
    std::condition_variable start_, done_;
    std::vector<std::thread> helpers_;
    Grid *grid_ = nullptr;
    unsigned generation_ = 0;
    int busy_ = 0;
};

void set_up_order(Grid *grid, unsigned count)
{
    grid->order.resize(count);
    for (unsigned i = 0; i < count; i++)
        grid->order[i] = i;
    if (config().thread_order == ThreadOrder::Reverse)
        std::reverse(grid->order.begin(), grid->order.end());
    if (config().thread_order == ThreadOrder::Random) {
        std::mt19937_64 generator(config().thread_seed * 7919 + grid->id);
        std::shuffle(grid->order.begin(), grid->order.end(), generator);
    }
}
} // namespace

void run_grid(const Launch &launch)
{
    static std::atomic<unsigned> launches;
    static Pool *pool = new Pool; // never freed: its threads outlive main
    Grid grid;
    grid.launch = &launch;
    grid.id = ++launches;
    unsigned count = launch.grid.x * launch.grid.y * launch.grid.z;
    set_up_order(&grid, count);
    unsigned workers = std::min(unsigned(config().worker_count), count);
    grid.chunk = std::max(1u, count / (16u * std::max(1u, workers)));
    if (workers <= 1 || hooks.access)
        work(&grid);
    else
        pool->run(&grid, int(workers));
}
} // namespace emu
