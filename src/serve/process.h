/*
 * A trainer's process: started in a session of its own so that it outlives the server, or found
 * again by the lock of its directory. Talked to by signals only.
 */
#ifndef LC_SERVE_PROCESS_H
#define LC_SERVE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_PROCESS_LOG "log.txt" /* what it prints, beside its directory */

typedef struct lc_process {
    long pid;
    bool is_child; /* started here: its exit status will be known */
    bool has_ended;
    int exit_status; /* -1: not known, or ended by a signal */
    int signal;      /* that ended it; 0: none, or not known */
} lc_process;

typedef struct lc_process_args {
    const char *program; /* the lorac program; an absolute path */
    const char *place;   /* DATA/jobs/ID: its working directory */
    const char *id;
    int threads; /* 0: its own choice */
    int nice;    /* steps behind this process */
} lc_process_args;

/* Starts `lorac train spec.json --out run --resume --id ID` in the job's place: at the newest
 * checkpoint, or at the beginning. */
LC_WARN_UNUSED lc_code lc_process_start(const lc_process_args *args, lc_process *out, lc_err *err);

/* The process that works on the job in `place`, if there is one. A number in the lock file that is
 * not that of such a process is waited for a moment, then LC_ERR_BUSY: the lock is held, and nobody
 * knows by whom. */
LC_WARN_UNUSED lc_code lc_process_find(const char *place, lc_process *out, bool *is_found,
                                       lc_err *err);

/* Looks whether it has ended, and how. */
LC_WARN_UNUSED lc_code lc_process_look(lc_process *process, const char *place, lc_err *err);

/* To the process and what it may have started. One that is not a child is signalled only while it
 * works in `place`. */
void lc_process_signal(const lc_process *process, const char *place, int number);

#endif
