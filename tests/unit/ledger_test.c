/* Ledgers and tuning tables on disk, with a device that only pretends to have choices. */
#include "job/ledger.h"
#include "lorac/mem.h"
#include "testing.h"

typedef struct pretended {
    lc_choice choices[8];
    int64_t count;
    const char *library, *driver;
} pretended;

static pretended inside;
static char folder[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];

static int facts(const lc_device *device, lc_fact out[LC_MAX_FACTS])
{
    const pretended *self = device->state;
    const lc_fact mine[] = {{"gpu", "A Card (R)", true, false},
                            {"compute_capability", "90", true, false},
                            {"multiprocessors", "7", true, false},
                            {"attention", "lorac", true, true},
                            {"cublaslt", "", true, false},
                            {"driver", "", false, false}};
    memcpy(out, mine, sizeof mine);
    (void)snprintf(out[4].value, sizeof out[4].value, "%s", self->library);
    (void)snprintf(out[5].value, sizeof out[5].value, "%s", self->driver);
    return 6;
}

static int64_t count(const lc_device *device)
{
    return ((const pretended *)device->state)->count;
}

static void get(const lc_device *device, int64_t index, lc_choice *choice)
{
    *choice = ((const pretended *)device->state)->choices[index];
}

static lc_code add(lc_device *device, const lc_choice *choice, lc_err *err)
{
    pretended *self = device->state;
    (void)err;
    self->choices[self->count++] = *choice;
    return LC_OK;
}

static const lc_choice_ops choice_ops = {.facts = facts, .count = count, .get = get, .add = add};
static lc_device device = {.choices = &choice_ops, .state = &inside};

static int prepare(void **state)
{
    (void)state;
    memset(&inside, 0, sizeof inside);
    inside.library = "13";
    inside.driver = "1";
    for (int i = 0; i < 3; i++) {
        lc_choice *choice = &inside.choices[inside.count++];
        (void)snprintf(choice->product, sizeof choice->product, "product \"%d\"", i);
        (void)snprintf(choice->algorithm, sizeof choice->algorithm, "a%d", i);
        choice->is_measured = i == 1;
    }
    (void)snprintf(folder, sizeof folder, "%s", test_dir());
    assert_ok(lc_path_join(folder, "ledger.json", path, &test_err));
    return 0;
}

static void take(lc_ledger *ledger)
{
    int64_t added = 0;
    lc_ledger_of_device(&device, ledger);
    assert_ok(lc_ledger_take(ledger, &device, &added, &test_err));
    assert_int_equal(added, 3);
}

static void test_round_trip(void **state)
{
    (void)state;
    lc_ledger written, read;
    uint8_t first[32], second[32];
    int64_t added = 0;
    take(&written);
    assert_ok(lc_ledger_save(&written, path, &test_err));
    assert_ok(lc_ledger_load(path, &read, &test_err));
    assert_int_equal(read.fact_count, written.fact_count);
    assert_int_equal(read.count, 3);
    assert_memory_equal(read.choices, written.choices, 3 * sizeof *read.choices);
    inside.count = 0;
    assert_ok(lc_ledger_give(&read, &device, &test_err));
    assert_int_equal(inside.count, 3);
    lc_ledger_digest(&written, 2, first);
    (void)snprintf(inside.choices[3].product, sizeof inside.choices[3].product, "new");
    inside.count = 4;
    assert_ok(lc_ledger_take(&read, &device, &added, &test_err));
    assert_int_equal(added, 1);
    assert_non_null(lc_ledger_find(&read, "new"));
    assert_null(lc_ledger_find(&read, "other"));
    lc_ledger_digest(&read, 2, second);
    assert_memory_equal(first, second, sizeof first); /* of the beginning, which has not changed */
    lc_ledger_digest(&read, 4, second);
    assert_memory_not_equal(first, second, sizeof first);
    lc_ledger_release(&written);
    lc_ledger_release(&read);
}

static void test_difference(void **state)
{
    (void)state;
    char text[LC_LEDGER_DIFFERENCE_BYTES];
    lc_ledger then, now;
    lc_ledger_of_device(&device, &then);
    lc_ledger_of_device(&device, &now);
    assert_false(lc_ledger_difference(&then, &now, true, text));
    assert_false(lc_ledger_difference(&then, &now, false, text));
    inside.library = "14";
    inside.driver = "2";
    lc_ledger_of_device(&device, &now);
    assert_true(lc_ledger_difference(&then, &now, true, text));
    assert_string_equal(text, "cublaslt was 13 and is 14 now");
    assert_true(lc_ledger_difference(&then, &now, false, text));
    assert_string_equal(text, "driver was 1 and is 2 now");
    then.fact_count = 0;
    assert_true(lc_ledger_difference(&then, &now, true, text));
    assert_non_null(strstr(text, "lorac was unknown"));
}

/* Cuts and changed bytes anywhere are noticed. */
static void test_damage(void **state)
{
    (void)state;
    lc_ledger ledger;
    char *text = NULL;
    size_t bytes = 0;
    take(&ledger);
    assert_ok(lc_ledger_save(&ledger, path, &test_err));
    lc_ledger_release(&ledger);
    assert_ok(lc_file_read(path, LC_MAX_LEDGER_BYTES, &text, &bytes, &test_err));
    for (size_t at = 0; at < bytes; at += 7) {
        assert_ok(lc_file_write_atomic(path, text, at, &test_err));
        assert_fails(lc_ledger_load(path, &ledger, &test_err), LC_ERR_INVALID, "ledger.json");
        lc_ledger_release(&ledger);
        text[at] ^= 1;
        assert_ok(lc_file_write_atomic(path, text, bytes, &test_err));
        text[at] ^= 1;
        assert_fails(lc_ledger_load(path, &ledger, &test_err), LC_ERR_INVALID, "ledger.json");
        lc_ledger_release(&ledger);
    }
    lc_free(text);
    assert_ok(lc_remove_tree(path, &test_err));
    assert_fails(lc_ledger_load(path, &ledger, &test_err), LC_ERR_NOT_FOUND, "is missing");
}

/* Where tables are looked for, and which are taken. */
static void test_tables(void **state)
{
    (void)state;
    lc_ledger mine, table;
    char place[LC_MAX_PATH_BYTES], parent[LC_MAX_PATH_BYTES];
    bool is_named = true;
    take(&mine);
    unsetenv("LORAC_TUNING");
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_ok(lc_tuning_path(&mine, &is_named, place, &test_err));
    assert_false(is_named);
    assert_non_null(strstr(place, "/lorac/tuning/A_Card__R_-90-7-13.json"));
    assert_ok(lc_tuning_load(&mine, &table, &test_err));
    assert_int_equal(table.count, 0); /* there is none */
    assert_ok(lc_path_join(folder, "lorac/tuning", parent, &test_err));
    assert_ok(lc_mkdir_parents(parent, &test_err));
    (void)snprintf(mine.facts[mine.fact_count - 3].value, 8, "cudnn"); /* not of products */
    assert_ok(lc_ledger_save(&mine, place, &test_err));
    lc_ledger_release(&mine);
    take(&mine);
    assert_ok(lc_tuning_load(&mine, &table, &test_err));
    assert_int_equal(table.count, 3);
    lc_ledger_release(&table);
    (void)snprintf(mine.facts[mine.fact_count - 2].value, 8, "14"); /* cublaslt */
    assert_ok(lc_ledger_save(&mine, place, &test_err));
    lc_ledger_release(&mine);
    take(&mine);
    assert_ok(lc_tuning_load(&mine, &table, &test_err));
    assert_int_equal(table.count, 0); /* another library's, left out */
    setenv("LORAC_TUNING", place, 1);
    assert_fails(lc_tuning_load(&mine, &table, &test_err), LC_ERR_INVALID,
                 "cublaslt was 14 and is 13 now");
    lc_ledger_release(&table);
    setenv("LORAC_TUNING", "off", 1);
    assert_ok(lc_tuning_load(&mine, &table, &test_err));
    assert_int_equal(table.count, 0);
    unsetenv("LORAC_TUNING");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/nobody", 1);
    assert_ok(lc_tuning_path(&mine, &is_named, place, &test_err));
    assert_non_null(strstr(place, "/nobody/.cache/lorac/tuning/A_Card"));
    setenv("HOME", "relative", 1);
    assert_ok(lc_tuning_path(&mine, &is_named, place, &test_err));
    assert_string_equal(place, "");
    lc_ledger_release(&mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_round_trip, prepare),
        cmocka_unit_test_setup(test_difference, prepare),
        cmocka_unit_test_setup(test_damage, prepare),
        cmocka_unit_test_setup(test_tables, prepare),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
