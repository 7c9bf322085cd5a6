/* What cuDNN's ragged form of a packed batch takes beside the library (attention_run.c): lengths
 * and offsets of the documents; zeros for rows without a document, which the library does not
 * write; and its dense gradients in their places. Every element is written by one thread. */
#include "attention_layout.h"
#include "kernels.h"
#include "rows.cuh"

namespace
{
/*
 * lengths[i] = begins[i+1] - begins[i]; offsets[a][i] = begins[i] * strides[a]. One block, a
 * thread a document and one more. No shared memory. Moves 8 * LC_CUDNN_OFFSETS + 8 bytes a
 * document.
 */
__global__ void __launch_bounds__(ROW_THREADS)
    offsets_kernel(const lc_attention_layout *layout, int32_t documents, lc_ragged_strides strides,
                   int32_t *lengths, int64_t *offsets)
{
    const int32_t *begins =
        reinterpret_cast<const int32_t *>(reinterpret_cast<const char *>(layout) + layout->begins);
    for (int i = (int)threadIdx.x; i <= documents; i += ROW_THREADS) {
        const int32_t begin = begins[i];
        for (int a = 0; a < LC_CUDNN_OFFSETS; a++) {
            offsets[(int64_t)a * (documents + 1) + i] = begin * strides.of[a];
        }
        if (i < documents) {
            lengths[i] = begins[i + 1] - begin;
        }
    }
}

/* Rows of packs of 16 bytes, `packs` each; from NULL: used rows stay as they are. */
struct Window {
    uint4 *to;
    const uint4 *from; /* dense */
    int64_t ld;
    int packs;
};

constexpr int MAX_WINDOWS = 3;

struct Windows {
    Window window[MAX_WINDOWS];
    int count;
};

static Window window_of(lc_mat to, const void *from)
{
    return {static_cast<uint4 *>(to.data), static_cast<const uint4 *>(from), to.ld / 8,
            (int)(to.cols / 8)};
}

/*
 * to[n,:] = from[n,:] below the end of the last document, zeros from there on; lse[n,:] = 0 there,
 * too, where it is given. rows x (packs of all windows). Grid: a block a row, in steps. No shared
 * memory. Moves each dense element once and writes it once; without `from` next to nothing.
 */
__global__ void __launch_bounds__(ROW_THREADS)
    place_kernel(const lc_attention_layout *layout, Windows windows, float *lse, int heads,
                 int64_t rows)
{
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const bool is_used = row < layout->used_rows;
        for (int w = 0; w < windows.count; w++) {
            const Window &at = windows.window[w];
            if (is_used && at.from == NULL) {
                continue;
            }
            for (int i = (int)threadIdx.x; i < at.packs; i += ROW_THREADS) {
                at.to[row * at.ld + i] =
                    is_used ? at.from[row * at.packs + i] : make_uint4(0, 0, 0, 0);
            }
        }
        for (int i = (int)threadIdx.x; lse != NULL && !is_used && i < heads; i += ROW_THREADS) {
            lse[row * heads + i] = 0.0f;
        }
    }
}

static cudaError_t place(const void *layout, const Windows &windows, float *lse, int heads,
                         int64_t rows, cudaStream_t stream)
{
    if (rows == 0) {
        return cudaSuccess;
    }
    const unsigned blocks = (unsigned)(rows < ROW_BLOCKS ? rows : ROW_BLOCKS);
    GPU_LAUNCH(place_kernel, dim3(blocks, 1, 1), ROW_THREADS, 0, stream,
               static_cast<const lc_attention_layout *>(layout), windows, lse, heads, rows);
    return cudaGetLastError();
}
} // namespace

cudaError_t lc_cuda_ragged_offsets(const void *layout, int32_t documents, lc_ragged_strides strides,
                                   int32_t *lengths, int64_t *offsets, cudaStream_t stream)
{
    GPU_LAUNCH(offsets_kernel, dim3(1, 1, 1), ROW_THREADS, 0, stream,
               static_cast<const lc_attention_layout *>(layout), documents, strides, lengths,
               offsets);
    return cudaGetLastError();
}

cudaError_t lc_cuda_ragged_clear(const void *layout, lc_mat out, float *lse, int32_t heads,
                                 cudaStream_t stream)
{
    Windows windows = {};
    windows.window[windows.count++] = window_of(out, NULL);
    return place(layout, windows, lse, heads, out.rows, stream);
}

cudaError_t lc_cuda_ragged_pack(const void *layout, const lc_mat to[3], const void *const from[3],
                                cudaStream_t stream)
{
    Windows windows = {};
    for (int i = 0; i < MAX_WINDOWS; i++) {
        windows.window[windows.count++] = window_of(to[i], from[i]);
    }
    return place(layout, windows, NULL, 0, to[0].rows, stream);
}
