/*
 * Merging an adapter: every value against fp64, in fp32, bf16 and fp16 files, one file and shards;
 * nothing else changes; nothing half-written stays.
 */
#include "testing.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "data/safetensors.h"
#include "infer/merge.h"
#include "lorac/mem.h"
#include "model/adapter.h"

#define MAX_FILE ((size_t)16 << 20)

static char base_dir[LC_MAX_PATH_BYTES], adapter_dir[LC_MAX_PATH_BYTES];

static void use_case(const char *name)
{
    (void)snprintf(base_dir, sizeof base_dir, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR,
                   name);
    (void)snprintf(adapter_dir, sizeof adapter_dir, "%s/tests/golden/cases/%s/adapter",
                   LC_SOURCE_DIR, name);
}

static const char *join(const char *dir, const char *name)
{
    static char paths[16][LC_MAX_PATH_BYTES];
    static int next;
    char *path = paths[next++ % 16];
    assert_ok(lc_path_join(dir, name, path, &test_err));
    return path;
}

/* A whole tensor in doubles; free with lc_free. */
static double *tensor_values(const lc_safetensors *file, const lc_tensor_info *tensor,
                             int64_t *count)
{
    void *raw = lc_malloc((size_t)tensor->bytes);
    *count = tensor->bytes / (int64_t)lc_dtype_bytes(tensor->dtype);
    float *floats = lc_calloc((size_t)*count, sizeof *floats);
    double *values = lc_calloc((size_t)*count, sizeof *values);
    assert_non_null(raw);
    assert_ok(lc_safetensors_read(file, tensor, 0, raw, (size_t)tensor->bytes, &test_err));
    assert_true(lc_convert(raw, tensor->dtype, floats, LC_F32, (size_t)*count));
    for (int64_t i = 0; i < *count; i++) {
        values[i] = (double)floats[i];
    }
    lc_free(raw);
    lc_free(floats);
    return values;
}

typedef struct adapter {
    lc_model_config config;
    lc_adapter_spec *spec;
    float *master;
} adapter;

static adapter load_adapter(void)
{
    adapter a;
    assert_ok(lc_model_config_load(base_dir, &a.config, &test_err));
    a.spec = lc_calloc(1, sizeof *a.spec);
    assert_non_null(a.spec);
    assert_ok(lc_adapter_spec_load(adapter_dir, &a.config, a.spec, &test_err));
    a.master = lc_calloc((size_t)a.spec->master_count, sizeof *a.master);
    assert_non_null(a.master);
    assert_ok(lc_adapter_load(adapter_dir, a.spec, &a.config, a.master, &test_err));
    return a;
}

static void free_adapter(adapter *a)
{
    lc_free(a->spec);
    lc_free(a->master);
}

/* Adds scale B A of the tensor's slot, in double; false when it has none. */
static bool add_product(const adapter *a, const char *name, double *values)
{
    for (int32_t layer = 0; layer < a->config.layers; layer++) {
        for (int module = 0; module < LC_MODULE_COUNT; module++) {
            char expected[128];
            (void)snprintf(expected, sizeof expected, "model.layers.%d.%s.weight", layer,
                           lc_module_path((lc_module_kind)module));
            const lc_lora_slot *slot = &a->spec->slots[layer][module];
            if (strcmp(expected, name) != 0 || slot->rank == 0) {
                continue;
            }
            const int64_t in = lc_module_in(&a->config, (lc_module_kind)module);
            const int64_t out = lc_module_out(&a->config, (lc_module_kind)module);
            for (int64_t i = 0; i < out * in; i++) {
                double sum = 0.0;
                for (int32_t k = 0; k < slot->rank; k++) {
                    sum += (double)a->master[slot->b_offset + i / in * slot->r16 + k] *
                           (double)a->master[slot->a_offset + k * in + i % in];
                }
                values[i] += (double)slot->scale * sum;
            }
            return true;
        }
    }
    return false;
}

/* Half a unit in the last place of a value of this dtype, and a bit for fp32 sums. */
static double tolerance(lc_dtype dtype, double value)
{
    const double unit = dtype == LC_F32 ? 0x1p-22 : dtype == LC_BF16 ? 0x1p-7 : 0x1p-10;
    return fabs(value) * unit * 0.501 + (dtype == LC_F16 ? 0x1p-25 : 0.0) + 1e-6;
}

static int64_t check_file(const char *name, const char *from, const char *out_dir, const adapter *a)
{
    lc_safetensors *base = NULL, *merged = NULL;
    int64_t changed = 0;
    assert_ok(lc_safetensors_open(join(from, name), &base, &test_err));
    assert_ok(lc_safetensors_open(join(out_dir, name), &merged, &test_err));
    assert_int_equal(lc_safetensors_count(base), lc_safetensors_count(merged));
    for (int64_t i = 0; i < lc_safetensors_count(base); i++) {
        const lc_tensor_info *tensor = lc_safetensors_at(base, i),
                             *other = lc_safetensors_at(merged, i);
        int64_t count = 0, other_count = 0;
        assert_string_equal(tensor->name, other->name);
        assert_int_equal(tensor->dtype, other->dtype);
        assert_int_equal(tensor->offset, other->offset);
        double *expected = tensor_values(base, tensor, &count);
        double *found = tensor_values(merged, other, &other_count);
        assert_int_equal(count, other_count);
        const bool is_adapted = add_product(a, tensor->name, expected);
        changed += is_adapted;
        for (int64_t j = 0; j < count; j++) {
            const double allowed = is_adapted ? tolerance(tensor->dtype, expected[j]) : 0.0;
            if (!(fabs(expected[j] - found[j]) <= allowed)) {
                fail_msg("%s[%lld]: %.9g, expected %.9g", tensor->name, (long long)j, found[j],
                         expected[j]);
            }
        }
        lc_free(expected);
        lc_free(found);
    }
    lc_safetensors_close(base);
    lc_safetensors_close(merged);
    return changed;
}

static int64_t adapted_matrices(const adapter *a)
{
    int64_t count = 0;
    for (int32_t layer = 0; layer < a->config.layers; layer++) {
        for (int module = 0; module < LC_MODULE_COUNT; module++) {
            count += a->spec->slots[layer][module].rank > 0;
        }
    }
    return count;
}

/* Nothing but `name` is in the directory. */
static void assert_only(const char *dir, const char *name)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(lc_list_dir(dir, &names, &count, &test_err));
    assert_int_equal(count, name == NULL ? 0 : 1);
    if (name != NULL) {
        assert_string_equal(names[0], name);
    }
    lc_list_free(names, count);
}

static void a_merge_is_w_plus_scale_b_a(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-default", "qwen2", "qwen3", "llama-patterns",
                                        "llama-biases"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        use_case(names[n]);
        adapter a = load_adapter();
        lc_merge_result result;
        const char *dir = test_dir();
        char out[LC_MAX_PATH_BYTES];
        (void)snprintf(out, sizeof out, "%s/merged", dir);
        assert_ok(lc_merge(base_dir, adapter_dir, out, &result, &test_err));
        assert_int_equal(result.matrices, adapted_matrices(&a));
        assert_true(result.matrices > 0);
        assert_int_equal(check_file("model.safetensors", base_dir, out, &a), result.matrices);
        assert_only(dir, "merged");
        char *before = NULL, *after = NULL;
        size_t before_bytes = 0, after_bytes = 0;
        assert_ok(lc_file_read(join(base_dir, "config.json"), MAX_FILE, &before, &before_bytes,
                               &test_err));
        assert_ok(
            lc_file_read(join(out, "config.json"), MAX_FILE, &after, &after_bytes, &test_err));
        assert_int_equal(before_bytes, after_bytes);
        assert_memory_equal(before, after, before_bytes);
        lc_free(before);
        lc_free(after);
        free_adapter(&a);
    }
}

/* Copies the base with another dtype, split over `shards` files (1: model.safetensors). */
static void write_base(const char *dir, lc_dtype dtype, int64_t shards)
{
    char *config = NULL;
    size_t config_bytes = 0;
    lc_safetensors *file = NULL;
    assert_ok(
        lc_file_read(join(base_dir, "config.json"), MAX_FILE, &config, &config_bytes, &test_err));
    test_write_file(join(dir, "config.json"), config, config_bytes);
    lc_free(config);
    assert_ok(lc_safetensors_open(join(base_dir, "model.safetensors"), &file, &test_err));
    const int64_t count = lc_safetensors_count(file);
    lc_tensor_out *tensors = lc_calloc((size_t)count, sizeof *tensors);
    lc_text index;
    lc_text_init(&index);
    lc_text_addf(&index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    assert_non_null(tensors);
    for (int64_t shard = 0; shard < shards; shard++) {
        char name[64];
        int64_t used = 0;
        (void)snprintf(name, sizeof name, shards == 1 ? "model.safetensors" : "part-%d.safetensors",
                       (int)shard);
        for (int64_t i = shard; i < count; i += shards) {
            const lc_tensor_info *tensor = lc_safetensors_at(file, i);
            int64_t values = 0;
            double *doubles = tensor_values(file, tensor, &values);
            float *floats = lc_calloc((size_t)values, sizeof *floats);
            for (int64_t j = 0; j < values; j++) {
                floats[j] = (float)doubles[j];
            }
            void *data = lc_calloc((size_t)values, sizeof(float));
            assert_true(lc_convert(floats, LC_F32, data, dtype, (size_t)values));
            tensors[used] = (lc_tensor_out){
                .name = tensor->name, .dtype = dtype, .rank = tensor->rank, .data = data};
            memcpy(tensors[used].shape, tensor->shape, sizeof tensor->shape);
            used++;
            lc_text_addf(&index, "%s\"%s\": \"%s\"", shard == 0 && i == 0 ? "" : ", ", tensor->name,
                         name);
            lc_free(doubles);
            lc_free(floats);
        }
        assert_ok(
            lc_safetensors_write(join(dir, name), tensors, used, NULL, 0, NULL, NULL, &test_err));
        for (int64_t i = 0; i < used; i++) {
            void *data = NULL;
            memcpy(&data, &tensors[i].data, sizeof data);
            lc_free(data);
        }
    }
    lc_text_addf(&index, "}}");
    if (shards > 1) {
        test_write_file(join(dir, "model.safetensors.index.json"), index.data, index.length);
    }
    lc_text_release(&index);
    lc_free(tensors);
    lc_safetensors_close(file);
}

static void other_dtypes_and_shards(void **state)
{
    (void)state;
    static const struct {
        lc_dtype dtype;
        int64_t shards;
    } cases[] = {{LC_BF16, 1}, {LC_F16, 1}, {LC_F32, 3}, {LC_BF16, 2}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        use_case("llama-default");
        const char *base = test_dir(), *dir = test_dir();
        write_base(base, cases[c].dtype, cases[c].shards);
        adapter a = load_adapter();
        lc_merge_result result;
        char out[LC_MAX_PATH_BYTES];
        (void)snprintf(out, sizeof out, "%s/new/merged///",
                       dir); /* parents are made, slashes do not matter */
        assert_ok(lc_merge(base, adapter_dir, out, &result, &test_err));
        int64_t changed = 0;
        for (int64_t shard = 0; shard < cases[c].shards; shard++) {
            char name[64];
            (void)snprintf(name, sizeof name,
                           cases[c].shards == 1 ? "model.safetensors" : "part-%d.safetensors",
                           (int)shard);
            changed += check_file(name, base, out, &a);
        }
        assert_int_equal(changed, adapted_matrices(&a));
        assert_true((cases[c].shards > 1) ==
                    lc_path_exists(join(out, "model.safetensors.index.json")));
        free_adapter(&a);
    }
}

static void an_fp16_overflow_names_the_tensor(void **state)
{
    (void)state;
    use_case("llama-default");
    adapter a = load_adapter();
    const char *base = test_dir(), *strong = test_dir(), *dir = test_dir();
    write_base(base, LC_F16, 1);
    for (int64_t i = 0; i < a.spec->master_count; i++) {
        a.master[i] *= 1e4f;
    }
    const lc_adapter_meta meta = {.base_model = "x"};
    assert_ok(lc_adapter_save(strong, a.spec, &a.config, a.master, &meta, &test_err));
    lc_merge_result result;
    assert_fails(lc_merge(base, strong, join(dir, "merged"), &result, &test_err), LC_ERR_NUMERIC,
                 "does not fit F16");
    assert_non_null(strstr(test_err.param, "model.layers."));
    assert_only(dir, NULL);
    free_adapter(&a);
}

static void the_directory_must_be_new(void **state)
{
    (void)state;
    use_case("llama-default");
    lc_merge_result result;
    const char *dir = test_dir(), *empty = test_dir();
    test_write_file(join(dir, "file"), "x", 1);
    assert_fails(lc_merge(base_dir, adapter_dir, dir, &result, &test_err), LC_ERR_USAGE,
                 "is not empty");
    assert_fails(lc_merge(base_dir, adapter_dir, join(dir, "file"), &result, &test_err),
                 LC_ERR_USAGE, "is not a directory");
    assert_fails(lc_merge(base_dir, adapter_dir, "", &result, &test_err), LC_ERR_USAGE,
                 "empty or too long");
    assert_fails(lc_merge(test_dir(), adapter_dir, join(dir, "m"), &result, &test_err),
                 LC_ERR_NOT_FOUND, "config.json");
    assert_fails(lc_merge(base_dir, test_dir(), join(dir, "m"), &result, &test_err),
                 LC_ERR_NOT_FOUND, "adapter_config.json");
    assert_only(dir, "file");
    assert_ok(
        lc_merge(base_dir, adapter_dir, empty, &result, &test_err)); /* an empty one is fine */
    assert_true(lc_path_exists(join(empty, "model.safetensors")));
}

/* Whatever call fails, the directory is whole or absent, and no temporary one stays. */
static void failed_calls_leave_nothing(void **state)
{
    (void)state;
    use_case("llama-default");
    static const lc_fault_kind kinds[] = {LC_FAULT_ALLOC, LC_FAULT_IO};
    const char *dir = test_dir();
    for (size_t k = 0; k < 2; k++) {
        bool is_done = false;
        int64_t failed = 0;
        for (int64_t n = 1; !is_done; n++) {
            lc_merge_result result;
            char out[LC_MAX_PATH_BYTES];
            (void)snprintf(out, sizeof out, "%s/m%lld", dir, (long long)n);
            lc_err_clear(&test_err);
            lc_fault_set(kinds[k], n, ENOSPC, false);
            const lc_code code = lc_merge(base_dir, adapter_dir, out, &result, &test_err);
            is_done = lc_fault_count(kinds[k]) < n;
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            failed += code != LC_OK;
            if (code != LC_OK && test_err.message[0] == '\0') {
                fail_msg("call %lld of kind %d fails with %s and no message", (long long)n,
                         (int)kinds[k], lc_code_name(code));
            }
            /* When only the sync after the rename failed, the directory is there, and whole. */
            assert_true(code != LC_OK
                            ? !lc_path_exists(out) || lc_path_exists(join(out, "config.json"))
                            : lc_path_exists(join(out, "model.safetensors")));
            assert_ok(lc_remove_tree(out, &test_err));
            assert_only(dir, NULL);
        }
        assert_true(failed > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merge_is_w_plus_scale_b_a),
        cmocka_unit_test(other_dtypes_and_shards),
        cmocka_unit_test(an_fp16_overflow_names_the_tensor),
        cmocka_unit_test(the_directory_must_be_new),
        cmocka_unit_test(failed_calls_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
