/* Rotation tables: against numbers of transformers (tests/golden/rope.json), and packing against
 * one by one. */
#include "testing.h"

#include <math.h>

#include "base/json.h"
#include "model/rope.h"

#define GOLDEN LC_SOURCE_DIR "/tests/golden/rope.json"

static float number_at(const cJSON *array, int index)
{
    const cJSON *item = cJSON_GetArrayItem(array, index);
    assert_non_null(item);
    return (float)item->valuedouble;
}

/* Distance in units in the last place, for numbers of one sign. */
static int64_t ulps(float a, float b)
{
    int32_t x, y;
    memcpy(&x, &a, sizeof(x));
    memcpy(&y, &b, sizeof(y));
    return x > y ? (int64_t)x - y : (int64_t)y - x;
}

static void check_golden_case(const cJSON *item)
{
    const char *name = NULL, *text = NULL;
    int64_t length = 0;
    double attention = 0;
    lc_model_config config;
    assert_ok(lc_json_string(item, "name", true, &name, &test_err));
    assert_ok(lc_json_string(item, "config", true, &text, &test_err));
    assert_ok(lc_json_int(item, "length", true, 1, 1 << 20, &length, &test_err));
    assert_ok(lc_json_double(item, "attention_factor", true, 0, 100, &attention, &test_err));
    assert_ok(lc_model_config_parse(text, strlen(text), name, &config, &test_err));

    const int half = config.head_dim / 2;
    const cJSON *frequencies = lc_json_get(item, "inv_freq");
    float inv_freq[LC_MAX_HEAD_DIM / 2], factor = -1;
    lc_rope_frequencies(&config, length, inv_freq, &factor);
    assert_int_equal(cJSON_GetArraySize(frequencies), half);
    assert_true(ulps(factor, (float)attention) == 0);
    for (int j = 0; j < half; j++) {
        if (ulps(inv_freq[j], number_at(frequencies, j)) > 1) {
            fail_msg("%s: inv_freq[%d] is %.9g, transformers has %.9g", name, j,
                     (double)inv_freq[j], (double)number_at(frequencies, j));
        }
    }

    /* The whole sequence as one document. */
    const cJSON *positions = lc_json_get(item, "positions");
    int32_t *rows = malloc((size_t)length * sizeof(*rows));
    float *cos = malloc((size_t)length * (size_t)half * sizeof(float));
    float *sin = malloc((size_t)length * (size_t)half * sizeof(float));
    const int32_t cu_seqlens[2] = {0, (int32_t)length};
    for (int32_t i = 0; i < (int32_t)length; i++) {
        rows[i] = i;
    }
    lc_rope_tables(&config, (int32_t)length, rows, 1, cu_seqlens, NULL, cos, sin);
    for (int i = 0; i < cJSON_GetArraySize(positions); i++) {
        const int64_t position = (int64_t)number_at(positions, i);
        for (int j = 0; j < half; j++) {
            /* One unit of a frequency moves the angle in proportion. */
            const double bound = 2.5e-7 + 1.3e-7 * (double)position * (double)inv_freq[j];
            const double cos_error =
                fabs((double)cos[position * half + j] -
                     (double)number_at(lc_json_get(item, "cos"), i * half + j));
            const double sin_error =
                fabs((double)sin[position * half + j] -
                     (double)number_at(lc_json_get(item, "sin"), i * half + j));
            if (cos_error > bound || sin_error > bound) {
                fail_msg("%s: position %lld, frequency %d: cos off by %g, sin by %g", name,
                         (long long)position, j, cos_error, sin_error);
            }
        }
    }
    free(rows);
    free(cos);
    free(sin);
}

static void test_golden(void **state)
{
    (void)state;
    cJSON *root = NULL;
    assert_ok(lc_json_load(GOLDEN, 1 << 20, LC_JSON_DEFAULT, &root, &test_err));
    assert_true(cJSON_GetArraySize(root) >= 20);
    for (const cJSON *item = root->child; item != NULL; item = item->next) {
        check_golden_case(item);
    }
    cJSON_Delete(root);
}

static lc_model_config make_config(lc_rope_type type, int32_t head_dim)
{
    lc_model_config config = {.head_dim = head_dim};
    config.rope = (lc_rope_config){.type = type,
                                   .theta = 10000,
                                   .factor = test_uniform(1, 8),
                                   .low_freq_factor = 1,
                                   .high_freq_factor = 4,
                                   .original_max_position = 24,
                                   .beta_fast = 32,
                                   .beta_slow = 1,
                                   .truncate = true};
    return config;
}

#define MAX_ROWS 400

/* Random documents in one batch give each document's own rows, whatever is before it. */
static void test_packing(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        const int32_t half = (int32_t)test_int(2, 40);
        const lc_model_config config = make_config((lc_rope_type)(round % 5), 2 * half);
        int32_t positions[MAX_ROWS], cu_seqlens[9] = {0};
        const int32_t documents = (int32_t)test_int(1, 8);
        for (int32_t d = 0; d < documents; d++) {
            const int32_t count = (int32_t)test_int(0, 48), start = (int32_t)test_int(0, 3) / 3 * 7;
            for (int32_t i = 0; i < count; i++) {
                positions[cu_seqlens[d] + i] = start + i;
            }
            cu_seqlens[d + 1] = cu_seqlens[d] + count;
        }
        const int32_t rows = cu_seqlens[documents];
        const size_t count = (size_t)rows * (size_t)half;
        float *cos = malloc((count + 1) * sizeof(float)),
              *sin = malloc((count + 1) * sizeof(float));
        for (size_t i = 0; i <= count; i++) {
            cos[i] = sin[i] = NAN;
        }
        lc_rope_tables(&config, rows, positions, documents, cu_seqlens, NULL, cos, sin);
        assert_true(isnan(cos[count]) && isnan(sin[count]));
        for (int32_t d = 0; d < documents; d++) {
            const int32_t first = cu_seqlens[d], last = cu_seqlens[d + 1];
            float inv_freq[LC_MAX_HEAD_DIM / 2], factor = 0;
            lc_rope_frequencies(&config, last > first ? positions[last - 1] + 1 : 1, inv_freq,
                                &factor);
            for (int32_t row = first; row < last; row++) {
                for (int32_t j = 0; j < half; j++) {
                    const float angle = (float)positions[row] * inv_freq[j];
                    const float expected[2] = {(float)cosl((long double)angle) * factor,
                                               (float)sinl((long double)angle) * factor};
                    assert_true(ulps(cos[row * half + j], expected[0]) <= 1);
                    assert_true(ulps(sin[row * half + j], expected[1]) <= 1);
                }
            }
        }
        free(cos);
        free(sin);
    }
}

/* Beyond the trained length the dynamic base grows with the document; up to it nothing changes. */
static void test_dynamic_grows(void **state)
{
    (void)state;
    const lc_model_config config = make_config(LC_ROPE_DYNAMIC, 16);
    float at[4][LC_MAX_HEAD_DIM / 2], factor = 0;
    const int64_t lengths[4] = {1, 24, 25, 48};
    for (int i = 0; i < 4; i++) {
        lc_rope_frequencies(&config, lengths[i], at[i], &factor);
    }
    assert_memory_equal(at[0], at[1], 8 * sizeof(float));
    assert_true(at[2][7] < at[1][7] && at[3][7] < at[2][7]);
    assert_true(at[3][0] >= 1.0f && at[3][0] <= 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_dynamic_grows),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
