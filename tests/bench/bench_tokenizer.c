/*
 * Our side of compare_tokenizers: loads a tokenizer and encodes texts when told to, a command a
 * line on stdin, one line of answer each. Programs that measure; none of them is a test.
 *
 *   load DIR        seconds to load DIR/tokenizer.json, which is the tokenizer from then on
 *   texts FILE      reads texts that NUL bytes separate: their count
 *   encode THREADS  encodes them all: seconds, tokens
 *   ids FILE        writes per text its count of ids and the ids, 32 bits each
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "lorac/mem.h"
#include "text/tokenizer.h"

#define MAX_TEXTS 1000000

typedef struct bench {
    lc_tokenizer *tokenizer;
    char *data;
    size_t starts[MAX_TEXTS + 1]; /* text i is data[starts[i]] .. data[starts[i + 1] - 2] */
    size_t count;
    lc_tokens tokens[LC_MAX_THREADS];
    int64_t token_counts[LC_MAX_THREADS];
    lc_err err;
} bench;

static void must(const bench *b, lc_code code)
{
    if (code != LC_OK) {
        (void)fprintf(stderr, "%s\n", b->err.message);
        exit(1);
    }
}

static void load(bench *b, const char *directory)
{
    lc_tokenizer_free(b->tokenizer);
    const double begin = lc_monotonic_seconds();
    must(b, lc_tokenizer_load(directory, &b->tokenizer, &b->err));
    (void)printf("%.6f\n", lc_monotonic_seconds() - begin);
}

static void read_texts(bench *b, const char *path)
{
    size_t bytes = 0;
    lc_free(b->data);
    must(b, lc_file_read(path, LC_MAX_TEXT_BYTES * 4, &b->data, &bytes, &b->err));
    b->count = 0;
    for (size_t at = 0; at <= bytes && b->count < MAX_TEXTS; at += strlen(b->data + at) + 1) {
        b->starts[b->count++] = at;
        b->starts[b->count] = at + strlen(b->data + at) + 1;
    }
    (void)printf("%zu\n", b->count);
}

static lc_code encode_one(void *context, int64_t index, int worker, lc_err *err)
{
    bench *b = context;
    lc_tokens *tokens = &b->tokens[worker];
    const size_t begin = b->starts[index];
    tokens->count = 0;
    LC_TRY(lc_tokenizer_encode(b->tokenizer, b->data + begin, b->starts[index + 1] - 1 - begin,
                               false, tokens, err));
    b->token_counts[worker] += (int64_t)tokens->count;
    return LC_OK;
}

static void encode(bench *b, int threads)
{
    lc_pool *pool = NULL;
    int64_t total = 0;
    memset(b->token_counts, 0, sizeof b->token_counts);
    must(b, lc_pool_start(threads, NULL, NULL, &pool, &b->err));
    const double begin = lc_monotonic_seconds();
    must(b, lc_pool_try(pool, (int64_t)b->count, encode_one, b, &b->err));
    const double seconds = lc_monotonic_seconds() - begin;
    lc_pool_stop(pool);
    for (int i = 0; i < threads; i++) {
        total += b->token_counts[i];
    }
    (void)printf("%.6f %lld\n", seconds, (long long)total);
}

static void write_ids(bench *b, const char *path)
{
    FILE *file = fopen(path, "wb");
    for (size_t i = 0; file != NULL && i < b->count; i++) {
        must(b, encode_one(b, (int64_t)i, 0, &b->err));
        const int32_t count = (int32_t)b->tokens[0].count;
        (void)fwrite(&count, sizeof count, 1, file);
        (void)fwrite(b->tokens[0].ids, sizeof(int32_t), b->tokens[0].count, file);
    }
    (void)printf("%s\n", file != NULL && fclose(file) == 0 ? "done" : "failed");
}

int main(void)
{
    static bench b;
    char line[LC_MAX_PATH_BYTES + 16];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *argument = strchr(line, ' ');
        argument = argument != NULL ? argument + 1 : line + strlen(line);
        if (strncmp(line, "load ", 5) == 0) {
            load(&b, argument);
        } else if (strncmp(line, "texts ", 6) == 0) {
            read_texts(&b, argument);
        } else if (strncmp(line, "encode ", 7) == 0) {
            const long threads = strtol(argument, NULL, 10);
            encode(&b, threads < 1 ? 1 : threads > LC_MAX_THREADS ? LC_MAX_THREADS : (int)threads);
        } else if (strncmp(line, "ids ", 4) == 0) {
            write_ids(&b, argument);
        }
        (void)fflush(stdout);
    }
    return 0;
}
