/* Safetensors: header rules, limits, reading into matrices, the writer's bytes, failing I/O and
 * memory. */
#include "testing.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/hash.h"
#include "data/safetensors.h"
#include "lorac/mem.h"

static char path_buffer[LC_MAX_PATH_BYTES];

static const char *fresh_path(void)
{
    assert_int_equal(lc_path_join(test_dir(), "x.safetensors", path_buffer, NULL), LC_OK);
    return path_buffer;
}

/* A whole file from a header and `data` zero bytes; the caller frees it. */
static uint8_t *make_file(const char *header, size_t header_bytes, size_t data, size_t *bytes)
{
    *bytes = 8 + header_bytes + data;
    uint8_t *file = lc_calloc(*bytes + 1, 1);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)header_bytes >> (8 * i));
    }
    memcpy(file + 8, header, header_bytes);
    return file;
}

/* An exact-size copy, so that AddressSanitizer sees a read beyond it. */
static lc_code check(const char *header, size_t data)
{
    size_t bytes = 0;
    uint8_t *file = make_file(header, strlen(header), data, &bytes);
    uint8_t *exact = malloc(bytes);
    assert_non_null(exact);
    memcpy(exact, file, bytes);
    const lc_code code = lc_safetensors_check(exact, bytes, &test_err);
    free(exact);
    lc_free(file);
    return code;
}

#define T(dtype, shape, offsets) \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void accepts_what_the_reference_accepts(void **state)
{
    (void)state;
    assert_ok(check("{}", 0));
    assert_ok(check("{} \t\r\n", 0));
    assert_ok(check("{\"__metadata__\":{}}", 0));
    assert_ok(check("{\"__metadata__\":{\"format\":\"pt\",\"\":\"\"}}", 0));
    assert_ok(check("{\"a\":" T("F32", "[]", "[0,4]") "}", 4));
    assert_ok(check("{\"\":" T("F32", "[2,3]", "[0,24]") "}", 24));
    assert_ok(
        check("{\"b\":" T("BOOL", "[3]", "[2,5]") ",\"a\":" T("BF16", "[1]", "[0,2]") "}", 5));
    assert_ok(check("{\"e\":" T("F32", "[0,9]", "[4,4]") ",\"a\":" T(
                        "I32", "[1]", "[0,4]") ",\"f\":" T("F64", "[0]", "[0,0]") "}",
                    4));
    assert_ok(check("{\"\\u00e9\\\"\":" T("U8", "[1]", "[0,1]") "}", 1));
}

static const struct {
    const char *header;
    size_t data;
    lc_code code;
    const char *message;
} bad[] = {
    {"[]", 0, LC_ERR_INVALID, "does not begin with '{'"},
    {" {}", 0, LC_ERR_INVALID, "does not begin with '{'"},
    {"{\"a\"", 0, LC_ERR_INVALID, "safetensors header"},
    {"{}x", 0, LC_ERR_INVALID, "safetensors header"},
    {"{}", 1, LC_ERR_INVALID, "1 bytes at the end belong to no tensor"},
    {"{\"a\":1}", 0, LC_ERR_INVALID, "tensor a: its entry is not an object"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, LC_ERR_INVALID,
     "a"},
    {"{\"a\":" T("F8_E4M3", "[1]", "[0,1]") "}", 1, LC_ERR_UNSUPPORTED, "dtype F8_E4M3"},
    {"{\"a\":" T("C64", "[1]", "[0,8]") "}", 8, LC_ERR_UNSUPPORTED, "dtype C64"},
    {"{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, LC_ERR_INVALID, "unknown dtype \"f32\""},
    {"{\"a\":" T("\\n", "[1]", "[0,4]") "}", 4, LC_ERR_INVALID, "unknown dtype \"(unprintable)\""},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LC_ERR_INVALID,
     "tensor a: dtype is not a string"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LC_ERR_INVALID, "tensor a: dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, LC_ERR_INVALID, "tensor a: shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, LC_ERR_INVALID, "tensor a: data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, LC_ERR_INVALID,
     "\"x\""},
    {"{\"a\":" T("F32", "[1]", "[0,4,4]") "}", 4, LC_ERR_INVALID, "array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, LC_ERR_INVALID, "array of two numbers"},
    {"{\"a\":" T("F32", "[1]", "[0,\"4\"]") "}", 4, LC_ERR_INVALID, "array of two numbers"},
    {"{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4, LC_ERR_INVALID, "not a number"},
    {"{\"a\":" T("F32", "[1.0]", "[0,4]") "}", 4, LC_ERR_INVALID, "safetensors header"},
    {"{\"a\":" T("F32", "[1e0]", "[0,4]") "}", 4, LC_ERR_INVALID, "safetensors header"},
    {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, LC_ERR_INVALID, "safetensors header"},
    {"{\"a\":" T("F32", "[01]", "[0,4]") "}", 4, LC_ERR_INVALID, "safetensors header"},
    {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, LC_ERR_INVALID, "not inside"},
    {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 7, LC_ERR_INVALID, "[0, 8] are not inside"},
    {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, LC_ERR_INVALID, "need 8 bytes"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, LC_ERR_INVALID, "1 bytes at the end"},
    {"{\"a\":" T("F32", "[1]", "[1,5]") "}", 5, LC_ERR_INVALID, "leave a hole"},
    {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]") "}", 3, LC_ERR_INVALID,
     "overlap"},
    {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[3,5]") "}", 5, LC_ERR_INVALID,
     "leave a hole"},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,0]") "}", 0, LC_ERR_INVALID, "overflows"},
    {"{\"a\":" T("F64", "[2305843009213693952]", "[0,0]") "}", 0, LC_ERR_INVALID,
     "safetensors header"},
    {"{\"__metadata__\":{\"a\":1}}", 0, LC_ERR_INVALID, "a value is not a string"},
    {"{\"__metadata__\":[]}", 0, LC_ERR_INVALID, "__metadata__ is not an object"},
    {"{\"a\\n\":" T("U8", "[1]", "[0,1]") "}", 1, LC_ERR_INVALID, "control characters"},
    {"{\"a\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1, LC_ERR_INVALID, "u0000"},
};

static void refuses_and_says_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_fails(check(bad[i].header, bad[i].data), bad[i].code, bad[i].message);
    }
}

static void lengths(void **state)
{
    (void)state;
    uint8_t file[16] = {0};
    for (size_t bytes = 0; bytes < 8; bytes++) {
        assert_fails(lc_safetensors_check(file, bytes, &test_err), LC_ERR_INVALID, "cannot be");
    }
    assert_fails(lc_safetensors_check(file, 8, &test_err), LC_ERR_INVALID, "0 bytes");
    memcpy(file + 8, "{}", 2);
    file[0] = 1;
    assert_fails(lc_safetensors_check(file, 9, &test_err), LC_ERR_INVALID, "1 bytes");
    file[0] = 2;
    assert_ok(lc_safetensors_check(file, 10, &test_err));
    assert_fails(lc_safetensors_check(file, 9, &test_err), LC_ERR_INVALID, "cut off");
    file[0] = 3;
    assert_fails(lc_safetensors_check(file, 10, &test_err), LC_ERR_INVALID, "cut off");
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)LC_MAX_SAFETENSORS_HEADER >> (8 * i));
    }
    assert_fails(lc_safetensors_check(file, 10, &test_err), LC_ERR_INVALID, "cut off");
    file[0]++;
    assert_fails(lc_safetensors_check(file, 10, &test_err), LC_ERR_INVALID, "limit of 100000000");
    memset(file, 0xff, 8);
    assert_fails(lc_safetensors_check(file, 10, &test_err), LC_ERR_INVALID, "limit of 100000000");
}

static void limits_of_name_and_rank(void **state)
{
    (void)state;
    static char header[LC_MAX_TENSOR_NAME + 256], name[LC_MAX_TENSOR_NAME + 2];
    for (int extra = -1; extra <= 1; extra++) {
        memset(name, 'n', sizeof name);
        name[LC_MAX_TENSOR_NAME + extra] = '\0';
        (void)snprintf(header, sizeof header, "{\"%s\":" T("U8", "[1]", "[0,1]") "}", name);
        if (extra <= 0) {
            assert_ok(check(header, 1));
        } else {
            assert_fails(check(header, 1), LC_ERR_INVALID, "a tensor name of 1025 bytes");
        }
    }
    assert_ok(check("{\"a\":" T("U8", "[1,1,1,1,1,1,1]", "[0,1]") "}", 1));
    assert_ok(check("{\"a\":" T("U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1));
    assert_fails(check("{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1), LC_ERR_INVALID,
                 "more than 8 dimensions");
}

/* A header of `count` entries that are no tensors, and metadata. */
static lc_code check_entries(int64_t count, bool has_metadata)
{
    lc_text text;
    lc_text_init(&text);
    for (int64_t i = 0; i < count; i++) {
        lc_text_addf(&text, "%c\"%" PRId64 "\":0", i == 0 ? '{' : ',', i);
    }
    lc_text_addf(&text, has_metadata ? ",\"__metadata__\":{}}" : "}");
    assert_ok(lc_text_finish(&text, "header", &test_err));
    size_t bytes = 0;
    uint8_t *file = make_file(text.data, text.length, 0, &bytes);
    lc_text_release(&text);
    const lc_code code = lc_safetensors_check(file, bytes, &test_err);
    lc_free(file);
    return code;
}

/* At the limit the entries are looked at, which is seen by their error: a million whole ones would
 * take a GiB. Metadata is not counted. */
static void most_tensors(void **state)
{
    (void)state;
    assert_fails(check_entries(LC_MAX_TENSORS, true), LC_ERR_INVALID, "tensor 0: its entry");
    assert_fails(check_entries(LC_MAX_TENSORS + 1, false), LC_ERR_INVALID,
                 "1000001 tensors, more than the limit of 1000000");
}

/* Every byte of a good file changed at random: must end, and when accepted still tile the file. */
static void mutations_never_break(void **state)
{
    (void)state;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T(
        "F32", "[2,2]", "[0,16]") ",\"b\":" T("BF16", "[3]", "[16,22]") "}";
    size_t bytes = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t *file = make_file(header, strlen(header), 22, &bytes);
        for (int64_t n = test_int(1, 3); n > 0; n--) {
            file[test_int(0, 7) == 0 ? test_int(0, 8) : test_int(8, (int64_t)bytes - 23)] =
                (uint8_t)test_int(0, 255);
        }
        lc_err_clear(&test_err);
        const lc_code code = lc_safetensors_check(file, bytes, &test_err);
        assert_true(code == LC_OK || (code == test_err.code && test_err.message[0] != '\0'));
        lc_free(file);
    }
}

/* ---- writer ---- */

/* The header that safetensors 0.8.0 (Python) wrote for these 26 tensors. */
/* clang-format off */
static const char reference_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"}"
    ",\"a_uint64\":" T("U64", "[]", "[0,8]")
    ",\"z_uint64\":" T("U64", "[2,3]", "[8,56]")
    ",\"a_int64\":" T("I64", "[]", "[56,64]")
    ",\"z_int64\":" T("I64", "[2,3]", "[64,112]")
    ",\"a_float64\":" T("F64", "[]", "[112,120]")
    ",\"z_float64\":" T("F64", "[2,3]", "[120,168]")
    ",\"a_float32\":" T("F32", "[]", "[168,172]")
    ",\"z_float32\":" T("F32", "[2,3]", "[172,196]")
    ",\"a_uint32\":" T("U32", "[]", "[196,200]")
    ",\"z_uint32\":" T("U32", "[2,3]", "[200,224]")
    ",\"a_int32\":" T("I32", "[]", "[224,228]")
    ",\"z_int32\":" T("I32", "[2,3]", "[228,252]")
    ",\"a_bfloat16\":" T("BF16", "[]", "[252,254]")
    ",\"z_bfloat16\":" T("BF16", "[2,3]", "[254,266]")
    ",\"a_float16\":" T("F16", "[]", "[266,268]")
    ",\"z_float16\":" T("F16", "[2,3]", "[268,280]")
    ",\"a_uint16\":" T("U16", "[]", "[280,282]")
    ",\"z_uint16\":" T("U16", "[2,3]", "[282,294]")
    ",\"a_int16\":" T("I16", "[]", "[294,296]")
    ",\"z_int16\":" T("I16", "[2,3]", "[296,308]")
    ",\"a_int8\":" T("I8", "[]", "[308,309]")
    ",\"z_int8\":" T("I8", "[2,3]", "[309,315]")
    ",\"a_uint8\":" T("U8", "[]", "[315,316]")
    ",\"z_uint8\":" T("U8", "[2,3]", "[316,322]")
    ",\"a_bool\":" T("BOOL", "[]", "[322,323]")
    ",\"z_bool\":" T("BOOL", "[2,3]", "[323,329]")
    "}   ";
/* clang-format on */

static void writes_the_reference_bytes(void **state)
{
    (void)state;
    static const struct {
        lc_dtype dtype;
        const char *a, *z;
    } kinds[] = {{LC_BOOL, "a_bool", "z_bool"},         {LC_U8, "a_uint8", "z_uint8"},
                 {LC_I8, "a_int8", "z_int8"},           {LC_I16, "a_int16", "z_int16"},
                 {LC_U16, "a_uint16", "z_uint16"},      {LC_F16, "a_float16", "z_float16"},
                 {LC_BF16, "a_bfloat16", "z_bfloat16"}, {LC_I32, "a_int32", "z_int32"},
                 {LC_U32, "a_uint32", "z_uint32"},      {LC_F32, "a_float32", "z_float32"},
                 {LC_F64, "a_float64", "z_float64"},    {LC_I64, "a_int64", "z_int64"},
                 {LC_U64, "a_uint64", "z_uint64"}};
    static const uint8_t zeros[64];
    const lc_metadata metadata[] = {{"format", "pt"}};
    lc_tensor_out tensors[26];
    for (int i = 0; i < 13; i++) { /* in an order of our own */
        tensors[2 * i] = (lc_tensor_out){kinds[i].z, kinds[i].dtype, 2, {2, 3}, zeros};
        tensors[2 * i + 1] = (lc_tensor_out){kinds[i].a, kinds[i].dtype, 0, {0}, zeros};
    }
    const char *path = fresh_path();
    uint8_t digest[32], expected_digest[32];
    int64_t size = 0;
    assert_ok(lc_safetensors_write(path, tensors, 26, metadata, 1, digest, &size, &test_err));
    char *file = NULL;
    size_t bytes = 0, expected_bytes = 0;
    assert_ok(lc_file_read(path, 1 << 20, &file, &bytes, &test_err));
    uint8_t *expected = make_file(reference_header, strlen(reference_header), 329, &expected_bytes);
    assert_int_equal(bytes, expected_bytes);
    assert_int_equal(size, expected_bytes);
    assert_memory_equal(file, expected, bytes);
    assert_ok(lc_sha256_file(path, expected_digest, NULL, &test_err));
    assert_memory_equal(digest, expected_digest, 32);
    lc_free(expected);
    lc_free(file);
    assert_fails(lc_safetensors_write(path, tensors, 26, metadata, 1, NULL, NULL, &test_err),
                 LC_ERR_IO, "exists");
}

static void writer_refuses(void **state)
{
    (void)state;
    static const uint8_t zeros[8];
    static char name[LC_MAX_TENSOR_NAME + 2];
    const char *path = fresh_path();
    memset(name, 'n', sizeof name - 1);
    lc_tensor_out tensor = {name, LC_U8, 1, {1}, zeros};
    assert_fails(lc_safetensors_write(path, &tensor, 1, NULL, 0, NULL, NULL, &test_err),
                 LC_ERR_INVALID, "cannot be a tensor's name");
    tensor.name = "__metadata__";
    assert_fails(lc_safetensors_write(path, &tensor, 1, NULL, 0, NULL, NULL, &test_err),
                 LC_ERR_INVALID, "cannot be a tensor's name");
    tensor = (lc_tensor_out){"a", LC_U8, LC_MAX_TENSOR_RANK + 1, {1}, zeros};
    assert_fails(lc_safetensors_write(path, &tensor, 1, NULL, 0, NULL, NULL, &test_err),
                 LC_ERR_INVALID, "9 dimensions");
    tensor = (lc_tensor_out){"a", LC_F32, 2, {INT64_MAX, 2}, zeros};
    assert_fails(lc_safetensors_write(path, &tensor, 1, NULL, 0, NULL, NULL, &test_err),
                 LC_ERR_INVALID, "overflows");
    assert_false(lc_path_exists(path));
    assert_ok(lc_safetensors_write(path, NULL, 0, NULL, 0, NULL, NULL, &test_err));
    lc_safetensors *file = NULL;
    assert_ok(lc_safetensors_open(path, &file, &test_err));
    assert_int_equal(lc_safetensors_count(file), 0);
    assert_null(lc_safetensors_at(file, 0));
    assert_null(lc_safetensors_find(file, "a"));
    lc_safetensors_close(file);
}

/* Nothing is written: the header is made before the file, whose directory does not exist. */
static void longest_header_written(void **state)
{
    (void)state;
    const size_t rest = strlen("{\"__metadata__\":{\"k\":\"\"}}");
    const size_t longest = LC_MAX_SAFETENSORS_HEADER - rest;
    char *value = malloc(longest + 2);
    assert_non_null(value);
    memset(value, 'v', longest + 1);
    const lc_metadata metadata[] = {{"k", value}};
    value[longest] = '\0';
    assert_fails(
        lc_safetensors_write("/nowhere/x.safetensors", NULL, 0, metadata, 1, NULL, NULL, &test_err),
        LC_ERR_NOT_FOUND, "/nowhere/x.safetensors");
    value[longest] = 'v';
    value[longest + 1] = '\0'; /* one more byte is padded to eight */
    assert_fails(
        lc_safetensors_write("/nowhere/x.safetensors", NULL, 0, metadata, 1, NULL, NULL, &test_err),
        LC_ERR_INVALID, "header of 100000008 bytes is above the limit of 100000000");
    free(value);
}

/* ---- reader ---- */

#define MAX_OUT 40

static void round_trip(void **state)
{
    (void)state;
    const char *path = fresh_path();
    for (int round = 0; round < 50; round++) {
        lc_tensor_out tensors[MAX_OUT];
        char names[MAX_OUT][16];
        uint8_t *data[MAX_OUT];
        int64_t sizes[MAX_OUT];
        const int64_t count = test_int(0, MAX_OUT);
        for (int64_t i = 0; i < count; i++) {
            (void)snprintf(names[i], sizeof names[i], "t.%d.%d", (int)(i * 7 % 5), (int)i);
            tensors[i] = (lc_tensor_out){.name = names[i],
                                         .dtype = (lc_dtype)test_int(0, LC_DTYPE_COUNT - 1),
                                         .rank = (int)test_int(0, 4)};
            sizes[i] = (int64_t)lc_dtype_bytes(tensors[i].dtype);
            for (int d = 0; d < tensors[i].rank; d++) {
                tensors[i].shape[d] = test_int(0, 5);
                sizes[i] *= tensors[i].shape[d];
            }
            data[i] = malloc((size_t)sizes[i] + 1);
            for (int64_t b = 0; b < sizes[i]; b++) {
                data[i][b] = (uint8_t)test_int(0, 255);
            }
            tensors[i].data = data[i];
        }
        const lc_metadata metadata[] = {{"k\"\n", "v\xc3\xa9\x01"}, {"b", ""}};
        assert_ok(lc_safetensors_write(path, tensors, count, metadata, 2, NULL, NULL, &test_err));
        lc_safetensors *file = NULL;
        assert_ok(lc_safetensors_open(path, &file, &test_err));
        assert_int_equal(lc_safetensors_count(file), count);
        assert_string_equal(lc_safetensors_metadata(file, "k\"\n"), "v\xc3\xa9\x01");
        assert_string_equal(lc_safetensors_metadata(file, "b"), "");
        assert_null(lc_safetensors_metadata(file, "c"));
        for (int64_t i = 0; i < count; i++) {
            const lc_tensor_info *info = lc_safetensors_find(file, names[i]);
            assert_non_null(info);
            assert_int_equal(info->dtype, tensors[i].dtype);
            assert_int_equal(info->rank, tensors[i].rank);
            assert_memory_equal(info->shape, tensors[i].shape,
                                (size_t)info->rank * sizeof(int64_t));
            assert_int_equal(info->bytes, sizes[i]);
            uint8_t *back = malloc((size_t)sizes[i] + 1);
            memset(back, 0x5a, (size_t)sizes[i] + 1);
            assert_ok(lc_safetensors_read(file, info, 0, back, (size_t)sizes[i], &test_err));
            assert_memory_equal(back, data[i], (size_t)sizes[i]);
            assert_int_equal(back[sizes[i]], 0x5a);
            assert_fails(lc_safetensors_read(file, info, 0, back, (size_t)sizes[i] + 1, &test_err),
                         LC_ERR_INTERNAL, names[i]);
            assert_fails(lc_safetensors_read(file, info, -1, back, 0, &test_err), LC_ERR_INTERNAL,
                         names[i]);
            free(back);
            free(data[i]);
            if (i > 0) {
                assert_true(lc_safetensors_at(file, i - 1)->offset <=
                            lc_safetensors_at(file, i)->offset);
            }
        }
        lc_safetensors_close(file);
        assert_int_equal(unlink(path), 0);
    }
}

static float element(const void *data, lc_dtype dtype, int64_t i)
{
    if (dtype == LC_F32) {
        return ((const float *)data)[i];
    }
    const uint16_t bits = ((const uint16_t *)data)[i];
    return dtype == LC_BF16 ? lc_bf16_to_f32(bits) : lc_f16_to_f32(bits);
}

/* One matrix of every pair of dtypes, odd shapes, padded rows with poison between, small buffers.
 * */
static void reads_matrices(void **state)
{
    (void)state;
    static const lc_dtype from[] = {LC_F32, LC_BF16, LC_F16}, to[] = {LC_F32, LC_BF16};
    const char *dir = test_dir();
    for (int round = 0; round < 60; round++) {
        const lc_dtype source = from[round % 3], target = to[round % 2];
        const bool vector = round % 7 == 0;
        const int64_t rows = vector ? 1 : test_int(1, 300), cols = test_int(1, 400);
        const int64_t ld = cols + test_int(0, 1) * test_int(1, 70);
        const size_t size = (size_t)(rows * cols) * lc_dtype_bytes(source);
        uint8_t *data = malloc(size);
        for (int64_t i = 0; i < rows * cols; i++) {
            const float value = (float)test_uniform(-4, 4);
            if (source == LC_F32) {
                memcpy(data + 4 * i, &value, 4);
            } else {
                const uint16_t bits =
                    source == LC_BF16 ? lc_f32_to_bf16(value) : lc_f32_to_f16(value);
                memcpy(data + 2 * i, &bits, 2);
            }
        }
        lc_tensor_out out = {"w", source, vector ? 1 : 2, {rows, cols}, data};
        if (vector) {
            out.shape[0] = cols;
        }
        char path[LC_MAX_PATH_BYTES];
        assert_ok(lc_path_join(dir, "m.safetensors", path, &test_err));
        assert_ok(lc_safetensors_write(path, &out, 1, NULL, 0, NULL, NULL, &test_err));
        lc_safetensors *file = NULL;
        assert_ok(lc_safetensors_open(path, &file, &test_err));
        const size_t target_size = (size_t)(rows * ld) * lc_dtype_bytes(target);
        uint8_t *place = malloc(target_size);
        memset(place, 0xa5, target_size);
        const size_t buffer_bytes = (64u << 10) + (size_t)test_int(0, 9);
        void *buffer = malloc(buffer_bytes);
        lc_mat mat = {place, rows, cols, ld, target, 0};
        const lc_tensor_info *info = lc_safetensors_find(file, "w");
        assert_ok(lc_safetensors_read_mat(file, info, mat, buffer, buffer_bytes, &test_err));
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < cols; c++) {
                float expected = element(data, source, r * cols + c);
                if (target == LC_BF16) {
                    expected = lc_bf16_to_f32(lc_f32_to_bf16(expected));
                }
                const float got = element(place, target, r * ld + c);
                assert_memory_equal(&got, &expected, sizeof got);
            }
            for (int64_t c = cols; c < ld; c++) {
                const uint8_t *gap = place + (size_t)(r * ld + c) * lc_dtype_bytes(target);
                assert_int_equal(gap[0], 0xa5);
            }
        }
        mat.cols++;
        char text[96];
        (void)snprintf(text, sizeof text, "tensor w: expected %d x %d, found %d x %d", (int)rows,
                       (int)cols + 1, (int)rows, (int)cols);
        assert_fails(lc_safetensors_read_mat(file, info, mat, buffer, buffer_bytes, &test_err),
                     LC_ERR_INVALID, text);
        lc_safetensors_close(file);
        assert_int_equal(unlink(path), 0);
        free(place);
        free(buffer);
        free(data);
    }
}

static void refuses_other_matrices(void **state)
{
    (void)state;
    static const uint8_t zeros[64];
    float place[8];
    char buffer[64];
    const lc_tensor_out out[] = {{"i", LC_I32, 2, {2, 2}, zeros},
                                 {"cube", LC_F32, 3, {2, 2, 2}, zeros},
                                 {"scalar", LC_F32, 0, {0}, zeros}};
    const char *path = fresh_path();
    assert_ok(lc_safetensors_write(path, out, 3, NULL, 0, NULL, NULL, &test_err));
    lc_safetensors *file = NULL;
    assert_ok(lc_safetensors_open(path, &file, &test_err));
    const lc_mat mat = lc_mat_f32(place, 2, 2, 2);
    assert_fails(
        lc_safetensors_read_mat(file, lc_safetensors_find(file, "i"), mat, buffer, 64, &test_err),
        LC_ERR_INVALID, "tensor i: expected dtype F32, BF16 or F16, found I32");
    assert_fails(lc_safetensors_read_mat(file, lc_safetensors_find(file, "cube"), mat, buffer, 64,
                                         &test_err),
                 LC_ERR_INVALID, "a tensor of 3 dimensions");
    assert_fails(lc_safetensors_read_mat(file, lc_safetensors_find(file, "scalar"), mat, buffer, 64,
                                         &test_err),
                 LC_ERR_INVALID, "a tensor of 0 dimensions");
    assert_string_equal(test_err.param, "scalar");
    lc_safetensors_close(file);
}

static void files_that_are_not_there_or_shrink(void **state)
{
    (void)state;
    static const uint8_t zeros[4096];
    lc_safetensors *file = NULL;
    const char *path = fresh_path();
    assert_fails(lc_safetensors_open(path, &file, &test_err), LC_ERR_NOT_FOUND, path);
    assert_null(file);
    test_write_file(path, "abc", 3);
    assert_fails(lc_safetensors_open(path, &file, &test_err), LC_ERR_INVALID, "too few");
    assert_non_null(strstr(test_err.message, path));
    assert_int_equal(unlink(path), 0);
    const lc_tensor_out out = {"w", LC_U8, 1, {4096}, zeros};
    assert_ok(lc_safetensors_write(path, &out, 1, NULL, 0, NULL, NULL, &test_err));
    assert_ok(lc_safetensors_open(path, &file, &test_err));
    assert_int_equal(truncate(path, 1000), 0);
    uint8_t back[4096];
    assert_fails(lc_safetensors_read(file, lc_safetensors_at(file, 0), 0, back, 4096, &test_err),
                 LC_ERR_IO, "");
    lc_safetensors_close(file);
}

/* Every allocation and every I/O call of a write and an open fails once. */
static void survives_faults(void **state)
{
    (void)state;
    static const float values[6];
    const lc_tensor_out out[] = {{"a", LC_F32, 2, {2, 3}, values}, {"b", LC_BF16, 1, {3}, values}};
    const lc_metadata metadata[] = {{"format", "pt"}};
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(test_dir(), "f.safetensors", path, &test_err));
    for (int kind = 0; kind < 2; kind++) {
        int failures = 0;
        for (int64_t at = 1;; at++) {
            lc_safetensors *file = NULL;
            (void)unlink(path);
            lc_err_clear(&test_err);
            lc_fault_set(kind == 0 ? LC_FAULT_ALLOC : LC_FAULT_IO, at, 5 /* EIO */, false);
            lc_code code = lc_safetensors_write(path, out, 2, metadata, 1, NULL, NULL, &test_err);
            if (code == LC_OK) {
                code = lc_safetensors_open(path, &file, &test_err);
            }
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            lc_safetensors_close(file);
            if (code == LC_OK) {
                break;
            }
            assert_int_equal(code, kind == 0 ? LC_ERR_MEMORY : LC_ERR_IO);
            failures++;
        }
        assert_true(failures >= 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_reference_accepts),
        cmocka_unit_test(refuses_and_says_why),
        cmocka_unit_test(lengths),
        cmocka_unit_test(limits_of_name_and_rank),
        cmocka_unit_test(most_tensors),
        cmocka_unit_test(mutations_never_break),
        cmocka_unit_test(writes_the_reference_bytes),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(longest_header_written),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(reads_matrices),
        cmocka_unit_test(refuses_other_matrices),
        cmocka_unit_test(files_that_are_not_there_or_shrink),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
