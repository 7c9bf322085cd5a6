/* The table of choices, their texts, and the facts they hang on; see tuning.h. */
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "libraries.h"

#define FIRST_CAPACITY     64
#define SIZES_AN_OCTAVE    8
#define ROW_ALIGNMENT_LOG2 4

/* ---- the table ---- */

int64_t lc_cuda_round_rows(int64_t rows)
{
    int64_t octave = 1;
    while (octave * 2 < rows) {
        octave *= 2;
    }
    const int64_t step = octave > SIZES_AN_OCTAVE ? octave / SIZES_AN_OCTAVE : 1;
    return (rows + step - 1) / step * step;
}

lc_cuda_gemm_key lc_cuda_gemm_class(const lc_cuda_gemm_key *key)
{
    lc_cuda_gemm_key rounded = *key;
    int64_t *rows = key->ta == 'T' ? &rounded.k : &rounded.m;
    *rows = lc_cuda_round_rows(*rows);
    return rounded;
}

lc_cuda_gemm_key lc_cuda_gemm_any_rows(const lc_cuda_gemm_key *key)
{
    lc_cuda_gemm_key any = *key;
    any.m = LC_CUDA_ROWS_OF_ANY;
    any.scope = LC_SCOPE_ROWS;
    memset(any.alignment_log2, ROW_ALIGNMENT_LOG2, sizeof any.alignment_log2);
    return any;
}

const lc_cuda_choice *lc_cuda_choices_find(const lc_cuda_choices *choices,
                                           const lc_cuda_gemm_key *key)
{
    for (int i = 0; i < choices->count; i++) { /* only when a shape is seen for the first time */
        if (memcmp(&choices->items[i].key, key, sizeof *key) == 0) {
            return &choices->items[i];
        }
    }
    return NULL;
}

static lc_code grow(lc_cuda_choices *choices, lc_err *err)
{
    const int capacity = choices->capacity > 0 ? 2 * choices->capacity : FIRST_CAPACITY;
    if (choices->count >= LC_MAX_CHOICES) {
        return lc_fail(err, LC_ERR_DEVICE, "more than %d kinds of products", LC_MAX_CHOICES);
    }
    lc_cuda_choice *items = realloc(choices->items, (size_t)capacity * sizeof *items);
    if (items == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the choices of products");
    }
    choices->items = items;
    choices->capacity = capacity;
    return LC_OK;
}

lc_code lc_cuda_choices_add(lc_cuda_choices *choices, const lc_cuda_choice *choice, lc_err *err)
{
    if (choices->count == choices->capacity) {
        LC_TRY(grow(choices, err));
    }
    choices->items[choices->count++] = *choice;
    return LC_OK;
}

/* ---- texts ---- */

#define KEY_FORMAT                                                                                \
    "%c%c %lldx%lldx%lld ld %lld,%lld,%lld,%lld %s:%s bias %d addend %d align %d,%d,%d,%d exact " \
    "%d"

static void write_key(const lc_cuda_gemm_key *key, char out[LC_PRODUCT_BYTES])
{
    const uint8_t *log2 = key->alignment_log2;
    (void)snprintf(out, LC_PRODUCT_BYTES, KEY_FORMAT, key->ta, key->tb, (long long)key->m,
                   (long long)key->n, (long long)key->k, (long long)key->lda, (long long)key->ldb,
                   (long long)key->ldc, (long long)key->ldd, lc_dtype_name((lc_dtype)key->input),
                   lc_dtype_name((lc_dtype)key->output), key->has_bias, key->has_addend,
                   1 << log2[0], 1 << log2[1], 1 << log2[2], 1 << log2[3], key->scope);
}

static uint8_t dtype_of(const char *name)
{
    return (uint8_t)(strcmp(name, lc_dtype_name(LC_BF16)) == 0 ? LC_BF16 : LC_F32);
}

static uint8_t log2_of(int bytes)
{
    uint8_t log2 = 0;
    while (log2 < 8 && 1 << log2 < bytes) {
        log2++;
    }
    return log2;
}

/* Reads loosely; the caller compares with the text that the result gives. */
static void read_key(const char *text, lc_cuda_gemm_key *key)
{
    long long size[7] = {0};
    int flags[3] = {0}, align[4] = {0};
    char ta = 0, tb = 0, input[8] = "", output[8] = "";
    memset(key, 0, sizeof *key); /* compared as bytes */
    (void)sscanf(text,
                 "%c%c %18lldx%18lldx%18lld ld %18lld,%18lld,%18lld,%18lld %7[A-Z0-9]:%7[A-Z0-9] "
                 "bias %1d addend %1d align %3d,%3d,%3d,%3d exact %1d",
                 &ta, &tb, &size[0], &size[1], &size[2], &size[3], &size[4], &size[5], &size[6],
                 input, output, &flags[0], &flags[1], &align[0], &align[1], &align[2], &align[3],
                 &flags[2]);
    key->ta = (uint8_t)ta;
    key->tb = (uint8_t)tb;
    key->m = size[0];
    key->n = size[1];
    key->k = size[2];
    key->lda = size[3];
    key->ldb = size[4];
    key->ldc = size[5];
    key->ldd = size[6];
    key->input = dtype_of(input);
    key->output = dtype_of(output);
    key->has_bias = flags[0] == 1;
    key->has_addend = flags[1] == 1;
    key->scope = (uint8_t)(flags[2] >= 0 && flags[2] < LC_SCOPE_COUNT ? flags[2] : 0);
    for (int i = 0; i < 4; i++) {
        key->alignment_log2[i] = log2_of(align[i]);
    }
}

void lc_cuda_choice_write(const lc_cuda_choice *choice, lc_choice *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = (const unsigned char *)&choice->algorithm;
    _Static_assert(2 * sizeof choice->algorithm < LC_ALGORITHM_BYTES, "fits");
    memset(out, 0, sizeof *out);
    out->is_measured = choice->is_measured;
    if (choice->site.rows > 0) {
        lc_cuda_way_write(&choice->site, choice->way, out);
        return;
    }
    write_key(&choice->key, out->product);
    for (size_t i = 0; i < sizeof choice->algorithm; i++) {
        out->algorithm[2 * i] = digits[bytes[i] >> 4];
        out->algorithm[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static unsigned digit_of(char c)
{
    return (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0') & 15;
}

static bool is_whole(const lc_cuda_gemm_key *key)
{
    return (key->ta == 'N' || key->ta == 'T') && (key->tb == 'N' || key->tb == 'T') && key->m > 0 &&
           key->n > 0 && key->k > 0;
}

lc_code lc_cuda_choice_read(const lc_choice *text, lc_cuda_choice *out, lc_err *err)
{
    lc_choice again;
    unsigned char *bytes = (unsigned char *)&out->algorithm;
    memset(out, 0, sizeof *out);
    out->is_measured = text->is_measured;
    if (lc_cuda_way_read(text, &out->site, &out->way)) {
        return LC_OK;
    }
    memset(&out->site, 0, sizeof out->site);
    read_key(text->product, &out->key);
    const size_t length = strnlen(text->algorithm, sizeof text->algorithm);
    for (size_t i = 0; i < sizeof out->algorithm && 2 * i + 1 < length; i++) {
        bytes[i] = (unsigned char)(digit_of(text->algorithm[2 * i]) << 4 |
                                   digit_of(text->algorithm[2 * i + 1]));
    }
    lc_cuda_choice_write(out, &again);
    const bool is_product = is_whole(&out->key) && strcmp(again.product, text->product) == 0;
    if (!is_product || strcmp(again.algorithm, text->algorithm) != 0) {
        return lc_fail(err, LC_ERR_INVALID, "\"%.80s\" is no %s of this backend",
                       is_product ? text->algorithm : text->product,
                       is_product ? "algorithm" : "product");
    }
    return LC_OK;
}

/* ---- for the host ---- */

static const lc_cuda_choices *choices_of(const lc_device *device)
{
    return &((const lc_cuda *)device->state)->gemms.choices;
}

static int64_t count(const lc_device *device)
{
    return choices_of(device)->count;
}

static void get(const lc_device *device, int64_t index, lc_choice *out)
{
    const lc_cuda *cuda = device->state;
    const lc_cuda_choice *choice = &choices_of(device)->items[index];
    if (choice->attention == 0) {
        lc_cuda_choice_write(choice, out);
        return;
    }
    const lc_cuda_attention_choice *text = &cuda->attention.choices[choice->attention - 1];
    memset(out, 0, sizeof *out);
    memcpy(out->product, text->product, sizeof out->product);
    memcpy(out->algorithm, text->algorithm, sizeof out->algorithm);
}

static bool is_known(const lc_cuda_choices *choices, const lc_cuda_choice *wanted)
{
    for (int i = 0; i < choices->count; i++) {
        const lc_cuda_choice *item = &choices->items[i];
        if (memcmp(&item->key, &wanted->key, sizeof item->key) == 0 &&
            memcmp(&item->site, &wanted->site, sizeof item->site) == 0) {
            return true;
        }
    }
    return false;
}

static lc_code add(lc_device *device, const lc_choice *text, lc_err *err)
{
    lc_cuda_gemms *gemms = &lc_cuda_of(device)->gemms;
    lc_cuda_choice choice;
    if (strncmp(text->product, LC_CUDA_ATTENTION_PRODUCT, strlen(LC_CUDA_ATTENTION_PRODUCT)) == 0) {
        return lc_cuda_attention_give(lc_cuda_of(device), text, err);
    }
    LC_TRY(lc_cuda_choice_read(text, &choice, err));
    if (is_known(&gemms->choices, &choice)) {
        return lc_fail(err, LC_ERR_INVALID, "\"%s\" has its %s already", text->product,
                       choice.site.rows > 0 ? "way" : "algorithm");
    }
    LC_TRY(lc_cuda_choices_add(&gemms->choices, &choice, err));
    lc_cuda_gemms_forget_plans(gemms);
    return LC_OK;
}

static void add_fact(lc_fact *facts, int *used, const char *name, bool decides, const char *value)
{
    lc_fact *fact = &facts[(*used)++];
    memset(fact, 0, sizeof *fact);
    (void)snprintf(fact->name, sizeof fact->name, "%s", name);
    (void)snprintf(fact->value, sizeof fact->value, "%s", value);
    fact->decides = decides;
}

static void add_number(lc_fact *facts, int *used, const char *name, bool decides, long long value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", value);
    add_fact(facts, used, name, decides, text);
}

static int facts(const lc_device *device, lc_fact out[LC_MAX_FACTS])
{
    const lc_cuda *cuda = device->state;
    struct cudaDeviceProp properties = {.major = 0};
    int used = 0, driver = 0, runtime = 0;
    char attention[LC_FACT_BYTES];
    (void)cudaGetDeviceProperties(&properties, cuda->index);
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    add_fact(out, &used, "gpu", true, properties.name);
    add_number(out, &used, "compute_capability", true, properties.major * 10 + properties.minor);
    add_number(out, &used, "multiprocessors", true, properties.multiProcessorCount);
    add_number(out, &used, "cublaslt", true, (long long)LC_CUBLASLT(cublasLtGetVersion)());
    lc_cuda_attention_fact(cuda, attention, sizeof attention);
    add_fact(out, &used, "attention", true, attention);
    out[used - 1].is_beside_products = true;
    add_fact(out, &used, "partial_sums", true, "by shape"); /* scratch.h */
    add_number(out, &used, "driver", false, driver);
    add_number(out, &used, "runtime", false, runtime);
    return used;
}

const lc_choice_ops lc_cuda_choice_ops = {
    .facts = facts, .count = count, .get = get, .add = add, .tune = lc_cuda_tune};
