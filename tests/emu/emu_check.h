/* The checker's one entry for memory accesses of kernels. */
#pragma once

#include "emu_internal.h"

namespace emu
{
extern const char *builtins_first, *builtins_end; // threadIdx and its like

// Most accesses are to what is the running thread's own: its stack, the kernel's arguments and
// built-in variables.
inline bool is_private(const Worker *w, const void *p)
{
    const char *address = static_cast<const char *>(p);
    return size_t(address - w->current_fiber->stack) < FIBER_STACK_BYTES ||
           size_t(address - w->args) < w->args_bytes ||
           (address >= builtins_first && address < builtins_end);
}

// An access by the running CUDA thread (ignored outside kernels); flags are AccessFlags, pc is in
// the kernel. Errors are printed, each pair of source places once, and the program ends with status
// 66.
void check_access(Worker *w, const void *p, size_t bytes, bool is_write, int flags, void *pc);
} // namespace emu
