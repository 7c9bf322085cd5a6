/* Ledgers in memory and on disk; see ledger.h. Used by a job (ledger_job.c) and by lorac bench. */
#include "job/ledger.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/params.h"
#include "lorac/log.h"
#include "lorac/mem.h"

#define FORMAT_NUMBER 1
#define LAST_KEY      "  \"sha256\": \""
#define LAST_END      "\"\n}\n"

void lc_ledger_release(lc_ledger *ledger)
{
    lc_free(ledger->choices);
    memset(ledger, 0, sizeof *ledger);
}

/* ---- facts ---- */

void lc_ledger_of_device(const lc_device *device, lc_ledger *out)
{
    memset(out, 0, sizeof *out);
    out->facts[0] = (lc_fact){.name = "lorac", .value = LC_VERSION, .decides = true};
    out->fact_count = 1 + device->choices->facts(device, out->facts + 1);
}

static const lc_fact *find_fact(const lc_ledger *ledger, const char *name)
{
    for (int i = 0; i < ledger->fact_count; i++) {
        if (strcmp(ledger->facts[i].name, name) == 0) {
            return &ledger->facts[i];
        }
    }
    return NULL;
}

const lc_fact *lc_ledger_other_fact(const lc_ledger *then, const lc_ledger *now, bool decides,
                                    const char **before)
{
    for (int i = 0; i < now->fact_count; i++) {
        const lc_fact *fact = &now->facts[i], *other = find_fact(then, fact->name);
        *before = other != NULL ? other->value : "unknown";
        if (fact->decides == decides && strcmp(*before, fact->value) != 0) {
            return fact;
        }
    }
    return NULL;
}

bool lc_ledger_difference(const lc_ledger *then, const lc_ledger *now, bool decides,
                          char out[LC_LEDGER_DIFFERENCE_BYTES])
{
    const char *before = NULL;
    const lc_fact *fact = lc_ledger_other_fact(then, now, decides, &before);
    if (fact != NULL) {
        (void)snprintf(out, LC_LEDGER_DIFFERENCE_BYTES, "%s was %s and is %s now", fact->name,
                       before, fact->value);
    }
    return fact != NULL;
}

bool lc_tuning_difference(const lc_ledger *table, const lc_ledger *device,
                          char out[LC_LEDGER_DIFFERENCE_BYTES])
{
    lc_ledger products = *device; /* borrows its choices, which are not looked at */
    for (int i = 0; i < products.fact_count; i++) {
        products.facts[i].decides =
            products.facts[i].decides && !products.facts[i].is_beside_products;
    }
    return lc_ledger_difference(table, &products, true, out);
}

/* ---- choices ---- */

lc_code lc_ledger_add(lc_ledger *ledger, const lc_choice *choice, lc_err *err)
{
    if (ledger->count == ledger->capacity) {
        const int64_t capacity = ledger->capacity > 0 ? 2 * ledger->capacity : 64;
        lc_choice *grown = ledger->count < LC_MAX_CHOICES
                               ? lc_realloc(ledger->choices, (size_t)capacity * sizeof *grown)
                               : NULL;
        if (grown == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for %lld choices", (long long)capacity);
        }
        ledger->choices = grown;
        ledger->capacity = capacity;
    }
    ledger->choices[ledger->count++] = *choice;
    return LC_OK;
}

const lc_choice *lc_ledger_find(const lc_ledger *ledger, const char *product)
{
    for (int64_t i = 0; i < ledger->count; i++) {
        if (strcmp(ledger->choices[i].product, product) == 0) {
            return &ledger->choices[i];
        }
    }
    return NULL;
}

lc_code lc_ledger_take(lc_ledger *ledger, const lc_device *device, int64_t *added, lc_err *err)
{
    const int64_t count = device->choices->count(device);
    *added = count - ledger->count;
    while (ledger->count < count) {
        lc_choice choice;
        device->choices->get(device, ledger->count, &choice);
        LC_TRY(lc_ledger_add(ledger, &choice, err));
    }
    return LC_OK;
}

lc_code lc_ledger_give(const lc_ledger *ledger, lc_device *device, lc_err *err)
{
    for (int64_t i = 0; i < ledger->count; i++) {
        LC_TRY(device->choices->add(device, &ledger->choices[i], err));
    }
    return LC_OK;
}

static void hash_text(lc_sha256 *hash, const char *text)
{
    lc_sha256_update(hash, text, strlen(text) + 1);
}

void lc_ledger_digest(const lc_ledger *ledger, int64_t count, uint8_t digest[32])
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    for (int i = 0; i < ledger->fact_count; i++) {
        hash_text(&hash, ledger->facts[i].name);
        hash_text(&hash, ledger->facts[i].value);
    }
    for (int64_t i = 0; i < count; i++) {
        hash_text(&hash, ledger->choices[i].product);
        hash_text(&hash, ledger->choices[i].algorithm);
    }
    lc_sha256_final(&hash, digest);
}

/* ---- writing ---- */

static void add_string(lc_text *text, const char *string)
{
    lc_text_add_json_string(text, string, strlen(string));
}

static void write_body(const lc_ledger *ledger, lc_text *text)
{
    lc_text_addf(text, "{\n  \"format\": %d,\n  \"facts\": {", FORMAT_NUMBER);
    for (int i = 0; i < ledger->fact_count; i++) {
        lc_text_addf(text, i == 0 ? "\n    " : ",\n    ");
        add_string(text, ledger->facts[i].name);
        lc_text_addf(text, ": ");
        add_string(text, ledger->facts[i].value);
    }
    lc_text_addf(text, "\n  },\n  \"choices\": [");
    for (int64_t i = 0; i < ledger->count; i++) {
        const lc_choice *choice = &ledger->choices[i];
        lc_text_addf(text, "%s\n    {\"product\": ", i == 0 ? "" : ",");
        add_string(text, choice->product);
        lc_text_addf(
            text, ", \"from\": \"%s\", \"algorithm\": ", choice->is_measured ? "table" : "library");
        add_string(text, choice->algorithm);
        lc_text_addf(text, "}");
    }
    lc_text_addf(text, "\n  ],\n");
}

lc_code lc_ledger_save(const lc_ledger *ledger, const char *path, lc_err *err)
{
    lc_text text;
    uint8_t digest[32];
    char hex[65];
    lc_text_init(&text);
    write_body(ledger, &text);
    lc_code code = lc_text_finish(&text, path, err);
    if (code == LC_OK) {
        lc_sha256_of(text.data, text.length, digest);
        lc_hex(digest, sizeof digest, hex);
        lc_text_addf(&text, LAST_KEY "%s" LAST_END, hex);
        code = lc_text_finish(&text, path, err);
    }
    if (code == LC_OK) {
        code = lc_file_write_atomic(path, text.data, text.length, err);
    }
    lc_text_release(&text);
    return code;
}

/* ---- reading ---- */

static lc_code check_hash(const char *text, size_t bytes, lc_err *err)
{
    const size_t tail = strlen(LAST_KEY) + 64 + strlen(LAST_END);
    uint8_t digest[32];
    char hex[65];
    if (bytes < tail) {
        return lc_fail(err, LC_ERR_INVALID, "it is cut off");
    }
    const char *last = text + bytes - tail;
    lc_sha256_of(text, bytes - tail, digest);
    lc_hex(digest, sizeof digest, hex);
    if (memcmp(last, LAST_KEY, strlen(LAST_KEY)) != 0 ||
        memcmp(last + strlen(LAST_KEY), hex, 64) != 0) {
        return lc_fail(err, LC_ERR_INVALID, "it does not match its own hash");
    }
    return LC_OK;
}

static lc_code copy_text(const cJSON *object, const char *key, char *out, size_t capacity,
                         lc_err *err)
{
    const char *value = NULL;
    LC_TRY(lc_json_string(object, key, true, &value, err));
    if (strlen(value) >= capacity) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "\"%s\" is too long", key);
    }
    (void)snprintf(out, capacity, "%s", value);
    return LC_OK;
}

static lc_code parse_facts(const cJSON *root, lc_ledger *out, lc_err *err)
{
    const cJSON *object = NULL, *item = NULL;
    LC_TRY(lc_json_object(root, "facts", true, &object, err));
    cJSON_ArrayForEach(item, object)
    {
        lc_fact *fact = &out->facts[out->fact_count];
        if (out->fact_count == LC_MAX_LEDGER_FACTS || strlen(item->string) >= sizeof fact->name) {
            return lc_fail_param(err, LC_ERR_INVALID, "facts", "\"facts\" has too many members");
        }
        (void)snprintf(fact->name, sizeof fact->name, "%s", item->string);
        LC_TRY(copy_text(object, item->string, fact->value, sizeof fact->value, err));
        out->fact_count++;
    }
    return LC_OK;
}

static lc_code parse_choices(const cJSON *root, lc_ledger *out, lc_err *err)
{
    const cJSON *array = NULL, *item = NULL;
    LC_TRY(lc_json_array(root, "choices", true, &array, err));
    cJSON_ArrayForEach(item, array)
    {
        lc_choice choice;
        const char *from = NULL;
        memset(&choice, 0, sizeof choice);
        LC_TRY(copy_text(item, "product", choice.product, sizeof choice.product, err));
        LC_TRY(copy_text(item, "algorithm", choice.algorithm, sizeof choice.algorithm, err));
        LC_TRY(lc_json_string(item, "from", true, &from, err));
        choice.is_measured = strcmp(from, "table") == 0;
        LC_TRY(lc_ledger_add(out, &choice, err));
    }
    return LC_OK;
}

static lc_code parse(const char *text, size_t bytes, const char *path, lc_ledger *out, lc_err *err)
{
    cJSON *root = NULL;
    int64_t format = 0;
    lc_code code;
    LC_TRY(check_hash(text, bytes, err));
    LC_TRY(lc_json_parse(text, bytes, LC_JSON_DEFAULT, path, &root, err));
    LC_TRY_GOTO(lc_json_int(root, "format", true, FORMAT_NUMBER, FORMAT_NUMBER, &format, err));
    LC_TRY_GOTO(parse_facts(root, out, err));
    LC_TRY_GOTO(parse_choices(root, out, err));
fail:
    cJSON_Delete(root);
    return code;
}

lc_code lc_ledger_load(const char *path, lc_ledger *out, lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    memset(out, 0, sizeof *out);
    if (!lc_path_exists(path)) {
        return lc_fail(err, LC_ERR_NOT_FOUND, "%s is missing", path);
    }
    LC_TRY(lc_file_read(path, LC_MAX_LEDGER_BYTES, &text, &bytes, err));
    const lc_code code = parse(text, bytes, path, out, err);
    lc_free(text);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", path);
}

/* ---- tuning tables ---- */

/* The facts that decide, as a file name. */
static void name_table(const lc_ledger *device, char *out, size_t capacity)
{
    static const char *const names[] = {"gpu", "compute_capability", "multiprocessors", "cublaslt"};
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0] && at < capacity; i++) {
        const lc_fact *fact = find_fact(device, names[i]);
        const int wrote = snprintf(out + at, capacity - at, "%s%.80s", i == 0 ? "" : "-",
                                   fact != NULL ? fact->value : "none");
        at += wrote > 0 ? (size_t)wrote : 0;
    }
    for (char *c = out; *c != '\0'; c++) {
        const bool is_plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                              (*c >= 'A' && *c <= 'Z') || *c == '-';
        *c = is_plain ? *c : '_';
    }
}

lc_code lc_tuning_path(const lc_ledger *device, bool *is_named, char path[LC_MAX_PATH_BYTES],
                       lc_err *err)
{
    char place[LC_MAX_PATH_BYTES], name[384], file[512];
    LC_TRY(lc_cache_place(lc_param_text(LC_PARAM_TUNING), "lorac/tuning", is_named, place, err));
    if (*is_named || place[0] == '\0') {
        memcpy(path, place, strlen(place) + 1);
        return LC_OK;
    }
    name_table(device, name, sizeof name);
    (void)snprintf(file, sizeof file, "%s.json", name);
    return lc_path_join(place, file, path, err);
}

/* Reads a table that is there and checks that it is this device's. */
static lc_code load_table(const lc_ledger *device, const char *path, lc_ledger *out, lc_err *err)
{
    char difference[LC_LEDGER_DIFFERENCE_BYTES];
    LC_TRY(lc_ledger_load(path, out, err));
    if (lc_tuning_difference(out, device, difference)) {
        return lc_fail(err, LC_ERR_INVALID,
                       "%s is another device's table: %s; make one with lorac bench --tune", path,
                       difference);
    }
    return LC_OK;
}

lc_code lc_tuning_load(const lc_ledger *device, lc_ledger *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    bool is_named = false;
    lc_err why = {.code = LC_OK};
    memset(out, 0, sizeof *out);
    LC_TRY(lc_tuning_path(device, &is_named, path, err));
    if (path[0] == '\0' || (!is_named && !lc_path_exists(path))) {
        return LC_OK;
    }
    const lc_code code = load_table(device, path, out, &why);
    if (code != LC_OK && is_named) {
        return lc_fail_param(err, code, lc_param_describe(LC_PARAM_TUNING)->name,
                             "LORAC_TUNING: %s", why.message);
    }
    if (code != LC_OK) {
        lc_log(LC_LOG_WARN, "the tuning table is left out: %s", why.message);
        lc_ledger_release(out);
        return LC_OK;
    }
    lc_log(LC_LOG_INFO, "tuning table: %s, %lld choices", path, (long long)out->count);
    return LC_OK;
}
