/* The planted mistakes in the backend's host functions and launchers; see plants.h. */
#include "plants.h"

#include "cuda.h"

plant planted = PLANT_NONE;

/* ---- cuda/gemm.c ---- */

lc_code __real_lc_cuda_gemm_run(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm, cudaStream_t stream,
                                lc_err *err);
lc_code __wrap_lc_cuda_gemm_run(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm, cudaStream_t stream,
                                lc_err *err);

lc_code __wrap_lc_cuda_gemm_run(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm, cudaStream_t stream,
                                lc_err *err)
{
    lc_cuda_gemm wrong = *gemm;
    if (planted == PLANT_PADDING && gemm->tb == 'T') {
        wrong.k = gemm->a.ld < gemm->b.ld ? gemm->a.ld : gemm->b.ld;
    }
    return __real_lc_cuda_gemm_run(gemms, &wrong, stream, err);
}

/* ---- cuda/lora_forward.cu, lora_dy.cu, lora_dx.cu ---- */

cudaError_t __real_lc_cuda_lora_forward(const lc_lora_forward_args *args, cudaStream_t stream);
cudaError_t __wrap_lc_cuda_lora_forward(const lc_lora_forward_args *args, cudaStream_t stream);
cudaError_t __real_lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream);
cudaError_t __wrap_lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream);
cudaError_t __real_lc_cuda_lora_dx(const lc_lora_dx_args *args, void *scratch, cudaStream_t stream);
cudaError_t __wrap_lc_cuda_lora_dx(const lc_lora_dx_args *args, void *scratch, cudaStream_t stream);

/* What is kept for the backward pass is right: only the tail has the S of the group before. */
cudaError_t __wrap_lc_cuda_lora_forward(const lc_lora_forward_args *args, cudaStream_t stream)
{
    lc_lora_forward_args wrong = *args;
    if (planted == PLANT_STALE_TAIL && args->parts.count == 2) {
        wrong.s = args->saved;
        wrong.saved = (lc_mat){.data = NULL};
    }
    return __real_lc_cuda_lora_forward(&wrong, stream);
}

static lc_mat rows_of(lc_mat mat, int64_t first, int64_t count)
{
    return lc_mat_view(mat, first, 0, count, mat.cols);
}

static cudaError_t dy_of_rows(const lc_lora_dy_args *args, int64_t first, int64_t count,
                              void *scratch, cudaStream_t stream)
{
    lc_lora_dy_args part = *args;
    part.dy = rows_of(args->dy, first, count);
    part.s = rows_of(args->s, first, count);
    part.ds = rows_of(args->ds, first, count);
    return __real_lc_cuda_lora_dy(&part, scratch, stream);
}

cudaError_t __wrap_lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream)
{
    const int64_t rows = args->dy.rows, half = rows / 2;
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    const cudaError_t error = cudaStreamIsCapturing(stream, &status);
    if (planted != PLANT_PARTIAL_COUNT || status == cudaStreamCaptureStatusNone) {
        return error != cudaSuccess ? error : __real_lc_cuda_lora_dy(args, scratch, stream);
    }
    const cudaError_t upper = dy_of_rows(args, 0, half, scratch, stream);
    return upper != cudaSuccess ? upper : dy_of_rows(args, half, rows - half, scratch, stream);
}

cudaError_t __wrap_lc_cuda_lora_dx(const lc_lora_dx_args *args, void *scratch, cudaStream_t stream)
{
    static cudaStream_t side;
    static cudaEvent_t fork;
    cudaError_t error = cudaSuccess;
    if (planted != PLANT_SIDE_STREAM) {
        return __real_lc_cuda_lora_dx(args, scratch, stream);
    }
    if (side == NULL) {
        error = cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking);
        error =
            error != cudaSuccess ? error : cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
    }
    error = error != cudaSuccess ? error : cudaEventRecord(fork, stream);
    error = error != cudaSuccess ? error : cudaStreamWaitEvent(side, fork, 0);
    return error != cudaSuccess ? error : __real_lc_cuda_lora_dx(args, scratch, side);
}

/* ---- cuda/device.c ---- */

lc_code __real_lc_cuda_host_wait(lc_device *device, int slot, lc_err *err);
lc_code __wrap_lc_cuda_host_wait(lc_device *device, int slot, lc_err *err);

lc_code __wrap_lc_cuda_host_wait(lc_device *device, int slot, lc_err *err)
{
    return planted == PLANT_UPLOAD_SLOT && slot < LC_HOST_SLOTS
               ? LC_OK
               : __real_lc_cuda_host_wait(device, slot, err);
}
