/* See jinja_unicode.h. */
#include "text/jinja_unicode.h"

#include <utf8proc.h>

#include "text/jinja_unicode_tables.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool is_in(const lc_code_range *ranges, size_t count, uint32_t code)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (code > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && code >= ranges[low].first;
}

bool lc_char_is_space(uint32_t code)
{
    if (code < 0x80) {
        return (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20);
    }
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

static unsigned numeric_classes(uint32_t code, utf8proc_category_t category)
{
    if (category == UTF8PROC_CATEGORY_ND) {
        return LC_CHAR_DECIMAL | LC_CHAR_DIGIT | LC_CHAR_NUMERIC;
    }
    if (is_in(other_digits, COUNT(other_digits), code)) {
        return LC_CHAR_DIGIT | LC_CHAR_NUMERIC;
    }
    return is_in(other_numbers, COUNT(other_numbers), code) ? LC_CHAR_NUMERIC : 0;
}

static unsigned case_classes(uint32_t code, utf8proc_category_t category)
{
    if (category == UTF8PROC_CATEGORY_LL || is_in(other_lower, COUNT(other_lower), code)) {
        return LC_CHAR_LOWER;
    }
    if (category == UTF8PROC_CATEGORY_LU || is_in(other_upper, COUNT(other_upper), code)) {
        return LC_CHAR_UPPER;
    }
    return category == UTF8PROC_CATEGORY_LT ? LC_CHAR_TITLE : 0;
}

static unsigned name_classes(uint32_t code, utf8proc_category_t category)
{
    const bool is_letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    if (is_letter || category == UTF8PROC_CATEGORY_NL || code == '_') {
        return LC_CHAR_NAME | LC_CHAR_NAME_START;
    }
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                   category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_PC
               ? LC_CHAR_NAME
               : 0;
}

static bool is_printable(uint32_t code, utf8proc_category_t category)
{
    return code == ' ' || !(category == UTF8PROC_CATEGORY_CN ||
                            (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_CO));
}

unsigned lc_char_classes(uint32_t code)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    unsigned classes = lc_char_is_space(code) ? LC_CHAR_SPACE : 0;
    classes |=
        category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO ? LC_CHAR_ALPHA : 0;
    classes |= numeric_classes(code, category) | case_classes(code, category);
    classes |= name_classes(code, category);
    return classes | (is_printable(code, category) ? LC_CHAR_PRINTABLE : 0);
}

bool lc_char_is_cased(uint32_t code)
{
    return (case_classes(code, utf8proc_category((utf8proc_int32_t)code)) &
            (LC_CHAR_LOWER | LC_CHAR_UPPER | LC_CHAR_TITLE)) != 0;
}

bool lc_char_is_case_ignorable(uint32_t code)
{
    return is_in(case_ignorable, COUNT(case_ignorable), code);
}

int lc_char_decimal(uint32_t code)
{
    if (code < 0x80) {
        return code >= '0' && code <= '9' ? (int)(code - '0') : -1;
    }
    if (utf8proc_category((utf8proc_int32_t)code) != UTF8PROC_CATEGORY_ND) {
        return -1;
    }
    /* Decimals stand in runs of ten, zero first; runs may follow each other. */
    uint32_t zero = code;
    while (zero > 0 && code - zero < 60 &&
           utf8proc_category((utf8proc_int32_t)zero - 1) == UTF8PROC_CATEGORY_ND) {
        zero--;
    }
    return (int)((code - zero) % 10);
}

static const lc_special_case *find_special(uint32_t code)
{
    size_t low = 0, high = COUNT(special_cases);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (special_cases[middle].code < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < COUNT(special_cases) && special_cases[low].code == code ? &special_cases[low]
                                                                         : NULL;
}

static size_t copy_mapping(const uint32_t from[3], uint32_t out[3])
{
    size_t count = 0;
    for (; count < 3 && from[count] != 0; count++) {
        out[count] = from[count];
    }
    return count;
}

size_t lc_char_upper(uint32_t code, uint32_t out[3])
{
    const lc_special_case *special = code < 0x80 ? NULL : find_special(code);
    if (special != NULL) {
        return copy_mapping(special->upper, out);
    }
    out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)code);
    return 1;
}

size_t lc_char_title(uint32_t code, uint32_t out[3])
{
    const lc_special_case *special = code < 0x80 ? NULL : find_special(code);
    if (special != NULL) {
        return copy_mapping(special->title, out);
    }
    out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)code);
    return 1;
}

size_t lc_char_lower(uint32_t code, uint32_t out[3])
{
    if (code == 0x130) { /* the only one with two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return 1;
}

size_t lc_char_fold(uint32_t code, uint32_t out[3])
{
    utf8proc_int32_t folded[4] = {0};
    int last_class = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)code, folded, 4, UTF8PROC_CASEFOLD, &last_class);
    if (count < 1 || count > 3) {
        out[0] = code;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        out[i] = (uint32_t)folded[i];
    }
    return (size_t)count;
}
