/*
 * What /metrics tells of the server itself: requests by route and code, how long they took.
 */
#ifndef LC_SERVE_METRICS_H
#define LC_SERVE_METRICS_H

#include "serve/http.h"

#define LC_MAX_METRIC_SERIES 1024 /* (method, route, code) seen; further ones count as "other" */

typedef struct lc_service_metrics lc_service_metrics;

LC_WARN_UNUSED lc_code lc_metrics_new(lc_service_metrics **out, lc_err *err);
void lc_metrics_free(lc_service_metrics *metrics);
void lc_metrics_note(lc_service_metrics *metrics, const lc_http_record *record);

/* Families of OpenMetrics, without the end's "# EOF". is_classic: Prometheus' older text format,
 * whose counters are named in full in TYPE and HELP lines. */
void lc_metrics_family(lc_text *out, bool is_classic, const char *name, const char *type,
                       const char *help);
void lc_metrics_write(lc_service_metrics *metrics, bool is_classic, lc_text *out);
/* A label's value with its quotes. */
void lc_metrics_add_label(lc_text *out, const char *value);

#endif
