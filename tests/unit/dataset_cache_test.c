// ctest: threads
/* Tokenizing on many threads, and the cache of what was tokenized before. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/dataset_cache.h"
#include "data/safetensors.h"
#include "testing.h"

#define MODEL LC_SOURCE_DIR "/models/sprout-3m"

static lc_tokenizer *tokenizer;
static lc_chat_template *chat_template;

static int load(void **state)
{
    (void)state;
    lc_err err = {.code = LC_OK};
    return lc_tokenizer_load(MODEL, &tokenizer, &err) == LC_OK &&
                   lc_chat_template_load(MODEL, &chat_template, &err) == LC_OK
               ? 0
               : -1;
}

static int unload(void **state)
{
    (void)state;
    lc_tokenizer_free(tokenizer);
    lc_chat_template_free(chat_template);
    return 0;
}

/* A file of `count` rows of random lengths, row `odd` being `text`. Static buffer. */
static const char *write_rows(int count, int odd, const char *text)
{
    static char path[LC_MAX_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/rows.jsonl", test_dir());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < count; i++) {
        if (i == odd) {
            (void)fprintf(file, "%s\n", text);
            continue;
        }
        (void)fprintf(file, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"%d", i);
        for (int64_t n = test_int(0, i % 100 == 0 ? 3000 : 60); n > 0; n--) {
            (void)fprintf(file, " w%d", (int)test_int(0, 999));
        }
        (void)fprintf(file, "\"}]}\n");
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

static void same(const lc_dataset *a, const lc_dataset *b)
{
    assert_int_equal(a->example_count, b->example_count);
    assert_int_equal(a->token_count, b->token_count);
    assert_int_equal(a->truncated_count, b->truncated_count);
    assert_int_equal(a->truncated_tokens, b->truncated_tokens);
    assert_int_equal(a->longest, b->longest);
    assert_int_equal(a->target_count, b->target_count);
    assert_memory_equal(a->input_ids, b->input_ids, (size_t)a->token_count * sizeof(int32_t));
    assert_memory_equal(a->loss_weights, b->loss_weights, (size_t)a->token_count * sizeof(float));
    assert_memory_equal(a->offsets, b->offsets, (size_t)(a->example_count + 1) * sizeof(int64_t));
    assert_memory_equal(a->sha256, b->sha256, sizeof a->sha256);
}

/* What on_progress has seen. */
typedef struct calls {
    int64_t done_bytes, total_bytes;
    int count, stop_at;
} calls;

static bool on_progress(void *context, int64_t done_bytes, int64_t total_bytes)
{
    calls *seen = context;
    assert_true(done_bytes >= seen->done_bytes && done_bytes <= total_bytes);
    seen->done_bytes = done_bytes;
    seen->total_bytes = total_bytes;
    return ++seen->count != seen->stop_at;
}

static void any_number_of_threads(void **state)
{
    (void)state;
    static const int threads[] = {3, 0};
    const char *path = write_rows(30000, -1, NULL); /* more than one block */
    lc_dataset one, many;
    lc_dataset_reading reading = {.what = "Training file", .max_tokens = 300, .threads = 1};
    assert_ok(lc_dataset_load_jsonl(path, &reading, tokenizer, chat_template, &one, &test_err));
    assert_int_equal(one.example_count, 30000);
    assert_true(one.truncated_count > 0);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        calls seen = {0};
        reading.threads = threads[i];
        reading.on_progress = on_progress;
        reading.context = &seen;
        assert_ok(
            lc_dataset_load_jsonl(path, &reading, tokenizer, chat_template, &many, &test_err));
        same(&one, &many);
        assert_true(seen.count > 0);
        assert_int_equal(seen.done_bytes, seen.total_bytes);
        lc_dataset_release(&many);
    }
    lc_dataset_release(&one);
}

static void the_first_bad_row_is_told(void **state)
{
    (void)state;
    static const struct {
        int row;
        const char *text, *message;
    } bad[] = {
        {0, "{}", "line 1"},
        {2999, "{\"messages\":[]}", "line 3000"},
        {1500, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\nnonsense", "line 1501"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lc_dataset d;
        const char *path = write_rows(3000, bad[i].row, bad[i].text);
        const lc_dataset_reading reading = {.what = "Training file", .max_tokens = 300};
        assert_fails(lc_dataset_load_jsonl(path, &reading, tokenizer, chat_template, &d, &test_err),
                     LC_ERR_INVALID, bad[i].message);
        assert_int_equal(test_err.line, bad[i].row + 1);
        assert_null(d.input_ids);
    }
}

static void stops_when_told(void **state)
{
    (void)state;
    lc_dataset d;
    calls seen = {.stop_at = 1};
    const lc_dataset_reading reading = {
        .what = "Training file", .max_tokens = 300, .on_progress = on_progress, .context = &seen};
    assert_fails(lc_dataset_load_jsonl(write_rows(100, -1, NULL), &reading, tokenizer,
                                       chat_template, &d, &test_err),
                 LC_ERR_INTERRUPTED, "stopped");
}

/* ---- the cache ---- */

/* Files in the cache's folder. */
static size_t cached(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    if (!lc_path_is_dir(folder)) {
        return 0;
    }
    assert_ok(lc_list_dir(folder, &names, &count, &test_err));
    lc_list_free(names, count);
    return count;
}

/* Path of the cache's only file. */
static void only_file(const char *folder, char path[LC_MAX_PATH_BYTES])
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(lc_list_dir(folder, &names, &count, &test_err));
    assert_int_equal(count, 1);
    assert_ok(lc_path_join(folder, names[0], path, &test_err));
    lc_list_free(names, count);
}

static void load_cached(const char *path, int64_t max_tokens, calls *seen, lc_dataset *d)
{
    *seen = (calls){0};
    const lc_dataset_reading reading = {.what = "Training file",
                                        .max_tokens = max_tokens,
                                        .use_cache = true,
                                        .on_progress = on_progress,
                                        .context = seen};
    assert_ok(
        lc_dataset_load(path, &reading, MODEL, lc_tokenizer_vocab_size(tokenizer), d, &test_err));
}

static void a_second_run_starts_at_once(void **state)
{
    (void)state;
    lc_dataset first, second;
    calls seen;
    const char *folder = test_dir(), *path = write_rows(300, -1, NULL);
    assert_int_equal(setenv("LORAC_DATASETS", folder, 1), 0);
    load_cached(path, 100, &seen, &first);
    assert_true(seen.count > 0 && first.truncated_count > 0);
    assert_int_equal(cached(folder), 1);
    load_cached(path, 100, &seen, &second);
    assert_int_equal(seen.count, 0); /* nothing was tokenized */
    same(&first, &second);
    lc_dataset_release(&second);
    load_cached(path, 101, &seen, &second); /* another length: other tokens */
    assert_true(seen.count > 0);
    lc_dataset_release(&second);
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    (void)fprintf(file, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"z\"}]}\n");
    assert_int_equal(fclose(file), 0);
    load_cached(path, 100, &seen, &second); /* another text */
    assert_true(seen.count > 0);
    assert_int_equal(second.example_count, 301);
    assert_int_equal(cached(folder), 3);
    lc_dataset_release(&first);
    lc_dataset_release(&second);
}

static void damage_is_found(void **state)
{
    (void)state;
    lc_dataset first, second;
    calls seen;
    char file[LC_MAX_PATH_BYTES];
    const char *folder = test_dir(), *path = write_rows(300, -1, NULL);
    assert_int_equal(setenv("LORAC_DATASETS", folder, 1), 0);
    load_cached(path, 100, &seen, &first);
    only_file(folder, file);
    const int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    uint8_t byte = 0;
    const off_t at = (off_t)test_int(2000, first.token_count * 8);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
    load_cached(path, 100, &seen, &second);
    assert_true(seen.count > 0);
    same(&first, &second);
    assert_int_equal(cached(folder), 1); /* made again */
    lc_dataset_release(&second);
    load_cached(path, 100, &seen, &second);
    assert_int_equal(seen.count, 0);
    lc_dataset_release(&first);
    lc_dataset_release(&second);
}

static void works_without_a_cache(void **state)
{
    (void)state;
    lc_dataset d;
    calls seen;
    const char *path = write_rows(20, -1, NULL);
    static const char *const nowhere[] = {"off", "/proc/none"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(setenv("LORAC_DATASETS", nowhere[i], 1), 0);
        for (int run = 0; run < 2; run++) {
            load_cached(path, 100, &seen, &d);
            assert_true(seen.count > 0);
            lc_dataset_release(&d);
        }
    }
}

#define NAME_HALF "0123456789abcdef0123456789abcdef"

/* A file of half the cache's limit, but for its blocks, that was used at that second. */
static void write_large(const char *folder, const char *name, time_t used)
{
    const struct timespec times[2] = {{used, 0}, {used, 0}};
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(folder, name, path, &test_err));
    test_write_file(path, "", 0);
    assert_int_equal(truncate(path, LC_MAX_DATASET_CACHE_BYTES / 2), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool is_in(const char *folder, const char *name)
{
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(folder, name, path, &test_err));
    return lc_path_exists(path);
}

/* What is unused for longest goes first; files of others stay and do not count. */
static void old_files_make_room(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "rows.jsonl",    "model.safetensors",
        NAME_HALF,       NAME_HALF "-" NAME_HALF,
        NAME_HALF "tmp", NAME_HALF "-" NAME_HALF ".safetensors.bak",
    };
    static const char old[] = NAME_HALF "-" NAME_HALF ".safetensors", broken[] = NAME_HALF ".1.tmp";
    static const char newer[] = NAME_HALF "-f123456789abcdef0123456789abcdef.safetensors";
    const size_t foreign_count = sizeof foreign / sizeof *foreign;
    lc_dataset d;
    calls seen;
    const char *folder = test_dir();
    for (size_t i = 0; i < foreign_count; i++) {
        write_large(folder, foreign[i], 1);
    }
    write_large(folder, broken, 2);
    write_large(folder, old, 3);
    write_large(folder, newer, 4);
    assert_int_equal(setenv("LORAC_DATASETS", folder, 1), 0);
    load_cached(write_rows(20, -1, NULL), 100, &seen, &d);
    for (size_t i = 0; i < foreign_count; i++) {
        assert_true(is_in(folder, foreign[i]));
    }
    assert_false(is_in(folder, broken));
    assert_false(is_in(folder, old));
    assert_true(is_in(folder, newer));
    assert_int_equal(cached(folder), foreign_count + 2);
    lc_dataset_release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads), cmocka_unit_test(the_first_bad_row_is_told),
        cmocka_unit_test(stops_when_told),       cmocka_unit_test(a_second_run_starts_at_once),
        cmocka_unit_test(damage_is_found),       cmocka_unit_test(works_without_a_cache),
        cmocka_unit_test(old_files_make_room),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
