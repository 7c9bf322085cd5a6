/*
 * Host memory. One allocator that every module uses (so that tests can make the n-th call fail),
 * checked sizes, and arenas by lifetime (process, job, step). Nothing is allocated inside a
 * training step.
 */
#ifndef LORAC_MEM_H
#define LORAC_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each fails (and returns NULL) on overflow, when the system has no memory, and when a fault is
 * injected. Free with lc_free. bytes may be 0 (returns a unique pointer). */
void *lc_malloc(size_t bytes);
void *lc_calloc(size_t count, size_t size);
void *lc_realloc(void *memory, size_t bytes);
void *lc_aligned_alloc(size_t alignment, size_t bytes);
char *lc_strdup(const char *text);
void lc_free(void *memory);

#define LC_PAGE_BYTES ((size_t)4096)

/* A large block of zeroed memory of its own, aligned to LC_PAGE_BYTES, in huge pages where the
 * system has them and the block is large; pages are touched when they are used. Free with
 * lc_pages_free. */
void *lc_pages_alloc(size_t bytes);
void lc_pages_free(void *memory);

/* Allocates count*size zeroed bytes into *out, or an LC_ERR_MEMORY that names `what` and the
 * size. */
LC_WARN_UNUSED lc_code lc_new(void **out, size_t count, size_t size, const char *what, lc_err *err);

/* *out = a * b, a + b; false, and *out untouched, on overflow. */
LC_WARN_UNUSED static inline bool lc_mul_size(size_t a, size_t b, size_t *out)
{
    size_t result;
    return !__builtin_mul_overflow(a, b, &result) && (*out = result, true);
}

LC_WARN_UNUSED static inline bool lc_add_size(size_t a, size_t b, size_t *out)
{
    size_t result;
    return !__builtin_add_overflow(a, b, &result) && (*out = result, true);
}

LC_WARN_UNUSED static inline bool lc_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t result;
    return !__builtin_mul_overflow(a, b, &result) && (*out = result, true);
}

LC_WARN_UNUSED static inline bool lc_add_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t result;
    return !__builtin_add_overflow(a, b, &result) && (*out = result, true);
}

/* An arena: allocations that live and die together. Memory from it is zeroed and 64-byte
 * aligned. */
typedef struct lc_arena_block lc_arena_block;
typedef struct lc_arena {
    const char *name;      /* borrowed, for messages */
    lc_arena_block *first; /* owned */
    size_t bytes;          /* handed out so far */
} lc_arena;

void lc_arena_init(lc_arena *arena, const char *name);
LC_WARN_UNUSED lc_code lc_arena_alloc(lc_arena *arena, size_t count, size_t size, void **out,
                                      lc_err *err);
LC_WARN_UNUSED lc_code lc_arena_strdup(lc_arena *arena, const char *text, size_t length, char **out,
                                       lc_err *err);
void lc_arena_release(lc_arena *arena); /* frees everything; the arena may be used again */

#ifdef __cplusplus
}
#endif
#endif
