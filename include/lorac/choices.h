/*
 * Choices between ways of adding up that a device makes once for each shape, and that decide the
 * last bits of its results: the algorithms of its library of products, and who does attention. A
 * job stores them with what they hang on (facts), so that a resume has the same ones; `lorac bench
 * --tune` measures them. A device that makes none (the CPU's) has lc_device.choices NULL.
 *
 * Texts are the backend's own: others store them, compare them, and give them back.
 */
#ifndef LORAC_CHOICES_H
#define LORAC_CHOICES_H

#include "lorac/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_MAX_FACTS       16
#define LC_FACT_NAME_BYTES 32
#define LC_FACT_BYTES      256
#define LC_PRODUCT_BYTES   192
#define LC_ALGORITHM_BYTES 160
#define LC_MAX_CHOICES     65536

/* Something that choices hang on: "gpu", "cublaslt". */
typedef struct lc_fact {
    char name[LC_FACT_NAME_BYTES];
    char value[LC_FACT_BYTES];
    bool decides; /* with another value the choices mean nothing; else it is only worth telling */
    bool is_beside_products; /* it decides, but not about products: tuning tables do without it */
} lc_fact;

typedef struct lc_choice {
    char product[LC_PRODUCT_BYTES];     /* shape, strides, types and alignment; or of attention */
    char algorithm[LC_ALGORITHM_BYTES]; /* hexadecimal digits; for attention the plan's name */
    bool is_measured; /* given, from a table of measurements; else the library's first proposal */
} lc_choice;

typedef struct lc_tune_options {
    int repetitions; /* timed runs of an algorithm; the median counts */
    double warm_up_ms;
} lc_tune_options;

typedef struct lc_tuned {
    int candidates;           /* algorithms that were timed */
    double first_us, best_us; /* the library's first proposal and the one that was taken */
} lc_tuned;

struct lc_choice_ops {
    /* Fills in facts of the device and its libraries; returns how many. */
    int (*facts)(const lc_device *device, lc_fact facts[LC_MAX_FACTS]);
    /* Choices so far, in the order in which they were made or given: index 0 to count - 1. */
    int64_t (*count)(const lc_device *device);
    void (*get)(const lc_device *device, int64_t index, lc_choice *choice);
    /* Gives a choice to a device that has not made it yet. LC_ERR_INVALID: the texts are not this
     * backend's, or the product has its choice. That the library takes the algorithm shows when
     * the product is made. */
    LC_WARN_UNUSED lc_code (*add)(lc_device *device, const lc_choice *choice, lc_err *err);
    /* Times all that can be chosen, on random numbers, and takes the fastest. Never
     * called by a job, nor for attention. Waits for the device. */
    LC_WARN_UNUSED lc_code (*tune)(lc_device *device, int64_t index, const lc_tune_options *options,
                                   lc_tuned *out, lc_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
