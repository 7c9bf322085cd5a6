/*
 * Identity of a base model and of an initial adapter, for the promise that a resume goes on with
 * the same ones. Must be quick for files of many gigabytes: large ones are sampled (prepare.h says
 * how).
 */
#include <string.h>

#include "base/hash.h"
#include "job/prepare.h"

#define WHOLE_BYTES  ((int64_t)8 << 20)
#define HEAD_BYTES   ((int64_t)1 << 20)
#define TAIL_BYTES   ((int64_t)64 << 10)
#define BLOCK_BYTES  4096
#define BLOCK_COUNT  256
#define BUFFER_BYTES ((size_t)1 << 20)

static lc_code add_bytes(lc_sha256 *hash, const lc_reader *reader, int64_t offset, int64_t bytes,
                         char *buffer, lc_err *err)
{
    while (bytes > 0) {
        const size_t part = bytes < (int64_t)BUFFER_BYTES ? (size_t)bytes : BUFFER_BYTES;
        LC_TRY(lc_reader_read(reader, offset, buffer, part, err));
        lc_sha256_update(hash, buffer, part);
        offset += (int64_t)part;
        bytes -= (int64_t)part;
    }
    return LC_OK;
}

static lc_code add_contents(lc_sha256 *hash, const lc_reader *reader, char *buffer, lc_err *err)
{
    if (reader->bytes <= WHOLE_BYTES) {
        return add_bytes(hash, reader, 0, reader->bytes, buffer, err);
    }
    LC_TRY(add_bytes(hash, reader, 0, HEAD_BYTES, buffer, err));
    const int64_t stride = (reader->bytes - BLOCK_BYTES) / BLOCK_COUNT;
    for (int64_t i = 0; i < BLOCK_COUNT; i++) {
        LC_TRY(add_bytes(hash, reader, i * stride, BLOCK_BYTES, buffer, err));
    }
    return add_bytes(hash, reader, reader->bytes - TAIL_BYTES, TAIL_BYTES, buffer, err);
}

/* Name, size and contents of DIR/name. */
static lc_code add_file(lc_sha256 *hash, const char *dir, const char *name, char *buffer,
                        lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_reader reader;
    LC_TRY(lc_path_join(dir, name, path, err));
    LC_TRY(lc_reader_open(path, &reader, err));
    lc_sha256_update(hash, name, strlen(name) + 1);
    lc_sha256_update(hash, &reader.bytes, sizeof reader.bytes);
    const lc_code code = add_contents(hash, &reader, buffer, err);
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

lc_code lc_job_base_sha256(const char *model_dir, uint8_t digest[32], lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    lc_sha256 hash;
    LC_TRY(lc_list_dir(model_dir, &names, &count, err));
    char *buffer = lc_malloc(BUFFER_BYTES);
    lc_code code =
        buffer != NULL ? LC_OK : lc_fail(err, LC_ERR_MEMORY, "no memory to read %s", model_dir);
    lc_sha256_init(&hash);
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        if (is_part_of_base(names[i])) {
            code = add_file(&hash, model_dir, names[i], buffer, err);
        }
    }
    lc_sha256_final(&hash, digest);
    lc_free(buffer);
    lc_list_free(names, count);
    return code;
}

lc_code lc_job_adapter_sha256(const char *adapter_dir, uint8_t digest[32], lc_err *err)
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
    lc_sha256_final(&hash, digest);
    return LC_OK;
}
