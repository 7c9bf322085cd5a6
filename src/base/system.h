/*
 * What the operating system says about this machine and this process. Everything is optional there:
 * a figure that cannot be had is -1 or an empty text, never an error.
 */
#ifndef LC_BASE_SYSTEM_H
#define LC_BASE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lc_system_memory {
    int64_t total_bytes;        /* of the machine */
    int64_t available_bytes;    /* MemAvailable */
    int64_t cgroup_limit_bytes; /* smallest limit of this process's groups; -1: none */
    int64_t cgroup_used_bytes;  /* what that group uses, reclaimable file cache left out */
    int64_t address_bytes;      /* left of the address space limit (ulimit -v); -1: none */
    int64_t usable_bytes;       /* what a process may still take: the smallest of these */
} lc_system_memory;

void lc_system_read_memory(lc_system_memory *memory);

int64_t lc_system_resident_bytes(void); /* of this process now */

/* "model name" of the first processor. */
void lc_system_cpu_name(char *out, size_t capacity);

/* Whether the kernel lists an instruction set in /proc/cpuinfo ("avx2", "avx512f", "amx_bf16"). */
bool lc_system_has_cpu_flag(const char *flag);

/* A process that this one has started comes behind it, by so many steps of nice. */
void lc_system_lower_priority(long process, int steps);

/* Whether a driver for NVIDIA GPUs shows itself (Linux, WSL, Tegra). */
bool lc_system_has_gpu_driver(void);

#endif
