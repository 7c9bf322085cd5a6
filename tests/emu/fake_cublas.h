/* What the opaque descriptors of the fake cublasLt hold. */
#pragma once

#include <cublasLt.h>
#include <string.h>

namespace emu
{
constexpr uint32_t DEFAULT_ALIGNMENT = 256; // bytes, what the real heuristic takes for granted

struct Layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batch_count;
    int64_t batch_stride; // elements
};

struct Description {
    cublasComputeType_t compute_type;
    cudaDataType scale_type;
    int32_t transpose_a, transpose_b;
    int32_t pointer_mode;
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; // -1: D's
};

struct Preference {
    uint64_t workspace_bytes;
    uint32_t reduction_schemes;
    uint32_t alignments[4]; // of A, B, C, D in bytes
};

static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "fits");
static_assert(sizeof(Description) <= sizeof(cublasLtMatmulDescOpaque_t), "fits");
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "fits");

// Opaque structures hold ours; they are copied in and out, as the real ones may be copied by their
// bytes.
template <class T, class Opaque> T get(const Opaque *opaque)
{
    T value;
    memcpy(&value, opaque, sizeof value);
    return value;
}

template <class T, class Opaque> void put(Opaque *opaque, const T &value)
{
    memset(static_cast<void *>(opaque), 0, sizeof *opaque);
    memcpy(static_cast<void *>(opaque), &value, sizeof value);
}
} // namespace emu
