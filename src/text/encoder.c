/*
 * The scratch of encoding outlives a call: the cache of words pays over texts, and short texts
 * would cost more in allocations than in tokens. An encoder waits in its tokenizer until the next
 * call, on whatever thread, takes it. What only a very long text needs is given back.
 */
#include "text/tokenizer_internal.h"

#define KEPT_BYTES ((size_t)1 << 20) /* of a rewritten text */

lc_code lc_encoder_pool_create(lc_encoder_pool **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "encoders", err));
    lc_encoder_pool *pool = memory;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        lc_free(pool);
        return lc_fail(err, LC_ERR_MEMORY, "no lock for the encoders of a tokenizer");
    }
    *out = pool;
    return LC_OK;
}

static void encoder_free(lc_encoder *e)
{
    for (int i = 0; i < LC_MAX_STEPS; i++) {
        lc_tracked_release(&e->rewritten[i]);
    }
    lc_tracked_release(&e->normalized[0]);
    lc_tracked_release(&e->normalized[1]);
    lc_bpe_scratch_release(&e->scratch);
    lc_matcher_free(e->matcher);
    lc_free(e);
}

void lc_encoder_pool_free(lc_encoder_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (pool->first != NULL) {
        lc_encoder *e = pool->first;
        pool->first = e->next;
        encoder_free(e);
    }
    (void)pthread_mutex_destroy(&pool->lock);
    lc_free(pool);
}

static lc_code create(const lc_tokenizer *tokenizer, lc_encoder **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "an encoder", err));
    lc_encoder *e = memory;
    e->tokenizer = tokenizer;
    const lc_code code = lc_matcher_create(&e->matcher, err);
    if (code != LC_OK) {
        lc_free(e);
        return code;
    }
    *out = e;
    return LC_OK;
}

lc_code lc_encoder_take(const lc_tokenizer *tokenizer, lc_encoder **out, lc_err *err)
{
    lc_encoder_pool *pool = tokenizer->pool;
    (void)pthread_mutex_lock(&pool->lock);
    *out = pool->first;
    if (pool->first != NULL) {
        pool->first = pool->first->next;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return *out != NULL ? LC_OK : create(tokenizer, out, err);
}

static void shrink(lc_tracked *tracked)
{
    if (tracked->capacity > KEPT_BYTES) {
        lc_tracked_release(tracked);
    }
}

void lc_encoder_give(lc_encoder *e)
{
    lc_encoder_pool *pool = e->tokenizer->pool;
    for (int i = 0; i < LC_MAX_STEPS; i++) {
        shrink(&e->rewritten[i]);
    }
    shrink(&e->normalized[0]);
    shrink(&e->normalized[1]);
    lc_bpe_scratch_shrink(&e->scratch);
    (void)pthread_mutex_lock(&pool->lock);
    e->next = pool->first;
    pool->first = e;
    (void)pthread_mutex_unlock(&pool->lock);
}
