/*
 * Identity of a base model and of an initial adapter, for the promise that a resume goes on with
 * the same ones. A base is summed by all threads: chunk by chunk, then SHA-256 of the chunks' sums.
 */
#include <string.h>

#include "base/hash.h"
#include "base/thread.h"
#include "job/prepare.h"

#define CHUNK_BYTES ((int64_t)4 << 20)
#define PART_BYTES  ((int64_t)256 << 10) /* read at once */

typedef uint8_t digest[32];

/* One file being summed. */
typedef struct lc_file_hash {
    const lc_reader *reader;
    digest *chunks; /* one for each chunk of the file */
    char *parts;    /* PART_BYTES for each thread */
} lc_file_hash;

static lc_code hash_chunk(const lc_reader *reader, int64_t offset, char *part, uint8_t out[32],
                          lc_err *err)
{
    const int64_t end = offset + CHUNK_BYTES < reader->bytes ? offset + CHUNK_BYTES : reader->bytes;
    lc_checksum sum;
    lc_checksum_init(&sum);
    while (offset < end) {
        const int64_t bytes = end - offset < PART_BYTES ? end - offset : PART_BYTES;
        LC_TRY(lc_reader_read(reader, offset, part, (size_t)bytes, err));
        lc_checksum_update(&sum, part, (size_t)bytes);
        offset += bytes;
    }
    lc_checksum_final(&sum, out);
    return LC_OK;
}

static lc_code hash_task(void *context, int64_t chunk, int worker, lc_err *err)
{
    const lc_file_hash *file = context;
    return hash_chunk(file->reader, chunk * CHUNK_BYTES, file->parts + worker * PART_BYTES,
                      file->chunks[chunk], err);
}

/* SHA-256 over the checksum of each chunk, added to `hash`. */
static lc_code add_contents(lc_sha256 *hash, const lc_reader *reader, lc_pool *pool, lc_err *err)
{
    const int threads = lc_pool_threads(pool);
    const int64_t count = (reader->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    lc_file_hash file = {.reader = reader};
    lc_arena arena;
    void *chunks = NULL, *parts = NULL;
    lc_code code;
    lc_arena_init(&arena, "hashes");
    LC_TRY_GOTO(lc_arena_alloc(&arena, (size_t)count + 1, sizeof(digest), &chunks, err));
    LC_TRY_GOTO(lc_arena_alloc(&arena, (size_t)threads, (size_t)PART_BYTES, &parts, err));
    file.chunks = chunks;
    file.parts = parts;
    LC_TRY_GOTO(lc_pool_try(pool, count, hash_task, &file, err));
    lc_sha256_update(hash, chunks, (size_t)count * sizeof(digest));
fail:
    lc_arena_release(&arena);
    return code;
}

/* Name, size and contents of DIR/name. */
static lc_code add_file(lc_sha256 *hash, const char *dir, const char *name, lc_pool *pool,
                        lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_reader reader;
    LC_TRY(lc_path_join(dir, name, path, err));
    LC_TRY(lc_reader_open(path, &reader, err));
    lc_sha256_update(hash, name, strlen(name) + 1);
    lc_sha256_update(hash, &reader.bytes, sizeof reader.bytes);
    const lc_code code = add_contents(hash, &reader, pool, err);
    lc_reader_close(&reader);
    return code;
}

static bool is_part_of_base(const char *name)
{
    static const char suffix[] = ".safetensors";
    const size_t length = strlen(name);
    return strcmp(name, "config.json") == 0 || strcmp(name, "model.safetensors.index.json") == 0 ||
           (length > sizeof suffix - 1 && strcmp(name + length - (sizeof suffix - 1), suffix) == 0);
}

lc_code lc_job_base_sha256(const char *model_dir, int threads, uint8_t out[32], lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    lc_pool *pool = NULL;
    lc_sha256 hash;
    LC_TRY(lc_list_dir(model_dir, &names, &count, err));
    lc_code code = lc_pool_start(threads, NULL, NULL, &pool, err);
    lc_sha256_init(&hash);
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        if (is_part_of_base(names[i])) {
            code = add_file(&hash, model_dir, names[i], pool, err);
        }
    }
    lc_sha256_final(&hash, out);
    lc_pool_stop(pool);
    lc_list_free(names, count);
    return code;
}

lc_code lc_job_adapter_sha256(const char *adapter_dir, uint8_t out[32], lc_err *err)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    char path[LC_MAX_PATH_BYTES];
    uint8_t part[32];
    lc_sha256 hash;
    lc_sha256_init(&hash);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        LC_TRY(lc_path_join(adapter_dir, names[i], path, err));
        LC_TRY(lc_sha256_file(path, part, NULL, err));
        lc_sha256_update(&hash, part, sizeof part);
    }
    lc_sha256_final(&hash, out);
    return LC_OK;
}
