/*
 * Backends that are libraries of their own: liblorac_cuda.so, and the same sources on the emulator
 * for the tests. `lorac` opens one when a device of its kind is asked for and calls its only
 * symbol, lc_backend_entry. Library and program are of one version; the numbers say so.
 */
#ifndef LORAC_BACKEND_H
#define LORAC_BACKEND_H

#include "lorac/choices.h"
#include "lorac/comm.h"
#include "lorac/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_BACKEND_ABI 3

typedef enum lc_device_kind {
    LC_DEVICE_AUTO, /* cuda where one can be opened, else cpu */
    LC_DEVICE_CPU,
    LC_DEVICE_CUDA,
    LC_DEVICE_EMU, /* the CUDA backend on the emulator: tests only */
    LC_DEVICE_KIND_COUNT
} lc_device_kind;

/* Who does the attention of whole batches on a GPU. */
typedef enum lc_attention_path {
    LC_ATTENTION_AUTO,  /* cuDNN where it can be had and is trusted, else our own kernels */
    LC_ATTENTION_LORAC, /* our own kernels */
    LC_ATTENTION_CUDNN  /* cuDNN for all calls that it takes; an error where it cannot be had */
} lc_attention_path;

typedef struct lc_device_options {
    lc_device_kind kind;
    int threads;        /* of the CPU backend */
    int index;          /* of the GPU in this process; one that sees a single GPU takes that */
    bool deterministic; /* the same bytes from the same work: nothing else is used */
    lc_attention_path attention;    /* AUTO: what LORAC_ATTENTION says */
    void (*warn)(const char *text); /* NULL: lc_log */
} lc_device_options;

/* One rank's way into a group of processes. */
typedef struct lc_comm_options {
    int rank, world_size;
    const char *address; /* "host:port" where rank 0 listens; NCCL_COMM_ID, where set, wins */
    int deadline_s;      /* for everybody to come, and for every wait after that */
} lc_comm_options;

#define LC_DESCRIPTION_BYTES 512

typedef struct lc_backend {
    int abi;             /* LC_BACKEND_ABI */
    size_t ops_bytes;    /* sizeof(lc_ops) */
    const char *version; /* LC_VERSION */
    const char *name;    /* "cuda", "emu" */
    const lc_memory_rules *memory;
    LC_WARN_UNUSED lc_code (*open)(const lc_device_options *options, lc_device **out, lc_err *err);
    /* Meets the other ranks: *out works on this device and is released before it is closed. Waits
     * at most deadline_s; LC_ERR_DEVICE names rank, address and what was waited for. From then on
     * what waits for the device also watches the ranks. */
    LC_WARN_UNUSED lc_code (*comm_open)(lc_device *device, const lc_comm_options *options,
                                        lc_comm *out, lc_err *err);
    /* One line about the libraries and GPUs found; LC_ERR_DEVICE says why there is no device. */
    LC_WARN_UNUSED lc_code (*describe)(char text[LC_DESCRIPTION_BYTES], lc_err *err);
    /* One line about the first GPU: which attention applies, and why not cuDNN's. */
    void (*describe_attention)(const lc_device_options *options, char text[LC_DESCRIPTION_BYTES]);
} lc_backend;

typedef const lc_backend *(*lc_backend_entry_fn)(void);
#define LC_BACKEND_ENTRY "lc_backend_entry"

#ifdef __cplusplus
}
#endif
#endif
