/* Wall clock and monotonic time. */
#ifndef LC_BASE_CLOCK_H
#define LC_BASE_CLOCK_H

#include <stdint.h>

int64_t lc_unix_seconds(void);
double lc_monotonic_seconds(void);

#endif
