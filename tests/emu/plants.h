/* The mistakes that plants_test.c puts into the backend, from outside: the linker hands calls of
 * some functions to wrappers (-Wl,--wrap), which do it right unless theirs is the planted mistake.
 * The backend's sources know nothing of it. C and C++. */
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum plant {
    PLANT_NONE,
    PLANT_DS_REDUCE,     // dS is not added up before the product that reads it
    PLANT_PADDING,       // a product's extent is its operands' stride
    PLANT_STALE_TAIL,    // S of gate and up does not reach the tail of their input's buffer
    PLANT_PARTIAL_COUNT, // recorded, dB is summed in other ranges of rows than before
    PLANT_SIDE_STREAM,   // dA is made on a stream that nobody waits for
    PLANT_UPLOAD_SLOT,   // a mirror is filled again before its upload has run
    PLANT_COUNT
} plant;

extern plant planted;

#ifdef __cplusplus
}
#endif
