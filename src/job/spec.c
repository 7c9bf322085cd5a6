/*
 * Reads a job file: every field by the table in fields.c, the few with a shape of their own by
 * hand. Called by the command line and by lc_job_open.
 */
#include "job/spec.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "job/fields.h"

#define EXPECTED_BYTES 96
#define PATH_BYTES     160 /* of a field's path */
#define MAX_JOB_LAYERS 512
#define MAX_KEY        64 /* longer keys get no "did you mean" */

static lc_code parse_root(const cJSON *root, lc_job_spec *spec, lc_err *err);
static lc_code read_section(const cJSON *object, lc_job_section section, const char *prefix,
                            lc_job_spec *spec, lc_err *err);

lc_code lc_job_spec_load(const char *path, lc_job_spec *out, lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_file_read(path, LC_MAX_JOB_FILE_BYTES, &text, &bytes, err));
    const lc_code code = lc_job_spec_parse(text, bytes, path, out, err);
    lc_free(text);
    return code;
}

lc_code lc_job_spec_parse(const char *text, size_t bytes, const char *what, lc_job_spec *out,
                          lc_err *err)
{
    cJSON *root = NULL;
    memset(out, 0, sizeof *out);
    lc_arena_init(&out->arena, "job file");
    LC_TRY(lc_json_parse(text, bytes, LC_JSON_ALLOW_BOM, what, &root, err));
    lc_code code = parse_root(root, out, err);
    cJSON_Delete(root);
    if (code == LC_OK) {
        code = lc_job_spec_canonicalise(out, err);
    }
    if (code != LC_OK) {
        if (err != NULL && code != LC_ERR_MEMORY) {
            (void)lc_err_context(err, "%.300s", what);
        }
        lc_job_spec_release(out);
    }
    return code;
}

void lc_job_spec_release(lc_job_spec *spec)
{
    cJSON_Delete(spec->metadata);
    cJSON_Delete(spec->chat_template_kwargs);
    lc_arena_release(&spec->arena);
    memset(spec, 0, sizeof *spec);
}

/* ---- messages ---- */

static lc_code fail_value(const cJSON *item, const char *path, const char *expected, lc_err *err)
{
    char found[LC_JSON_SHOWN_BYTES];
    return lc_fail_param(err, LC_ERR_INVALID, path, "%s: expected %s, found %s", path, expected,
                         lc_json_show(item, found));
}

/* Levenshtein distance of two short words, letters compared without case. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MAX_KEY + 1];
    const size_t length = strlen(b);
    for (size_t j = 0; j <= length; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            const size_t change = diagonal + (strncasecmp(&a[i], &b[j], 1) != 0);
            diagonal = row[j + 1];
            size_t best = diagonal < row[j] ? diagonal : row[j];
            best += 1;
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[length];
}

/* The field that `key` most likely means: the same word elsewhere, or one of at most two slips. */
static const lc_job_field *closest(const char *key, lc_job_section section)
{
    const lc_job_field *best = NULL;
    size_t best_distance = 3;
    if (strlen(key) > MAX_KEY) {
        return NULL;
    }
    for (size_t i = 0; i < lc_job_field_count; i++) {
        const lc_job_field *field = &lc_job_fields[i];
        size_t d = distance(key, field->key);
        if (d >= strlen(field->key) / 2 + 1) {
            continue; /* nothing of the word is left */
        }
        if (field->section != section) {
            d += d > 0 ? 1 : 0;
        }
        if (d < best_distance) {
            best = field;
            best_distance = d;
        }
    }
    return best;
}

static lc_code fail_unknown(const char *key, lc_job_section section, const char *prefix,
                            lc_err *err)
{
    char path[PATH_BYTES], hint[PATH_BYTES] = "";
    const lc_job_field *field = closest(key, section);
    (void)snprintf(path, sizeof path, "%s%.80s", prefix, key);
    if (field != NULL) {
        (void)snprintf(hint, sizeof hint, "; did you mean %s%s?",
                       field->section == section ? prefix : lc_job_section_prefix(field->section),
                       field->key);
    }
    return lc_fail_param(err, LC_ERR_INVALID, path, "%s: no such field%s", path, hint);
}

/* ---- fields of the table ---- */

static bool is_auto(const cJSON *item)
{
    if (cJSON_IsString(item)) {
        return strcmp(item->valuestring, "auto") == 0;
    }
    return cJSON_IsNumber(item) && fabs(item->valuedouble - LC_AUTO) <= 0.0;
}

static bool is_in_bounds(double value, const lc_job_field *field)
{
    if (!(value >= field->min && value <= field->max)) {
        return false;
    }
    return !(field->is_above_min && value <= field->min) &&
           !(field->is_below_max && value >= field->max);
}

static lc_code fail_number(const cJSON *item, const lc_job_field *field, const char *path,
                           lc_err *err)
{
    char expected[EXPECTED_BYTES];
    (void)snprintf(expected, sizeof expected, "%s %s %.10g %s %.10g%s",
                   field->kind == LC_FIELD_INT ? "an integer" : "a number",
                   field->is_above_min ? "above" : "from", field->min,
                   field->is_below_max ? "to below" : "to", field->max,
                   field->has_auto ? " or \"auto\"" : "");
    return fail_value(item, path, expected, err);
}

static lc_code read_number(const cJSON *item, const lc_job_field *field, const char *path, void *at,
                           lc_err *err)
{
    double value = LC_AUTO;
    if (!(field->has_auto && is_auto(item))) {
        if (!cJSON_IsNumber(item) || !is_in_bounds(item->valuedouble, field)) {
            return fail_number(item, field, path, err);
        }
        value = item->valuedouble;
    }
    if (field->kind == LC_FIELD_NUMBER) {
        memcpy(at, &value, sizeof value);
        return LC_OK;
    }
    const int64_t integer = (int64_t)value;
    if (fabs((double)integer - value) > 0.0) {
        return fail_number(item, field, path, err);
    }
    memcpy(at, &integer, sizeof integer);
    return LC_OK;
}

static lc_code copy_string(const char *from, lc_job_spec *spec, const char **out, lc_err *err)
{
    char *copy = NULL;
    LC_TRY(lc_arena_strdup(&spec->arena, from, strlen(from), &copy, err));
    *out = copy;
    return LC_OK;
}

static lc_code read_string(const cJSON *item, const lc_job_field *field, const char *path,
                           lc_job_spec *spec, void *at, lc_err *err)
{
    const char *copy = NULL;
    if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
        return fail_value(item, path, "a string that is not empty", err);
    }
    if (strlen(item->valuestring) > (size_t)field->max) {
        return lc_fail_param(err, LC_ERR_INVALID, path, "%s: %zu bytes long, expected at most %.0f",
                             path, strlen(item->valuestring), field->max);
    }
    LC_TRY(copy_string(item->valuestring, spec, &copy, err));
    memcpy(at, &copy, sizeof copy);
    return LC_OK;
}

static lc_code read_choice(const cJSON *item, const lc_job_field *field, const char *path, void *at,
                           lc_err *err)
{
    char expected[EXPECTED_BYTES] = "";
    size_t used = 0;
    for (const lc_job_choice *choice = field->choices; choice->word != NULL; choice++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, choice->word) == 0) {
            memcpy(at, &choice->value, sizeof choice->value);
            return LC_OK;
        }
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%s\"%s\"",
                                 used == 0                ? ""
                                 : choice[1].word != NULL ? ", "
                                                          : " or ",
                                 choice->word);
    }
    return fail_value(item, path, expected, err);
}

static lc_code read_field(const cJSON *item, const lc_job_field *field, const char *path,
                          lc_job_spec *spec, lc_err *err)
{
    void *at = (char *)spec + field->offset;
    switch (field->kind) {
    case LC_FIELD_STRING:
        return read_string(item, field, path, spec, at, err);
    case LC_FIELD_INT:
    case LC_FIELD_NUMBER:
        return read_number(item, field, path, at, err);
    case LC_FIELD_CHOICE:
        return read_choice(item, field, path, at, err);
    case LC_FIELD_BOOL: {
        if (!cJSON_IsBool(item)) {
            return fail_value(item, path, "true or false", err);
        }
        const bool flag = cJSON_IsTrue(item);
        memcpy(at, &flag, sizeof flag);
        return LC_OK;
    }
    case LC_FIELD_SPECIAL:
    default:
        return LC_OK;
    }
}

static void set_default(const lc_job_field *field, lc_job_spec *spec)
{
    void *at = (char *)spec + field->offset;
    const int64_t integer = (int64_t)field->fallback;
    const int choice = (int)field->fallback;
    const bool flag = field->fallback > 0.0;
    switch (field->kind) {
    case LC_FIELD_INT:
        memcpy(at, &integer, sizeof integer);
        break;
    case LC_FIELD_NUMBER:
        memcpy(at, &field->fallback, sizeof field->fallback);
        break;
    case LC_FIELD_CHOICE:
        memcpy(at, &choice, sizeof choice);
        break;
    case LC_FIELD_BOOL:
        memcpy(at, &flag, sizeof flag);
        break;
    case LC_FIELD_STRING: /* NULL since the memset */
    case LC_FIELD_SPECIAL:
    default:
        break;
    }
}

static const lc_job_field *find_field(lc_job_section section, const char *key)
{
    for (size_t i = 0; i < lc_job_field_count; i++) {
        if (lc_job_fields[i].section == section && strcmp(lc_job_fields[i].key, key) == 0) {
            return &lc_job_fields[i];
        }
    }
    return NULL;
}

static lc_code read_section(const cJSON *object, lc_job_section section, const char *prefix,
                            lc_job_spec *spec, lc_err *err)
{
    char path[PATH_BYTES];
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        const lc_job_field *field = find_field(section, item->string);
        if (field == NULL) {
            return fail_unknown(item->string, section, prefix, err);
        }
        if (!cJSON_IsNull(item)) {
            (void)snprintf(path, sizeof path, "%s%s", prefix, field->key);
            LC_TRY(read_field(item, field, path, spec, err));
        }
    }
    for (size_t i = 0; i < lc_job_field_count; i++) {
        const lc_job_field *field = &lc_job_fields[i];
        if (field->section == section && field->is_required &&
            lc_json_get(object, field->key) == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, field->key, "%s%s is missing", prefix,
                                 field->key);
        }
    }
    return LC_OK;
}

/* A member that must be an object when it is there. */
static lc_code find_object(const cJSON *object, const char *key, const char *path,
                           const cJSON **out, lc_err *err)
{
    *out = lc_json_get(object, key);
    return *out == NULL || cJSON_IsObject(*out) ? LC_OK : fail_value(*out, path, "an object", err);
}

/* ---- method and hyperparameters ---- */

static lc_code check_method_type(const cJSON *method, lc_err *err)
{
    const cJSON *type = lc_json_get(method, "type");
    if (type == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "method.type", "method.type is missing");
    }
    if (cJSON_IsString(type)) {
        if (strcmp(type->valuestring, "supervised") == 0) {
            return LC_OK;
        }
        if (strcmp(type->valuestring, "dpo") == 0 ||
            strcmp(type->valuestring, "reinforcement") == 0) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, "method.type",
                                 "method.type: \"%s\" is not supported by this version, which "
                                 "trains \"supervised\"",
                                 type->valuestring);
        }
    }
    return fail_value(type, "method.type", "\"supervised\"", err);
}

static lc_code find_method_hyper(const cJSON *method, const cJSON **hyper, lc_err *err)
{
    const cJSON *supervised = NULL, *item = NULL;
    *hyper = NULL;
    LC_TRY(check_method_type(method, err));
    cJSON_ArrayForEach(item, method)
    {
        if (strcmp(item->string, "type") != 0 && strcmp(item->string, "supervised") != 0 &&
            !cJSON_IsNull(item)) {
            return fail_unknown(item->string, LC_SECTION_HYPER, "method.", err);
        }
    }
    LC_TRY(find_object(method, "supervised", "method.supervised", &supervised, err));
    cJSON_ArrayForEach(item, supervised)
    {
        if (strcmp(item->string, "hyperparameters") != 0) {
            return fail_unknown(item->string, LC_SECTION_HYPER, "method.supervised.", err);
        }
    }
    return find_object(supervised, "hyperparameters", "method.supervised.hyperparameters", hyper,
                       err);
}

static bool is_conflict(double a, double b)
{
    return a >= 0.0 && b >= 0.0 && (a < b || a > b);
}

/* The deprecated top-level form and the one in method mean the same fields; both may be there when
 * they agree. */
static lc_code read_hyperparameters(const cJSON *root, lc_job_spec *spec, lc_err *err)
{
    const cJSON *method = NULL, *hyper = NULL, *old_form = NULL;
    LC_TRY(find_object(root, "hyperparameters", "hyperparameters", &old_form, err));
    LC_TRY(read_section(old_form, LC_SECTION_HYPER, "hyperparameters.", spec, err));
    const double old[] = {(double)spec->n_epochs, (double)spec->batch_size,
                          spec->learning_rate_multiplier};
    LC_TRY(find_object(root, "method", "method", &method, err));
    if (method == NULL) {
        return LC_OK;
    }
    LC_TRY(find_method_hyper(method, &hyper, err));
    LC_TRY(
        read_section(hyper, LC_SECTION_HYPER, lc_job_section_prefix(LC_SECTION_HYPER), spec, err));
    const double now[] = {(double)spec->n_epochs, (double)spec->batch_size,
                          spec->learning_rate_multiplier};
    static const char *const keys[] = {"n_epochs", "batch_size", "learning_rate_multiplier"};
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        if (is_conflict(old[i], now[i])) {
            return lc_fail_param(err, LC_ERR_INVALID, "hyperparameters",
                                 "hyperparameters.%s is %g but "
                                 "method.supervised.hyperparameters.%s is %g; keep the second",
                                 keys[i], old[i], keys[i], now[i]);
        }
    }
    return LC_OK;
}

/* ---- fields with a shape of their own ---- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_int32(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static lc_code read_target_list(const cJSON *list, const char *path, lc_job_spec *spec, lc_err *err)
{
    const int count = cJSON_GetArraySize(list);
    void *memory = NULL;
    const cJSON *item = NULL;
    if (count < 1 || count > LC_MAX_TARGETS) {
        return lc_fail_param(err, LC_ERR_INVALID, path, "%s: expected 1 to %d names, found %d",
                             path, LC_MAX_TARGETS, count);
    }
    LC_TRY(lc_arena_alloc(&spec->arena, (size_t)count, sizeof(char *), &memory, err));
    spec->targets = memory;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
            return fail_value(item, path, "names of modules", err);
        }
        LC_TRY(copy_string(item->valuestring, spec, &spec->targets[spec->target_count], err));
        spec->target_count++;
    }
    qsort(memory, (size_t)count, sizeof(char *), compare_strings);
    for (int i = 1; i < count; i++) {
        if (strcmp(spec->targets[i], spec->targets[i - 1]) == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, path, "%s: \"%.60s\" is listed twice", path,
                                 spec->targets[i]);
        }
    }
    return LC_OK;
}

static lc_code read_targets(const cJSON *lorac, lc_job_spec *spec, lc_err *err)
{
    static const char path[] = "lorac.target_modules";
    const cJSON *item = lc_json_get(lorac, "target_modules");
    if (item == NULL) {
        spec->all_linear = true;
        return LC_OK;
    }
    if (cJSON_IsArray(item)) {
        return read_target_list(item, path, spec, err);
    }
    if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
        return fail_value(item, path, "\"all-linear\", a regular expression or a list of names",
                          err);
    }
    spec->all_linear = strcmp(item->valuestring, "all-linear") == 0;
    return spec->all_linear ? LC_OK
                            : copy_string(item->valuestring, spec, &spec->target_regex, err);
}

static lc_code read_layer(const cJSON *item, const char *path, int32_t *out, lc_err *err)
{
    const double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
    if (!(value >= 0.0 && value < MAX_JOB_LAYERS) || fabs(floor(value) - value) > 0.0) {
        return fail_value(item, path, "layer numbers from 0 to 511", err);
    }
    *out = (int32_t)value;
    return LC_OK;
}

static lc_code read_layers(const cJSON *lorac, lc_job_spec *spec, lc_err *err)
{
    static const char path[] = "lorac.layers_to_transform";
    const cJSON *list = lc_json_get(lorac, "layers_to_transform"), *item = NULL;
    void *memory = NULL;
    int32_t *layers = NULL;
    if (list == NULL) {
        return LC_OK;
    }
    const int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 1;
    if (count < 1 || count > MAX_JOB_LAYERS) {
        return lc_fail_param(err, LC_ERR_INVALID, path, "%s: expected 1 to %d layers, found %d",
                             path, MAX_JOB_LAYERS, count);
    }
    LC_TRY(lc_arena_alloc(&spec->arena, (size_t)count, sizeof *layers, &memory, err));
    layers = memory;
    if (!cJSON_IsArray(list)) { /* PEFT takes one number too */
        LC_TRY(read_layer(list, path, &layers[0], err));
    } else {
        int i = 0;
        cJSON_ArrayForEach(item, list)
        {
            LC_TRY(read_layer(item, path, &layers[i++], err));
        }
    }
    qsort(layers, (size_t)count, sizeof *layers, compare_int32);
    for (int i = 1; i < count; i++) {
        if (layers[i] == layers[i - 1]) {
            return lc_fail_param(err, LC_ERR_INVALID, path, "%s: layer %d is listed twice", path,
                                 layers[i]);
        }
    }
    spec->layers = layers;
    spec->layer_count = count;
    return LC_OK;
}

/* An initial adapter brings its own shape: fields that say another one are named, not obeyed. */
static lc_code note_shadowed(const cJSON *lorac, lc_job_spec *spec, lc_err *err)
{
    static const char *const shape[] = {"rank", "alpha", "target_modules", "layers_to_transform",
                                        "use_rslora"};
    char names[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof shape / sizeof shape[0] && spec->init_adapter != NULL; i++) {
        if (lc_json_get(lorac, shape[i]) != NULL) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%slorac.%s",
                                     used > 0 ? ", " : "", shape[i]);
        }
    }
    return used > 0 ? copy_string(names, spec, &spec->shadowed, err) : LC_OK;
}

/* Azure's bounds count characters, not bytes. */
static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

static lc_code read_metadata(const cJSON *root, lc_job_spec *spec, lc_err *err)
{
    const cJSON *metadata = NULL, *item = NULL;
    LC_TRY(find_object(root, "metadata", "metadata", &metadata, err));
    if (metadata == NULL) {
        return LC_OK;
    }
    if (cJSON_GetArraySize(metadata) > LC_MAX_METADATA) {
        return lc_fail_param(err, LC_ERR_INVALID, "metadata",
                             "metadata: %d pairs, expected at most %d",
                             cJSON_GetArraySize(metadata), LC_MAX_METADATA);
    }
    cJSON_ArrayForEach(item, metadata)
    {
        if (!cJSON_IsString(item)) {
            return fail_value(item, "metadata", "strings as values", err);
        }
        if (count_characters(item->string) > LC_MAX_METADATA_KEY ||
            count_characters(item->valuestring) > LC_MAX_METADATA_VALUE) {
            return lc_fail_param(
                err, LC_ERR_INVALID, "metadata",
                "metadata: \"%.40s\" is too long (a key has at most %d characters, "
                "a value %d)",
                item->string, LC_MAX_METADATA_KEY, LC_MAX_METADATA_VALUE);
        }
    }
    spec->metadata = cJSON_Duplicate(metadata, true);
    return spec->metadata != NULL ? LC_OK
                                  : lc_fail(err, LC_ERR_MEMORY, "out of memory for metadata");
}

static lc_code read_template(const cJSON *lorac, lc_job_spec *spec, lc_err *err)
{
    static const char path[] = "lorac.chat_template_kwargs";
    const cJSON *kwargs = NULL;
    const cJSON *date = lc_json_get(lorac, "template_date");
    lc_err ignored = {.code = LC_OK};
    if (date != NULL && !is_auto(date)) {
        if (!cJSON_IsString(date) || lc_template_date_check(date->valuestring, &ignored) != LC_OK) {
            return fail_value(date, "lorac.template_date", "\"YYYY-MM-DD\" or \"auto\"", err);
        }
        LC_TRY(copy_string(date->valuestring, spec, &spec->template_date, err));
    }
    LC_TRY(find_object(lorac, "chat_template_kwargs", path, &kwargs, err));
    if (kwargs == NULL) {
        return LC_OK;
    }
    spec->chat_template_kwargs = cJSON_Duplicate(kwargs, true);
    return spec->chat_template_kwargs != NULL
               ? LC_OK
               : lc_fail(err, LC_ERR_MEMORY, "out of memory for %s", path);
}

lc_template_source lc_job_template_source(const lc_job_spec *spec, int64_t created_at,
                                          char date[LC_TEMPLATE_DATE_BYTES])
{
    if (spec->template_date != NULL) {
        (void)snprintf(date, LC_TEMPLATE_DATE_BYTES, "%s", spec->template_date);
    } else {
        lc_template_date_of(created_at, date);
    }
    return (lc_template_source){
        .file = spec->chat_template, .variables = spec->chat_template_kwargs, .date = date};
}

static lc_code read_integrations(const cJSON *root, lc_job_spec *spec, lc_err *err)
{
    const cJSON *list = lc_json_get(root, "integrations"), *item = NULL;
    if (list != NULL && !cJSON_IsArray(list)) {
        return fail_value(list, "integrations", "a list", err);
    }
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsObject(item) || !cJSON_IsString(lc_json_get(item, "type"))) {
            return fail_value(item, "integrations", "objects with a type", err);
        }
        spec->has_integrations = true;
    }
    return LC_OK;
}

/* Azure takes the word in any case, with or without "Tier", and the number 1; it answers in camel
 * case. */
static lc_code read_training_type(const cJSON *root, lc_job_spec *spec, lc_err *err)
{
    static const struct {
        const char *word, *canonical;
    } words[] = {{"standard", "standard"},
                 {"globalStandard", "globalStandard"},
                 {"developer", "developerTier"},
                 {"developerTier", "developerTier"}};
    const cJSON *item = lc_json_get(root, "trainingType");
    if (item == NULL) {
        return LC_OK;
    }
    if (cJSON_IsNumber(item) && fabs(item->valuedouble - 1.0) <= 0.0) {
        spec->training_type = "globalStandard";
        return LC_OK;
    }
    for (size_t i = 0; cJSON_IsString(item) && i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(item->valuestring, words[i].word) == 0) {
            spec->training_type = words[i].canonical;
            return LC_OK;
        }
    }
    return fail_value(item, "trainingType", "\"Standard\", \"GlobalStandard\" or \"Developer\"",
                      err);
}

static lc_code check_suffix(const lc_job_spec *spec, lc_err *err)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    if (spec->suffix != NULL && spec->suffix[strspn(spec->suffix, allowed)] != '\0') {
        return lc_fail_param(err, LC_ERR_INVALID, "suffix",
                             "suffix: expected letters, digits, _ and -, found \"%.64s\"",
                             spec->suffix);
    }
    return LC_OK;
}

static lc_code parse_root(const cJSON *root, lc_job_spec *spec, lc_err *err)
{
    const cJSON *lorac = NULL;
    if (!cJSON_IsObject(root)) {
        return lc_fail(err, LC_ERR_INVALID, "a job file holds one JSON object");
    }
    for (size_t i = 0; i < lc_job_field_count; i++) {
        set_default(&lc_job_fields[i], spec);
    }
    LC_TRY(read_section(root, LC_SECTION_ROOT, "", spec, err));
    LC_TRY(read_hyperparameters(root, spec, err));
    LC_TRY(find_object(root, "lorac", "lorac", &lorac, err));
    LC_TRY(read_section(lorac, LC_SECTION_LORAC, "lorac.", spec, err));
    LC_TRY(read_targets(lorac, spec, err));
    LC_TRY(read_layers(lorac, spec, err));
    LC_TRY(note_shadowed(lorac, spec, err));
    LC_TRY(read_template(lorac, spec, err));
    LC_TRY(read_metadata(root, spec, err));
    LC_TRY(read_integrations(root, spec, err));
    LC_TRY(read_training_type(root, spec, err));
    return check_suffix(spec, err);
}
