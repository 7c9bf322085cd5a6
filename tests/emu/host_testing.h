/* What the C tests of the fake libraries share: checks that print where they fail, and random
 * numbers. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures;

// Counts a failure and says where.
#define EXPECT(condition)                                                    \
    do {                                                                     \
        if (!(condition)) {                                                  \
            test_failures++;                                                 \
            printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                    \
    } while (0)

// The result of a library call, 0 for success; ends the test where it is not as expected.
#define EXPECT_RESULT(call, expected)                                                      \
    do {                                                                                   \
        int result_ = (int)(call);                                                         \
        if (result_ != (int)(expected)) {                                                  \
            printf("%s:%d: %s gave %d, expected %d\n", __FILE__, __LINE__, #call, result_, \
                   (int)(expected));                                                       \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)
#define OK(call) EXPECT_RESULT(call, 0)

// From -0.5 to 0.5.
static inline float test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / (float)(1 << 24) - 0.5f;
}

static inline uint16_t test_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float test_from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int test_finish(void)
{
    printf(test_failures ? "%d checks failed\n" : "all ok\n", test_failures);
    return test_failures != 0;
}
