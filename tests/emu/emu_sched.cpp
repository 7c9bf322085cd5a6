/* The threads of one block on the CPU: run queue, barrier, warp collectives. A thread runs until it
 * must wait; then another one continues. The order is EMU_SCHED's: in order; "reverse", which is
 * last in, first out, so that one warp runs as far ahead of the others as barriers allow; or random
 * by seed. */
#include "emu_internal.h"

#include <algorithm>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emu
{
__thread Worker *worker;
Hooks hooks;

namespace
{
constexpr int EXIT_STATUS = 66;
constexpr int MAX_THREADS_SHOWN = 6;

bool is_same(Site a, Site b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

bool is_in_order(const Worker *w)
{
    return w->order == ThreadOrder::InOrder;
}

void push(RunQueue *queue, int thread)
{
    queue->ring[queue->tail++ & queue->mask] = (unsigned short)thread;
}

// Takes a thread that can run from the queue, or null.
Thread *pick(Worker *w)
{
    RunQueue *queue = &w->queue;
    unsigned count = queue->tail - queue->head;
    if (count == 0)
        return nullptr;
    if (w->is_lifo)
        return &w->threads[queue->ring[--queue->tail & queue->mask]];
    if (w->order == ThreadOrder::Random && count > 1) {
        unsigned chosen = unsigned((next_random(w) >> 32) * count >> 32);
        std::swap(queue->ring[queue->head & queue->mask],
                  queue->ring[(queue->head + chosen) & queue->mask]);
    }
    return &w->threads[queue->ring[queue->head++ & queue->mask]];
}

void enter(Worker *w, Thread *thread)
{
    w->current = thread;
    threadIdx = thread->index;
}

void switch_to(Worker *w, Fiber *from, Fiber *to)
{
    w->current_fiber = to;
    fiber_switch(from, to);
}

void fiber_main();

Fiber *take_fiber(Worker *w)
{
    if (w->idle_fibers.empty())
        return fiber_new(fiber_main);
    Fiber *fiber = w->idle_fibers.back();
    w->idle_fibers.pop_back();
    return fiber;
}

// Ends the program from wherever it is, a fiber for instance: no handlers, no destructors.
[[noreturn]] void end_program()
{
    fflush(stdout);
    fflush(stderr);
    _exit(EXIT_STATUS);
}

[[noreturn]] void deadlock(Worker *w)
{
    fprintf(stderr,
            "EMU ERROR: deadlock in kernel %s block %u: no thread can run, %d alive, %d of them at "
            "__syncthreads\n",
            w->kernel_name, w->block, w->live, w->arrived);
    int shown = 0;
    for (const Thread &thread : w->threads) {
        if (thread.is_done || shown++ >= MAX_THREADS_SHOWN)
            continue;
        fprintf(stderr, "  thread %d waits at %s %s:%d\n", thread.linear, thread.wait_what,
                thread.wait_site.file, thread.wait_site.line);
    }
    end_program();
}

// Suspends the current thread and runs another one; returns when this one is picked again.
void suspend(Worker *w, Thread *self)
{
    Thread *next = pick(w);
    if (!next)
        deadlock(w);
    if (next == self)
        return;
    if (!next->fiber)
        next->fiber = take_fiber(w);
    enter(w, next);
    switch_to(w, self->fiber, next->fiber);
}

void shuffle_order(Worker *w, unsigned short *values, size_t count)
{
    for (size_t i = count; i > 1; i--)
        std::swap(values[i - 1], values[(next_random(w) >> 32) * i >> 32]);
}

void release_barrier(Worker *w)
{
    w->barrier_result = w->predicate_sum;
    w->predicate_sum = w->arrived = 0;
    w->epoch++;
    if (w->order == ThreadOrder::Reverse)
        std::sort(w->waiting.begin(), w->waiting.end());
    if (w->order == ThreadOrder::Random && w->is_lifo)
        shuffle_order(w, w->waiting.data(), w->waiting.size());
    for (unsigned short thread : w->waiting)
        push(&w->queue, thread);
    w->waiting.clear();
}

// Runs a collective if all its live lanes are there, and makes them runnable again except
// `running`.
bool complete(Worker *w, int warp_index, int meeting, const Thread *running)
{
    Warp *warp = &w->warps[warp_index];
    Rendezvous met = warp->meetings[meeting];
    if (met.arrived != (met.mask & warp->alive))
        return false;
    warp->meetings[meeting] = warp->meetings[--warp->active];
    met.op(warp->args, met.arrived);
    if (met.orders_memory && hooks.warp_sync)
        hooks.warp_sync(w, warp_index, met.arrived);
    for (unsigned rest = met.arrived; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        if (!running || lane != running->lane)
            push(&w->queue, warp_index * 32 + lane);
    }
    return true;
}

void thread_exit(Worker *w, Thread *thread)
{
    if (!thread->copies.empty())
        fatal("thread exits with cp.async copies that it has not waited for");
    thread->is_done = true;
    w->live--;
    Warp *warp = &w->warps[thread->warp];
    warp->alive &= ~(1u << thread->lane);
    if (w->strict_exit && w->arrived)
        fatal("thread exits while %d others wait at __syncthreads %s:%d", w->arrived,
              w->barrier_site.file, w->barrier_site.line);
    for (int i = warp->active; i--;)
        complete(w, thread->warp, i, nullptr);
    if (w->arrived && w->arrived == w->live)
        release_barrier(w);
}

// What every fiber runs: the current thread to its end, then the next ones, on this very stack
// while those have none.
void fiber_main()
{
    fiber_entered(&worker->main_fiber);
    Worker *w = worker;
    Fiber *fiber = w->current_fiber;
    for (;;) {
        w->run(w->args);
        thread_exit(w, w->current);
        Thread *next = pick(w);
        if (!next) {
            if (w->live)
                deadlock(w);
            w->current = nullptr;
            w->idle_fibers.push_back(fiber);
            switch_to(w, fiber, &w->main_fiber);
        } else if (!next->fiber) {
            enter(w, next);
            next->fiber = fiber;
        } else {
            enter(w, next);
            w->idle_fibers.push_back(fiber);
            switch_to(w, fiber, next->fiber);
        }
    }
}

// The meeting of lanes that agree on mask, operation and line; made by the first one.
int find_meeting(Warp *warp, unsigned mask, WarpOp op, bool orders_memory, Site site)
{
    for (int i = 0; i < warp->active; i++) {
        const Rendezvous &met = warp->meetings[i];
        if (met.mask == mask && met.op == op && is_same(met.site, site))
            return i;
    }
    if (warp->active == 32)
        fatal("too many divergent warp collectives");
    warp->meetings[warp->active] = {mask, 0, op, site, orders_memory};
    return warp->active++;
}

void set_up_order(Worker *w, unsigned block)
{
    if (w->order == ThreadOrder::Random) {
        uint64_t place = uint64_t(w->launch) << 32 | block;
        w->random_state = (config().thread_seed + 1) * 0x9E3779B97F4A7C15ull;
        w->random_state ^= place * 0xD1B54A32D192ED03ull;
        w->random_state |= 1;
    }
    w->is_lifo = w->order == ThreadOrder::Reverse ||
                 (w->order == ThreadOrder::Random && next_random(w) >> 63);
}

void set_up_block(Worker *w, unsigned block)
{
    blockIdx = make_uint3(block % gridDim.x, block / gridDim.x % gridDim.y,
                          block / (gridDim.x * gridDim.y));
    int count = int(w->threads.size());
    w->block = block;
    w->queue.head = w->queue.tail = 0;
    w->live = count;
    w->arrived = w->predicate_sum = 0;
    w->epoch = 0;
    w->waiting.clear();
    w->arrays.clear();
    set_up_order(w, block);
    set_accessible(w->arena, ARENA_BYTES, false);
    set_accessible(w->arena, w->dynamic_bytes, true);
    poison(w->arena, w->dynamic_bytes);
    w->arena_used = w->dynamic_bytes;
    for (int i = 0; i < count; i++) {
        Thread *thread = &w->threads[i];
        thread->fiber = nullptr;
        thread->is_done = false;
        thread->copy_group = 0;
        push(&w->queue, i);
    }
    if (w->order == ThreadOrder::Random)
        shuffle_order(w, w->queue.ring.data(), size_t(count));
    for (size_t i = 0; i < w->warps.size(); i++) {
        int lanes = std::min(32, count - int(i) * 32);
        w->warps[i].alive = lanes == 32 ? EMU_FULL_MASK : (1u << lanes) - 1;
        w->warps[i].active = 0;
    }
}
} // namespace

uint64_t next_random(Worker *w)
{
    uint64_t x = w->random_state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return w->random_state = x;
}

void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "EMU ERROR: ");
    vfprintf(stderr, format, args);
    va_end(args);
    if (worker && worker->current)
        fprintf(stderr, "\n  kernel %s block %u thread %d (%u,%u,%u)", worker->kernel_name,
                worker->block, worker->current->linear, threadIdx.x, threadIdx.y, threadIdx.z);
    fprintf(stderr, "\n");
    end_program();
}

int barrier(int predicate, Site site)
{
    Worker *w = worker;
    Thread *self = w->current;
    if (w->arrived == 0)
        w->barrier_site = site;
    else if (!is_same(site, w->barrier_site))
        fatal("divergent __syncthreads: %s:%d while others wait at %s:%d", site.file, site.line,
              w->barrier_site.file, w->barrier_site.line);
    w->predicate_sum += predicate != 0;
    w->arrived++;
    self->wait_what = "__syncthreads";
    self->wait_site = site;
    bool is_last = w->arrived == w->live;
    if (!is_last || !is_in_order(w))
        w->waiting.push_back((unsigned short)self->linear);
    if (is_last)
        release_barrier(w);
    if (!is_last || !is_in_order(w))
        suspend(w, self);
    return w->barrier_result;
}

void warp(unsigned mask, WarpOp op, void *arg, bool orders_memory, Site site)
{
    Worker *w = worker;
    Thread *self = w->current;
    Warp *warp = &w->warps[self->warp];
    if (!(mask >> self->lane & 1))
        fatal("lane %d is not in its own mask %08x at %s:%d", self->lane, mask, site.file,
              site.line);
    int meeting = find_meeting(warp, mask, op, orders_memory, site);
    warp->args[self->lane] = arg;
    warp->meetings[meeting].arrived |= 1u << self->lane;
    self->wait_what = "warp collective";
    self->wait_site = site;
    bool is_last = complete(w, self->warp, meeting, is_in_order(w) ? self : nullptr);
    if (!is_last || !is_in_order(w))
        suspend(w, self);
}

void run_block(Worker *w, unsigned block)
{
    set_up_block(w, block);
    if (hooks.block_begin)
        hooks.block_begin(w);
    Thread *first = pick(w);
    first->fiber = take_fiber(w);
    enter(w, first);
    switch_to(w, &w->main_fiber, first->fiber);
}
} // namespace emu
