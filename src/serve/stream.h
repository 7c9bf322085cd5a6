/*
 * An answer that is made while it is sent: one side adds text, the other, an HTTP thread, takes it.
 * Server-sent events go this way. Two references, one for each side; the last one frees.
 */
#ifndef LC_SERVE_STREAM_H
#define LC_SERVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lorac/err.h"

#define LC_MAX_STREAM_BYTES ((size_t)1 << 20) /* made and not yet taken */

typedef struct lc_stream lc_stream;

/* With one reference, the maker's. */
LC_WARN_UNUSED lc_code lc_stream_new(lc_stream **out, lc_err *err);
void lc_stream_hold(lc_stream *stream);
void lc_stream_release(lc_stream *stream);

/* For the maker, any thread. False: nobody takes it any more (the client is gone, it does not keep
 * up, or memory is short); what is added then is dropped, so the maker had better stop. */
bool lc_stream_add(lc_stream *stream, const char *bytes, size_t count);
void lc_stream_end(lc_stream *stream);

/* For the taker. wake(context) is called by the maker's thread, once, after a take of 0 when there
 * is something again. */
typedef void (*lc_stream_wake)(void *context);

/* Up to `room` bytes into `to`: their number; 0: nothing yet, sleep(context) was called (no lock of
 * the maker's is held meanwhile, and wake comes after it); -1: it has ended; -2: it broke off. */
ssize_t lc_stream_take(lc_stream *stream, char *to, size_t room, void (*sleep)(void *context),
                       lc_stream_wake wake, void *context);
void lc_stream_close(lc_stream *stream); /* takes no more */

#endif
