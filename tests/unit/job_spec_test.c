/*
 * Job files: defaults, every field at its bounds, every refusal with the path it names, and which
 * spellings are the same job.
 */
#include "testing.h"

#include <errno.h>
#include <math.h>

#include "base/fault.h"
#include "job/fields.h"

#define TEXT_BYTES 16384

static lc_job_spec spec;

/* A whole job file with `root` members added and `hyper` and `lorac` inside their objects; good
 * until the next but one call. */
static const char *job_text(const char *root, const char *hyper, const char *lorac)
{
    static char texts[2][TEXT_BYTES];
    static int turn;
    char *text = texts[turn = 1 - turn];
    const int length = snprintf(
        text, TEXT_BYTES,
        "{\"model\": \"base\", \"training_file\": \"train.jsonl\"%s%s, \"method\": {\"type\": "
        "\"supervised\", \"supervised\": {\"hyperparameters\": {%s}}}, \"lorac\": {%s}}",
        root[0] != '\0' ? ", " : "", root, hyper, lorac);
    assert_true(length > 0 && (size_t)length < TEXT_BYTES);
    return text;
}

static lc_code parse(const char *text)
{
    return lc_job_spec_parse(text, strlen(text), "job.json", &spec, &test_err);
}

/* Parses, compares the message, and has nothing to release. */
static void refuse(const char *text, lc_code code, const char *path, const char *message)
{
    assert_fails(parse(text), code, message);
    assert_string_equal(test_err.param, path);
    assert_null(spec.arena.first);
}

static void digest_of(const char *text, uint8_t out[32])
{
    assert_ok(parse(text));
    memcpy(out, spec.sha256, 32);
    lc_job_spec_release(&spec);
}

static void assert_same_job(const char *a, const char *b)
{
    uint8_t first[32], second[32];
    assert_string_not_equal(a, b);
    digest_of(a, first);
    digest_of(b, second);
    assert_memory_equal(first, second, sizeof first);
}

/* ---- defaults and a whole file ---- */

static void test_defaults(void **state)
{
    (void)state;
    assert_ok(parse("{\"model\": \"base\", \"training_file\": \"train.jsonl\"}"));
    assert_string_equal(spec.model, "base");
    assert_string_equal(spec.training_file, "train.jsonl");
    assert_null(spec.validation_file);
    assert_null(spec.suffix);
    assert_null(spec.init_adapter);
    assert_null(spec.shadowed);
    assert_null(spec.metadata);
    assert_null(spec.training_type);
    assert_null(spec.layers);
    assert_null(spec.target_regex);
    assert_int_equal(spec.seed, LC_AUTO);
    assert_int_equal(spec.n_epochs, LC_AUTO);
    assert_int_equal(spec.batch_size, LC_AUTO);
    assert_true(spec.learning_rate_multiplier < 0 && spec.learning_rate < 0);
    assert_int_equal(spec.rank, 16);
    assert_true(fabs(spec.alpha - 32) <= 0 && fabs(spec.dropout) <= 0);
    assert_true(spec.all_linear && spec.packing && spec.shuffle && spec.deterministic);
    assert_false(spec.use_rslora || spec.has_integrations);
    assert_int_equal(spec.schedule, LC_SCHEDULE_COSINE);
    assert_true(fabs(spec.warmup_ratio - 0.03) <= 0 && fabs(spec.weight_decay) <= 0);
    assert_true(fabs(spec.grad_clip - 1) <= 0);
    assert_int_equal(spec.max_seq_len, 4096);
    assert_int_equal(spec.micro_batch_tokens, LC_AUTO);
    assert_int_equal(spec.device, LC_DEVICE_AUTO);
    assert_int_equal(spec.dtype, LC_AUTO);
    assert_int_equal(spec.log_every_steps, 1);
    assert_int_equal(spec.eval_every_steps, LC_AUTO);
    assert_int_equal(spec.checkpoint_every_steps, LC_AUTO);
    assert_int_equal(spec.keep_checkpoints, 3);
    lc_job_spec_release(&spec);
}

/* The example of docs/architecture.md is the defaults written out, but for the values it gives. */
static void test_whole_file(void **state)
{
    (void)state;
    static const char text[] =
        "\xEF\xBB\xBF{ \"model\": \"models/base-dir\", \"training_file\": \"train.jsonl\",\n"
        "\"validation_file\": \"valid.jsonl\", \"suffix\": \"demo\", \"seed\": 42,\n"
        "\"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\":\n"
        "  {\"n_epochs\": 3, \"batch_size\": \"auto\", \"learning_rate_multiplier\": \"auto\"}}},\n"
        "\"lorac\": { \"rank\": 8, \"alpha\": 32, \"dropout\": 0.05, \"target_modules\":\n"
        "[\"v_proj\", \"q_proj\"], \"init_adapter\": \"old\", \"learning_rate\": 3e-4,\n"
        "\"schedule\": \"linear\", \"warmup_ratio\": 0.1, \"weight_decay\": 0.01,\n"
        "\"grad_clip\": 0, \"layers_to_transform\": [3, 1], \"use_rslora\": true,\n"
        "\"max_seq_len\": 512, \"micro_batch_tokens\": 600, \"packing\": false,\n"
        "\"shuffle\": false, \"device\": \"cpu\", \"dtype\": \"bf16\", \"deterministic\": true,\n"
        "\"log_every_steps\": 2, \"eval_every_steps\": 7, \"checkpoint_every_steps\": 9,\n"
        "\"keep_checkpoints\": 1 } }\r\n";
    assert_ok(parse(text));
    assert_string_equal(spec.model, "models/base-dir");
    assert_string_equal(spec.validation_file, "valid.jsonl");
    assert_string_equal(spec.suffix, "demo");
    assert_string_equal(spec.init_adapter, "old");
    assert_string_equal(spec.shadowed, "lorac.rank, lorac.alpha, lorac.target_modules, "
                                       "lorac.layers_to_transform, lorac.use_rslora");
    assert_int_equal(spec.seed, 42);
    assert_int_equal(spec.n_epochs, 3);
    assert_int_equal(spec.rank, 8);
    assert_int_equal(spec.target_count, 2);
    assert_string_equal(spec.targets[0], "q_proj");
    assert_string_equal(spec.targets[1], "v_proj");
    assert_false(spec.all_linear || spec.packing || spec.shuffle);
    assert_int_equal(spec.layer_count, 2);
    assert_int_equal(spec.layers[0], 1);
    assert_int_equal(spec.layers[1], 3);
    assert_true(spec.use_rslora);
    assert_true(fabs(spec.learning_rate - 3e-4) <= 0 && fabs(spec.grad_clip) <= 0);
    assert_int_equal(spec.schedule, LC_SCHEDULE_LINEAR);
    assert_int_equal(spec.dtype, LC_BF16);
    assert_int_equal(spec.device, LC_DEVICE_CPU);
    assert_int_equal(spec.micro_batch_tokens, 600);
    assert_int_equal(spec.eval_every_steps, 7);
    assert_int_equal(spec.checkpoint_every_steps, 9);
    lc_job_spec_release(&spec);
}

/* ---- every field of the table ---- */

/* A job file in which `field` has the JSON value `value`. */
static const char *with_field(const lc_job_field *field, const char *value)
{
    static char text[TEXT_BYTES];
    char member[TEXT_BYTES / 2];
    (void)snprintf(member, sizeof member, "\"%s\": %s", field->key, value);
    if (field->section == LC_SECTION_HYPER) {
        return job_text("", member, "");
    }
    if (field->section == LC_SECTION_LORAC) {
        return job_text("", "", member);
    }
    if (strcmp(field->key, "model") == 0 || strcmp(field->key, "training_file") == 0) {
        const char *other = strcmp(field->key, "model") == 0 ? "training_file" : "model";
        (void)snprintf(text, sizeof text, "{\"%s\": \"x\", %s}", other, member);
        return text;
    }
    return job_text(member, "", "");
}

static void path_of(const lc_job_field *field, char out[256])
{
    (void)snprintf(out, 256, "%s%s", lc_job_section_prefix(field->section), field->key);
}

static void accept(const lc_job_field *field, const char *value)
{
    if (parse(with_field(field, value)) != LC_OK) {
        fail_msg("%s = %s: %s", field->key, value, test_err.message);
    }
    lc_job_spec_release(&spec);
}

static void refuse_value(const lc_job_field *field, const char *value, const char *expected)
{
    char path[256], message[512];
    path_of(field, path);
    (void)snprintf(message, sizeof message, "job.json: %s: %s", path, expected);
    refuse(with_field(field, value), LC_ERR_INVALID, path, message);
}

static void check_number(const lc_job_field *field)
{
    char text[64], expected[160];
    const bool is_integer = field->kind == LC_FIELD_INT;
    (void)snprintf(expected, sizeof expected, "expected %s %s %.10g %s %.10g%s, found",
                   is_integer ? "an integer" : "a number", field->is_above_min ? "above" : "from",
                   field->min, field->is_below_max ? "to below" : "to", field->max,
                   field->has_auto ? " or \"auto\"" : "");
    const double below = is_integer ? field->min - 1 : field->min - 1e-9;
    const double above = is_integer ? field->max + 1 : field->max * (1 + 1e-12);
    const struct {
        double value;
        bool is_good;
    } cases[] = {
        {field->min, !field->is_above_min},
        {field->max, !field->is_below_max},
        {is_integer ? field->min : (field->min + field->max) / 2, true},
        {below, field->has_auto && fabs(below + 1) <= 0},
        {above, false},
        {-2, false},
        {is_integer ? field->min + 0.5 : -0.25, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)snprintf(text, sizeof text, "%.17g", cases[i].value);
        if (cases[i].is_good) {
            accept(field, text);
        } else {
            refuse_value(field, text, expected);
        }
    }
    refuse_value(field, "true", expected);
    refuse_value(field, "[1]", expected);
    refuse_value(field, "\"many\"", expected);
    accept(field, "null");
    if (field->has_auto) {
        accept(field, "\"auto\"");
        accept(field, "-1");
    } else {
        refuse_value(field, "\"auto\"", expected);
        refuse_value(field, "-1", expected);
    }
}

static void check_string(const lc_job_field *field)
{
    static char value[8192];
    const size_t max = (size_t)field->max;
    value[0] = '"';
    for (size_t bytes = max; bytes <= max + 1; bytes++) {
        memset(value + 1, 'a', bytes);
        memcpy(value + 1 + bytes, "\"", 2);
        if (bytes == max) {
            accept(field, value);
        } else {
            refuse_value(field, value, "");
            assert_non_null(strstr(test_err.message, "bytes long, expected at most"));
        }
    }
    refuse_value(field, "\"\"", "expected a string that is not empty, found \"\"");
    refuse_value(field, "7", "expected a string that is not empty, found 7");
    refuse_value(field, "{}", "expected a string that is not empty, found an object");
    if (!field->is_required) {
        accept(field, "null");
        return;
    }
    char message[128];
    (void)snprintf(message, sizeof message, "%s is missing", field->key);
    refuse(with_field(field, "null"), LC_ERR_INVALID, field->key, message);
}

static void check_choice(const lc_job_field *field)
{
    char quoted[64], known[128] = "expected ";
    for (const lc_job_choice *choice = field->choices; choice->word != NULL; choice++) {
        (void)snprintf(quoted, sizeof quoted, "\"%s\"", choice->word);
        accept(field, quoted);
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s",
                       choice == field->choices ? ""
                       : choice[1].word != NULL ? ", "
                                                : " or ",
                       quoted);
    }
    const size_t used = strlen(known);
    (void)snprintf(known + used, sizeof known - used, ", found \"other\"");
    refuse_value(field, "\"other\"", known);
    known[used] = '\0';
    refuse_value(field, "1", known);
    accept(field, "null");
}

static void test_fields(void **state)
{
    (void)state;
    int checked = 0;
    for (size_t i = 0; i < lc_job_field_count; i++) {
        const lc_job_field *field = &lc_job_fields[i];
        switch (field->kind) {
        case LC_FIELD_INT:
        case LC_FIELD_NUMBER:
            check_number(field);
            break;
        case LC_FIELD_STRING:
            check_string(field);
            break;
        case LC_FIELD_CHOICE:
            check_choice(field);
            break;
        case LC_FIELD_BOOL:
            accept(field, "true");
            accept(field, "false");
            accept(field, "null");
            refuse_value(field, "1", "expected true or false, found 1");
            refuse_value(field, "\"yes\"", "expected true or false, found \"yes\"");
            break;
        case LC_FIELD_SPECIAL:
        default:
            continue;
        }
        checked++;
    }
    assert_true(checked > 25);
}

/* ---- refusals ---- */

static void test_unknown_fields(void **state)
{
    (void)state;
    static const struct {
        const char *root, *hyper, *lorac, *path, *message;
    } cases[] = {
        {"\"sead\": 1", "", "", "sead", "sead: no such field; did you mean seed?"},
        {"\"rank\": 8", "", "", "rank", "rank: no such field; did you mean lorac.rank?"},
        {"\"n_epochs\": 8", "", "", "n_epochs",
         "did you mean method.supervised.hyperparameters.n_epochs?"},
        {"\"Training_File\": \"x\"", "", "", "Training_File", "did you mean training_file?"},
        {"\"zzzz\": 8", "", "", "zzzz", "zzzz: no such field"},
        {"", "\"epochs\": 3", "", "method.supervised.hyperparameters.epochs",
         "did you mean method.supervised.hyperparameters.n_epochs?"},
        {"", "\"prompt_loss_weight\": 0.1", "",
         "method.supervised.hyperparameters.prompt_loss_weight", "no such field"},
        {"", "", "\"rnak\": 8", "lorac.rnak",
         "lorac.rnak: no such field; did you mean lorac.rank?"},
        {"", "", "\"learningrate\": 1e-4", "lorac.learningrate",
         "did you mean lorac.learning_rate?"},
        {"", "", "\"seed\": 1", "lorac.seed", "lorac.seed: no such field; did you mean seed?"},
        {"", "", "\"\": 1", "lorac.", "lorac.: no such field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(job_text(cases[i].root, cases[i].hyper, cases[i].lorac), LC_ERR_INVALID,
               cases[i].path, cases[i].message);
        if (strstr(cases[i].message, "did you mean") == NULL) {
            assert_null(strstr(test_err.message, "did you mean"));
        }
    }
}

/* Keys longer than any of ours are cut in the message and get no hint. */
static void test_long_unknown_key(void **state)
{
    (void)state;
    char root[512];
    for (int length = 60; length < 70; length++) {
        (void)snprintf(root, sizeof root, "\"%0*d\": 1", length, 7);
        assert_fails(parse(job_text(root, "", "")), LC_ERR_INVALID, "no such field");
    }
    (void)snprintf(root, sizeof root, "\"%0300d\": 1", 7);
    assert_fails(parse(job_text(root, "", "")), LC_ERR_INVALID, "no such field");
}

static void test_method(void **state)
{
    (void)state;
#define JOB(rest) "{\"model\": \"m\", \"training_file\": \"t\", " rest "}"
    static const struct {
        const char *text;
        lc_code code;
        const char *path, *message;
    } cases[] = {
        {JOB("\"method\": {\"type\": \"dpo\"}"), LC_ERR_UNSUPPORTED, "method.type",
         "method.type: \"dpo\" is not supported"},
        {JOB("\"method\": {\"type\": \"dpo\", \"dpo\": {}}"), LC_ERR_UNSUPPORTED, "method.type",
         "\"dpo\" is not supported"},
        {JOB("\"method\": {\"type\": \"reinforcement\"}"), LC_ERR_UNSUPPORTED, "method.type",
         "\"reinforcement\" is not supported"},
        {JOB("\"method\": {\"type\": \"other\"}"), LC_ERR_INVALID, "method.type",
         "expected \"supervised\", found \"other\""},
        {JOB("\"method\": {\"type\": 3}"), LC_ERR_INVALID, "method.type", "found 3"},
        {JOB("\"method\": {}"), LC_ERR_INVALID, "method.type", "method.type is missing"},
        {JOB("\"method\": []"), LC_ERR_INVALID, "method", "expected an object, found an array"},
        {JOB("\"method\": {\"type\": \"supervised\", \"supervised\": 1}"), LC_ERR_INVALID,
         "method.supervised", "expected an object, found 1"},
        {JOB("\"method\": {\"type\": \"supervised\", \"supervized\": {}}"), LC_ERR_INVALID,
         "method.supervized", "method.supervized: no such field"},
        {JOB("\"method\": {\"type\": \"supervised\", \"supervised\": {\"n_epochs\": 1}}"),
         LC_ERR_INVALID, "method.supervised.n_epochs", "no such field"},
        {JOB("\"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": 1}}"),
         LC_ERR_INVALID, "method.supervised.hyperparameters", "expected an object"},
        {JOB("\"hyperparameters\": {\"n_epochs\": 0}"), LC_ERR_INVALID, "hyperparameters.n_epochs",
         "expected an integer from 1 to 50"},
        {JOB("\"hyperparameters\": {\"n_epochs\": 2}, \"method\": {\"type\": \"supervised\", "
             "\"supervised\": {\"hyperparameters\": {\"n_epochs\": 3}}}"),
         LC_ERR_INVALID, "hyperparameters", "hyperparameters.n_epochs is 2 but"},
        {JOB("\"lorac\": 1"), LC_ERR_INVALID, "lorac", "lorac: expected an object, found 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(cases[i].text, cases[i].code, cases[i].path, cases[i].message);
    }
}

static void test_special_fields(void **state)
{
    (void)state;
    static const struct {
        const char *root, *lorac, *path, *message;
    } cases[] = {
        {"\"suffix\": \"a.b\"", "", "suffix", "suffix: expected letters, digits, _ and -"},
        {"\"suffix\": \"a b\"", "", "suffix", "found \"a b\""},
        {"\"trainingType\": \"fast\"", "", "trainingType", "found \"fast\""},
        {"\"trainingType\": 2", "", "trainingType", "found 2"},
        {"\"metadata\": []", "", "metadata", "expected an object"},
        {"\"metadata\": {\"a\": 1}", "", "metadata", "expected strings as values, found 1"},
        {"\"integrations\": {}", "", "integrations", "expected a list, found an object"},
        {"\"integrations\": [1]", "", "integrations", "expected objects with a type, found 1"},
        {"\"integrations\": [{}]", "", "integrations", "expected objects with a type"},
        {"", "\"rank\": 0", "lorac.rank",
         "lorac.rank: expected an integer from 1 to 1024, found 0"},
        {"", "\"dropout\": 1", "lorac.dropout", "expected a number from 0 to below 1, found 1"},
        {"\"seed\": 2147483648", "", "seed", "seed: expected an integer from 0 to 2147483647"},
        {"", "\"target_modules\": []", "lorac.target_modules", "expected 1 to 64 names, found 0"},
        {"", "\"target_modules\": [1]", "lorac.target_modules", "expected names of modules"},
        {"", "\"target_modules\": [\"\"]", "lorac.target_modules", "expected names of modules"},
        {"", "\"target_modules\": [\"a\", \"b\", \"a\"]", "lorac.target_modules",
         "\"a\" is listed twice"},
        {"", "\"target_modules\": \"\"", "lorac.target_modules", "\"all-linear\""},
        {"", "\"target_modules\": {}", "lorac.target_modules", "found an object"},
        {"", "\"layers_to_transform\": []", "lorac.layers_to_transform",
         "expected 1 to 512 layers, found 0"},
        {"", "\"layers_to_transform\": [512]", "lorac.layers_to_transform", "found 512"},
        {"", "\"layers_to_transform\": -1", "lorac.layers_to_transform", "found -1"},
        {"", "\"layers_to_transform\": [1.5]", "lorac.layers_to_transform", "found 1.5"},
        {"", "\"layers_to_transform\": [2, 2]", "lorac.layers_to_transform",
         "layer 2 is listed twice"},
        {"", "\"layers_to_transform\": \"all\"", "lorac.layers_to_transform", "found \"all\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(job_text(cases[i].root, "", cases[i].lorac), LC_ERR_INVALID, cases[i].path,
               cases[i].message);
    }
    assert_ok(parse(job_text("\"integrations\": [{\"type\": \"wandb\", \"wandb\": {}}]", "",
                             "\"target_modules\": \".*q_proj\", \"layers_to_transform\": 511")));
    assert_true(spec.has_integrations);
    assert_string_equal(spec.target_regex, ".*q_proj");
    assert_false(spec.all_linear);
    assert_int_equal(spec.layer_count, 1);
    assert_int_equal(spec.layers[0], 511);
    lc_job_spec_release(&spec);
}

/* Lists and maps at n-1, n and n+1. */
static void test_limits(void **state)
{
    (void)state;
    static char list[TEXT_BYTES];
    for (int count = LC_MAX_TARGETS - 1; count <= LC_MAX_TARGETS + 1; count++) {
        size_t used = (size_t)snprintf(list, sizeof list, "\"target_modules\": [");
        for (int i = 0; i < count; i++) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s\"m%d\"",
                                     i > 0 ? ", " : "", i);
        }
        (void)snprintf(list + used, sizeof list - used, "]");
        if (count > LC_MAX_TARGETS) {
            refuse(job_text("", "", list), LC_ERR_INVALID, "lorac.target_modules", "found 65");
            break;
        }
        assert_ok(parse(job_text("", "", list)));
        assert_int_equal(spec.target_count, count);
        lc_job_spec_release(&spec);
    }
    for (int count = LC_MAX_METADATA - 1; count <= LC_MAX_METADATA + 1; count++) {
        size_t used = (size_t)snprintf(list, sizeof list, "\"metadata\": {");
        for (int i = 0; i < count; i++) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s\"k%d\": \"v\"",
                                     i > 0 ? ", " : "", i);
        }
        (void)snprintf(list + used, sizeof list - used, "}");
        if (count > LC_MAX_METADATA) {
            refuse(job_text(list, "", ""), LC_ERR_INVALID, "metadata", "17 pairs");
            break;
        }
        assert_ok(parse(job_text(list, "", "")));
        assert_int_equal(cJSON_GetArraySize(spec.metadata), count);
        lc_job_spec_release(&spec);
    }
}

/* Characters count, not bytes: these have two, three and four. */
static void test_metadata_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"\u00e9", "\u20ac", "\U0001f600"};
    static char list[TEXT_BYTES];
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        for (int extra = 0; extra <= 1; extra++) {
            size_t used = (size_t)snprintf(list, sizeof list, "\"metadata\": {\"k\": \"");
            for (int n = 0; n < LC_MAX_METADATA_VALUE + extra; n++) {
                used += (size_t)snprintf(list + used, sizeof list - used, "%s", characters[i]);
            }
            (void)snprintf(list + used, sizeof list - used, "\"}");
            const char *text = job_text(list, "", "");
            if (extra > 0) {
                refuse(text, LC_ERR_INVALID, "metadata", "is too long");
            } else {
                assert_ok(parse(text));
                lc_job_spec_release(&spec);
            }
        }
    }
}

static void test_metadata_lengths(void **state)
{
    (void)state;
    static char list[TEXT_BYTES];
    for (int extra = -1; extra <= 1; extra++) {
        (void)snprintf(list, sizeof list, "\"metadata\": {\"%0*d\": \"v\"}",
                       LC_MAX_METADATA_KEY + extra, 1);
        const char *text = job_text(list, "", "");
        if (extra > 0) {
            refuse(text, LC_ERR_INVALID, "metadata", "is too long");
        } else {
            assert_ok(parse(text));
            lc_job_spec_release(&spec);
        }
        (void)snprintf(list, sizeof list, "\"metadata\": {\"k\": \"%0*d\"}",
                       LC_MAX_METADATA_VALUE + extra, 1);
        text = job_text(list, "", "");
        if (extra > 0) {
            refuse(text, LC_ERR_INVALID, "metadata", "is too long");
        } else {
            assert_ok(parse(text));
            lc_job_spec_release(&spec);
        }
    }
}

static void test_not_a_job(void **state)
{
    (void)state;
    assert_fails(parse("[]"), LC_ERR_INVALID, "job.json: a job file holds one JSON object");
    assert_fails(parse(""), LC_ERR_INVALID, "job.json");
    assert_fails(parse("{\"model\": \"m\",\n \"model\": \"n\"}"), LC_ERR_INVALID, "job.json");
    assert_fails(parse("{\"model\": \"m\",\n\n bad}"), LC_ERR_INVALID, "job.json");
    assert_non_null(strstr(test_err.message, "3"));
    assert_fails(lc_job_spec_load("/nonexistent/job.json", &spec, &test_err), LC_ERR_NOT_FOUND,
                 "/nonexistent/job.json");
}

static void test_file_size(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[600];
    static const char text[] = "{\"model\": \"m\", \"training_file\": \"t\"}";
    char *data = malloc(LC_MAX_JOB_FILE_BYTES + 1);
    assert_non_null(data);
    memset(data, ' ', LC_MAX_JOB_FILE_BYTES + 1);
    memcpy(data, text, sizeof text - 1);
    (void)snprintf(path, sizeof path, "%s/job.json", dir);
    test_write_file(path, data, LC_MAX_JOB_FILE_BYTES);
    assert_ok(lc_job_spec_load(path, &spec, &test_err));
    lc_job_spec_release(&spec);
    test_write_file(path, data, LC_MAX_JOB_FILE_BYTES + 1);
    assert_fails(lc_job_spec_load(path, &spec, &test_err), LC_ERR_INVALID, "is too large");
    free(data);
}

/* ---- the same job ---- */

static void test_same_job(void **state)
{
    (void)state;
    static const char bare[] = "{\"model\": \"base\", \"training_file\": \"train.jsonl\"}";
    assert_same_job(bare, job_text("", "", ""));
    assert_same_job(bare, "{\"training_file\":\"train.jsonl\",\"lorac\":null,\"model\":\"base\"}");
    assert_same_job(bare, job_text("\"seed\": null, \"suffix\": null, \"metadata\": null",
                                   "\"n_epochs\": \"auto\", \"batch_size\": -1", "\"rank\": 16.0"));
    assert_same_job(bare, job_text("\"hyperparameters\": {\"n_epochs\": \"auto\"}", "",
                                   "\"target_modules\": \"all-linear\", \"alpha\": 3.2e1"));
    assert_same_job(job_text("", "\"n_epochs\": 4", ""),
                    "{\"model\": \"base\", \"training_file\": \"train.jsonl\", "
                    "\"hyperparameters\": {\"n_epochs\": 4}}");
    assert_same_job(job_text("\"hyperparameters\": {\"n_epochs\": 4}", "\"n_epochs\": 4", ""),
                    "{\"model\": \"base\", \"training_file\": \"train.jsonl\", "
                    "\"hyperparameters\": {\"n_epochs\": 4}}");
    assert_same_job(job_text("\"trainingType\": \"GLOBALSTANDARD\"", "", ""),
                    job_text("\"trainingType\": 1", "", ""));
    assert_same_job(job_text("\"trainingType\": \"Developer\"", "", ""),
                    job_text("\"trainingType\": \"developerTier\"", "", ""));
    assert_same_job(job_text("", "", "\"layers_to_transform\": [5, 2]"),
                    job_text("", "", "\"layers_to_transform\": [2, 5]"));
    assert_same_job(job_text("", "", "\"target_modules\": [\"b\", \"a\"]"),
                    job_text("", "", "\"target_modules\": [\"a\", \"b\"]"));
    assert_same_job(job_text("\"metadata\": {\"b\": \"1\", \"a\": \"2\"}", "", ""),
                    job_text("\"metadata\": {\"a\": \"2\", \"b\": \"1\"}", "", ""));
}

/* A change of any one field is another job, and the difference names that field with both values.
 */
static void test_difference(void **state)
{
    (void)state;
    static const struct {
        const char *root, *hyper, *lorac, *expected;
    } changes[] = {
        {"\"validation_file\": \"v\"", "", "", "validation_file was null and is \"v\" now"},
        {"\"suffix\": \"s\"", "", "", "suffix was null and is \"s\" now"},
        {"\"seed\": 5", "", "", "seed was \"auto\" and is 5 now"},
        {"\"metadata\": {\"a\": \"b\"}", "", "", "metadata was null and is {\"a\": \"b\"} now"},
        {"\"trainingType\": 1", "", "", "trainingType was null and is \"globalStandard\" now"},
        {"", "\"n_epochs\": 3", "",
         "method.supervised.hyperparameters.n_epochs was \"auto\" and is 3 now"},
        {"", "\"batch_size\": 3", "", ".batch_size was \"auto\" and is 3 now"},
        {"", "\"learning_rate_multiplier\": 0.5", "",
         ".learning_rate_multiplier was \"auto\" and is 0.5 now"},
        {"", "", "\"rank\": 8", "lorac.rank was 16 and is 8 now"},
        {"", "", "\"alpha\": 8", "lorac.alpha was 32 and is 8 now"},
        {"", "", "\"dropout\": 0.1", "lorac.dropout was 0 and is 0.1 now"},
        {"", "", "\"target_modules\": \"q.*\"",
         "lorac.target_modules was \"all-linear\" and is \"q.*\" now"},
        {"", "", "\"target_modules\": [\"q\"]", "is [\"q\"] now"},
        {"", "", "\"init_adapter\": \"d\"", "lorac.init_adapter was null and is \"d\" now"},
        {"", "", "\"learning_rate\": 0.001", "lorac.learning_rate was \"auto\" and is 0.001 now"},
        {"", "", "\"schedule\": \"linear\"", "lorac.schedule was \"cosine\" and is \"linear\" now"},
        {"", "", "\"warmup_ratio\": 0", "lorac.warmup_ratio was 0.03 and is 0 now"},
        {"", "", "\"weight_decay\": 0.5", "lorac.weight_decay was 0 and is 0.5 now"},
        {"", "", "\"grad_clip\": 0", "lorac.grad_clip was 1 and is 0 now"},
        {"", "", "\"layers_to_transform\": 1", "lorac.layers_to_transform was null and is [1] now"},
        {"", "", "\"use_rslora\": true", "lorac.use_rslora was false and is true now"},
        {"", "", "\"max_seq_len\": 8", "lorac.max_seq_len was 4096 and is 8 now"},
        {"", "", "\"micro_batch_tokens\": 8", "lorac.micro_batch_tokens was \"auto\" and is 8 now"},
        {"", "", "\"packing\": false", "lorac.packing was true and is false now"},
        {"", "", "\"shuffle\": false", "lorac.shuffle was true and is false now"},
        {"", "", "\"device\": \"cpu\"", "lorac.device was \"auto\" and is \"cpu\" now"},
        {"", "", "\"dtype\": \"bf16\"", "lorac.dtype was \"auto\" and is \"bf16\" now"},
        {"", "", "\"log_every_steps\": 2", "lorac.log_every_steps was 1 and is 2 now"},
        {"", "", "\"eval_every_steps\": 2", "lorac.eval_every_steps was \"auto\" and is 2 now"},
        {"", "", "\"checkpoint_every_steps\": 2", "lorac.checkpoint_every_steps was"},
        {"", "", "\"keep_checkpoints\": 2", "lorac.keep_checkpoints was 3 and is 2 now"},
    };
    cJSON *before = NULL;
    uint8_t first[32];
    char difference[LC_JOB_DIFFERENCE_BYTES];
    assert_ok(parse(job_text("", "", "")));
    memcpy(first, spec.sha256, sizeof first);
    assert_ok(lc_json_parse(spec.canonical, strlen(spec.canonical), LC_JSON_DEFAULT, "canonical",
                            &before, &test_err));
    lc_job_spec_difference(&spec, before, difference);
    assert_string_equal(difference, "");
    lc_job_spec_release(&spec);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        assert_ok(parse(job_text(changes[i].root, changes[i].hyper, changes[i].lorac)));
        assert_memory_not_equal(spec.sha256, first, sizeof first);
        lc_job_spec_difference(&spec, before, difference);
        if (strstr(difference, changes[i].expected) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", difference, changes[i].expected);
        }
        lc_job_spec_release(&spec);
    }
    assert_ok(parse(job_text(
        "", "", "\"deterministic\": false, \"recompute\": \"all\""))); /* may change on a resume */
    assert_memory_equal(spec.sha256, first, sizeof first);
    lc_job_spec_difference(&spec, before, difference);
    assert_string_equal(difference, "");
    lc_job_spec_release(&spec);
    cJSON_Delete(before);
}

/* The canonical text is JSON with every field in it. */
static void test_canonical_is_json(void **state)
{
    (void)state;
    cJSON *object = NULL;
    const cJSON *item = NULL;
    assert_ok(parse(job_text("\"suffix\": \"a-b_C\", \"metadata\": {\"q\\\"\": \"\\u00e9\\n\"}", "",
                             "\"target_modules\": [\"x\"], \"layers_to_transform\": [0, 7]")));
    assert_ok(lc_json_parse(spec.canonical, strlen(spec.canonical), LC_JSON_DEFAULT, "canonical",
                            &object, &test_err));
    /* Every field is there but for the two objects, the deprecated form and integrations; method in
     * short. */
    size_t count = 0;
    cJSON_ArrayForEach(item, object)
    {
        count++;
    }
    assert_int_equal(count, lc_job_field_count - 3);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(object, "suffix")->valuestring, "a-b_C");
    cJSON_Delete(object);
    lc_job_spec_release(&spec);
}

/* ---- memory ---- */

static void test_every_allocation_fails(void **state)
{
    (void)state;
    char *text =
        strdup(job_text("\"suffix\": \"s\", \"metadata\": {\"a\": \"b\"}", "\"n_epochs\": 2",
                        "\"target_modules\": [\"a\", \"b\"], \"layers_to_transform\": [1]"));
    assert_non_null(text);
    int64_t at = 1;
    lc_code code = LC_ERR_MEMORY;
    for (; code != LC_OK; at++) {
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, ENOMEM, false);
        code = parse(text);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        if (code != LC_OK) {
            assert_int_equal(code, LC_ERR_MEMORY);
            assert_true(test_err.message[0] != '\0');
        }
    }
    assert_true(at > 20);
    lc_job_spec_release(&spec);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_long_unknown_key),
        cmocka_unit_test(test_method),
        cmocka_unit_test(test_special_fields),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_metadata_lengths),
        cmocka_unit_test(test_metadata_characters),
        cmocka_unit_test(test_not_a_job),
        cmocka_unit_test(test_file_size),
        cmocka_unit_test(test_same_job),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_canonical_is_json),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
