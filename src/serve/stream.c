/*
 * A text between two threads; see stream.h.
 */
#include "serve/stream.h"

#include <pthread.h>
#include <string.h>

#include "base/json.h"
#include "lorac/mem.h"

struct lc_stream {
    pthread_mutex_t mutex;
    int references;
    lc_text text; /* what waits begins at `taken` */
    size_t taken;
    bool has_ended, is_closed;
    lc_stream_wake wake; /* NULL: the taker is awake */
    void *context;
};

lc_code lc_stream_new(lc_stream **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "a stream", err));
    *out = memory;
    (*out)->references = 1;
    lc_text_init(&(*out)->text);
    (void)pthread_mutex_init(&(*out)->mutex, NULL);
    return LC_OK;
}

void lc_stream_hold(lc_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    stream->references++;
    (void)pthread_mutex_unlock(&stream->mutex);
}

void lc_stream_release(lc_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    const int left = --stream->references;
    (void)pthread_mutex_unlock(&stream->mutex);
    if (left == 0) {
        lc_text_release(&stream->text);
        (void)pthread_mutex_destroy(&stream->mutex);
        lc_free(stream);
    }
}

/* With the mutex held: the taker's wake may not come back here, it only tells its loop. */
static void wake_taker(lc_stream *stream)
{
    if (stream->wake != NULL) {
        const lc_stream_wake wake = stream->wake;
        stream->wake = NULL;
        wake(stream->context);
    }
}

bool lc_stream_add(lc_stream *stream, const char *bytes, size_t count)
{
    (void)pthread_mutex_lock(&stream->mutex);
    if (stream->taken > 0 && stream->taken == stream->text.length) {
        stream->text.length = stream->taken = 0;
    }
    if (!stream->is_closed) {
        lc_text_add(&stream->text, bytes, count);
        if (stream->text.failed || stream->text.length - stream->taken > LC_MAX_STREAM_BYTES) {
            stream->is_closed = true;
        }
        wake_taker(stream);
    }
    const bool is_open = !stream->is_closed;
    (void)pthread_mutex_unlock(&stream->mutex);
    return is_open;
}

void lc_stream_end(lc_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    stream->has_ended = true;
    wake_taker(stream);
    (void)pthread_mutex_unlock(&stream->mutex);
}

ssize_t lc_stream_take(lc_stream *stream, char *to, size_t room, void (*sleep)(void *context),
                       lc_stream_wake wake, void *context)
{
    (void)pthread_mutex_lock(&stream->mutex);
    const size_t waiting = stream->text.length - stream->taken;
    ssize_t result;
    if (stream->is_closed) {
        result = -2;
    } else if (waiting > 0) {
        const size_t count = waiting < room ? waiting : room;
        memcpy(to, stream->text.data + stream->taken, count);
        stream->taken += count;
        result = (ssize_t)count;
    } else if (stream->has_ended) {
        result = -1;
    } else {
        sleep(context);
        stream->wake = wake;
        stream->context = context;
        result = 0;
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    return result;
}

void lc_stream_close(lc_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    stream->is_closed = true;
    stream->wake = NULL;
    (void)pthread_mutex_unlock(&stream->mutex);
}
