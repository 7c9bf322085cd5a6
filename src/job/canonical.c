/*
 * The canonical text of a job file, its hash, and the difference between two of them. Called by the
 * parser and by the job directory when a job is resumed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "job/fields.h"

static void add_string(lc_text *text, const char *string)
{
    if (string == NULL) {
        lc_text_addf(text, "null");
    } else {
        lc_text_add_json_string(text, string, strlen(string));
    }
}

static void add_choice(lc_text *text, const lc_job_choice *choices, int value)
{
    for (const lc_job_choice *choice = choices; choice->word != NULL; choice++) {
        if (choice->value == value) {
            add_string(text, choice->word);
            return;
        }
    }
    lc_text_addf(text, "null");
}

static void add_field(lc_text *text, const lc_job_field *field, const lc_job_spec *spec)
{
    const char *at = (const char *)spec + field->offset;
    double number = 0.0;
    int64_t integer = 0;
    int choice = 0;
    bool flag = false;
    const char *string = NULL;
    switch (field->kind) {
    case LC_FIELD_STRING:
        memcpy(&string, at, sizeof string);
        add_string(text, string);
        break;
    case LC_FIELD_INT:
        memcpy(&integer, at, sizeof integer);
        if (field->has_auto && integer == LC_AUTO) {
            add_string(text, "auto");
        } else {
            lc_text_addf(text, "%" PRId64, integer);
        }
        break;
    case LC_FIELD_NUMBER:
        memcpy(&number, at, sizeof number);
        if (field->has_auto && number < 0.0) {
            add_string(text, "auto");
        } else {
            lc_text_add_double(text, number);
        }
        break;
    case LC_FIELD_BOOL:
        memcpy(&flag, at, sizeof flag);
        lc_text_addf(text, flag ? "true" : "false");
        break;
    case LC_FIELD_CHOICE:
        memcpy(&choice, at, sizeof choice);
        add_choice(text, field->choices, choice);
        break;
    case LC_FIELD_SPECIAL:
    default:
        break;
    }
}

static void add_targets(lc_text *text, const lc_job_spec *spec)
{
    if (spec->all_linear || spec->target_regex != NULL) {
        add_string(text, spec->all_linear ? "all-linear" : spec->target_regex);
        return;
    }
    for (int32_t i = 0; i < spec->target_count; i++) {
        lc_text_addf(text, i > 0 ? ", " : "[");
        add_string(text, spec->targets[i]);
    }
    lc_text_addf(text, "]");
}

static void add_layers(lc_text *text, const lc_job_spec *spec)
{
    if (spec->layers == NULL) {
        lc_text_addf(text, "null");
        return;
    }
    for (int32_t i = 0; i < spec->layer_count; i++) {
        lc_text_addf(text, "%s%d", i > 0 ? ", " : "[", spec->layers[i]);
    }
    lc_text_addf(text, "]");
}

/* The member of `object` whose key follows `previous` in byte order; NULL: none. */
static const cJSON *next_by_key(const cJSON *object, const char *previous)
{
    const cJSON *best = NULL, *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        const bool is_after = previous == NULL || strcmp(item->string, previous) > 0;
        if (is_after && (best == NULL || strcmp(item->string, best->string) < 0)) {
            best = item;
        }
    }
    return best;
}

static void add_metadata(lc_text *text, const lc_job_spec *spec)
{
    const char *separator = "{";
    if (spec->metadata == NULL) {
        lc_text_addf(text, "null");
        return;
    }
    for (const cJSON *item = next_by_key(spec->metadata, NULL); item != NULL;
         item = next_by_key(spec->metadata, item->string)) {
        lc_text_addf(text, "%s", separator);
        add_string(text, item->string);
        lc_text_addf(text, ": ");
        add_string(text, item->valuestring);
        separator = ", ";
    }
    lc_text_addf(text, strcmp(separator, "{") == 0 ? "{}" : "}");
}

static void add_template_date(lc_text *text, const lc_job_spec *spec)
{
    add_string(text, spec->template_date != NULL ? spec->template_date : "auto");
}

static void add_template_kwargs(lc_text *text, const lc_job_spec *spec)
{
    if (spec->chat_template_kwargs == NULL) {
        lc_text_addf(text, "null");
    } else {
        lc_text_add_json(text, spec->chat_template_kwargs, true);
    }
}

/* false: the field leaves no trace of its own. */
static bool add_special(lc_text *text, const lc_job_field *field, const lc_job_spec *spec)
{
    static const struct {
        const char *key;
        void (*add)(lc_text *text, const lc_job_spec *spec);
    } writers[] = {{"target_modules", add_targets},
                   {"layers_to_transform", add_layers},
                   {"template_date", add_template_date},
                   {"chat_template_kwargs", add_template_kwargs},
                   {"metadata", add_metadata}};
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
        if (strcmp(field->key, writers[i].key) == 0) {
            lc_text_addf(text, ", \"%s%s\": ", lc_job_section_prefix(field->section), field->key);
            writers[i].add(text, spec);
            return true;
        }
    }
    return false;
}

/* same: without the fields that may change on a resume. */
static void build(lc_text *text, const lc_job_spec *spec, bool same)
{
    lc_text_addf(text, "{\"method\": \"supervised\"");
    for (size_t i = 0; i < lc_job_field_count; i++) {
        const lc_job_field *field = &lc_job_fields[i];
        if (field->kind == LC_FIELD_SPECIAL) {
            (void)add_special(text, field, spec);
            continue;
        }
        if (same && field->may_change) {
            continue;
        }
        lc_text_addf(text, ", \"%s%s\": ", lc_job_section_prefix(field->section), field->key);
        add_field(text, field, spec);
    }
    lc_text_addf(text, ", \"trainingType\": ");
    add_string(text, spec->training_type);
    lc_text_addf(text, "}");
}

lc_code lc_job_spec_canonicalise(lc_job_spec *spec, lc_err *err)
{
    lc_text text, same;
    char *copy = NULL;
    lc_text_init(&text);
    lc_text_init(&same);
    build(&text, spec, false);
    build(&same, spec, true);
    lc_code code = lc_text_finish(&text, "the job", err);
    if (code == LC_OK) {
        code = lc_text_finish(&same, "the job", err);
    }
    if (code == LC_OK) {
        code = lc_arena_strdup(&spec->arena, text.data, text.length, &copy, err);
    }
    if (code == LC_OK) {
        spec->canonical = copy;
        lc_sha256_of(same.data, same.length, spec->sha256);
    }
    lc_text_release(&text);
    lc_text_release(&same);
    return code;
}

/* The value of `key` in a canonical object as text, cut. */
static void describe(const cJSON *object, const char *key, char *out, size_t capacity)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    lc_text text;
    lc_text_init(&text);
    if (item != NULL) {
        lc_text_add_json(&text, item, true);
    }
    (void)snprintf(out, capacity, "%s", text.data != NULL ? text.data : "absent");
    lc_text_release(&text);
}

static bool may_change(const char *path)
{
    for (size_t i = 0; i < lc_job_field_count; i++) {
        const char *prefix = lc_job_section_prefix(lc_job_fields[i].section);
        const size_t length = strlen(prefix);
        if (lc_job_fields[i].may_change && strncmp(path, prefix, length) == 0 &&
            strcmp(path + length, lc_job_fields[i].key) == 0) {
            return true;
        }
    }
    return false;
}

void lc_job_spec_difference(const lc_job_spec *spec, const cJSON *older,
                            char out[LC_JOB_DIFFERENCE_BYTES])
{
    cJSON *now = NULL;
    const cJSON *item = NULL;
    char before[160], after[160];
    lc_err ignored = {.code = LC_OK};
    out[0] = '\0';
    if (lc_json_parse(spec->canonical, strlen(spec->canonical), LC_JSON_DEFAULT, "the job", &now,
                      &ignored) != LC_OK) {
        return;
    }
    cJSON_ArrayForEach(item, now)
    {
        describe(older, item->string, before, sizeof before);
        describe(now, item->string, after, sizeof after);
        if (strcmp(before, after) != 0 && !may_change(item->string)) {
            (void)snprintf(out, LC_JOB_DIFFERENCE_BYTES, "%s was %s and is %s now", item->string,
                           before, after);
            break;
        }
    }
    cJSON_Delete(now);
}
