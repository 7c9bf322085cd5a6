/* How the emulator fills the counters of emu_counters.h. */
#pragma once

#include <stdint.h>

namespace emu
{
struct Traffic;

// One launch of `name`.
void count_launch(const char *name);
// Global memory moved by a kernel, or by a library operation (distinct bytes then equal all bytes).
void count_traffic(const char *name, const Traffic &traffic);
void count_operands(const char *name, uint64_t read_bytes, uint64_t written_bytes);
// One call of a function that costs the host; of one that waits, what the wait was like.
void count_call(const char *name);
void count_wait(const char *name, bool is_blocked, bool is_drained);
// emu_memory.cpp: the most memory so far is what is in use now.
void clear_memory_peaks();
} // namespace emu
