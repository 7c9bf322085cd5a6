/*
 * The whole service inside a fuzzer: the real routes, exchange and store over libmicrohttpd, run by
 * the caller's own thread, so that one input always makes the same calls. Connections are socket
 * pairs, the data directory is in memory where it can be. Played here: the supervisor (no job ever
 * runs) and the workers (answers known beforehand). What breaks a rule of every answer aborts.
 */
#ifndef TESTS_FUZZ_SERVED_H
#define TESTS_FUZZ_SERVED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "serve/store.h"

/* Where `is_true` is false the fuzzer has found something: says where, and aborts. */
#define must(is_true) served_must((is_true), #is_true, __FILE__, __LINE__)
void served_must(bool is_true, const char *what, const char *file, int line);

/* ---- the server ---- */

/* The owners that have something: with keys two of them, else the local user is the first. */
enum { SERVED_OWNERS = 2 };
typedef struct served_owner {
    const char *id, *key;
} served_owner;
extern const served_owner served_owners[SERVED_OWNERS];

/* The first call starts it; it ends with the process. With keys everybody has to show one. */
void served_open(bool with_keys);
/* At the beginning of an input: the store and its files as they were, if anything has changed. */
void served_reset(void);
/* In the path of the folder that has them, of which no client may hear; an input that has it (the
 * fuzzer learns it from being compared) says nothing about that. */
#define SERVED_FOLDER "lorac-fuzz-"
bool served_is_told(const char *text, size_t bytes);
lc_store *served_store(void);
/* Waits for the thread that checks uploaded files. */
void served_settle(void);
/* As many descriptors are open as at the input's beginning. */
void served_check_descriptors(void);

/* ---- clients ---- */

typedef struct served_client {
    int fd;           /* -1: closed */
    lc_text received; /* owned */
    bool has_ended;   /* the server has closed */
} served_client;

void served_connect(served_client *client);
/* The server is given the bytes and does at once what it can do with them. */
void served_send(served_client *client, const char *bytes, size_t count);
/* Whatever waits is answered; then all clients say that nothing more comes, and the server has to
 * close every connection. Clients that have closed before it are forgotten. */
void served_finish(served_client *clients, int count);
void served_hang_up(served_client *client); /* in the middle of whatever it is */
void served_release(served_client *client);

/* ---- answers ---- */

typedef struct served_answer {
    int status;
    const char *head; /* from the first header on */
    size_t head_bytes;
    lc_text body; /* owned; chunks are joined */
    bool is_json;
} served_answer;

/* Takes the next answer off bytes[*at..count) and checks it: HTTP/1.1, one way of framing, header
 * lines without control characters, a status that a request may cause, request ids on what is ours,
 * and the form of errors. *is_head: the request was HEAD; NULL: not known, the next bytes tell.
 * False: there is no further answer. Interim ones are skipped. */
bool served_take(const char *bytes, size_t count, size_t *at, const bool *is_head,
                 served_answer *out);
/* The value of a header into out, "" without it. */
const char *served_header(const served_answer *answer, const char *name, char *out,
                          size_t capacity);
void served_answer_release(served_answer *answer);

#endif
