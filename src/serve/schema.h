/*
 * The tables of lorac.db, as the steps that lead to them. Private to store.c.
 */
#ifndef LC_SERVE_SCHEMA_H
#define LC_SERVE_SCHEMA_H

/* Step i brings a database of version i (user_version) to version i + 1. A step that has been
 * released is never changed. */
extern const char *const lc_schema_steps[];
extern const int lc_schema_version;

#endif
