/* A stable merge sort whose comparison can fail; see jinja_run.h. */
#include "text/jinja_run.h"

typedef struct sorter {
    lc_jvm *vm;
    lc_jvalue *keys, *items, *spare_keys, *spare_items;
    bool is_list, is_reversed;
} sorter;

/* Whether b has to go before a. */
static lc_code goes_before(const sorter *s, const lc_jvalue *a, const lc_jvalue *b, bool *out)
{
    const lc_jvalue *first = s->is_reversed ? a : b, *second = s->is_reversed ? b : a;
    LC_TRY(lc_jinja_pay(s->vm, 1));
    if (s->is_list) {
        bool is_equal = false;
        LC_TRY(lc_jinja_equal(s->vm, first, second, &is_equal));
        if (is_equal) {
            *out = false;
            return LC_OK;
        }
    }
    return lc_jinja_order(s->vm, first, second, LC_J_LESS, out);
}

static void move_one(sorter *s, size_t from, size_t to)
{
    s->spare_keys[to] = s->keys[from];
    s->spare_items[to] = s->items[from];
}

static lc_code merge(sorter *s, size_t begin, size_t middle, size_t end)
{
    size_t left = begin, right = middle;
    for (size_t to = begin; to < end; to++) {
        bool takes_right = left == middle;
        if (left < middle && right < end) {
            LC_TRY(goes_before(s, &s->keys[left], &s->keys[right], &takes_right));
        }
        if (takes_right) {
            move_one(s, right++, to);
        } else {
            move_one(s, left++, to);
        }
    }
    memcpy(s->keys + begin, s->spare_keys + begin, (end - begin) * sizeof *s->keys);
    memcpy(s->items + begin, s->spare_items + begin, (end - begin) * sizeof *s->items);
    return LC_OK;
}

lc_code lc_jinja_sort(lc_jvm *vm, lc_jvalue *keys, lc_jvalue *items, size_t count, bool is_list,
                      bool is_reversed)
{
    void *memory = NULL;
    sorter s = {
        .vm = vm, .keys = keys, .items = items, .is_list = is_list, .is_reversed = is_reversed};
    LC_TRY(lc_jinja_alloc(vm, 2 * (count + 1) * sizeof(lc_jvalue), &memory));
    s.spare_keys = memory;
    s.spare_items = s.spare_keys + count;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin + width < count; begin += 2 * width) {
            const size_t end = begin + 2 * width < count ? begin + 2 * width : count;
            LC_TRY(merge(&s, begin, begin + width, end));
        }
    }
    return LC_OK;
}

lc_code lc_jinja_sort_entries(lc_jvm *vm, const lc_jdict *dict, const lc_jentry **out)
{
    void *memory = NULL;
    const size_t count = dict->count;
    LC_TRY(lc_jinja_alloc(vm, (count + 1) * sizeof(lc_jentry), &memory));
    lc_jentry *entries = memory;
    LC_TRY(lc_jinja_alloc(vm, 2 * (count + 1) * sizeof(lc_jvalue), &memory));
    lc_jvalue *keys = memory, *values = keys + count;
    for (size_t i = 0; i < count; i++) {
        keys[i] = dict->entries[i].key;
        values[i] = dict->entries[i].value;
    }
    LC_TRY(lc_jinja_sort(vm, keys, values, count, false, false));
    for (size_t i = 0; i < count; i++) {
        entries[i] = (lc_jentry){keys[i], values[i]};
    }
    *out = entries;
    return LC_OK;
}
