/*
 * Counters of requests; see metrics.h.
 */
#include "serve/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lorac/mem.h"

static const double bounds[] = {0.001, 0.005, 0.02, 0.05, 0.2, 1, 5, 30, 120};
#define BOUND_COUNT (sizeof bounds / sizeof *bounds)

typedef struct series {
    const char *method, *pattern; /* static */
    int status;
    int64_t count;
} series;

struct lc_service_metrics {
    pthread_mutex_t mutex;
    series all[LC_MAX_METRIC_SERIES];
    int count;
    int64_t others;
    int64_t buckets[BOUND_COUNT + 1];
    double seconds;
    int64_t bytes_in, bytes_out;
};

lc_code lc_metrics_new(lc_service_metrics **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the metrics", err));
    *out = memory;
    (void)pthread_mutex_init(&(*out)->mutex, NULL);
    return LC_OK;
}

void lc_metrics_free(lc_service_metrics *metrics)
{
    if (metrics != NULL) {
        (void)pthread_mutex_destroy(&metrics->mutex);
        lc_free(metrics);
    }
}

/* Methods and patterns are static texts, one each. */
static int64_t *counter_of(lc_service_metrics *metrics, const lc_http_record *record)
{
    for (int i = 0; i < metrics->count; i++) {
        series *one = &metrics->all[i];
        if (one->pattern == record->pattern && one->method == record->method &&
            one->status == record->status) {
            return &one->count;
        }
    }
    if (metrics->count == LC_MAX_METRIC_SERIES) {
        return &metrics->others;
    }
    series *added = &metrics->all[metrics->count++];
    *added = (series){record->method, record->pattern, record->status, 0};
    return &added->count;
}

void lc_metrics_note(lc_service_metrics *metrics, const lc_http_record *record)
{
    size_t bucket = 0;
    while (bucket < BOUND_COUNT && record->seconds > bounds[bucket]) {
        bucket++;
    }
    (void)pthread_mutex_lock(&metrics->mutex);
    ++*counter_of(metrics, record);
    metrics->buckets[bucket]++;
    metrics->seconds += record->seconds;
    metrics->bytes_in += record->bytes_in;
    metrics->bytes_out += record->bytes_out;
    (void)pthread_mutex_unlock(&metrics->mutex);
}

void lc_metrics_family(lc_text *out, bool is_classic, const char *name, const char *type,
                       const char *help)
{
    const char *total = is_classic && strcmp(type, "counter") == 0 ? "_total" : "";
    const char *kind = is_classic && strcmp(type, "info") == 0 ? "gauge" : type;
    const char *info = is_classic && strcmp(type, "info") == 0 ? "_info" : "";
    lc_text_addf(out, "# TYPE %s%s%s %s\n# HELP %s%s%s %s\n", name, total, info, kind, name, total,
                 info, help);
    const char *unit = strrchr(name, '_') + 1;
    if (!is_classic && (strcmp(unit, "seconds") == 0 || strcmp(unit, "bytes") == 0)) {
        lc_text_addf(out, "# UNIT %s %s\n", name, unit);
    }
}

void lc_metrics_add_label(lc_text *out, const char *value)
{
    lc_text_addf(out, "\"");
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\n') {
            lc_text_addf(out, "\\n");
        } else {
            lc_text_addf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        }
    }
    lc_text_addf(out, "\"");
}

static void write_requests(const lc_service_metrics *metrics, lc_text *out)
{
    for (int i = 0; i < metrics->count; i++) {
        const series *one = &metrics->all[i];
        lc_text_addf(out, "lorac_http_requests_total{method=\"%s\",route=", one->method);
        lc_metrics_add_label(out, one->pattern[0] != '\0' ? one->pattern : "none");
        lc_text_addf(out, ",code=\"%d\"} %" PRId64 "\n", one->status, one->count);
    }
    if (metrics->others > 0) {
        lc_text_addf(out,
                     "lorac_http_requests_total{method=\"other\",route=\"other\",code=\"0\"} "
                     "%" PRId64 "\n",
                     metrics->others);
    }
}

static void write_durations(const lc_service_metrics *metrics, lc_text *out)
{
    int64_t sum = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++) {
        char bound[24] = "+Inf";
        if (i < BOUND_COUNT) {
            (void)snprintf(bound, sizeof bound, "%g", bounds[i]);
        }
        sum += metrics->buckets[i];
        lc_text_addf(out, "lorac_http_request_duration_seconds_bucket{le=\"%s\"} %" PRId64 "\n",
                     bound, sum);
    }
    lc_text_addf(out,
                 "lorac_http_request_duration_seconds_sum %.6f\n"
                 "lorac_http_request_duration_seconds_count %" PRId64 "\n",
                 metrics->seconds, sum);
}

void lc_metrics_write(lc_service_metrics *metrics, bool is_classic, lc_text *out)
{
    (void)pthread_mutex_lock(&metrics->mutex);
    lc_metrics_family(out, is_classic, "lorac_http_requests", "counter",
                      "Requests answered; code 0: broken off before an answer.");
    write_requests(metrics, out);
    lc_metrics_family(out, is_classic, "lorac_http_request_duration_seconds", "histogram",
                      "From a request's header to its last byte sent.");
    write_durations(metrics, out);
    lc_metrics_family(out, is_classic, "lorac_http_received_bytes", "counter", "Bytes of bodies.");
    lc_text_addf(out, "lorac_http_received_bytes_total %" PRId64 "\n", metrics->bytes_in);
    lc_metrics_family(out, is_classic, "lorac_http_sent_bytes", "counter", "Bytes of bodies.");
    lc_text_addf(out, "lorac_http_sent_bytes_total %" PRId64 "\n", metrics->bytes_out);
    (void)pthread_mutex_unlock(&metrics->mutex);
}
