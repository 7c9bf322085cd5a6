/* What the emulated GPU has done since the last clear, for tests that hold a program to its plan:
 * launches by name and, where the checker is linked in, the global memory that kernels moved; and
 * what memory it has handed out. C and C++. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct emu_counter {
    // A kernel as written in GPU_LAUNCH, without outer parentheses; or "memcpy",
    // "cublasLtMatmul"...
    const char *name;
    uint64_t launches;
    // Of the library's own operations (copies, GEMMs, collectives): operand bytes. Of kernels: with
    // the checker only.
    uint64_t read_bytes, written_bytes;                   // every access
    uint64_t distinct_read_bytes, distinct_written_bytes; // each 4-byte word once a launch
} emu_counter;

// Copies up to `capacity` counters, ordered by name, and returns how many there are. Work that is
// queued and has not run is not counted: synchronise first. The names live until the program ends.
size_t emu_counters_get(emu_counter *counters, size_t capacity);

// The counter of one name; all zeros where nothing of that name ran.
emu_counter emu_counters_find(const char *name);

// A function of the libraries that costs the host: it allocates, frees, creates, captures, looks
// for an algorithm, or waits for the device (cudaMemcpy counts as the cudaStreamSynchronize that it
// ends in).
typedef struct emu_call {
    const char *name;
    uint64_t count;
    uint64_t blocked; // waits whose work had not been done; none in eager order
    uint64_t drained; // waits after which the device had nothing left to do
} emu_call;

// The functions called since the last clear, ordered by name; returns how many there are.
size_t emu_calls_get(emu_call *calls, size_t capacity);
// One of them; all zeros where it was not called.
emu_call emu_calls_find(const char *name);

// Sets all counters to zero, and the peaks of memory to what is handed out now.
void emu_counters_clear(void);

// Bytes as the program asked for them: now, and at most since the last clear.
typedef struct emu_memory_use {
    size_t device_bytes, device_peak_bytes; // of all devices
    size_t pinned_bytes, pinned_peak_bytes; // host memory that the runtime allocated
} emu_memory_use;
emu_memory_use emu_memory_in_use(void);

#ifdef __cplusplus
}
#endif
