/* Weights of a model directory: one file or shards, a hostile index, an identity that sharding does
 * not change. */
#include "testing.h"

#include <unistd.h>

#include "base/fault.h"
#include "data/safetensors.h"
#include "lorac/mem.h"

static const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A shard with one F32 vector of two elements per name; element 0 is taken from values[first]. */
static void write_shard(const char *dir, const char *file, const char *const *names, int count,
                        int first)
{
    char path[LC_MAX_PATH_BYTES];
    lc_tensor_out out[4];
    for (int i = 0; i < count; i++) {
        out[i] = (lc_tensor_out){names[i], LC_F32, 1, {2}, &values[first + i]};
    }
    assert_ok(lc_path_join(dir, file, path, &test_err));
    assert_ok(lc_safetensors_write(path, out, count, NULL, 0, NULL, NULL, &test_err));
}

static void write_index(const char *dir, const char *text)
{
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, "model.safetensors.index.json", path, &test_err));
    test_write_file(path, text, strlen(text));
}

static void fails(const char *dir, lc_code code, const char *message)
{
    lc_weight_files *files = NULL;
    assert_fails(lc_weight_files_open(dir, &files, &test_err), code, message);
    assert_null(files);
}

static void one_file(void **state)
{
    (void)state;
    const char *dir = test_dir();
    fails(dir, LC_ERR_NOT_FOUND, "neither model.safetensors nor model.safetensors.index.json");
    const char *const names[] = {"x.weight", "a.weight"};
    write_shard(dir, "model.safetensors", names, 2, 0);
    write_index(dir, "not looked at");
    lc_weight_files *files = NULL;
    assert_ok(lc_weight_files_open(dir, &files, &test_err));
    const lc_safetensors *file = NULL;
    const lc_tensor_info *tensor = lc_weight_files_find(files, "x.weight", &file);
    assert_non_null(tensor);
    float back[2] = {0};
    assert_ok(lc_safetensors_read(file, tensor, 0, back, sizeof back, &test_err));
    assert_memory_equal(back, values, sizeof back);
    assert_null(lc_weight_files_find(files, "x.weigh", NULL));
    assert_non_null(lc_weight_files_find(files, "a.weight", NULL));
    assert_int_equal(lc_weight_files_bytes(files), 16);
    lc_weight_files_close(files);
}

/* Three tensors in two shards, one of them not in the index. */
static void shards(void **state)
{
    (void)state;
    const char *parts = test_dir();
    const char *const first[] = {"a", "b"}, *const last[] = {"c"};
    lc_weight_files *files = NULL;
    write_shard(parts, "m-1.safetensors", first, 2, 0);
    write_shard(parts, "m-2.safetensors", last, 1, 2);
    write_index(parts,
                "{\"metadata\":{\"total_size\":24},\"weight_map\":{\"c\":\"m-2.safetensors\","
                "\"a\":\"m-1.safetensors\"}}");
    assert_ok(lc_weight_files_open(parts, &files, &test_err));
    const lc_safetensors *holder = NULL, *second = NULL;
    assert_non_null(lc_weight_files_find(files, "b", &holder));
    assert_non_null(lc_weight_files_find(files, "c", &second));
    assert_ptr_not_equal(holder, second);
    assert_int_equal(lc_weight_files_count(files), 3);
    assert_int_equal(lc_weight_files_bytes(files), 24);
    lc_weight_files_close(files);
}

static void bad_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        lc_code code;
        const char *message;
    } cases[] = {
        {"[]", LC_ERR_INVALID, "is not a JSON object"},
        {"{", LC_ERR_INVALID, "index.json"},
        {"{}", LC_ERR_INVALID, "weight_map"},
        {"{\"weight_map\":[]}", LC_ERR_INVALID, "weight_map"},
        {"{\"weight_map\":{}}", LC_ERR_INVALID, "weight_map has 0 entries"},
        {"{\"weight_map\":{\"a\":1}}", LC_ERR_INVALID, "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"../s.safetensors\"}}", LC_ERR_INVALID,
         "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"/s.safetensors\"}}", LC_ERR_INVALID,
         "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"d/s.safetensors\"}}", LC_ERR_INVALID,
         "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", LC_ERR_INVALID, "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"s.bin\"}}", LC_ERR_INVALID, "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"\"}}", LC_ERR_INVALID, "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\".safetensors\"}}", LC_ERR_INVALID,
         "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\".s.safetensors\"}}", LC_ERR_INVALID,
         "tensor a is not the plain name"},
        {"{\"weight_map\":{\"a\":\"s.safetensors\",\"a\":\"s.safetensors\"}}", LC_ERR_INVALID, "a"},
        {"{\"weight_map\":{\"a\":\"t.safetensors\"}}", LC_ERR_NOT_FOUND, "t.safetensors"},
        {"{\"weight_map\":{\"zz\":\"s.safetensors\"}}", LC_ERR_INVALID,
         "tensor zz: model.safetensors.index.json places it in s.safetensors, which lacks it"},
        {"{\"weight_map\":{\"a\":\"s.safetensors\",\"b\":\"d.safetensors\"}}", LC_ERR_INVALID,
         "tensor b is in two shards"},
    };
    const char *dir = test_dir();
    const char *const names[] = {"a", "b"}, *const again[] = {"b"};
    write_shard(dir, "s.safetensors", names, 2, 0);
    write_shard(dir, "d.safetensors", again, 1, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_index(dir, cases[i].index);
        fails(dir, cases[i].code, cases[i].message);
    }
}

/* An index of `count` tensors, each in a shard of its own or all in none. */
static void write_many(const char *dir, int64_t count, bool has_shards)
{
    lc_text text;
    lc_text_init(&text);
    for (int64_t i = 0; i < count; i++) {
        lc_text_addf(&text, "%s\"%lld\":", i == 0 ? "{\"weight_map\":{" : ",", (long long)i);
        if (has_shards) {
            lc_text_addf(&text, "\"%lld.safetensors\"", (long long)(count - i));
        } else {
            lc_text_add(&text, "0", 1);
        }
    }
    lc_text_addf(&text, "}}");
    assert_ok(lc_text_finish(&text, "index", &test_err));
    write_index(dir, text.data);
    lc_text_release(&text);
}

/* At the limit the entries are looked at and the first shard is opened, which is not there. */
static void limits_of_the_index(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_many(dir, LC_MAX_TENSORS, false);
    fails(dir, LC_ERR_INVALID, "the file of tensor 0 is not the plain name");
    write_many(dir, LC_MAX_TENSORS + 1, false);
    fails(dir, LC_ERR_INVALID, "weight_map has 1000001 entries, expected 1 to 1000000");
    write_many(dir, LC_MAX_SHARDS, true);
    fails(dir, LC_ERR_NOT_FOUND, "/1.safetensors");
    write_many(dir, LC_MAX_SHARDS + 1, true);
    fails(dir, LC_ERR_INVALID, "names 10001 shards, more than the limit of 10000");
}

static void survives_faults(void **state)
{
    (void)state;
    const char *dir = test_dir();
    const char *const names[] = {"a", "b"}, *const last[] = {"c"};
    write_shard(dir, "s.safetensors", names, 2, 0);
    write_shard(dir, "t.safetensors", last, 1, 0);
    write_index(dir, "{\"weight_map\":{\"a\":\"s.safetensors\",\"c\":\"t.safetensors\"}}");
    for (int kind = 0; kind < 2; kind++) {
        int64_t at = 1;
        for (lc_code code = LC_ERR_IO; code != LC_OK; at++) {
            lc_weight_files *files = NULL;
            lc_err_clear(&test_err);
            lc_fault_set(kind == 0 ? LC_FAULT_ALLOC : LC_FAULT_IO, at, 5 /* EIO */, false);
            code = lc_weight_files_open(dir, &files, &test_err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            lc_weight_files_close(files);
            assert_true(code == LC_OK || code == (kind == 0 ? LC_ERR_MEMORY : LC_ERR_IO));
        }
        assert_true(at > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file),        cmocka_unit_test(shards),
        cmocka_unit_test(bad_indexes),     cmocka_unit_test(limits_of_the_index),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
