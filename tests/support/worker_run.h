/* A worker in a thread of the test, one at a time, spoken to in lines as the service does. */
#ifndef TESTS_SUPPORT_WORKER_RUN_H
#define TESTS_SUPPORT_WORKER_RUN_H

#include <cjson/cJSON.h>

#include "infer/worker.h"

/* Its input, its output and is_stopping are made here; the texts of `options` are borrowed. */
void worker_start(const lc_worker_run_options *options);
void worker_send(const char *text);
/* Its next line, the caller's to delete. */
cJSON *worker_event(void);
/* The next line has this "event". */
void worker_expect(const char *kind);
/* Members of an event; "" and -1 where there is none. */
const char *worker_text_of(const cJSON *event, const char *key);
int worker_number_of(const cJSON *event, const char *key);
/* What SIGTERM does. */
void worker_ask_to_end(void);
/* Waits for its end, which must be a good one. */
void worker_wait(void);
/* The same of an end that is this error. */
void worker_wait_for(lc_code code);
/* worker_wait once its input is closed, which ends it whatever it is doing. */
void worker_stop(void);

#endif
