/*
 * Fault injection: makes the n-th allocation or the n-th I/O call fail, so that a test can walk
 * through all of them. Off unless LORAC_FAULT is set ("alloc:17", "io:5:ENOSPC", "io:5:EIO",
 * "io:5:SHORT", "kill:9" = SIGKILL to ourselves at the 9th I/O call; a "+" at the end makes it
 * stick: every later call fails too) or a test calls lc_fault_set.
 */
#ifndef LC_BASE_FAULT_H
#define LC_BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

typedef enum lc_fault_kind {
    LC_FAULT_NONE,
    LC_FAULT_ALLOC,
    LC_FAULT_IO,
    LC_FAULT_KILL
} lc_fault_kind;

/* at: number of the failing call, from 1, counted from now; error: an errno, or -1 for a short
 * write. */
void lc_fault_set(lc_fault_kind kind, int64_t at, int error, bool sticky);
int64_t lc_fault_count(lc_fault_kind kind); /* calls since lc_fault_set */

/* Arms from a text as in LORAC_FAULT; anything else: LC_ERR_USAGE, and what was armed stays. The
 * environment is read at the first allocation or I/O call; there a wrong text is logged and
 * ignored. */
LC_WARN_UNUSED lc_code lc_fault_set_text(const char *text, lc_err *err);

/* For the allocator and file.c. lc_fault_io returns 0, an errno to fail with, or -1 for a short
 * write. */
bool lc_fault_alloc(void);
int lc_fault_io(void);

#endif
