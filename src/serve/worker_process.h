/*
 * The process behind a worker: `lorac worker` with a socket as its standard input and output.
 */
#ifndef LC_SERVE_WORKER_PROCESS_H
#define LC_SERVE_WORKER_PROCESS_H

#include <sys/types.h>

#include "serve/worker_pool.h"

/* Its standard error goes to LOG_DIR/BASE.log, appended. *fd: our end, close-on-exec. */
LC_WARN_UNUSED lc_code lc_worker_process_start(const lc_worker_options *options, const char *base,
                                               const char *base_dir, pid_t *process, int *fd,
                                               lc_err *err);

/* Waits up to `seconds` for it to end by itself, then kills it. Its wait status. */
int lc_worker_process_end(pid_t process, double seconds);

#endif
