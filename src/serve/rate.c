/*
 * Token buckets by owner; see rate.h. Few owners: a list is searched.
 */
#include "serve/rate.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lorac/mem.h"
#include "serve/request.h"

typedef struct bucket {
    char owner[LC_OWNER_BYTES];
    double tokens, at;
} bucket;

struct lc_rate {
    pthread_mutex_t mutex;
    double per_second, burst;
    int count;
    bucket buckets[LC_MAX_RATE_OWNERS];
};

lc_code lc_rate_new(double per_second, int64_t burst, lc_rate **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the rates of requests", err));
    *out = memory;
    (*out)->per_second = per_second;
    (*out)->burst = (double)(burst < 1 ? 1 : burst);
    (void)pthread_mutex_init(&(*out)->mutex, NULL);
    return LC_OK;
}

void lc_rate_free(lc_rate *rate)
{
    if (rate != NULL) {
        (void)pthread_mutex_destroy(&rate->mutex);
        lc_free(rate);
    }
}

static bucket *find(lc_rate *rate, const char *owner, double now)
{
    bucket *oldest = &rate->buckets[0];
    for (int i = 0; i < rate->count; i++) {
        if (strcmp(rate->buckets[i].owner, owner) == 0) {
            return &rate->buckets[i];
        }
        if (rate->buckets[i].at < oldest->at) {
            oldest = &rate->buckets[i];
        }
    }
    if (rate->count < LC_MAX_RATE_OWNERS) {
        oldest = &rate->buckets[rate->count++];
    }
    (void)snprintf(oldest->owner, sizeof oldest->owner, "%s", owner);
    oldest->tokens = rate->burst;
    oldest->at = now;
    return oldest;
}

int64_t lc_rate_take(lc_rate *rate, const char *owner, double now)
{
    int64_t wait_ms = 0;
    if (rate->per_second <= 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&rate->mutex);
    bucket *own = find(rate, owner, now);
    own->tokens = fmin(rate->burst, own->tokens + (now - own->at) * rate->per_second);
    own->at = now;
    if (own->tokens >= 1) {
        own->tokens -= 1;
    } else {
        wait_ms = (int64_t)ceil((1 - own->tokens) / rate->per_second * 1000);
    }
    (void)pthread_mutex_unlock(&rate->mutex);
    return wait_ms;
}
