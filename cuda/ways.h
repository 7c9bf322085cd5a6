/*
 * Ops that can be done in several ways, which differ in speed and in last digits. Which one a class
 * of shapes takes is a choice like a product's algorithm (tuning.h): from the tuning table, else
 * the first of the site's ways; stored, pinned on a resume, never timed in a job.
 */
#ifndef LC_CUDA_WAYS_H
#define LC_CUDA_WAYS_H

#include "lorac/choices.h"

struct lc_cuda_choices;

typedef enum lc_cuda_site {
    LC_SITE_NONE,
    LC_SITE_LORA_FORWARD,
    LC_SITE_LORA_DY,
    LC_SITE_LORA_DX,
    LC_SITE_LORA_DX_NORMED, /* of a norm's input */
    LC_SITE_LINEAR,
    LC_SITE_LINEAR_BACKWARD,
    LC_SITE_NORM_BACKWARD, /* with what dropout leaves to it */
    LC_SITE_COUNT
} lc_cuda_site;

typedef enum lc_cuda_way {
    LC_WAY_KERNEL,   /* a pass of our own */
    LC_WAY_PRODUCTS, /* small products of the library */
    LC_WAY_BORDERED, /* one product over the border too */
    LC_WAY_FUSED,    /* one pass of our own with another op's */
    LC_WAY_APART,    /* the border's product added to the base's; the other op by itself */
    LC_WAY_WIDENED,  /* dS as more columns of dX */
    LC_WAY_COUNT
} lc_cuda_way;

/* A class of shapes: rows rounded up as those of products. Compared as bytes, so made by
 * lc_cuda_way_class or from zeros. */
typedef struct lc_cuda_way_key {
    int64_t rows;    /* N; 0: no key */
    int64_t in, out; /* 0: the way does not hang on it */
    int32_t site, part_count;
    int32_t part_row[LC_MAX_LORA_PARTS], part_out[LC_MAX_LORA_PARTS];
    int32_t part_width[LC_MAX_LORA_PARTS], unused;
} lc_cuda_way_key;

lc_cuda_way_key lc_cuda_way_class(lc_cuda_site site, int64_t rows, int64_t in, int64_t out,
                                  const lc_lora_parts *parts);

/* The class's way, which is its choice from now on. */
LC_WARN_UNUSED lc_code lc_cuda_take_way(struct lc_cuda_choices *choices, const lc_cuda_way_key *key,
                                        lc_cuda_way *way, lc_err *err);

/* The ways of a site, the first by default; returns how many. */
int lc_cuda_ways_of(lc_cuda_site site, const lc_cuda_way **ways);

/* "linear_backward 8192x4096x6144 parts 0+4096x16 4096+1024x16", and "bordered". */
void lc_cuda_way_write(const lc_cuda_way_key *key, lc_cuda_way way, lc_choice *out);
/* false: not such a text. */
bool lc_cuda_way_read(const lc_choice *text, lc_cuda_way_key *key, lc_cuda_way *way);

#endif
