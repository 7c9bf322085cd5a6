/* The checker's one entry for memory accesses of kernels. */
#pragma once

#include "emu_internal.h"

namespace emu
{
// An access by the running CUDA thread (ignored outside kernels); flags are AccessFlags, pc is in
// the kernel. Errors are printed, each pair of source places once, and the program ends with status
// 66.
void check_access(Worker *w, const void *p, size_t bytes, bool is_write, int flags, void *pc);
} // namespace emu
