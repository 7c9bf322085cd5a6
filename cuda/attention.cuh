/* What all attention kernels share: which keys a row of a packed batch sees, and which tiles of
 * keys a tile of rows needs.
 *
 * Row i sees key j if j <= i and j is in its document or shared (j < S), and with a window W if
 * pos(i) - pos(j) < W as well. A shared row's position is its number; that of another row is
 * i - begin(i) + S. So a row sees two runs of keys:
 *
 *   own     max(begin, i - W + 1) .. i
 *   common  max(0, pos(i) - W + 1) .. S - 1    (nothing for shared rows, whose own keys these are)
 */
#pragma once

#include <type_traits>

#include "attention_layout.h"
#include "elements.cuh"

namespace
{
/* The window of an attention without one. Row numbers stay below it. */
constexpr int NO_WINDOW = 1 << 30;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

/* What a launch knows of its batch. */
struct Batch {
    const lc_attention_layout *layout;
    int rows;   /* N */
    int window; /* W, or NO_WINDOW */
    int shared; /* S, once a kernel has read it: a recorded launch serves batches of any S */

    __device__ __forceinline__ Batch on_device() const
    {
        return {layout, rows, window, (int)layout->shared_rows};
    }

    __device__ __forceinline__ lc_attention_row row(int i) const
    {
        return reinterpret_cast<const lc_attention_row *>(layout + 1)[i];
    }

    __device__ __forceinline__ int tile(int64_t order, int i) const
    {
        const char *tiles = reinterpret_cast<const char *>(layout) + order;
        return reinterpret_cast<const lc_attention_tile *>(tiles)[i].index;
    }
};

/* The first key of each run that a row sees. */
struct RowSight {
    int own, common;
};

__device__ __forceinline__ RowSight row_sight(const Batch &batch, int row)
{
    const int begin = batch.row(row).begin;
    const int own = max(begin, row - batch.window + 1);
    if (row < batch.shared) {
        return {own, batch.shared};
    }
    return {own, max(0, row - begin + batch.shared - batch.window + 1)};
}

/* Which keys a row sees, counted from some first key, so that a tile's columns are compared with
 * constants. Without branches: kernels ask it for every score of a tile. */
struct ColumnSight {
    int own, common, common_end, last;

    __device__ __forceinline__ ColumnSight(const Batch &batch, int row, int first_key)
    {
        const RowSight sight = row_sight(batch, row);
        own = sight.own - first_key;
        common = sight.common - first_key;
        common_end = batch.shared - first_key;
        last = row - first_key;
    }

    __device__ __forceinline__ bool sees(int column) const
    {
        return (column <= last) & ((column >= own) | ((column >= common) & (column < common_end)));
    }
};

/* Bounds of the runs that rows first..last see. Own keys begin later from row to row. */
struct Sight {
    int first, last;
    int own_least, own_most;
    int common_least, common_most;

    __device__ __forceinline__ Sight(const Batch &batch, int first_row, int last_row)
        : first(first_row), last(last_row)
    {
        const int begin = batch.row(first).begin, last_begin = batch.row(last).begin;
        const int to_position = first < batch.shared ? 0 : batch.shared - begin;
        own_least = max(begin, first - batch.window + 1);
        own_most = max(last_begin, last - batch.window + 1);
        /* A document that begins among the rows begins at position S. */
        const bool begins_inside = first >= batch.shared && last_begin > first;
        const int least_position = begins_inside ? batch.shared : first + to_position;
        common_least = max(0, least_position - batch.window + 1);
        common_most = max(0, last + to_position - batch.window + 1);
    }

    /* May some row see one of the keys key..end-1? */
    __device__ __forceinline__ bool sees_any(const Batch &batch, int key, int end) const
    {
        return key <= last && (end > own_least || (key < batch.shared && end > common_least));
    }

    /* Does every row see all of them? false where it is not plain to see. */
    __device__ __forceinline__ bool sees_all(const Batch &batch, int key, int end) const
    {
        return end - 1 <= first && (key >= own_most || (end <= batch.shared && key >= common_most));
    }
};

/* The tiles of KEYS keys that the rows of a Sight need, in ascending order. */
template <int KEYS> struct KeyTiles {
    int common_first, common_count, own_first, count;

    __device__ __forceinline__ KeyTiles(const Batch &batch, const Sight &sight)
    {
        common_first = sight.common_least / KEYS;
        common_count = 0;
        own_first = sight.own_least / KEYS;
        if (sight.first >= batch.shared && sight.common_least < batch.shared) {
            common_count = (batch.shared - 1) / KEYS + 1 - common_first;
            own_first = max(own_first, common_first + common_count);
        }
        count = common_count + max(0, sight.last / KEYS + 1 - own_first);
    }

    /* First key of tile i. */
    __device__ __forceinline__ int key(int i) const
    {
        return (i < common_count ? common_first + i : own_first + i - common_count) * KEYS;
    }
};

/* The rows that may see one of the keys key..last: key..query_end-1. */
__device__ __forceinline__ int query_end(const Batch &batch, int key, int last)
{
    return key < batch.shared ? batch.rows
                              : min(batch.row(last).end, min(last, batch.rows) + batch.window);
}

/* ---- the host side, one set of functions a file ---- */

/* A shape that these kernels serve: 0 < rows, tiles within a grid's bounds, scale above 0. */
inline bool is_served(const lc_attention_shape &shape, int64_t rows)
{
    return shape.layout != nullptr && shape.scale > 0.0f && shape.kv_heads > 0 &&
           shape.heads % shape.kv_heads == 0 && shape.head_dim > 0 && shape.head_dim <= 256 &&
           rows <= NO_WINDOW / 2 && rows / 8 < 65535;
}

inline Batch make_batch(const lc_attention_shape &shape, int64_t rows)
{
    return {static_cast<const lc_attention_layout *>(shape.layout), (int)rows,
            shape.window > 0 && shape.window < NO_WINDOW ? (int)shape.window : NO_WINDOW, 0};
}

/* The head widths, ascending, that a kernel is compiled for. `call` takes one as an
 * integral_constant. */
template <int... ALL> struct HeadWidths {
    /* For the first that holds `dim`. */
    template <class Call> static cudaError_t pick(int64_t dim, Call call)
    {
        cudaError_t error = cudaErrorInvalidValue;
        (void)((dim <= ALL && ((error = call(std::integral_constant<int, ALL>())), true)) || ...);
        return error;
    }

    /* For all, until one fails. */
    template <class Call> static cudaError_t each(Call call)
    {
        cudaError_t error = cudaSuccess;
        (void)(((error = call(std::integral_constant<int, ALL>())) == cudaSuccess) && ...);
        return error;
    }
};

} // namespace

/* F32, attention_plain.cu; the others of attention_forward.cu and attention_backward.cu. */
cudaError_t attention_plain(const lc_attention_args &args, cudaStream_t stream);
cudaError_t attention_plain_backward(const lc_attention_backward_args &args, cudaStream_t stream);
cudaError_t attention_plain_prepare();
cudaError_t attention_forward_prepare();
cudaError_t attention_backward_prepare();
cudaError_t attention_cached_prepare();
