/*
 * Rotation tables on the host, once per micro-batch. Follows the fp32 arithmetic of transformers
 * step by step, since at position 100 000 one unit in the last place of a frequency is 0.01 radian.
 */
#include "model/rope.h"

#include <math.h>
#include <string.h>

#define HALF_MAX (LC_MAX_HEAD_DIM / 2)

/* torch's power of fp32 numbers, correctly rounded. */
static float power_f32(float base, float exponent)
{
    return (float)pow((double)base, (double)exponent);
}

/* theta^(2j/D), j < D/2 */
static void wavelengths(float theta, int32_t head_dim, float *out)
{
    for (int32_t j = 0; j < head_dim / 2; j++) {
        out[j] = power_f32(theta, (float)(2 * j) / (float)head_dim);
    }
}

/* NTK-aware base for a sequence of `length` tokens. Up to the trained length transformers computes
 * it in double once at start; beyond, in fp32 from the length of the sequence. */
static float dynamic_theta(const lc_rope_config *rope, int32_t head_dim, int64_t length)
{
    const double exponent = (double)head_dim / (double)(head_dim - 2);
    const double trained = rope->original_max_position;
    if ((double)length <= trained) {
        const double stretch = rope->factor * trained / trained - (rope->factor - 1);
        return (float)(rope->theta * pow(stretch, exponent));
    }
    const float ratio = (float)rope->factor * (float)length / (float)trained;
    const float stretch = ratio - (float)(rope->factor - 1);
    return (float)rope->theta * (float)pow((double)stretch, exponent);
}

/* llama3: long waves are divided by the factor, short ones kept, those between blended. */
static void scale_llama3(const lc_rope_config *rope, int32_t half, float *inv_freq)
{
    const float trained = (float)rope->original_max_position;
    const float longest = (float)(rope->original_max_position / rope->low_freq_factor);
    const float shortest = (float)(rope->original_max_position / rope->high_freq_factor);
    const float factor = (float)rope->factor;
    const float low = (float)rope->low_freq_factor;
    const float span = (float)(rope->high_freq_factor - rope->low_freq_factor);
    const float circle = (float)(2 * M_PI);
    for (int32_t j = 0; j < half; j++) {
        const float wave = 1.0f / inv_freq[j] * circle;
        if (wave > longest) {
            inv_freq[j] = inv_freq[j] / factor;
        } else if (!(wave < shortest)) {
            const float smooth = (1.0f / wave * trained - low) / span;
            inv_freq[j] = (1.0f - smooth) * inv_freq[j] / factor + smooth * inv_freq[j];
        }
    }
}

/* The dimension whose wave turns `rotations` times over the trained context. */
static double yarn_dimension(const lc_rope_config *rope, int32_t head_dim, double rotations)
{
    return head_dim * log(rope->original_max_position / (rotations * 2 * M_PI)) /
           (2 * log(rope->theta));
}

/* yarn: waves that turn often enough are kept, slow ones interpolated, a linear ramp between. */
static void scale_yarn(const lc_rope_config *rope, int32_t head_dim, const float *waves,
                       float *inv_freq)
{
    double low = yarn_dimension(rope, head_dim, rope->beta_fast);
    double high = yarn_dimension(rope, head_dim, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < head_dim - 1 ? high : head_dim - 1;
    if (!(low < high) && !(low > high)) {
        high += 0.001; /* as the reference avoids a division by zero */
    }
    const float start = (float)low, span = (float)(high - low);
    for (int32_t j = 0; j < head_dim / 2; j++) {
        float ramp = ((float)j - start) / span;
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        const float kept = 1.0f - ramp;
        inv_freq[j] =
            1.0f / ((float)rope->factor * waves[j]) * (1.0f - kept) + 1.0f / waves[j] * kept;
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static float yarn_attention_factor(const lc_rope_config *rope)
{
    if (rope->attention_factor > 0) {
        return (float)rope->attention_factor;
    }
    if (rope->mscale > 0 && rope->mscale_all_dim > 0) {
        return (float)(yarn_mscale(rope->factor, rope->mscale) /
                       yarn_mscale(rope->factor, rope->mscale_all_dim));
    }
    return (float)yarn_mscale(rope->factor, 1);
}

void lc_rope_frequencies(const lc_model_config *config, int64_t length, float *inv_freq,
                         float *attention_factor)
{
    const lc_rope_config *rope = &config->rope;
    const int32_t half = config->head_dim / 2;
    float waves[HALF_MAX];
    const bool is_dynamic = rope->type == LC_ROPE_DYNAMIC;
    const float theta =
        is_dynamic ? dynamic_theta(rope, config->head_dim, length) : (float)rope->theta;
    wavelengths(theta, config->head_dim, waves);
    *attention_factor = 1.0f;
    for (int32_t j = 0; j < half; j++) {
        inv_freq[j] = 1.0f / waves[j];
        if (rope->type == LC_ROPE_LINEAR) {
            inv_freq[j] /= (float)rope->factor;
        }
    }
    if (rope->type == LC_ROPE_LLAMA3) {
        scale_llama3(rope, half, inv_freq);
    } else if (rope->type == LC_ROPE_YARN) {
        scale_yarn(rope, config->head_dim, waves, inv_freq);
        *attention_factor = yarn_attention_factor(rope);
    }
}

/* What a row of the tables is made from. */
typedef struct frequencies {
    float inv_freq[HALF_MAX];
    float attention_factor;
    int32_t half;
} frequencies;

static void fill_row(const frequencies *rotation, int32_t position, float *cos_row, float *sin_row)
{
    for (int32_t j = 0; j < rotation->half; j++) {
        const float angle = (float)position * rotation->inv_freq[j];
        double sine, cosine;
        sincos((double)angle, &sine, &cosine);
        cos_row[j] = (float)cosine * rotation->attention_factor;
        sin_row[j] = (float)sine * rotation->attention_factor;
    }
}

static int32_t largest(const int32_t *values, int32_t count)
{
    int32_t max = 0;
    for (int32_t i = 0; i < count; i++) {
        max = values[i] > max ? values[i] : max;
    }
    return max;
}

void lc_rope_tables(const lc_model_config *config, int32_t token_count, const int32_t *positions,
                    int32_t document_count, const int32_t *cu_seqlens, const int32_t *lengths,
                    float *cos, float *sin)
{
    const int32_t half = config->head_dim / 2;
    frequencies usual = {.half = half}, stretched = {.half = half};
    /* Rows of the longest document so far with the usual frequencies: most positions of the others
     * are there already, and a copy is 20 times cheaper than sines. Documents that share a
     * beginning start behind it. */
    int32_t known_first = 0, known_count = 0;
    (void)token_count;
    lc_rope_frequencies(config, 0, usual.inv_freq, &usual.attention_factor);
    for (int32_t document = 0; document < document_count; document++) {
        const int32_t first = cu_seqlens[document];
        const int32_t count = cu_seqlens[document + 1] - first;
        const frequencies *rotation = &usual;
        if (config->rope.type == LC_ROPE_DYNAMIC) {
            const int64_t length = lengths != NULL ? lengths[document]
                                                   : (int64_t)largest(positions + first, count) + 1;
            if ((double)length > config->rope.original_max_position) {
                lc_rope_frequencies(config, length, stretched.inv_freq,
                                    &stretched.attention_factor);
                rotation = &stretched;
            }
        }
        for (int32_t row = first; row < first + count; row++) {
            const int32_t position = positions[row];
            const int64_t at = (int64_t)row * half;
            const int32_t known = known_count > 0 ? position - positions[known_first] : known_count;
            if (rotation == &usual && known >= 0 && known < known_count &&
                positions[known_first + known] == position) {
                const int64_t from = (int64_t)(known_first + known) * half;
                memcpy(cos + at, cos + from, (size_t)half * sizeof(float));
                memcpy(sin + at, sin + from, (size_t)half * sizeof(float));
            } else {
                fill_row(rotation, position, cos + at, sin + at);
            }
        }
        if (rotation == &usual && count > known_count) {
            known_first = first;
            known_count = count;
        }
    }
}
