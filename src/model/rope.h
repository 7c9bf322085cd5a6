/*
 * Rotation tables, computed as transformers does: inverse frequencies and angles in fp32, attention
 * scaling multiplied into cos and sin. For the dynamic type the base depends on the document's
 * length.
 */
#ifndef LC_MODEL_ROPE_H
#define LC_MODEL_ROPE_H

#include "model/config.h"

/* cos, sin [out]: N x D/2. positions: N. cu_seqlens: documents+1. A document's length is
 * lengths[document], without lengths its largest position plus one; for dynamic NTK one longer than
 * the trained context has the base for its own length, as transformers gives one sequence alone.
 * Allocates nothing; positions that an earlier document had are copied. Sines are taken in double
 * of the fp32 angle, so the tables do not depend on a vector library (transformers may differ in
 * the last place, and by one unit of a frequency where its fp32 power is not correctly rounded). */
void lc_rope_tables(const lc_model_config *config, int32_t token_count, const int32_t *positions,
                    int32_t document_count, const int32_t *cu_seqlens, const int32_t *lengths,
                    float *cos, float *sin);

/* Inverse frequencies (D/2, fp32) and the factor on cos/sin, for a sequence of `length` tokens. */
void lc_rope_frequencies(const lc_model_config *config, int64_t length, float *inv_freq,
                         float *attention_factor);

#endif
