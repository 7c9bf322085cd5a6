/* The functions that -fsanitize=thread makes a kernel call, in place of libtsan's. */
#include "emu_check.h"

namespace
{
void note(const volatile void *p, size_t bytes, bool is_write, int flags, void *pc)
{
    emu::Worker *w = emu::worker;
    const void *address = const_cast<const void *>(p);
    if (w && w->current && !emu::is_private(w, address))
        emu::check_access(w, address, bytes, is_write, flags, pc);
}
} // namespace

#define EMU_PC __builtin_return_address(0)

#define EMU_PLAIN(kind, bytes)                \
    void __tsan_##kind##read##bytes(void *p)  \
    {                                         \
        note(p, bytes, false, 0, EMU_PC);     \
    }                                         \
    void __tsan_##kind##write##bytes(void *p) \
    {                                         \
        note(p, bytes, true, 0, EMU_PC);      \
    }

#define EMU_SIZES(kind) \
    EMU_PLAIN(kind, 1)  \
    EMU_PLAIN(kind, 2)  \
    EMU_PLAIN(kind, 4)  \
    EMU_PLAIN(kind, 8)  \
    EMU_PLAIN(kind, 16)

#define EMU_BUILTIN_ATOMICS(bits, type)                                 \
    type __tsan_atomic##bits##_load(const volatile type *p, int)        \
    {                                                                   \
        note(p, sizeof *p, false, emu::ACCESS_ATOMIC, EMU_PC);          \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                    \
    }                                                                   \
    void __tsan_atomic##bits##_store(volatile type *p, type v, int)     \
    {                                                                   \
        note(p, sizeof *p, true, emu::ACCESS_ATOMIC, EMU_PC);           \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                       \
    }                                                                   \
    type __tsan_atomic##bits##_fetch_add(volatile type *p, type v, int) \
    {                                                                   \
        note(p, sizeof *p, true, emu::ACCESS_ATOMIC, EMU_PC);           \
        return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);              \
    }                                                                   \
    type __tsan_atomic##bits##_fetch_sub(volatile type *p, type v, int) \
    {                                                                   \
        note(p, sizeof *p, true, emu::ACCESS_ATOMIC, EMU_PC);           \
        return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);              \
    }

extern "C" {
void __tsan_init()
{
}

void __tsan_func_entry(void *)
{
}

void __tsan_func_exit()
{
}

void __tsan_vptr_update(void **, void *)
{
}

void __tsan_vptr_read(void **)
{
}

void __tsan_atomic_thread_fence(int)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __tsan_read_range(void *p, unsigned long bytes)
{
    note(p, bytes, false, 0, EMU_PC);
}

void __tsan_write_range(void *p, unsigned long bytes)
{
    note(p, bytes, true, 0, EMU_PC);
}

// What clang calls for memory functions inside kernels.
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    note(from, bytes, false, 0, EMU_PC);
    note(to, bytes, true, 0, EMU_PC);
    return memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    note(from, bytes, false, 0, EMU_PC);
    note(to, bytes, true, 0, EMU_PC);
    return memmove(to, from, bytes);
}

void *__tsan_memset(void *p, int value, size_t bytes)
{
    note(p, bytes, true, 0, EMU_PC);
    return memset(p, value, bytes);
}

EMU_SIZES()
EMU_SIZES(unaligned_)
EMU_SIZES(volatile_)
EMU_BUILTIN_ATOMICS(8, uint8_t)
EMU_BUILTIN_ATOMICS(32, uint32_t)
EMU_BUILTIN_ATOMICS(64, uint64_t)
}
