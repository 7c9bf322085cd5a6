/* The options table: parsing, its errors, the help that is written from it, and "did you mean". */
#include "testing.h"

#include "cli/options.c"

typedef struct values {
    const char *job, *extra, *out, *kind;
    bool resume, json, list;
    int64_t threads;
    double rate;
} values;

static const char *const kinds[] = {"fp32", "bf16", NULL};

/* Parses words (NULL-terminated) into *v. */
static lc_code parse(const char *const *words, values *v, bool *help, lc_err *err)
{
    static char copies[16][64];
    char *argv[16];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        (void)snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    const values fresh = {.kind = "fp32", .threads = 3, .rate = 0.5};
    *v = fresh;
    const lc_option options[] = {
        {.name = "JOB", .help = "the job", .text = &v->job, .is_required = true},
        {.name = "EXTRA", .help = "one more", .text = &v->extra},
        {.name = "--out", .value = "DIR", .help = "where to", .text = &v->out, .is_required = true},
        {.name = "--kind", .value = "KIND", .help = "which", .text = &v->kind, .choices = kinds},
        {.name = "--resume", .help = "go on", .flag = &v->resume},
        {.name = "--json", .help = "print JSON", .flag = &v->json},
        {.name = "--list", .help = "print a list only", .flag = &v->list, .is_alone = true},
        {.name = "--threads",
         .value = "N",
         .help = "how many",
         .integer = &v->threads,
         .low = 1,
         .high = 256},
        {.name = "--rate",
         .value = "X",
         .help = "how fast",
         .number = &v->rate,
         .min = 0.0,
         .max = 2.0},
    };
    const lc_command command = {.name = "demo",
                                .description = "Does.\n",
                                .examples = "  lorac demo\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    return lc_options_parse(&command, argc, argv, help, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void everything_in_its_place(void **state)
{
    (void)state;
    values v;
    bool help = true;
    assert_ok(parse(WORDS("job.json", "--out", "runs/a", "--threads=8", "--rate", "1.5e-1",
                          "--json", "--kind", "bf16"),
                    &v, &help, &test_err));
    assert_false(help);
    assert_string_equal(v.job, "job.json");
    assert_string_equal(v.out, "runs/a");
    assert_string_equal(v.kind, "bf16");
    assert_int_equal(v.threads, 8);
    assert_true(v.rate > 0.1499 && v.rate < 0.1501);
    assert_true(v.json && !v.resume);
    assert_null(v.extra);
    assert_ok(parse(WORDS("--out=x=y", "--", "--resume", "--json"), &v, &help, &test_err));
    assert_string_equal(v.out, "x=y");
    assert_string_equal(v.job, "--resume");
    assert_string_equal(v.extra, "--json");
    assert_false(v.resume);
    assert_ok(
        parse(WORDS("-", "--out", "-5"), &v, &help, &test_err)); /* values may look like options */
    assert_string_equal(v.job, "-");
    assert_string_equal(v.out, "-5");
}

static void defaults_stay(void **state)
{
    (void)state;
    values v;
    bool help = true;
    assert_ok(parse(WORDS("a", "--out", "b"), &v, &help, &test_err));
    assert_int_equal(v.threads, 3);
    assert_true(v.rate > 0.49 && v.rate < 0.51);
    assert_string_equal(v.kind, "fp32");
}

static void help_asks_for_nothing_else(void **state)
{
    (void)state;
    values v;
    bool help = false;
    assert_ok(parse(WORDS("--help"), &v, &help, &test_err));
    assert_true(help);
    help = false;
    assert_ok(parse(WORDS("a", "--threads", "9999", "-h"), &v, &help, &test_err));
    assert_true(help);
    assert_ok(parse(WORDS("--out", "b", "--", "--help"), &v, &help, &test_err));
    assert_false(help);
    assert_string_equal(v.job, "--help");
}

static void a_flag_may_stand_alone(void **state)
{
    (void)state;
    values v;
    bool help = true;
    assert_ok(parse(WORDS("--list"), &v, &help, &test_err));
    assert_true(v.list && !help);
    assert_fails(parse(WORDS("--json"), &v, &help, &test_err), LC_ERR_USAGE, "JOB is missing");
}

static void wrong_calls_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *message;
    } cases[] = {
        {{"a"}, "--out DIR is missing; see lorac demo --help"},
        {{"--out", "b"}, "JOB is missing"},
        {{"", "--out", "b"}, "JOB is empty"},
        {{"a", "--out"}, "--out needs a value: --out DIR"},
        {{"a", "--out="}, "--out is empty"},
        {{"a", "--out", "b", "c", "d"}, "unexpected argument \"d\""},
        {{"a", "--out", "b", "--out=c"}, "--out is given twice"},
        {{"a", "--out", "b", "--outt", "c"}, "unknown option --outt; did you mean --out?"},
        {{"a", "--out", "b", "--thraeds=2"}, "unknown option --thraeds; did you mean --threads?"},
        {{"a", "--out", "b", "--resu"}, "did you mean --resume?"},
        {{"a", "--out", "b", "--frobnicate"}, "unknown option --frobnicate; see lorac demo --help"},
        {{"a", "--out", "b", "-j"}, "unknown option -j; see"},
        {{"a", "--out", "b", "--json=1"}, "--json takes no value"},
        {{"a", "--out", "b", "--kind", "fp16"}, "--kind \"fp16\": expected one of fp32, bf16"},
        {{"a", "--out", "b", "--threads", "0"},
         "--threads \"0\": expected a whole number from 1 to 256"},
        {{"a", "--out", "b", "--threads", "257"}, "--threads \"257\""},
        {{"a", "--out", "b", "--threads", "99999999999999999999"}, "--threads"},
        {{"a", "--out", "b", "--threads", "4x"}, "--threads \"4x\""},
        {{"a", "--out", "b", "--threads", " 4"}, "--threads \" 4\""},
        {{"a", "--out", "b", "--threads", "+4"}, "--threads \"+4\""},
        {{"a", "--out", "b", "--threads", ""}, "--threads \"\""},
        {{"a", "--out", "b", "--threads", "1.5"}, "--threads \"1.5\""},
        {{"a", "--out", "b", "--rate", "nan"}, "--rate \"nan\": expected a number from 0 to 2"},
        {{"a", "--out", "b", "--rate", "inf"}, "--rate \"inf\""},
        {{"a", "--out", "b", "--rate", "2.0001"}, "--rate \"2.0001\""},
        {{"a", "--out", "b", "--rate", "-0.1"}, "--rate \"-0.1\""},
        {{"a", "--out", "b", "--rate", "1e999"}, "--rate \"1e999\""},
    };
    values v;
    bool help = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words[7] = {NULL};
        memcpy(words, cases[i].words, sizeof cases[i].words);
        assert_fails(parse(words, &v, &help, &test_err), LC_ERR_USAGE, cases[i].message);
    }
    const char *const edges[][2] = {{"1", "0"}, {"256", "2"}};
    for (size_t i = 0; i < 2; i++) {
        assert_ok(parse(WORDS("a", "--out", "b", "--threads", edges[i][0], "--rate", edges[i][1]),
                        &v, &help, &test_err));
    }
    assert_int_equal(v.threads, 256);
}

static void near_names_are_found(void **state)
{
    (void)state;
    const char *const names[] = {"train", "plan", "tokenize", "validate", "chat", "eval"};
    const struct {
        const char *word, *expected;
    } cases[] = {{"trian", "train"},   {"tran", "train"}, {"trains", "train"},     {"pln", "plan"},
                 {"toke", "tokenize"}, {"evla", "eval"},  {"valdate", "validate"}, {"zzz", NULL},
                 {"", NULL},           {"x", NULL},       {"training-job", NULL},  {"at", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = lc_nearest_name(cases[i].word, names, 6, sizeof names[0]);
        if (cases[i].expected == NULL) {
            assert_null(nearest);
        } else {
            assert_non_null(nearest);
            assert_string_equal(nearest, cases[i].expected);
        }
    }
    char longest[200];
    memset(longest, 'a', sizeof longest);
    for (size_t length = 63; length <= 66; length++) { /* around MAX_WORD */
        longest[length] = '\0';
        assert_null(lc_nearest_name(longest, names, 6, sizeof names[0]));
        longest[length] = 'a';
    }
}

static void help_tells_every_option(void **state)
{
    (void)state;
    bool flag = false;
    const char *text = NULL;
    int64_t integer = 0;
    double number = 0.0;
    const lc_option options[] = {
        {.name = "JOB", .help = "the job", .text = &text, .is_required = true},
        {.name = "EXTRA", .help = "one more", .text = &text},
        {.name = "--out", .value = "DIR", .help = "where to", .text = &text, .is_required = true},
        {.name = "--kind",
         .value = "KIND",
         .help = "which",
         .text = &text,
         .choices = kinds,
         .fallback = "fp32"},
        {.name = "--resume",
         .help = "go on and on and on and on and on and on and on and on and on and on and on",
         .flag = &flag},
        {.name = "--threads",
         .value = "N",
         .help = "how many",
         .integer = &integer,
         .low = 1,
         .high = 256},
        {.name = "--tokens-of-a-very-long-name",
         .value = "N",
         .help = "count",
         .integer = &integer,
         .low = 2,
         .high = INT64_MAX},
        {.name = "--rate",
         .value = "X",
         .help = "how fast",
         .number = &number,
         .min = 0.5,
         .max = 2.0},
    };
    const lc_command command = {.name = "demo",
                                .description = "Does.\n",
                                .examples = "  lorac demo j\n",
                                .exits = "  75 stopped\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    static const char *const expected[] = {"Usage: lorac demo JOB [EXTRA] --out DIR [options]\n",
                                           "Does.\n",
                                           "(text; required)",
                                           "(text: fp32, bf16; default: fp32)",
                                           "(flag; default: off)",
                                           "(whole number 1..256; default: none)",
                                           "(whole number, 2 or more; default: none)",
                                           "(number 0.5..2; default: none)",
                                           "  lorac demo j\n",
                                           "  75 stopped\n",
                                           "--threads N             how many\n",
                                           "  --tokens-of-a-very-long-name N\n"};
    char *page = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&page, &bytes);
    assert_non_null(out);
    lc_options_help(&command, out);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (strstr(page, expected[i]) == NULL) {
            fail_msg("the help lacks \"%s\":\n%s", expected[i], page);
        }
    }
    assert_null(strstr(page, " \n")); /* no blanks at line ends */
    for (const char *line = page; *line != '\0'; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 100);
    }
    free(page);
}

/* A command of `count` options; the last is given, so that its place in the table is used. */
static lc_code parse_many(size_t count, int64_t *last)
{
    static char names[LC_MAX_OPTIONS + 1][32];
    char seven[] = "7";
    lc_option options[LC_MAX_OPTIONS + 1];
    bool help = false;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "--option-%zu", i);
        options[i] = (lc_option){
            .name = names[i], .value = "N", .help = "one", .integer = last, .low = 0, .high = 9};
    }
    char *argv[] = {names[count - 1], seven};
    const lc_command command = {.name = "many", .options = options, .option_count = count};
    return lc_options_parse(&command, 2, argv, &help, &test_err);
}

static void as_many_options_as_fit(void **state)
{
    (void)state;
    int64_t last = 0;
    assert_ok(parse_many(LC_MAX_OPTIONS, &last));
    assert_int_equal(last, 7);
    assert_fails(parse_many(LC_MAX_OPTIONS + 1, &last), LC_ERR_INTERNAL,
                 "lorac many has more than 32 options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_in_its_place),       cmocka_unit_test(defaults_stay),
        cmocka_unit_test(help_asks_for_nothing_else),    cmocka_unit_test(a_flag_may_stand_alone),
        cmocka_unit_test(wrong_calls_say_what_is_wrong), cmocka_unit_test(near_names_are_found),
        cmocka_unit_test(help_tells_every_option),       cmocka_unit_test(as_many_options_as_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
