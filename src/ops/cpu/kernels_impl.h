/*
 * The bodies of the kernels, compiled once per instruction set. The including file has defined
 * LANES, the vector types vf (float), vu (uint32_t), vi (int32_t), vw (uint64_t) of one width, vh
 * (uint16_t) of half, ONES (LANES times -1), and vf_load_masked, vf_store_masked, vf_sum and
 * vf_largest (across lanes), vi_any, vf_set, vf_fma, vf_sqrt, vf_max and vf_min (NaN in either
 * gives the second), vw_set, vw_multiply_low (low halves to 64-bit products), vw_zip_even and _odd
 * (lane pairs a0 b0 a2 b2 .., a1 b1 a3 b3 ..), vf_zip_low and _high (in each four lanes a0 b0 a1 b1
 * and a2 b2 a3 b3), vf_quads and vf_quads_bf16 (four values from each of LANES / 4 places `stride`
 * apart). No contraction, so what is fused is written.
 */

#define INLINE static inline __attribute__((always_inline))

/* All ones in the first `left` lanes, in all of them from LANES on; left >= 0. */
static inline vi first_lanes(int64_t left)
{
    static const int32_t ones[2 * LANES] = {ONES};
    vi lanes;
    memcpy(&lanes, ones + LANES - (left < LANES ? left : LANES), sizeof lanes);
    return lanes;
}

/* The next lanes of a row of which `left` are left; lanes behind its end are 0. */
INLINE vf load(const float *from, int64_t left)
{
    if (__builtin_expect(left >= LANES, 1)) {
        vf value;
        memcpy(&value, from, sizeof value);
        return value;
    }
    return vf_load_masked(from, first_lanes(left));
}

INLINE void store(float *to, vf value, int64_t left)
{
    if (__builtin_expect(left >= LANES, 1)) {
        memcpy(to, &value, sizeof value);
    } else {
        vf_store_masked(to, first_lanes(left), value);
    }
}

static inline vf choose(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/*
 * exp(x), about 1 ulp (Cephes' polynomial) up to 88.37: n = round(x/ln2), r = x - n*ln2 in two
 * parts, times 2^n. Larger x give infinity, x below -87.33 (results under the smallest normal
 * number) 0, NaN stays NaN.
 */
static inline vf exponential(vf x)
{
    const vf magic = vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const vf lowest = vf_set(-87.33654f);
    const vi normal = (vi) ~(vi)(x < lowest);
    const vf bounded = vf_max(lowest, vf_min(vf_set(89.0f), x));
    const vf shifted = vf_fma(bounded, vf_set(1.44269504088896341f), magic);
    const vf n = shifted - magic;
    vf r = vf_fma(n, vf_set(-0.693359375f), bounded);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_fma(p, r * r, r) + vf_set(1.0f);
    const vu power = ((vu)shifted << 23) + (127u << 23); /* the low bits of shifted are n */
    return (vf)((vi)(p * (vf)power) & normal);
}

static float dot(const float *a, const float *b, int64_t count)
{
    vf sum[4] = {vf_set(0.0f), vf_set(0.0f), vf_set(0.0f), vf_set(0.0f)};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        for (int j = 0; j < 4; j++) {
            sum[j] = vf_fma(load(a + i + j * LANES, LANES), load(b + i + j * LANES, LANES), sum[j]);
        }
    }
    for (; i < count; i += LANES) {
        sum[0] = vf_fma(load(a + i, count - i), load(b + i, count - i), sum[0]);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static float maximum(const float *x, int64_t count)
{
    const vf lowest = vf_set(-INFINITY);
    vf most[2] = {lowest, lowest};
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        most[0] = vf_max(load(x + i, LANES), most[0]);
        most[1] = vf_max(load(x + i + LANES, LANES), most[1]);
    }
    for (; i < count; i += LANES) {
        const vf value = choose(first_lanes(count - i), load(x + i, count - i), lowest);
        most[0] = vf_max(value, most[0]);
    }
    return vf_largest(vf_max(most[0], most[1]));
}

static float exp_sum(float *x, int64_t count, float shift)
{
    const vf by = vf_set(shift);
    vf sum = vf_set(0.0f);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const vf value = exponential(load(x + i, LANES) - by);
        store(x + i, value, LANES);
        sum += value;
    }
    if (i < count) {
        const vf value = exponential(load(x + i, count - i) - by);
        store(x + i, value, count - i);
        sum += choose(first_lanes(count - i), value, vf_set(0.0f));
    }
    return vf_sum(sum);
}

static void scale(float *x, int64_t count, float factor)
{
    const vf by = vf_set(factor);
    for (int64_t i = 0; i < count; i += LANES) {
        store(x + i, load(x + i, count - i) * by, count - i);
    }
}

static void add(const float *a, const float *b, float *out, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        store(out + i, load(a + i, count - i) + load(b + i, count - i), count - i);
    }
}

static void rmsnorm(const float *x, const float *weight, float rstd, float *y, int64_t count)
{
    const vf by = vf_set(rstd);
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        store(y + i, load(x + i, left) * by * load(weight + i, left), left);
    }
}

static void rmsnorm_backward(const float *dy, const float *x, const float *weight, float rstd,
                             bool accumulate, float *dx, int64_t count)
{
    vf sum[2] = {vf_set(0.0f), vf_set(0.0f)};
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        for (int j = 0; j < 2; j++) {
            const int64_t at = i + j * LANES;
            sum[j] = vf_fma(load(weight + at, LANES) * load(dy + at, LANES), load(x + at, LANES),
                            sum[j]);
        }
    }
    for (; i < count; i += LANES) {
        const int64_t left = count - i;
        sum[0] = vf_fma(load(weight + i, left) * load(dy + i, left), load(x + i, left), sum[0]);
    }
    const float mean = vf_sum(sum[0] + sum[1]) / (float)count;
    const vf by = vf_set(rstd), pull = vf_set(-mean * rstd * rstd * rstd);
    for (i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        const vf before = accumulate ? load(dx + i, left) : vf_set(0.0f);
        const vf straight = load(weight + i, left) * load(dy + i, left) * by;
        store(dx + i, before + vf_fma(load(x + i, left), pull, straight), left);
    }
}

static void rotate(const float *x, const float *cosine, const float *sine, float direction,
                   float *y, int64_t half)
{
    const vf sign = vf_set(direction);
    for (int64_t i = 0; i < half; i += LANES) {
        const int64_t left = half - i;
        const vf a = load(x + i, left), b = load(x + half + i, left);
        const vf c = load(cosine + i, left), s = load(sine + i, left) * sign;
        store(y + i, a * c - b * s, left);
        store(y + half + i, b * c + a * s, left);
    }
}

static void swiglu(const float *gate, const float *up, float *y, int64_t count)
{
    const vf one = vf_set(1.0f);
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        const vf g = load(gate + i, left);
        store(y + i, g / (one + exponential(-g)) * load(up + i, left), left);
    }
}

static void swiglu_backward(const float *dy, float *gate, float *up, int64_t count)
{
    const vf one = vf_set(1.0f);
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        const vf g = load(gate + i, left), u = load(up + i, left), d = load(dy + i, left);
        const vf sigmoid = one / (one + exponential(-g));
        const vf silu = g * sigmoid;
        store(gate + i, d * u * (sigmoid + silu * (one - sigmoid)), left);
        store(up + i, d * silu, left);
    }
}

static void attention_gradient(float *s, float *dp, int64_t count, float lse, float delta,
                               float factor)
{
    const vf shift = vf_set(lse), less = vf_set(delta), by = vf_set(factor);
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        const vf p = exponential(load(s + i, left) - shift);
        store(dp + i, p * (load(dp + i, left) - less) * by, left);
        store(s + i, p, left);
    }
}

#define EXP_RUN 256

/* sum exp(x - shift) in runs, runs in double; with `keep` x becomes exp(x - shift). Runs are short:
 * beside the 1 of a most likely token small terms are rounded to the last digit of 1, equal ones
 * all the same way. */
static double exp_sum_long(float *x, int64_t count, float shift, bool keep)
{
    const vf by = vf_set(shift);
    double total = 0.0;
    for (int64_t first = 0; first < count; first += EXP_RUN) {
        const int64_t end = count - first < EXP_RUN ? count : first + EXP_RUN;
        vf sum = vf_set(0.0f);
        for (int64_t i = first; i < end; i += LANES) {
            const int64_t left = end - i;
            vf value = exponential(load(x + i, left) - by);
            if (keep) {
                store(x + i, value, left);
            }
            if (left < LANES) {
                value = choose(first_lanes(left), value, vf_set(0.0f));
            }
            sum += value;
        }
        total += (double)vf_sum(sum);
    }
    return total;
}

static bool any_equal(const float *x, int64_t count, float wanted)
{
    const vf value = vf_set(wanted);
    for (int64_t i = 0; i < count; i += LANES) {
        vi hit = (vi)(load(x + i, count - i) == value);
        if (count - i < LANES) {
            hit &= first_lanes(count - i);
        }
        if (vi_any(hit)) {
            return true;
        }
    }
    return false;
}

static lc_row_loss cross_entropy(float *logits, int64_t count, int64_t target, float weight,
                                 bool gradient)
{
    const float most = maximum(logits, count), chosen = logits[target];
    lc_row_loss loss = {.correct = 0.0f};
    if (chosen >= most) {
        loss.correct = any_equal(logits, target, most) ? 0.0f : 1.0f;
    }
    const double total = exp_sum_long(logits, count, most, gradient);
    loss.nll = (float)(log(total) + ((double)most - (double)chosen));
    if (gradient) {
        scale(logits, count, (float)((double)weight / total));
        logits[target] -= weight;
    }
    return loss;
}

#define BLOCKS (LANES / 2) /* Philox blocks of four words made together */

/* Block numbers 0..BLOCKS-1 in the order that makes vw_zip give consecutive blocks. */
static inline vw block_order(void)
{
    uint64_t order[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        order[i] = (uint64_t)(i % 2 == 0 ? i / 2 : BLOCKS / 2 + i / 2);
    }
    vw lanes;
    memcpy(&lanes, order, sizeof lanes);
    return lanes;
}

/* Philox4x32-10 (rng.h) in 64-bit lanes, one block of four words per lane; words come out in order.
 */
static inline void mask_words(const lc_mask_row *mask, vw blocks, uint32_t words[4 * BLOCKS])
{
    vw c0 = vw_set(mask->counter[0]), c1 = vw_set(mask->counter[1]), c2 = vw_set(mask->counter[2]);
    vw c3 = blocks;
    uint32_t key0 = mask->key[0], key1 = mask->key[1];
    for (int round = 0; round < 10; round++) {
        /* Upper halves hold garbage; products read lower halves only. */
        const vw product0 = vw_multiply_low(c0, 0xD2511F53u);
        const vw product1 = vw_multiply_low(c2, 0xCD9E8D57u);
        c0 = (product1 >> 32) ^ c1 ^ vw_set(key0);
        c1 = product1;
        c2 = (product0 >> 32) ^ c3 ^ vw_set(key1);
        c3 = product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    const vw lower = vw_set(0xFFFFFFFFu);
    const vw left = (c0 & lower) | (c1 << 32), right = (c2 & lower) | (c3 << 32);
    const vw even = vw_zip_even(left, right), odd = vw_zip_odd(left, right);
    memcpy(words, &even, sizeof even);
    memcpy(words + 2 * BLOCKS, &odd, sizeof odd);
}

static void dropout(const float *x, float *y, int64_t count, const lc_mask_row *mask,
                    bool accumulate)
{
    const vf by = vf_set(mask->scale);
    vw blocks = block_order();
    uint32_t words[4 * BLOCKS];
    for (int64_t first = 0; first < count; first += 4 * BLOCKS) {
        mask_words(mask, blocks, words);
        blocks += vw_set(BLOCKS);
        for (int64_t i = first; i < first + 4 * BLOCKS && i < count; i += LANES) {
            const int64_t left = count - i;
            vu word;
            memcpy(&word, words + (i - first), sizeof word);
            const vi kept = (vi)(word >= mask->threshold);
            const vf value = (vf)((vi)(load(x + i, left) * by) & kept);
            store(y + i, accumulate ? load(y + i, left) + value : value, left);
        }
    }
}

static double sum_squares(const float *x, int64_t count)
{
    double lanes[LANES] = {0};
    for (int64_t i = 0; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            lanes[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (int64_t i = count - count % LANES; i < count; i++) {
        lanes[0] += (double)x[i] * (double)x[i];
    }
    double sum = 0.0;
    for (int j = 0; j < LANES; j++) {
        sum += lanes[j];
    }
    return sum;
}

static void adamw(float *param, const float *grad, float *m, float *v, int64_t count,
                  const lc_adamw_scalars *s)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        const vf g = load(grad + i, left) * vf_set(s->grad_scale);
        const vf m_before = load(m + i, left);
        const vf m_after = m_before + vf_set(s->one_minus_beta1) * (g - m_before);
        const vf v_after =
            load(v + i, left) * vf_set(s->beta2) + vf_set(s->one_minus_beta2) * g * g;
        const vf denominator = vf_sqrt(v_after) / vf_set(s->bias2_sqrt) + vf_set(s->eps);
        const vf decayed = load(param + i, left) * vf_set(s->decay);
        store(m + i, m_after, left);
        store(v + i, v_after, left);
        store(param + i, decayed - vf_set(s->step_size) * m_after / denominator, left);
    }
}

static void expand_bf16(const uint16_t *from, float *to, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        vh half;
        memcpy(&half, from + i, sizeof half);
        const vu bits = __builtin_convertvector(half, vu) << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
    for (; i < count; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

#include "ops/cpu/kernels_product.h"

#define KERNEL_TABLE(text)                                                                      \
    {                                                                                           \
        .name = (text), .dot = dot, .maximum = maximum, .exp_sum = exp_sum, .scale = scale,     \
        .add = add, .rmsnorm = rmsnorm, .rmsnorm_backward = rmsnorm_backward, .rotate = rotate, \
        .swiglu = swiglu, .swiglu_backward = swiglu_backward,                                   \
        .attention_gradient = attention_gradient, .cross_entropy = cross_entropy,               \
        .dropout = dropout, .sum_squares = sum_squares, .adamw = adamw,                         \
        .expand_bf16 = expand_bf16, .block_rows = BLOCK_ROWS, .block_cols = BLOCK_COLS,         \
        .lanes = LANES, .pack = pack, .pack_transposed = pack_transposed,                       \
        .multiply_block = multiply_block, .multiply_few = multiply_few,                         \
        .multiply_strips = multiply_strips, .strip_rows = STRIP_ROWS,                           \
    }
