/* For tests of programs that carve their buffers out of one big block: hides the gaps between the
 * buffers, so that the checker, AddressSanitizer, or a NaN tells of an access that overruns a
 * buffer but not the block. C and C++. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Makes [p, p + bytes), part of one block of device memory, out of bounds for kernels and fills it
// with NaN. The granularity is 4 bytes for the checker and 8 for AddressSanitizer; what is only
// partly inside stays accessible. Nothing may be running that uses the memory.
void emu_memory_hide(void *p, size_t bytes);

// Undoes it; to be called before the block is freed.
void emu_memory_show(void *p, size_t bytes);

#ifdef __cplusplus
}
#endif
