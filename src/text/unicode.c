/*
 * Characters as Hugging Face sees them, on utf8proc (see unicode.h). The tables hold what differs,
 * found by comparing the two over all code points (scripts/tokenizer_campaign --exhaustive repeats
 * it); they fit Unicode 15 and 15.1, which are utf8proc 2.8 and 2.9.
 */
#include "text/unicode.h"

#include <stddef.h>
#include <utf8proc.h>

typedef struct range {
    uint32_t first, last;
} range;

/* In \w by Unicode 16, or by Other_Alphabetic, which utf8proc does not know. */
static const range more_words[] = {
    {0x897, 0x897},     {0x1c89, 0x1c8a},   {0x24b6, 0x24e9},   {0xa7cb, 0xa7cd},
    {0xa7da, 0xa7dc},   {0x105c0, 0x105f3}, {0x10d40, 0x10d65}, {0x10d69, 0x10d6d},
    {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x10efc, 0x10efc}, {0x11380, 0x11389},
    {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113c0},
    {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d3},
    {0x113e1, 0x113e2}, {0x116d0, 0x116e3}, {0x11bc0, 0x11be0}, {0x11bf0, 0x11bf9},
    {0x11f5a, 0x11f5a}, {0x13460, 0x143fa}, {0x16100, 0x16139}, {0x16d40, 0x16d6c},
    {0x16d70, 0x16d79}, {0x18cff, 0x18cff}, {0x1ccf0, 0x1ccf9}, {0x1e5d0, 0x1e5fa},
    {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}, {0x2ebf0, 0x2ee5d},
};

/* Punctuation since Unicode 9, which Hugging Face does not know. */
static const range later_punctuation[] = {
    {0x61d, 0x61d},     {0x9fd, 0x9fd},     {0xa76, 0xa76},     {0xc77, 0xc77},
    {0xc84, 0xc84},     {0x1b7d, 0x1b7e},   {0x2e43, 0x2e4f},   {0x2e52, 0x2e5d},
    {0x10ead, 0x10ead}, {0x10f55, 0x10f59}, {0x10f86, 0x10f89}, {0x1144b, 0x1144f},
    {0x1145a, 0x1145b}, {0x1145d, 0x1145d}, {0x11660, 0x1166c}, {0x116b9, 0x116b9},
    {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
    {0x11a9a, 0x11a9c}, {0x11a9e, 0x11aa2}, {0x11b00, 0x11b09}, {0x11c41, 0x11c45},
    {0x11c70, 0x11c71}, {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f}, {0x11fff, 0x11fff},
    {0x12ff1, 0x12ff2}, {0x16e97, 0x16e9a}, {0x16fe2, 0x16fe2}, {0x1e95e, 0x1e95f},
};

/* Marks and decompositions since Unicode 10, which are starters that stay as they are. */
static const range later_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},
    {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x107ba}, {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

/* Inert in NFC: no marks, nothing that composes with what stands before it, nothing that changes by
 * itself. */
static const range inert_c[] = {
    {0x0, 0x2ff},     {0x388, 0x482},     {0x48a, 0x590},     {0x2002, 0x20cf},
    {0x212c, 0x2328}, {0x232b, 0x2adb},   {0x2add, 0x2cee},   {0x3000, 0x3029},
    {0x3030, 0x3098}, {0x309b, 0xa66e},   {0xac00, 0xd7a3},   {0xe000, 0xf8ff},
    {0xff00, 0xffff}, {0x1f000, 0x1fbff}, {0x20000, 0x2f7ff}, {0x30000, 0x10ffff},
};

#define HANGUL_NO_TAIL 0x11a7 /* stands one before the tails */

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool is_in(const range *table, size_t count, uint32_t code_point)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (code_point > table[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && code_point >= table[low].first;
}

bool lc_is_space(uint32_t code_point)
{
    if (code_point < 0x85) {
        return code_point == ' ' || (code_point >= 0x09 && code_point <= 0x0d);
    }
    return code_point == 0x85 || code_point == 0xa0 || code_point == 0x1680 ||
           (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x2028 ||
           code_point == 0x2029 || code_point == 0x202f || code_point == 0x205f ||
           code_point == 0x3000;
}

bool lc_is_word(uint32_t code_point)
{
    switch (utf8proc_category((utf8proc_int32_t)code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* joiners */
        return code_point == 0x200c || code_point == 0x200d ||
               is_in(more_words, COUNT(more_words), code_point);
    }
}

bool lc_is_punctuation(uint32_t code_point)
{
    switch (utf8proc_category((utf8proc_int32_t)code_point)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return !is_in(later_punctuation, COUNT(later_punctuation), code_point);
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
        return code_point < 0x80;
    default: /* punctuation of Unicode 8 that is something else by now */
        return code_point == 0x166d || code_point == 0x111c9;
    }
}

/* ---- normalization ---- */

bool lc_is_inert(lc_form form, uint32_t code_point)
{
    switch (form) {
    case LC_FORM_C:
        return is_in(inert_c, COUNT(inert_c), code_point);
    case LC_FORM_D:
        return code_point < 0xc0;
    default:
        return code_point < 0xa0;
    }
}

static bool is_later(uint32_t code_point)
{
    return is_in(later_marks, COUNT(later_marks), code_point);
}

uint8_t lc_combining_class(uint32_t code_point)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)code_point);
    return is_later(code_point) ? 0 : (uint8_t)p->combining_class;
}

int lc_decompose(lc_form form, uint32_t code_point, uint32_t *out)
{
    const bool compatible = form == LC_FORM_KC || form == LC_FORM_KD;
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_int32_t parts[LC_MAX_DECOMPOSITION];
    int boundary = 0;
    utf8proc_ssize_t count = 0;
    if (!is_later(code_point)) {
        count = utf8proc_decompose_char((utf8proc_int32_t)code_point, parts, LC_MAX_DECOMPOSITION,
                                        options, &boundary);
    }
    if (count < 1 || count > LC_MAX_DECOMPOSITION) {
        out[0] = code_point;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        out[i] = (uint32_t)parts[i];
    }
    return (int)count;
}

uint32_t lc_compose(uint32_t first, uint32_t second)
{
    if (second == HANGUL_NO_TAIL) {
        return 0; /* utf8proc 2.8 takes it for a tail */
    }
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};
    const utf8proc_ssize_t count =
        utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return count == 1 && !is_later((uint32_t)pair[0]) ? (uint32_t)pair[0] : 0;
}
