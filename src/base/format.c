/*
 * Numbers and sizes for people; see format.h.
 */
#include "base/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

const char *lc_format_size(int64_t bytes, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024.0;
        unit++;
    }
    (void)snprintf(out, LC_FORMAT_BYTES, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
    return out;
}

const char *lc_format_count(double count, char *out)
{
    if (!isfinite(count)) {
        (void)snprintf(out, LC_FORMAT_BYTES, "-");
    } else if (count < 1000.0) {
        (void)snprintf(out, LC_FORMAT_BYTES, "%.0f", count);
    } else if (count < 1e6) {
        (void)snprintf(out, LC_FORMAT_BYTES, "%.1fk", count / 1e3);
    } else {
        (void)snprintf(out, LC_FORMAT_BYTES, "%.1fM", count / 1e6);
    }
    return out;
}

const char *lc_format_grouped(int64_t count, char *out)
{
    char digits[LC_FORMAT_BYTES];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    char *to = out;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *lc_format_duration(double seconds, char *out)
{
    if (!(seconds >= 0.0 && seconds < 1e9)) {
        (void)snprintf(out, LC_FORMAT_BYTES, "-");
        return out;
    }
    const long whole = (long)(seconds + 0.5);
    if (whole >= 3600) {
        (void)snprintf(out, LC_FORMAT_BYTES, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60,
                       whole % 60);
    } else {
        (void)snprintf(out, LC_FORMAT_BYTES, "%ld:%02ld", whole / 60, whole % 60);
    }
    return out;
}
