/*
 * What a fuzzer plays for the service: the supervisor, the workers, and who has what at the
 * beginning.
 */
#ifndef TESTS_FUZZ_PLAYED_H
#define TESTS_FUZZ_PLAYED_H

#include <stdbool.h>

#include "serve/store.h"

#define PLAYED_BASE "base"
#define PLAYED_NOW  1700000000

lc_store *played_store(void); /* the one that the server has */

/* The next event of the oldest chat. False: no chat is under way. */
bool played_step(void);
bool played_is_busy(void);

/* Statements that fill a store. */
extern const struct played_rows {
    const char *sql;
    int owners; /* 2: ?1 is the first owner, ?2 the second; 0: none is named */
} played_rows[];
extern const int played_rows_count;
/* In DATA. */
extern const char *const played_folders[];
extern const int played_folder_count;
extern const struct played_file {
    const char *path, *text;
} played_files[];
extern const int played_file_count;

#endif
