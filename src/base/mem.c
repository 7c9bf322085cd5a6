/*
 * Host memory: the allocator that every module uses, checked sizes, arenas. The only file that
 * calls malloc and free, so that fault injection reaches every allocation.
 */
#include "lorac/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"

#define ARENA_ALIGNMENT 64

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN 0
#endif

/* Under AddressSanitizer every arena allocation has a block of its own, and pages come from the
 * heap, so that overruns are seen. */
#define ARENA_BLOCK_BYTES (HAS_ASAN ? (size_t)4 : (size_t)64 << 10)

/* Stands before its data in one allocation. */
struct lc_arena_block {
    lc_arena_block *next; /* owned */
    char *data;           /* first aligned byte behind this header */
    size_t capacity;
    size_t used;
};

/* No object is larger than PTRDIFF_MAX; the sanitizers abort where malloc would say no. */
static bool is_refused(size_t bytes)
{
    return lc_fault_alloc() || bytes > PTRDIFF_MAX;
}

void *lc_malloc(size_t bytes)
{
    return is_refused(bytes) ? NULL : malloc(bytes != 0 ? bytes : 1);
}

void *lc_calloc(size_t count, size_t size)
{
    size_t bytes = 0;
    const bool fits = lc_mul_size(count, size, &bytes);
    return is_refused(fits ? bytes : SIZE_MAX) ? NULL : calloc(1, bytes != 0 ? bytes : 1);
}

void *lc_realloc(void *memory, size_t bytes)
{
    return is_refused(bytes) ? NULL : realloc(memory, bytes != 0 ? bytes : 1);
}

void *lc_aligned_alloc(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    if (is_refused(bytes) || posix_memalign(&memory, alignment, bytes != 0 ? bytes : 1) != 0) {
        return NULL;
    }
    return memory;
}

/* ---- blocks of pages ---- */

#define HUGE_PAGE_BYTES  ((size_t)2 << 20)
#define HUGE_BLOCK_BYTES ((size_t)64 << 20) /* from here on rounding up to huge pages is nothing */

/* The page before the data. */
typedef struct page_header {
    size_t mapped;
} page_header;

void *lc_pages_alloc(size_t bytes)
{
    size_t mapped;
    if (is_refused(bytes) || !lc_add_size(bytes, LC_PAGE_BYTES, &mapped)) {
        return NULL;
    }
    if (HAS_ASAN) {
        void *heap = NULL;
        if (posix_memalign(&heap, LC_PAGE_BYTES, bytes + (bytes == 0)) != 0) {
            return NULL;
        }
        return memset(heap, 0, bytes);
    }
    const bool is_huge = bytes >= HUGE_BLOCK_BYTES;
    if (is_huge && !lc_add_size(mapped, HUGE_PAGE_BYTES, &mapped)) {
        return NULL;
    }
    char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    if (is_huge) {
        (void)madvise(memory, mapped, MADV_HUGEPAGE);
    }
    const page_header header = {mapped};
    memcpy(memory, &header, sizeof header);
    return memory + LC_PAGE_BYTES;
}

void lc_pages_free(void *memory)
{
    if (HAS_ASAN) {
        free(memory);
    } else if (memory != NULL) {
        char *begin = (char *)memory - LC_PAGE_BYTES;
        page_header header;
        memcpy(&header, begin, sizeof header);
        (void)munmap(begin, header.mapped);
    }
}

char *lc_strdup(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = lc_malloc(bytes);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void lc_free(void *memory)
{
    free(memory);
}

static lc_code fail_memory(const char *what, size_t count, size_t size, lc_err *err)
{
    size_t bytes;
    if (!lc_mul_size(count, size, &bytes)) {
        return lc_fail_param(err, LC_ERR_MEMORY, what, "%s: %zu x %zu bytes is beyond any memory",
                             what, count, size);
    }
    return lc_fail_param(err, LC_ERR_MEMORY, what, "%s: out of memory for %zu bytes", what, bytes);
}

lc_code lc_new(void **out, size_t count, size_t size, const char *what, lc_err *err)
{
    void *memory = lc_calloc(count, size);
    if (memory == NULL) {
        return fail_memory(what, count, size, err);
    }
    *out = memory;
    return LC_OK;
}

void lc_arena_init(lc_arena *arena, const char *name)
{
    *arena = (lc_arena){.name = name};
}

/* A zeroed block for `bytes`; calloc leaves large ones untouched, so they cost no resident
 * memory yet. */
static lc_arena_block *new_block(size_t bytes)
{
    const size_t overhead = sizeof(lc_arena_block) + ARENA_ALIGNMENT - 1;
    size_t total;
    if (!lc_add_size(bytes, overhead, &total)) {
        return NULL;
    }
    lc_arena_block *block = lc_calloc(1, total);
    if (block == NULL) {
        return NULL;
    }
    const uintptr_t start = (uintptr_t)(block + 1);
    block->data = (char *)(block + 1) + (0 - start) % ARENA_ALIGNMENT;
    block->capacity = bytes;
    return block;
}

static bool round_up(size_t bytes, size_t *out)
{
    size_t padded;
    if (!lc_add_size(bytes != 0 ? bytes : 1, ARENA_ALIGNMENT - 1, &padded)) {
        return false;
    }
    *out = padded & ~(size_t)(ARENA_ALIGNMENT - 1);
    return true;
}

/* The newest shared block stays first; a large allocation gets a block of its own behind it. */
static lc_arena_block *block_for(lc_arena *arena, size_t padded)
{
    lc_arena_block *first = arena->first;
    if (first != NULL && first->capacity - first->used >= padded) {
        return first;
    }
    const bool alone = padded >= ARENA_BLOCK_BYTES / 4;
    lc_arena_block *block = new_block(alone ? padded : ARENA_BLOCK_BYTES);
    if (block == NULL) {
        return NULL;
    }
    if (alone && first != NULL) {
        block->next = first->next;
        first->next = block;
    } else {
        block->next = first;
        arena->first = block;
    }
    return block;
}

lc_code lc_arena_alloc(lc_arena *arena, size_t count, size_t size, void **out, lc_err *err)
{
    size_t bytes, padded;
    if (!lc_mul_size(count, size, &bytes) || !round_up(bytes, &padded)) {
        return fail_memory(arena->name, count, size, err);
    }
    lc_arena_block *block = block_for(arena, padded);
    if (block == NULL) {
        return fail_memory(arena->name, count, size, err);
    }
    *out = block->data + block->used;
    block->used += padded;
    arena->bytes += padded;
    return LC_OK;
}

lc_code lc_arena_strdup(lc_arena *arena, const char *text, size_t length, char **out, lc_err *err)
{
    size_t bytes;
    void *copy = NULL;
    if (!lc_add_size(length, 1, &bytes)) {
        return fail_memory(arena->name, length, 1, err);
    }
    LC_TRY(lc_arena_alloc(arena, bytes, 1, &copy, err));
    if (length > 0) {
        memcpy(copy, text, length);
    }
    *out = copy;
    return LC_OK;
}

void lc_arena_release(lc_arena *arena)
{
    lc_arena_block *block = arena->first;
    while (block != NULL) {
        lc_arena_block *next = block->next;
        lc_free(block);
        block = next;
    }
    lc_arena_init(arena, arena->name);
}
