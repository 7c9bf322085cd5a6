/* What a running CUDA thread asks of the emulator beside waiting: shared memory, asynchronous
 * copies and atomics. */
#include "emu_internal.h"

#include <algorithm>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define EMU_ASAN 1
#endif
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace emu
{
// ---- shared memory ----

void poison(void *p, size_t bytes)
{
    if (config().poisons)
        memset(p, 0xFF, bytes);
}

#ifdef EMU_ASAN
void set_accessible(void *p, size_t bytes, bool is_accessible)
{
    if (is_accessible)
        __asan_unpoison_memory_region(p, bytes);
    else
        __asan_poison_memory_region(p, bytes);
}
#else
void set_accessible(void *, size_t, bool)
{
}
#endif

void *shared(const SharedSite *site)
{
    constexpr size_t RED_ZONE = 64;
    Worker *w = worker;
    size_t total = site->bytes;
    for (const SharedArray &array : w->arrays) {
        if (array.site == site)
            return w->arena + array.offset;
        total += array.site->bytes;
    }
    if (total > STATIC_SHARED_LIMIT ||
        total + w->dynamic_bytes > config().device.shared_bytes_per_block)
        fatal("shared memory: %zu bytes static and %zu dynamic are over the limit of %zu and %zu",
              total, w->dynamic_bytes, STATIC_SHARED_LIMIT, config().device.shared_bytes_per_block);
    size_t align = std::max(site->align, size_t(16));
    size_t offset = (w->arena_used + RED_ZONE + align - 1) / align * align;
    w->arrays.push_back({site, offset});
    w->arena_used = offset + site->bytes;
    set_accessible(w->arena + offset, site->bytes, true);
    poison(w->arena + offset, site->bytes);
    return w->arena + offset;
}

void *dynamic_shared()
{
    return worker->arena;
}

// ---- asynchronous copies ----

void note_read(const void *p, int bytes, void *pc)
{
    if (hooks.access)
        hooks.access(worker, p, size_t(bytes), false, 0, pc);
}

namespace
{
void note_write(const void *p, int bytes, int flags, void *pc)
{
    if (hooks.access)
        hooks.access(worker, p, size_t(bytes), true, flags, pc);
}

void run_copy(const PendingCopy &copy)
{
    memcpy(copy.shared, copy.global, size_t(copy.source_bytes));
    memset(static_cast<char *>(copy.shared) + copy.source_bytes, 0,
           size_t(copy.bytes - copy.source_bytes));
}

// The hardware may copy at any moment between issue and wait: "reverse" does it at issue, "inorder"
// at the wait.
bool is_copied_early(Worker *w)
{
    switch (w->order) {
    case ThreadOrder::Reverse:
        return true;
    case ThreadOrder::Random:
        return next_random(w) >> 63;
    default:
        return false;
    }
}
} // namespace

void cp_async(void *shared, const void *global, int bytes, int source_bytes)
{
    Worker *w = worker;
    void *pc = __builtin_return_address(0);
    if ((uintptr_t(shared) | uintptr_t(global)) & uintptr_t(bytes - 1))
        fatal("cp.async: an address is not aligned to %d bytes", bytes);
    if (source_bytes < 0 || source_bytes > bytes)
        fatal("cp.async: %d source bytes", source_bytes);
    char *target = static_cast<char *>(shared);
    if (target < w->arena || target + bytes > w->arena + ARENA_BYTES)
        fatal("cp.async: the destination is not shared memory");
    if (source_bytes)
        note_read(global, source_bytes, pc);
    note_write(shared, bytes, ACCESS_IN_FLIGHT, pc);
    PendingCopy copy{shared, global, bytes, source_bytes, w->current->copy_group, pc};
    if (is_copied_early(w))
        run_copy(copy);
    w->current->copies.push_back(copy);
}

void cp_commit()
{
    worker->current->copy_group++;
}

void cp_wait(int pending_groups)
{
    Thread *self = worker->current;
    size_t count = 0;
    while (count < self->copies.size() &&
           self->copies[count].group < self->copy_group - pending_groups) {
        const PendingCopy &copy = self->copies[count++];
        note_write(copy.shared, copy.bytes, 0, copy.pc);
        run_copy(copy);
    }
    self->copies.erase(self->copies.begin(), self->copies.begin() + long(count));
}

void bad_shuffle(int lane, int source)
{
    fatal("shuffle: lane %d reads lane %d, which does not take part", lane, source);
}

void trap()
{
    fatal("__trap()");
}

// ---- atomics ----

namespace
{
// Tells the checker, then applies `change` to *p until no other worker has been in between; the old
// value.
template <class T, class F> T update(T *p, void *pc, F change)
{
    if (hooks.access)
        hooks.access(worker, p, sizeof *p, true, ACCESS_ATOMIC, pc);
    T before, after;
    __atomic_load(p, &before, __ATOMIC_RELAXED);
    do
        after = change(before);
    while (
        !__atomic_compare_exchange(p, &before, &after, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return before;
}
} // namespace

#define EMU_ATOMIC(name, type, expression)                                                   \
    type name(type *p, type v)                                                               \
    {                                                                                        \
        return update(p, __builtin_return_address(0), [v](type old) { return expression; }); \
    }
EMU_ATOMIC(atomic_add, float, old + v)
EMU_ATOMIC(atomic_add, double, old + v)
EMU_ATOMIC(atomic_add, int, int(unsigned(old) + unsigned(v)))
EMU_ATOMIC(atomic_add, unsigned, old + v)
EMU_ATOMIC(atomic_add, unsigned long long, old + v)
EMU_ATOMIC(atomic_max, unsigned, std::max(old, v))
EMU_ATOMIC(atomic_max, int, std::max(old, v))
EMU_ATOMIC(atomic_min, unsigned, std::min(old, v))
EMU_ATOMIC(atomic_min, int, std::min(old, v))
EMU_ATOMIC(atomic_or, unsigned, old | v)
EMU_ATOMIC(atomic_and, unsigned, old &v)
EMU_ATOMIC(atomic_exchange, unsigned, (void(old), v))
EMU_ATOMIC(atomic_exchange, int, (void(old), v))
#undef EMU_ATOMIC

unsigned atomic_cas(unsigned *p, unsigned expected, unsigned v)
{
    return update(p, __builtin_return_address(0),
                  [=](unsigned old) { return old == expected ? v : old; });
}

int atomic_cas(int *p, int expected, int v)
{
    return update(p, __builtin_return_address(0),
                  [=](int old) { return old == expected ? v : old; });
}
} // namespace emu
