/*
 * Any bytes as tokenizer_config.json, added_tokens.json and special_tokens_map.json, with NULs
 * between them (a part that is not there is no file), beside a small tokenizer.json. Whatever loads
 * must encode a text with all that the files speak of to ids that it has, and decode these.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "lorac/mem.h"
#include "text/tokenizer.h"

#define PARTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/lorac-fuzz-XXXXXX";

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void write_file(const char *name, const void *data, size_t size)
{
    char path[sizeof folder + 64];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)unlink(path);
    if (data != NULL) {
        FILE *file = fopen(path, "wb");
        must(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
    }
}

static void remove_folder(void)
{
    lc_err ignored = {.code = LC_OK};
    (void)!lc_remove_tree(folder, &ignored);
}

static void make_folder(void)
{
    static const char tokenizer[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\" \":3},\"merges\":[\"a "
        "b\"]},\"added_tokens\":[{\"id\":4,\"content\":\"<e>\",\"special\":true}]}";
    must(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
    write_file("tokenizer.json", tokenizer, sizeof tokenizer - 1);
}

static void use(const lc_tokenizer *tokenizer)
{
    static const char text[] = "ab <e>aabb b ba<e> bab  a";
    lc_err err = {.code = LC_OK};
    lc_tokens tokens = {0};
    must(lc_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &tokens, &err) == LC_OK);
    for (size_t i = 0; i < tokens.count; i++) {
        must(tokens.ids[i] >= 0 && tokens.ids[i] < lc_tokenizer_vocab_size(tokenizer));
    }
    for (int skips = 0; skips < 2; skips++) {
        char *decoded = NULL;
        size_t bytes = 0;
        must(lc_tokenizer_decode(tokenizer, tokens.ids, tokens.count, skips == 1, &decoded, &bytes,
                                 &err) == LC_OK);
        lc_free(decoded);
    }
    lc_tokens_release(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[PARTS] = {"tokenizer_config.json", "added_tokens.json",
                                             "special_tokens_map.json"};
    static bool is_made = false;
    lc_err err = {.code = LC_OK};
    lc_tokenizer *tokenizer = NULL;
    if (!is_made) {
        make_folder();
        is_made = true;
    }
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
        const size_t length = end != NULL ? (size_t)(end - data) : size;
        write_file(names[i], length > 0 ? data : NULL, length);
        const size_t used = length + (end != NULL);
        data += used;
        size -= used;
    }
    if (lc_tokenizer_load(folder, &tokenizer, &err) == LC_OK) {
        use(tokenizer);
    } else {
        must(err.code != LC_ERR_INTERNAL && err.message[0] != '\0');
    }
    lc_tokenizer_free(tokenizer);
    return 0;
}
