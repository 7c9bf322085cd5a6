/*
 * Inside of the CUDA backend: its device and what the host files share. C17; kernels are behind
 * kernels.h. One compute stream in program order; everything that ops queue goes there.
 */
#ifndef LC_CUDA_CUDA_H
#define LC_CUDA_CUDA_H

#include <pthread.h>

#include "attention_paths.h"
#include "gemm.h"
#include "kernels.h"
#include "lorac/backend.h"
#include "lorac/ops_check.h"
#include "memory_rules.h"

#define LC_CUDA_GRAPHS 64 /* keys of sequences that are known; those used last */

/* What is known of one key of record_begin. */
typedef struct lc_cuda_graph {
    uint64_t key;
    uint64_t used;        /* number of the record_begin that asked for it last; 0: free */
    bool is_seen;         /* it has run once: libraries have loaded what they need */
    cudaGraphExec_t exec; /* owned; NULL until recorded */
} lc_cuda_graph;

/* One thread's way to fill device memory. */
typedef struct lc_cuda_reader {
    pthread_mutex_t mutex;
    cudaStream_t stream;
    void *converted; /* LC_CUDA_CONVERT_BYTES of lc_cuda.converted, for rows of another type */
} lc_cuda_reader;

typedef struct lc_cuda_comm lc_cuda_comm; /* comm.c */

struct lc_cuda {
    lc_device device;
    int index;
    cudaStream_t stream;
    cudaEvent_t copy_slots[LC_COPY_SLOTS]; /* recorded after each queued copy */
    cudaEvent_t timer[2];                  /* begin and end of a measurement */
    lc_cuda_reader readers[LC_CUDA_READERS];
    void *converted; /* owned pinned memory of the readers */
    lc_cuda_gemms gemms;
    lc_cuda_graph graphs[LC_CUDA_GRAPHS];
    uint64_t records;         /* calls of record_begin */
    lc_cuda_graph *recording; /* NULL: nothing is being recorded */
    void *scratch;            /* borrowed: the workspace behind the products' part */
    size_t scratch_bytes;
    lc_cuda_comm *comm; /* borrowed: the ranks that queued work may wait for; NULL: none */
    lc_cuda_attention_paths attention;
    char description[160];
};

static inline lc_cuda *lc_cuda_of(lc_device *device)
{
    return (lc_cuda *)device->state;
}

extern const lc_ops lc_cuda_ops;

/* LC_ERR_DEVICE (LC_ERR_MEMORY where memory is short) that names what failed, or LC_OK. */
LC_WARN_UNUSED lc_code lc_cuda_result(cudaError_t error, const char *what, lc_err *err);

/* ops.c: what calls are held to, by the type of their first matrix: BF16, else F32. */
const lc_op_rules *lc_cuda_rules_of(lc_dtype dtype);
/* Scratch of `bytes`, or an error: the model has not set the workspace that the rules ask for. */
LC_WARN_UNUSED lc_code lc_cuda_take_scratch(lc_cuda *cuda, size_t bytes, void **out, lc_err *err);

/* ops_lora.c: linear layers and adapters, for the table of ops. */
lc_code lc_cuda_op_linear(lc_device *device, const lc_linear_args *args, lc_err *err);
lc_code lc_cuda_op_linear_backward(lc_device *device, const lc_linear_backward_args *args,
                                   lc_err *err);
lc_code lc_cuda_op_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err);
lc_code lc_cuda_op_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err);
lc_code lc_cuda_op_qk_rope_backward(lc_device *device, const lc_qk_rope_backward_args *args,
                                    lc_err *err);
lc_code lc_cuda_op_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err);
lc_code lc_cuda_op_rmsnorm_backward(lc_device *device, const lc_rmsnorm_backward_args *args,
                                    lc_err *err);
lc_code lc_cuda_op_lora_dropout_backward(lc_device *device,
                                         const lc_lora_dropout_backward_args *args, lc_err *err);
lc_code lc_cuda_op_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err);

#define CUDA_TRY(call) LC_TRY(lc_cuda_result((call), #call, err))

/* device.c: memory and copies, for the table of ops. */
lc_code lc_cuda_alloc(lc_device *device, size_t bytes, void **out, lc_err *err);
void lc_cuda_free(lc_device *device, void *memory);
lc_code lc_cuda_upload(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err);
lc_code lc_cuda_upload_mat(lc_device *device, lc_mat to, lc_mat from, lc_err *err);
lc_code lc_cuda_download(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err);
lc_code lc_cuda_host_alloc(lc_device *device, size_t bytes, void **out, lc_err *err);
void lc_cuda_host_free(lc_device *device, void *memory);
lc_code lc_cuda_upload_queued(lc_device *device, void *to, const void *from, size_t bytes, int slot,
                              lc_err *err);
lc_code lc_cuda_download_queued(lc_device *device, void *to, const void *from, size_t bytes,
                                int slot, lc_err *err);
lc_code lc_cuda_host_wait(lc_device *device, int slot, lc_err *err);
void lc_cuda_set_workspace(lc_device *device, void *memory, size_t bytes);
void lc_cuda_set_rows_alone(lc_device *device, bool rows_alone);
lc_code lc_cuda_zero(lc_device *device, void *memory, size_t bytes, lc_err *err);
lc_code lc_cuda_sync(lc_device *device, lc_err *err);
lc_code lc_cuda_timer_start(lc_device *device, lc_err *err);
lc_code lc_cuda_timer_stop(lc_device *device, double *seconds, lc_err *err);
lc_code lc_cuda_memory_info(lc_device *device, int64_t *used, int64_t *available, lc_err *err);
void lc_cuda_close(lc_device *device);

/* graph.c: recorded sequences. */
lc_code lc_cuda_record_begin(lc_device *device, const char *name, uint64_t key, bool *replayed,
                             lc_err *err);
lc_code lc_cuda_record_end(lc_device *device, bool is_whole, lc_err *err);
void lc_cuda_forget_graphs(lc_cuda *cuda);

lc_code lc_cuda_open(const lc_device_options *options, lc_device **out, lc_err *err);

/* comm.c: the ranks. */
lc_code lc_cuda_comm_open(lc_device *device, const lc_comm_options *options, lc_comm *out,
                          lc_err *err);
void lc_cuda_comm_place(const lc_cuda_comm *self, int *rank, int *world_size);
/* Waits for an event of the stream, or for the stream (NULL), as long as the ranks are well. */
lc_code lc_cuda_comm_wait(lc_cuda_comm *self, cudaEvent_t event, lc_err *err);

#endif
