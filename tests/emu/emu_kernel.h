/* The CUDA kernel language for g++ and clang++, on top of the emulator's scheduler. Included by
 * cuda/gpu.h where no nvcc compiles; kernels see built-in variables, barriers, warp collectives,
 * atomics and intrinsics under their usual names. Functions of namespace emu are the emulator's
 * side of them, implemented in emu_sched.cpp, emu_device.cpp and fake_cudart_stream.cpp. Every
 * barrier and collective carries its source line (Site): lanes that belong together come from one
 * line, and reports name it. */
#pragma once

#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include <utility>

#define GPU_EMULATED 1

// Plain __shared__ still compiles, but is neither poisoned nor guarded by red zones: use
// GPU_SHARED.
#undef __shared__
#define __shared__ static thread_local
// Hints for the register allocator.
#undef __launch_bounds__
#define __launch_bounds__(...)

extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;
constexpr unsigned EMU_FULL_MASK = 0xffffffffu;

namespace emu
{
struct Site {
    const char *file;
    int line;
};

// One static shared array in the source; each block gives it a place in its arena.
struct SharedSite {
    size_t bytes, align;
};

// Runs once for a warp collective, by the last lane to arrive: lane_args[l] is lane l's argument.
typedef void (*WarpOp)(void **lane_args, unsigned mask);

// Waits for all live threads of the block; the number of threads with a predicate that is not 0.
int barrier(int predicate, Site site);
// Waits for the lanes of `mask` at the same site and runs `op` over their arguments. Only with
// orders_memory do the lanes see each other's earlier writes.
void warp(unsigned mask, WarpOp op, void *arg, bool orders_memory, Site site);
// The calling block's memory for one static shared array, poisoned at first use.
void *shared(const SharedSite *site);
// The calling block's dynamic shared memory.
void *dynamic_shared();
// Asynchronous copies, as gpu_ptx.h has them.
void cp_async(void *shared, const void *global, int bytes, int source_bytes);
void cp_commit();
void cp_wait(int pending_groups);
// End the program with a report.
[[noreturn]] void bad_shuffle(int lane, int source);
[[noreturn]] void trap();

// CUDA's atomics; each returns the old value.
float atomic_add(float *p, float v);
double atomic_add(double *p, double v);
int atomic_add(int *p, int v);
unsigned atomic_add(unsigned *p, unsigned v);
unsigned long long atomic_add(unsigned long long *p, unsigned long long v);
unsigned atomic_cas(unsigned *p, unsigned expected, unsigned v);
int atomic_cas(int *p, int expected, int v);
unsigned atomic_exchange(unsigned *p, unsigned v);
int atomic_exchange(int *p, int v);
unsigned atomic_max(unsigned *p, unsigned v);
int atomic_max(int *p, int v);
unsigned atomic_min(unsigned *p, unsigned v);
int atomic_min(int *p, int v);
unsigned atomic_or(unsigned *p, unsigned v);
unsigned atomic_and(unsigned *p, unsigned v);

// A launch: run(args) is one CUDA thread, args (args_bytes, freed by release) the kernel's
// parameter space.
struct Launch {
    const char *name;
    dim3 grid, block;
    size_t shared_bytes;
    cudaStream_t stream;
    const void *function;
    void (*run)(void *args);
    void *args;
    size_t args_bytes;
    void (*release)(void *args);
};
// Queues a launch, or leaves its error for cudaGetLastError; takes launch.args either way.
void launch(const Launch &launch);

// For cudaLaunchKernel and cudaLaunchKernelExC, which know a kernel by its address alone.
struct KernelAddress {
    const char *name;
    const void *function;
};
typedef void (*LaunchFromPointers)(const KernelAddress &kernel, dim3 grid, dim3 block, size_t bytes,
                                   cudaStream_t stream, void **args);
bool register_kernel(const KernelAddress &kernel, LaunchFromPointers launch);

template <class... P> struct KernelArgs {
    void (*kernel)(P...);
    std::tuple<std::decay_t<P>...> values; // copied at launch time, as on the GPU
};

template <class... P, class... A>
void launch_kernel(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream, A &&...values)
{
    using Args = KernelArgs<P...>;
    static_assert(sizeof(Args) <= 32764, "kernel parameters are limited to 32764 bytes");
    Args *args = new Args{kernel, std::tuple<std::decay_t<P>...>(std::forward<A>(values)...)};
    auto run = [](void *p) {
        std::apply(static_cast<Args *>(p)->kernel, static_cast<Args *>(p)->values);
    };
    auto release = [](void *p) { delete static_cast<Args *>(p); };
    launch({name, grid, block, shared_bytes, stream, reinterpret_cast<const void *>(kernel), run,
            args, sizeof *args, release});
}

template <class... P, size_t... I>
void launch_from_pointers(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                          size_t bytes, cudaStream_t stream, void **args, std::index_sequence<I...>)
{
    launch_kernel(name, kernel, grid, block, bytes, stream,
                  *static_cast<std::decay_t<P> *>(args[I])...);
}

template <class... P> bool register_typed(const char *name, void (*kernel)(P...))
{
    auto launch = [](const KernelAddress &k, dim3 grid, dim3 block, size_t bytes,
                     cudaStream_t stream, void **args) {
        auto typed = reinterpret_cast<void (*)(P...)>(const_cast<void *>(k.function));
        launch_from_pointers(k.name, typed, grid, block, bytes, stream, args,
                             std::index_sequence_for<P...>{});
    };
    return register_kernel({name, reinterpret_cast<const void *>(kernel)}, launch);
}

// Functions that only the emulator calls on other lanes' stacks must not be seen as accesses of the
// kernel.
#define EMU_UNCHECKED __attribute__((no_sanitize("thread"), noinline))

template <class T> struct ShuffleArg {
    T value, result;
    int source;
};

template <class T> EMU_UNCHECKED void shuffle_op(void **args, unsigned mask)
{
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        ShuffleArg<T> *arg = static_cast<ShuffleArg<T> *>(args[lane]);
        if (!(mask >> arg->source & 1))
            bad_shuffle(lane, arg->source);
        arg->result = static_cast<ShuffleArg<T> *>(args[arg->source])->value;
    }
}

template <class T> T shuffle(unsigned mask, T value, int source, Site site)
{
    static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 8, "4 or 8 bytes only");
    ShuffleArg<T> arg{value, value, source & 31};
    warp(mask, shuffle_op<T>, &arg, false, site);
    return arg.result;
}

struct VoteArg {
    int64_t value, result;
};

EMU_UNCHECKED inline void ballot_op(void **args, unsigned mask)
{
    unsigned bits = 0;
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        bits |= unsigned(static_cast<VoteArg *>(args[lane])->value != 0) << lane;
    }
    for (unsigned rest = mask; rest; rest &= rest - 1)
        static_cast<VoteArg *>(args[__builtin_ctz(rest)])->result = bits;
}

// kind: 0 sum, 1 maximum, 2 minimum
template <int KIND> EMU_UNCHECKED void reduce_op(void **args, unsigned mask)
{
    int64_t total = static_cast<VoteArg *>(args[__builtin_ctz(mask)])->value;
    for (unsigned rest = mask & (mask - 1); rest; rest &= rest - 1) {
        int64_t value = static_cast<VoteArg *>(args[__builtin_ctz(rest)])->value;
        total = KIND == 0 ? total + value : (KIND == 1) == (value > total) ? value : total;
    }
    for (unsigned rest = mask; rest; rest &= rest - 1)
        static_cast<VoteArg *>(args[__builtin_ctz(rest)])->result = total;
}

inline void nothing_op(void **, unsigned)
{
}

inline int lane()
{
    return int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31;
}
} // namespace emu

// A function's last two parameters, filled in with the caller's line.
#define EMU_CALLER const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define EMU_SITE     \
    emu::Site        \
    {                \
        file_, line_ \
    }

#define GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    emu::launch_kernel(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#define GPU_ALLOW_SHARED(kernel, shared_bytes)                   \
    cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), \
                         cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes))
#define EMU_JOIN2(a, b) a##b
#define EMU_JOIN(a, b)  EMU_JOIN2(a, b)
#define GPU_REGISTER(kernel)                                                 \
    [[maybe_unused]] static const bool EMU_JOIN(emu_registered_, __LINE__) = \
        emu::register_typed(#kernel, kernel)
#define GPU_SHARED(type, name, dims)                                                      \
    typedef type emu_type_of_##name dims;                                                 \
    static emu::SharedSite emu_site_of_##name{sizeof(emu_type_of_##name), alignof(type)}; \
    emu_type_of_##name &name = *static_cast<emu_type_of_##name *>(emu::shared(&emu_site_of_##name))
#define GPU_DYN_SHARED(type, name) type *name = static_cast<type *>(emu::dynamic_shared())

// ---- barriers and warp collectives ----

inline void __syncthreads(EMU_CALLER)
{
    emu::barrier(0, EMU_SITE);
}

inline int __syncthreads_count(int predicate, EMU_CALLER)
{
    return emu::barrier(predicate, EMU_SITE);
}

inline int __syncthreads_or(int predicate, EMU_CALLER)
{
    return emu::barrier(predicate, EMU_SITE) != 0;
}

inline int __syncthreads_and(int predicate, EMU_CALLER)
{
    return emu::barrier(!predicate, EMU_SITE) == 0;
}

inline void __syncwarp(unsigned mask = EMU_FULL_MASK, EMU_CALLER)
{
    emu::warp(mask, emu::nothing_op, nullptr, true, EMU_SITE);
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMU_CALLER)
{
    int from = (emu::lane() & ~(width - 1)) | (source & (width - 1));
    return emu::shuffle(mask, value, from, EMU_SITE);
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMU_CALLER)
{
    int lane = emu::lane(), from = lane ^ bits;
    bool is_outside = (from & ~(width - 1)) > (lane & ~(width - 1));
    return emu::shuffle(mask, value, is_outside ? lane : from, EMU_SITE);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_CALLER)
{
    int lane = emu::lane();
    bool is_inside = (lane & (width - 1)) + int(delta) < width;
    return emu::shuffle(mask, value, is_inside ? lane + int(delta) : lane, EMU_SITE);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_CALLER)
{
    int lane = emu::lane();
    bool is_inside = (lane & (width - 1)) >= int(delta);
    return emu::shuffle(mask, value, is_inside ? lane - int(delta) : lane, EMU_SITE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_CALLER)
{
    emu::VoteArg arg{predicate, 0};
    emu::warp(mask, emu::ballot_op, &arg, false, EMU_SITE);
    return unsigned(arg.result);
}

inline int __any_sync(unsigned mask, int predicate, EMU_CALLER)
{
    return __ballot_sync(mask, predicate, file_, line_) != 0;
}

inline int __all_sync(unsigned mask, int predicate, EMU_CALLER)
{
    return __ballot_sync(mask, !predicate, file_, line_) == 0;
}

template <class T> T __reduce_add_sync(unsigned mask, T value, EMU_CALLER)
{
    emu::VoteArg arg{value, 0};
    emu::warp(mask, emu::reduce_op<0>, &arg, false, EMU_SITE);
    return T(arg.result);
}

template <class T> T __reduce_max_sync(unsigned mask, T value, EMU_CALLER)
{
    emu::VoteArg arg{value, 0};
    emu::warp(mask, emu::reduce_op<1>, &arg, false, EMU_SITE);
    return T(arg.result);
}

template <class T> T __reduce_min_sync(unsigned mask, T value, EMU_CALLER)
{
    emu::VoteArg arg{value, 0};
    emu::warp(mask, emu::reduce_op<2>, &arg, false, EMU_SITE);
    return T(arg.result);
}

#include "emu_intrinsics.h"
