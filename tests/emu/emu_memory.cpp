/* Device memory and pinned host memory. Fresh memory holds 0xFF, a NaN. With EMU_GUARD device
 * memory lies in one arena that host code can neither read nor write: the program ends with a
 * segmentation fault where it touches it. */
#include <algorithm>
#include <stdlib.h>
#include <sys/mman.h>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_memory.h"
#include "emu_runtime.h"

namespace emu
{
namespace
{
constexpr size_t ALIGNMENT = 256;
constexpr size_t ARENA_RESERVED = size_t(1) << 36;
constexpr size_t PAGE = 4096;
// The guarded arena has pages of 2 MiB where the system gives them: closing and opening it goes
// page by page, at each call of the runtime.
constexpr size_t HUGE_PAGE = 2 << 20;

size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

// Bytes an allocation occupies in the guarded arena: 256 are left between two.
size_t guarded_size(size_t bytes)
{
    return round_up(bytes + ALIGNMENT, ALIGNMENT);
}

void protect(int protection)
{
    Runtime *r = runtime();
    const size_t bytes = round_up(r->guarded_bytes, HUGE_PAGE);
    if (bytes > 0 && mprotect(r->guarded_arena, bytes, protection))
        fatal("mprotect of the guarded memory failed");
}

char *guarded_alloc(size_t bytes)
{
    Runtime *r = runtime();
    if (!r->guarded_arena) {
        void *space = mmap(nullptr, ARENA_RESERVED + HUGE_PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (space == MAP_FAILED)
            fatal("no address space for EMU_GUARD");
        r->guarded_arena = reinterpret_cast<char *>(round_up(size_t(space), HUGE_PAGE));
        (void)madvise(r->guarded_arena, ARENA_RESERVED, MADV_HUGEPAGE);
    }
    size_t size = guarded_size(bytes);
    auto reused = r->guarded_free.find(size);
    if (reused != r->guarded_free.end()) {
        char *p = reused->second;
        r->guarded_free.erase(reused);
        return p;
    }
    if (r->guarded_bytes + size > ARENA_RESERVED)
        return nullptr;
    char *p = r->guarded_arena + r->guarded_bytes;
    r->guarded_bytes = round_up(r->guarded_bytes + size, PAGE);
    return p;
}

// `bytes` more of what the runtime has handed out, or less.
void count_use(cudaMemoryType type, ptrdiff_t bytes)
{
    emu_memory_use *use = &runtime()->in_use;
    bool is_device = type == cudaMemoryTypeDevice;
    size_t *now = is_device ? &use->device_bytes : &use->pinned_bytes;
    size_t *peak = is_device ? &use->device_peak_bytes : &use->pinned_peak_bytes;
    *now += size_t(bytes);
    *peak = std::max(*peak, *now);
}

void add(char *p, size_t bytes, cudaMemoryType type, int device, bool is_registered)
{
    runtime()->allocations[p] = {bytes, device, type, is_registered};
    if (!is_registered)
        count_use(type, ptrdiff_t(bytes));
    if (hooks.memory_alloc)
        hooks.memory_alloc(p, bytes);
}

// Forgets the allocation that starts at p; false where there is none of this kind.
bool take(void *p, cudaMemoryType type, bool is_registered, Allocation *taken)
{
    Runtime *r = runtime();
    auto found = r->allocations.find(static_cast<char *>(p));
    if (found == r->allocations.end() || found->second.type != type ||
        found->second.is_registered != is_registered)
        return false;
    *taken = found->second;
    r->allocations.erase(found);
    if (!is_registered)
        count_use(type, -ptrdiff_t(taken->bytes));
    if (hooks.memory_free)
        hooks.memory_free(p);
    return true;
}
} // namespace

void guard_open()
{
    if (config().guards && runtime()->unguarded++ == 0)
        protect(PROT_READ | PROT_WRITE);
}

void guard_close()
{
    if (config().guards && --runtime()->unguarded == 0)
        protect(PROT_NONE);
}

cudaError_t memory_alloc(void **p, size_t bytes, int device)
{
    *p = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    size_t *used = &runtime()->used_bytes[size_t(device)];
    if (bytes > config().device.memory_bytes - *used)
        return cudaErrorMemoryAllocation;
    guard_open();
    void *memory = nullptr;
    if (config().guards)
        memory = guarded_alloc(bytes);
    else if (posix_memalign(&memory, ALIGNMENT, bytes))
        memory = nullptr;
    if (memory) {
        if (config().guards)
            protect(PROT_READ | PROT_WRITE); // the arena may have grown
        memset(memory, 0xFF, bytes);
        add(static_cast<char *>(memory), bytes, cudaMemoryTypeDevice, device, false);
        *used += bytes;
    }
    guard_close();
    *p = memory;
    return memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t memory_free(void *p)
{
    Allocation taken;
    if (!p)
        return cudaSuccess;
    if (!take(p, cudaMemoryTypeDevice, false, &taken))
        return cudaErrorInvalidValue;
    runtime()->used_bytes[size_t(taken.device)] -= taken.bytes;
    if (config().guards)
        runtime()->guarded_free.emplace(guarded_size(taken.bytes), static_cast<char *>(p));
    else
        free(p);
    return cudaSuccess;
}

const Allocation *find_allocation(const void *p, size_t bytes)
{
    const char *first = static_cast<const char *>(p);
    auto next = runtime()->allocations.upper_bound(first);
    if (next == runtime()->allocations.begin())
        return nullptr;
    --next;
    bool is_inside = first + bytes <= next->first + next->second.bytes &&
                     first < next->first + next->second.bytes;
    return is_inside || (bytes == 0 && first == next->first) ? &next->second : nullptr;
}

bool is_device_memory(const void *p, size_t bytes)
{
    Lock lock(runtime()->mutex);
    return find_allocation(p, bytes) != nullptr;
}

cudaError_t host_alloc(void **p, size_t bytes)
{
    *p = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    if (posix_memalign(p, PAGE, bytes)) {
        *p = nullptr;
        return cudaErrorMemoryAllocation;
    }
    memset(*p, 0xFF, bytes);
    add(static_cast<char *>(*p), bytes, cudaMemoryTypeHost, current_device(), false);
    return cudaSuccess;
}

cudaError_t host_free(void *p)
{
    Allocation taken;
    if (!p)
        return cudaSuccess;
    if (!take(p, cudaMemoryTypeHost, false, &taken))
        return cudaErrorInvalidValue;
    free(p);
    return cudaSuccess;
}

cudaError_t host_register(void *p, size_t bytes)
{
    if (!p || bytes == 0)
        return cudaErrorInvalidValue;
    if (find_allocation(p, 1))
        return cudaErrorHostMemoryAlreadyRegistered;
    add(static_cast<char *>(p), bytes, cudaMemoryTypeHost, current_device(), true);
    return cudaSuccess;
}

cudaError_t host_unregister(void *p)
{
    Allocation taken;
    return take(p, cudaMemoryTypeHost, true, &taken) ? cudaSuccess
                                                     : cudaErrorHostMemoryNotRegistered;
}

void clear_memory_peaks()
{
    Lock lock(runtime()->mutex);
    emu_memory_use *use = &runtime()->in_use;
    use->device_peak_bytes = use->device_bytes;
    use->pinned_peak_bytes = use->pinned_bytes;
}
} // namespace emu

emu_memory_use emu_memory_in_use(void)
{
    emu::Lock lock(emu::runtime()->mutex);
    return emu::runtime()->in_use;
}

void emu_memory_hide(void *p, size_t bytes)
{
    emu::Lock lock(emu::runtime()->mutex);
    emu::guard_open();
    memset(p, 0xFF, bytes);
    emu::guard_close();
    emu::set_accessible(p, bytes, false);
    if (emu::hooks.memory_hide)
        emu::hooks.memory_hide(p, bytes, true);
}

void emu_memory_show(void *p, size_t bytes)
{
    emu::Lock lock(emu::runtime()->mutex);
    emu::set_accessible(p, bytes, true);
    if (emu::hooks.memory_hide)
        emu::hooks.memory_hide(p, bytes, false);
}
