/* Choosing tokens from rows of logits: the first largest, or by weights that are whole numbers; and
 * what the chosen tokens' own step reads. */
#include "kernels.h"
#include "rows.cuh"

#include <float.h>

namespace
{
constexpr int SAMPLE_THREADS = 256;
constexpr int SAMPLE_WARPS = SAMPLE_THREADS / WARP;
constexpr int DIGIT_BITS = 4, DIGITS = 1 << DIGIT_BITS;
constexpr uint32_t NO_WEIGHT = 44u << 26; /* q from here on */

/* A row that is not greedy. */
template <class T> struct RowWeights {
    const T *logits;
    int vocab;
    float largest, sharpness;

    /* q of ops.h */
    __device__ __forceinline__ uint32_t order_of(float logit) const
    {
        const float y = __fmul_rn(__fsub_rn(largest, logit), sharpness);
        return y < 44.0f ? (uint32_t)(y * 67108864.0f) : NO_WEIGHT;
    }

    __device__ __forceinline__ uint32_t order_at(int id) const
    {
        return order_of(as_float(logits[id]));
    }
};

__device__ __forceinline__ uint64_t weight_of(uint32_t q)
{
    constexpr uint32_t TERMS[LC_EXP2_TERM_COUNT] = {LC_EXP2_TERMS};
    const uint32_t fraction = q << 6;
    uint32_t sum = TERMS[LC_EXP2_TERM_COUNT - 1];
#pragma unroll
    for (int k = LC_EXP2_TERM_COUNT - 2; k >= 0; k--) {
        sum = TERMS[k] - __umulhi(fraction, sum);
    }
    const uint64_t power = ((uint64_t)1 << 32) - __umulhi(fraction, sum);
    return q < NO_WEIGHT ? power << 11 >> (q >> 26) : 0;
}

/* floor(sum * share / 2^64), share = high * 2^32 + low. */
__device__ __forceinline__ uint64_t part_of(uint64_t sum, uint32_t high, uint32_t low)
{
    const uint64_t upper = sum >> 32, lower = (uint32_t)sum;
    const uint64_t a = upper * high, b = lower * high, c = upper * low, d = lower * low >> 32;
    return a + (b >> 32) + (c >> 32) + (((uint64_t)(uint32_t)b + (uint32_t)c + d) >> 32);
}

/* ---- over the block: shared memory, and sums and maxima of whole numbers ---- */

struct Shared {
    uint64_t sums[DIGITS][SAMPLE_THREADS]; /* of each thread, by digit */
    uint16_t counts[DIGITS][SAMPLE_THREADS];
    uint64_t digit_sums[DIGITS];
    uint32_t digit_counts[DIGITS];
    uint64_t warps[SAMPLE_WARPS];
};

template <class U> __device__ __forceinline__ U warp_total(U value)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, step);
    }
    return value;
}

/* In every thread. */
__device__ __forceinline__ uint64_t block_total(uint64_t value, Shared &shared)
{
    value = warp_total(value);
    __syncthreads(); /* shared.warps has been read */
    if (threadIdx.x % WARP == 0) {
        shared.warps[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    uint64_t total = 0;
    for (int warp = 0; warp < SAMPLE_WARPS; warp++) {
        total += shared.warps[warp];
    }
    return total;
}

__device__ __forceinline__ uint64_t block_most(uint64_t value, Shared &shared)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        const uint64_t other = __shfl_xor_sync(ALL_LANES, value, step);
        value = other > value ? other : value;
    }
    if (threadIdx.x % WARP == 0) {
        shared.warps[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    for (int warp = 0; warp < SAMPLE_WARPS; warp++) {
        value = shared.warps[warp] > value ? shared.warps[warp] : value;
    }
    return value;
}

/* take(logit, id) of this thread's share of a row: every 256th pack of 16 bytes, ascending, and the
 * last tokens, fewer than a pack, as one more of them. */
template <class T, class Take>
__device__ __forceinline__ void each_token(const T *logits, int vocab, Take take)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int packs = vocab / COUNT;
#pragma unroll 4
    for (int pack = (int)threadIdx.x; pack < packs; pack += SAMPLE_THREADS) {
        float values[COUNT];
        load_pack(logits + pack * COUNT, values);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            take(values[i], pack * COUNT + i);
        }
    }
    if ((int)threadIdx.x == packs % SAMPLE_THREADS) {
        for (int id = packs * COUNT; id < vocab; id++) {
            take(as_float(logits[id]), id);
        }
    }
}

/* First largest logit, or -1 when one is not finite. */
template <class T>
__device__ __forceinline__ int first_largest(const T *logits, int vocab, Shared &shared)
{
    float most = -INFINITY;
    int best = 0;
    bool is_finite = true;
    each_token(logits, vocab, [&](float logit, int id) {
        is_finite = is_finite && fabsf(logit) <= FLT_MAX;
        if (logit > most) {
            most = logit;
            best = id;
        }
    });
    /* The order of floats as that of whole numbers; -0 is 0. Behind it, lower ids are more. */
    const uint32_t bits = __float_as_uint(most + 0.0f);
    const uint32_t ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
    const uint64_t peak = block_most((uint64_t)ordered << 32 | ~(uint32_t)best, shared);
    return __syncthreads_and(is_finite) != 0 ? (int)~(uint32_t)peak : -1;
}

/* ---- the order of weights ---- */

/* Tokens that follow each other in the order of weights: those of q = first .. first + 2^shift - 1,
 * either one token or all of one weight. */
struct Run {
    uint32_t first;
    int shift;
    uint64_t before; /* sum of the weights of all tokens before them */
    uint64_t weight; /* of each of them */
};

/* shared.digit_sums and digit_counts of the tokens whose q has the digits of `known` above the one
 * at `shift`. A thread adds in columns of its own: no atomics. */
template <class T>
__device__ __forceinline__ void sum_digits(const RowWeights<T> &row, uint32_t known, int shift,
                                           Shared &shared)
{
    const int thread = (int)threadIdx.x, lane = thread % WARP, above = shift + DIGIT_BITS;
    for (int digit = 0; digit < DIGITS; digit++) {
        shared.sums[digit][thread] = 0;
        shared.counts[digit][thread] = 0;
    }
    each_token(row.logits, row.vocab, [&](float logit, int) {
        const uint32_t q = row.order_of(logit);
        if (q < NO_WEIGHT && (uint64_t)q >> above == (uint64_t)known >> above) {
            const int digit = (int)(q >> shift) & (DIGITS - 1);
            shared.sums[digit][thread] += weight_of(q);
            shared.counts[digit][thread]++;
        }
    });
    __syncthreads();
    for (int digit = thread / WARP; digit < DIGITS; digit += SAMPLE_WARPS) {
        uint64_t sum = 0;
        uint32_t count = 0;
        for (int i = lane; i < SAMPLE_THREADS; i += WARP) {
            sum += shared.sums[digit][i];
            count += shared.counts[digit][i];
        }
        sum = warp_total(sum);
        count = warp_total(count);
        if (lane == 0) {
            shared.digit_sums[digit] = sum;
            shared.digit_counts[digit] = count;
        }
    }
    __syncthreads();
}

/* The run with the first token whose running sum is above `target`, which is less than the sum of
 * all. */
template <class T>
__device__ __forceinline__ Run find_run(const RowWeights<T> &row, uint64_t target, Shared &shared)
{
    Run found = {0, 32, 0, 0};
    bool is_one = false;
    while (found.shift > 0 && !is_one) {
        int digit = 0;
        found.shift -= DIGIT_BITS;
        sum_digits(row, found.first, found.shift, shared);
        while (digit < DIGITS - 1 && found.before + shared.digit_sums[digit] <= target) {
            found.before += shared.digit_sums[digit++];
        }
        found.first |= (uint32_t)digit << found.shift;
        is_one = shared.digit_counts[digit] == 1;
        found.weight = is_one ? shared.digit_sums[digit] : weight_of(found.first);
    }
    return found;
}

/* The first i < count at which value(0) + .. + value(i) is above `target`: the warps sum a part
 * each, and what is left is the part where it happens. */
template <class Value>
__device__ __forceinline__ int first_above(int count, uint64_t target, Shared &shared, Value value)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int first = 0;
    while (count > WARP) {
        const int each = (count + SAMPLE_WARPS - 1) / SAMPLE_WARPS;
        const int begin = warp * each, end = min(begin + each, count);
        uint64_t sum = 0;
#pragma unroll 4
        for (int i = begin + lane; i < end; i += WARP) {
            sum += value(first + i);
        }
        sum = warp_total(sum);
        __syncthreads(); /* shared.warps has been read */
        if (lane == 0) {
            shared.warps[warp] = sum;
        }
        __syncthreads();
        int part = 0;
        while (part < SAMPLE_WARPS - 1 && shared.warps[part] <= target) {
            target -= shared.warps[part++];
        }
        first += part * each;
        count = min(each, count - part * each);
    }
    uint64_t sum = lane < count ? value(first + lane) : 0;
#pragma unroll
    for (int step = 1; step < WARP; step *= 2) {
        const uint64_t before = __shfl_up_sync(ALL_LANES, sum, step);
        sum += lane >= step ? before : 0;
    }
    const uint32_t above = __ballot_sync(ALL_LANES, sum > target);
    return first + (above != 0 ? __ffs((int)above) - 1 : 0);
}

template <class T>
__device__ __forceinline__ int choose(const RowWeights<T> &row, const lc_sample_row &how,
                                      int position, Shared &shared)
{
    const uint4 words =
        philox(make_uint2(how.seed, how.stream), make_uint4((uint32_t)position, 0, 0, 0));
    uint64_t sum = 0;
    each_token(row.logits, row.vocab,
               [&](float logit, int) { sum += weight_of(row.order_of(logit)); });
    sum = block_total(sum, shared);
    if (how.top_p == 0) {
        const int last = row.vocab - 1;
        return last - first_above(row.vocab, part_of(sum, words.x, words.y), shared,
                                  [&](int i) { return weight_of(row.order_at(last - i)); });
    }
    /* The share, rounded up, is reached by the token whose running sum is above one less. */
    const uint64_t share = part_of(sum, how.top_p, 0);
    const bool is_whole = (uint32_t)((uint64_t)(uint32_t)sum * how.top_p) == 0;
    uint64_t target = is_whole ? share - 1 : share;
    Run at = find_run(row, target, shared);
    sum = at.before + ((target - at.before) / at.weight + 1) * at.weight;
    target = part_of(sum, words.x, words.y);
    at = find_run(row, target, shared);
    return first_above(row.vocab, (target - at.before) / at.weight, shared, [&](int id) {
        return (uint64_t)(row.order_at(id) >> at.shift == at.first >> at.shift);
    });
}

/*
 * ids[m] = the token of row m (ops.h). logits: M x V, any V up to 2^20. One block of 256 threads a
 * row; shared: 41 KiB, sums of weights by thread and digit of q. Reads the row once from memory and
 * then from the L2 cache: greedy once, without top_p three times in all, with it up to 19 times,
 * usually half of that, as a digit with one token ends the search. Whole numbers throughout: any
 * order of summation gives the same sums. NaN or infinity in a row: -1.
 */
template <class T>
__global__ void __launch_bounds__(SAMPLE_THREADS) sample_kernel(const lc_sample_args args)
{
    GPU_SHARED(Shared, shared, [1]);
    const int64_t m = blockIdx.x;
    const T *logits = row_of<T>(args.logits, m);
    const int vocab = (int)args.logits.cols;
    const lc_sample_row how = args.rows[m];
    int id = first_largest(logits, vocab, shared[0]);
    if (id >= 0 && how.sharpness > 0.0f) {
        const RowWeights<T> row = {logits, vocab, as_float(logits[id]), how.sharpness};
        id = choose(row, how, args.positions[m], shared[0]);
    }
    if (threadIdx.x == 0) {
        args.ids[m] = id;
    }
}

} // namespace

cudaError_t lc_cuda_sample(const lc_sample_args *args, cudaStream_t stream)
{
    if (args->logits.rows == 0) {
        return cudaSuccess;
    }
    const unsigned blocks = (unsigned)args->logits.rows;
    if (args->logits.dtype == LC_BF16) {
        GPU_LAUNCH((sample_kernel<bf16>), blocks, SAMPLE_THREADS, 0, stream, *args);
    } else {
        GPU_LAUNCH((sample_kernel<float>), blocks, SAMPLE_THREADS, 0, stream, *args);
    }
    return cudaGetLastError();
}

/* ---- on to the next step ---- */

namespace
{
constexpr int ADVANCE_THREADS = 128;

/*
 * Row m of the next step: id, position, slot and number; cos and sin of its position. Grid: M,
 * block: 128, of which one thread writes the numbers. Moves 16 bytes of each of D/2 angles.
 */
__global__ void __launch_bounds__(ADVANCE_THREADS) advance_kernel(const lc_advance_args args)
{
    const int m = (int)blockIdx.x, half = (int)args.cos_by_position.cols;
    const int position = args.chosen_positions[m];
    const int64_t known = min((int64_t)position, args.cos_by_position.rows - 1);
    for (int d = (int)threadIdx.x; args.cos != NULL && d < half; d += ADVANCE_THREADS) {
        args.cos[(int64_t)m * half + d] = row_of<float>(args.cos_by_position, known)[d];
        args.sin[(int64_t)m * half + d] = row_of<float>(args.sin_by_position, known)[d];
    }
    __syncthreads(); /* all have read the position */
    if (threadIdx.x == 0) {
        args.ids[m] = max(args.chosen[m], 0);
        args.positions[m] = position;
        args.row_slots[m] = args.slots[m];
        args.rows[m] = m;
        args.chosen_positions[m] = position + 1;
    }
}

} // namespace

cudaError_t lc_cuda_advance(const lc_advance_args *args, cudaStream_t stream)
{
    if (args->count == 0) {
        return cudaSuccess;
    }
    GPU_LAUNCH(advance_kernel, (unsigned)args->count, ADVANCE_THREADS, 0, stream, *args);
    return cudaGetLastError();
}
