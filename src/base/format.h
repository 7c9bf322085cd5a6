/* Numbers and sizes as people read them. */
#ifndef LC_BASE_FORMAT_H
#define LC_BASE_FORMAT_H

#include <stdint.h>

#define LC_FORMAT_BYTES 32

/* Each writes into out[LC_FORMAT_BYTES] and returns it. */
const char *lc_format_size(int64_t bytes, char *out);      /* "1.50 GiB" */
const char *lc_format_count(double count, char *out);      /* "12.3k" */
const char *lc_format_grouped(int64_t count, char *out);   /* "12,345" */
const char *lc_format_duration(double seconds, char *out); /* "1:02:03", "0:07" */

#endif
