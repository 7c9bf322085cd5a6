/* The emulator's settings, all from the environment (README.md lists them), read once when the
 * program starts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace emu
{
enum class ThreadOrder { InOrder, Reverse, Random };
enum class StreamOrder { Eager, Lazy, Random };

// What the pretended GPU has.
struct DeviceModel {
    const char *name;
    int major, minor;
    int multiprocessors;
    size_t shared_bytes_per_block;          // with cudaFuncSetAttribute
    size_t shared_bytes_per_multiprocessor; // for all its blocks
    size_t memory_bytes;
    int l2_bytes;
};

struct Config {
    ThreadOrder thread_order = ThreadOrder::InOrder; // EMU_SCHED
    uint64_t thread_seed = 1;
    StreamOrder stream_order = StreamOrder::Eager; // EMU_STREAMS
    uint64_t stream_seed = 1;
    int worker_count = 1;        // EMU_THREADS
    int device_count = 1;        // EMU_DEVICES
    bool poisons = true;         // EMU_POISON
    bool guards = false;         // EMU_GUARD
    bool strict_exit = false;    // EMU_STRICT_EXIT
    int timeout_s = 60;          // EMU_TIMEOUT_S
    size_t cublaslt_version = 0; // EMU_CUBLASLT_VERSION, 0: the header's
    bool cublaslt_by_rows = false; // EMU_CUBLASLT_BY_ROWS
    int nccl_first_rank = 0;     // EMU_NCCL_FIRST_RANK
    int breaks_at = 0;           // EMU_BREAKS_AT, 0: never
    DeviceModel device = {};     // EMU_DEVICE, EMU_MEMORY_MB
};

// The settings; the first call reads the environment and ends the program if a variable has no
// valid value.
const Config &config();
} // namespace emu
