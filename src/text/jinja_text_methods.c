/* The methods of Python's str; a safe text stays one where markupsafe keeps it so. */
#include "text/jinja_methods.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

#define METHOD(name)                                                                      \
    lc_code lc_jinja_text_##name(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, \
                                 lc_jvalue *out)

static lc_code bind(lc_jvm *vm, const char *name, const char *parameters, size_t required,
                    const lc_jcall *call, lc_jvalue args[LC_J_MAX_PARAMETERS])
{
    if (call->named_count > 0) {
        return lc_jinja_fail(vm, "str.%s() takes no keyword arguments", name);
    }
    return lc_jinja_bind_call(vm, name, parameters, required, call, args);
}

static lc_code want_text(lc_jvm *vm, const lc_jvalue *value, const char *name)
{
    return value->type == LC_J_STRING ? LC_OK
                                      : lc_jinja_fail(vm, "%s() argument must be str, not %s", name,
                                                      lc_jinja_type_name(value));
}

static lc_code want_int(lc_jvm *vm, const lc_jvalue *value, int64_t *out)
{
    if (!lc_jinja_is_integer(value)) {
        return lc_jinja_fail_type(vm, "'%s' object cannot be interpreted as an integer", value);
    }
    *out = value->integer;
    return LC_OK;
}

/* ---- case ---- */

#define CASE_METHOD(name, to)                           \
    METHOD(name)                                        \
    {                                                   \
        lc_jvalue args[LC_J_MAX_PARAMETERS];            \
        LC_TRY(bind(vm, #name, "", 0, call, args));     \
        return lc_jinja_change_case(vm, self, to, out); \
    }
CASE_METHOD(lower, LC_J_LOWER)
CASE_METHOD(upper, LC_J_UPPER)
CASE_METHOD(title, LC_J_TITLE)
CASE_METHOD(capitalize, LC_J_CAPITAL)
CASE_METHOD(swapcase, LC_J_SWAP)
CASE_METHOD(casefold, LC_J_FOLD)

/* ---- stripping ---- */

static lc_code strip(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                     bool left, bool right, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, name, "chars", 0, call, args));
    const bool is_blank = args[0].type == LC_J_MISSING || args[0].type == LC_J_NONE;
    if (!is_blank && args[0].type != LC_J_STRING) {
        return lc_jinja_fail(vm, "%s arg must be None or str", name);
    }
    LC_TRY(lc_jinja_pay(vm, (size_t)self->bytes * (is_blank ? 1 : args[0].bytes)));
    *out = lc_jinja_strip(self, is_blank ? NULL : &args[0], left, right);
    return LC_OK;
}

METHOD(strip)
{
    return strip(vm, "strip", self, call, true, true, out);
}

METHOD(lstrip)
{
    return strip(vm, "lstrip", self, call, true, false, out);
}

METHOD(rstrip)
{
    return strip(vm, "rstrip", self, call, false, true, out);
}

METHOD(removeprefix)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, "removeprefix", "prefix", 1, call, args));
    LC_TRY(want_text(vm, &args[0], "removeprefix"));
    const bool is_there =
        args[0].bytes <= self->bytes && memcmp(self->text, args[0].text, args[0].bytes) == 0;
    *out = lc_jinja_part(self, is_there ? args[0].bytes : 0, self->bytes);
    return LC_OK;
}

METHOD(removesuffix)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, "removesuffix", "suffix", 1, call, args));
    LC_TRY(want_text(vm, &args[0], "removesuffix"));
    const bool is_there =
        args[0].bytes <= self->bytes &&
        memcmp(self->text + self->bytes - args[0].bytes, args[0].text, args[0].bytes) == 0;
    *out = lc_jinja_part(self, 0, self->bytes - (is_there ? args[0].bytes : 0));
    return LC_OK;
}

/* ---- searching ---- */

/* A part of a text by start and stop in characters; *is_in false where it has none. */
static lc_code cut(lc_jvm *vm, const lc_jvalue *self, const lc_jvalue bounds[2], lc_jvalue *part,
                   int64_t *start, bool *is_in)
{
    const int64_t length = (int64_t)lc_jinja_count_chars(self->text, self->bytes);
    int64_t ends[2] = {0, length};
    LC_TRY(lc_jinja_pay(vm, self->bytes));
    for (size_t i = 0; i < 2; i++) {
        if (bounds[i].type == LC_J_MISSING || bounds[i].type == LC_J_NONE) {
            continue;
        }
        if (!lc_jinja_is_integer(&bounds[i])) {
            return lc_jinja_fail(
                vm, "slice indices must be integers or None or have an __index__ method");
        }
        ends[i] = bounds[i].integer;
        ends[i] += ends[i] < 0 ? length : 0;
        ends[i] = ends[i] < 0 ? 0 : ends[i];
    }
    ends[1] = ends[1] > length ? length : ends[1];
    *is_in = ends[0] <= ends[1];
    *start = ends[0];
    if (*is_in) {
        const size_t from = lc_jinja_char_offset(self->text, self->bytes, (size_t)ends[0]);
        const size_t bytes = lc_jinja_char_offset(self->text + from, self->bytes - from,
                                                  (size_t)(ends[1] - ends[0]));
        *part = lc_jinja_part(self, from, from + bytes);
    }
    return LC_OK;
}

static const char *find_last(const lc_jvalue *in, const lc_jvalue *what)
{
    for (size_t at = in->bytes >= what->bytes ? in->bytes - what->bytes + 1 : 0; at > 0; at--) {
        if (memcmp(in->text + at - 1, what->text, what->bytes) == 0) {
            return in->text + at - 1;
        }
    }
    return NULL;
}

static lc_code search(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                      bool from_end, int64_t *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], part;
    int64_t start = 0;
    bool is_in = false;
    LC_TRY(bind(vm, name, "sub,start,end", 1, call, args));
    LC_TRY(want_text(vm, &args[0], name));
    LC_TRY(cut(vm, self, args + 1, &part, &start, &is_in));
    *out = -1;
    if (!is_in) {
        return LC_OK;
    }
    const char *found = from_end ? find_last(&part, &args[0])
                        : args[0].bytes == 0
                            ? part.text
                            : memmem(part.text, part.bytes, args[0].text, args[0].bytes);
    if (found != NULL) {
        *out = start + (int64_t)lc_jinja_count_chars(part.text, (size_t)(found - part.text));
    }
    return LC_OK;
}

static lc_code find_with(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                         bool from_end, bool is_index, lc_jvalue *out)
{
    int64_t at = 0;
    LC_TRY(search(vm, name, self, call, from_end, &at));
    *out = lc_jinja_int(at);
    return is_index && at < 0 ? lc_jinja_fail(vm, "substring not found") : LC_OK;
}

METHOD(find)
{
    return find_with(vm, "find", self, call, false, false, out);
}

METHOD(rfind)
{
    return find_with(vm, "rfind", self, call, true, false, out);
}

METHOD(index)
{
    return find_with(vm, "index", self, call, false, true, out);
}

METHOD(rindex)
{
    return find_with(vm, "rindex", self, call, true, true, out);
}

METHOD(count)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], part;
    int64_t start = 0, count = 0;
    bool is_in = false;
    LC_TRY(bind(vm, "count", "sub,start,end", 1, call, args));
    LC_TRY(want_text(vm, &args[0], "count"));
    LC_TRY(cut(vm, self, args + 1, &part, &start, &is_in));
    if (is_in && args[0].bytes == 0) {
        count = (int64_t)lc_jinja_count_chars(part.text, part.bytes) + 1;
    } else if (is_in) {
        const char *at = part.text, *end = part.text + part.bytes;
        while ((at = memmem(at, (size_t)(end - at), args[0].text, args[0].bytes)) != NULL) {
            at += args[0].bytes;
            count++;
        }
    }
    *out = lc_jinja_int(count);
    return LC_OK;
}

static bool has_affix(const lc_jvalue *part, const lc_jvalue *affix, bool at_end)
{
    return affix->bytes <= part->bytes &&
           memcmp(part->text + (at_end ? part->bytes - affix->bytes : 0), affix->text,
                  affix->bytes) == 0;
}

static lc_code check_affix(lc_jvm *vm, const char *name, const lc_jvalue *self,
                           const lc_jcall *call, bool at_end, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], part;
    int64_t start = 0;
    bool is_in = false, is_there = false;
    LC_TRY(bind(vm, name, "affix,start,end", 1, call, args));
    LC_TRY(cut(vm, self, args + 1, &part, &start, &is_in));
    if (args[0].type != LC_J_STRING && args[0].type != LC_J_TUPLE) {
        return lc_jinja_fail(vm, "%s first arg must be str or a tuple of str, not %s", name,
                             lc_jinja_type_name(&args[0]));
    }
    if (args[0].type == LC_J_STRING) {
        is_there = is_in && has_affix(&part, &args[0], at_end);
    }
    for (size_t i = 0; args[0].type == LC_J_TUPLE && i < args[0].list->count && !is_there; i++) {
        const lc_jvalue *affix = &args[0].list->items[i];
        if (affix->type != LC_J_STRING) {
            return lc_jinja_fail(vm, "tuple for %s must only contain str, not %s", name,
                                 lc_jinja_type_name(affix));
        }
        is_there = is_in && has_affix(&part, affix, at_end);
    }
    *out = lc_jinja_bool(is_there);
    return LC_OK;
}

METHOD(startswith)
{
    return check_affix(vm, "startswith", self, call, false, out);
}

METHOD(endswith)
{
    return check_affix(vm, "endswith", self, call, true, out);
}

/* ---- splitting ---- */

typedef struct splitter {
    lc_jvm *vm;
    const lc_jvalue *self;
    lc_jlist *list;
    size_t capacity;
    int64_t left; /* cuts that may still be made; negative: any number */
} splitter;

static lc_code add_part(splitter *s, size_t from, size_t to)
{
    const lc_jvalue part = lc_jinja_part(s->self, from, to);
    return lc_jinja_append(s->vm, s->list, &s->capacity, &part);
}

static lc_code split_by(splitter *s, const lc_jvalue *separator)
{
    size_t at = 0;
    for (; s->left != 0; s->left--) {
        const char *found =
            memmem(s->self->text + at, s->self->bytes - at, separator->text, separator->bytes);
        if (found == NULL) {
            break;
        }
        const size_t to = (size_t)(found - s->self->text);
        LC_TRY(add_part(s, at, to));
        at = to + separator->bytes;
    }
    return add_part(s, at, s->self->bytes);
}

static lc_code split_by_from_end(splitter *s, const lc_jvalue *separator)
{
    lc_jvalue rest = *s->self;
    for (; s->left != 0; s->left--) {
        const char *found = find_last(&rest, separator);
        if (found == NULL) {
            break;
        }
        const size_t to = (size_t)(found - s->self->text);
        LC_TRY(lc_jinja_pay(s->vm, rest.bytes - to));
        LC_TRY(add_part(s, to + separator->bytes, rest.bytes));
        rest.bytes = (uint32_t)to;
    }
    return add_part(s, 0, rest.bytes);
}

static bool is_space_at(const lc_jvalue *text, size_t at, size_t *length)
{
    *length = 1;
    (void)lc_utf8_next(text->text + at, text->bytes - at, length);
    return lc_char_is_space(lc_utf8_decode(text->text + at, *length));
}

static lc_code split_by_space(splitter *s)
{
    size_t at = 0, length = 1;
    for (;; s->left--) {
        while (at < s->self->bytes && is_space_at(s->self, at, &length)) {
            at += length;
        }
        if (at == s->self->bytes) {
            return LC_OK;
        }
        if (s->left == 0) {
            return add_part(s, at, s->self->bytes);
        }
        const size_t begin = at;
        while (at < s->self->bytes && !is_space_at(s->self, at, &length)) {
            at += length;
        }
        LC_TRY(add_part(s, begin, at));
    }
}

static lc_code split_by_space_from_end(splitter *s)
{
    lc_jvalue rest = *s->self;
    for (;; s->left--) {
        rest = lc_jinja_strip(&rest, NULL, false, true);
        if (rest.bytes == 0) {
            return LC_OK;
        }
        if (s->left == 0) {
            return add_part(s, 0, rest.bytes);
        }
        size_t begin = rest.bytes, length = 1;
        while (begin > 0) {
            size_t at = begin - 1;
            while (at > 0 && ((unsigned char)rest.text[at] & 0xc0) == 0x80) {
                at--;
            }
            if (is_space_at(&rest, at, &length)) {
                break;
            }
            begin = at;
        }
        LC_TRY(add_part(s, begin, rest.bytes));
        rest.bytes = (uint32_t)begin;
    }
}

static void reverse(lc_jlist *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        const lc_jvalue first = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = first;
    }
}

static lc_code split_with(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                          bool from_end, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], made;
    splitter s = {.vm = vm, .self = self, .left = -1};
    LC_TRY(lc_jinja_bind_call(vm, name, "sep,maxsplit", 0, call, args));
    LC_TRY(lc_jinja_pay(vm, self->bytes));
    if (args[1].type != LC_J_MISSING) {
        LC_TRY(want_int(vm, &args[1], &s.left));
    }
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &s.list, &made));
    if (args[0].type == LC_J_MISSING || args[0].type == LC_J_NONE) {
        LC_TRY(from_end ? split_by_space_from_end(&s) : split_by_space(&s));
    } else if (args[0].type != LC_J_STRING) {
        return lc_jinja_fail_type(vm, "must be str or None, not %s", &args[0]);
    } else if (args[0].bytes == 0) {
        return lc_jinja_fail(vm, "empty separator");
    } else {
        LC_TRY(from_end ? split_by_from_end(&s, &args[0]) : split_by(&s, &args[0]));
    }
    if (from_end) {
        reverse(s.list);
    }
    *out = made;
    return LC_OK;
}

METHOD(split)
{
    return split_with(vm, "split", self, call, false, out);
}

METHOD(rsplit)
{
    return split_with(vm, "rsplit", self, call, true, out);
}

METHOD(splitlines)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "splitlines", "keepends", 0, call, args));
    int64_t keeps = 0;
    if (args[0].type != LC_J_MISSING) {
        LC_TRY(want_int(vm, &args[0], &keeps));
    }
    return lc_jinja_split_lines(vm, self, keeps != 0, out);
}

static lc_code part_at(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, bool from_end,
                       lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], made;
    lc_jlist *list = NULL;
    LC_TRY(bind(vm, from_end ? "rpartition" : "partition", "sep", 1, call, args));
    LC_TRY(want_text(vm, &args[0], "partition"));
    LC_TRY(lc_jinja_pay(vm, self->bytes));
    if (args[0].bytes == 0) {
        return lc_jinja_fail(vm, "empty separator");
    }
    LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, 3, &list, &made));
    const char *found = from_end ? find_last(self, &args[0])
                                 : memmem(self->text, self->bytes, args[0].text, args[0].bytes);
    const lc_jvalue nothing = lc_jinja_part(self, 0, 0);
    list->items[0] = list->items[1] = list->items[2] = nothing;
    if (found == NULL) {
        list->items[from_end ? 2 : 0] = *self;
    } else {
        const size_t at = (size_t)(found - self->text);
        list->items[0] = lc_jinja_part(self, 0, at);
        list->items[1] = lc_jinja_part(self, at, at + args[0].bytes);
        list->items[2] = lc_jinja_part(self, at + args[0].bytes, self->bytes);
    }
    *out = made;
    return LC_OK;
}

METHOD(partition)
{
    return part_at(vm, self, call, false, out);
}

METHOD(rpartition)
{
    return part_at(vm, self, call, true, out);
}

/* ---- making ---- */

METHOD(replace)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    int64_t count = -1;
    LC_TRY(bind(vm, "replace", "old,new,count", 2, call, args));
    LC_TRY(want_text(vm, &args[0], "replace"));
    LC_TRY(want_text(vm, &args[1], "replace"));
    if (args[2].type != LC_J_MISSING) {
        LC_TRY(want_int(vm, &args[2], &count));
    }
    if ((self->flags & LC_J_SAFE) != 0 && (args[1].flags & LC_J_SAFE) == 0) {
        LC_TRY(lc_jinja_escape(vm, &args[1], &args[1]));
    }
    LC_TRY(lc_jinja_replace(vm, self, &args[0], &args[1], count, out));
    out->flags = self->flags;
    return LC_OK;
}

METHOD(join)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], whole = lc_jinja_text("", 0);
    const lc_jlist *items = NULL;
    const bool is_safe = (self->flags & LC_J_SAFE) != 0;
    LC_TRY(bind(vm, "join", "iterable", 1, call, args));
    if (!lc_jinja_is_iterable(&args[0])) {
        return lc_jinja_fail(vm, "can only join an iterable");
    }
    LC_TRY(lc_jinja_items(vm, &args[0], &items));
    for (size_t i = 0; i < items->count; i++) {
        lc_jvalue item = items->items[i];
        if (is_safe && (item.flags & LC_J_SAFE) == 0) {
            LC_TRY(lc_jinja_escape(vm, &item, &item));
        }
        if (item.type != LC_J_STRING) {
            return lc_jinja_fail(vm, "sequence item %zu: expected str instance, %s found", i,
                                 lc_jinja_type_name(&item));
        }
        if (i > 0) {
            LC_TRY(lc_jinja_join_texts(vm, &whole, self, &whole));
        }
        LC_TRY(lc_jinja_join_texts(vm, &whole, &item, &whole));
    }
    *out = whole;
    out->flags = is_safe ? LC_J_SAFE : 0;
    return LC_OK;
}

METHOD(format)
{
    return lc_jinja_format(vm, self, call, out);
}

METHOD(format_map)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, "format_map", "mapping", 1, call, args));
    if (args[0].type != LC_J_DICT) {
        return lc_jinja_fail_type(vm, "format_map() of a %s is not supported", &args[0]);
    }
    const size_t count = args[0].dict->count;
    lc_jlist *names = NULL, *named = NULL;
    lc_jvalue held[2];
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, count, &names, &held[0]));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, count, &named, &held[1]));
    lc_jcall inner = {.names = names->items, .named = named->items};
    for (size_t i = 0; i < count; i++) {
        if (args[0].dict->entries[i].key.type == LC_J_STRING) {
            names->items[inner.named_count] = args[0].dict->entries[i].key;
            named->items[inner.named_count++] = args[0].dict->entries[i].value;
        }
    }
    return lc_jinja_format(vm, self, &inner, out);
}

static lc_code pad(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                   lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    int64_t width = 0;
    LC_TRY(bind(vm, name, "width,fillchar", 1, call, args));
    LC_TRY(want_int(vm, &args[0], &width));
    if (args[1].type == LC_J_MISSING) {
        args[1] = lc_jinja_literal(" ");
    }
    LC_TRY(want_text(vm, &args[1], name));
    if (lc_jinja_count_chars(args[1].text, args[1].bytes) != 1) {
        return lc_jinja_fail(vm, "The fill character must be exactly one character long");
    }
    const int64_t length = (int64_t)lc_jinja_count_chars(self->text, self->bytes);
    const int64_t missing = width > length ? width - length : 0;
    /* CPython puts the odd one to the left when the width is odd. */
    const int64_t left = name[0] == 'l'   ? 0
                         : name[0] == 'r' ? missing
                                          : missing / 2 + (missing & width & 1);
    return lc_jinja_pad(vm, self, &args[1], (size_t)left, (size_t)(missing - left), out);
}

METHOD(center)
{
    return pad(vm, "center", self, call, out);
}

METHOD(ljust)
{
    return pad(vm, "ljust", self, call, out);
}

METHOD(rjust)
{
    return pad(vm, "rjust", self, call, out);
}

METHOD(zfill)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], rest;
    const lc_jvalue zero = lc_jinja_literal("0"), nothing = lc_jinja_text("", 0);
    int64_t width = 0;
    LC_TRY(bind(vm, "zfill", "width", 1, call, args));
    LC_TRY(want_int(vm, &args[0], &width));
    const int64_t length = (int64_t)lc_jinja_count_chars(self->text, self->bytes);
    const int64_t missing = width > length ? width - length : 0;
    const bool has_sign = self->bytes > 0 && (self->text[0] == '+' || self->text[0] == '-');
    const lc_jvalue sign = has_sign ? lc_jinja_part(self, 0, 1) : nothing;
    rest = lc_jinja_part(self, has_sign, self->bytes);
    LC_TRY(lc_jinja_pad(vm, &rest, &zero, (size_t)missing, 0, &rest));
    LC_TRY(lc_jinja_join_texts(vm, &sign, &rest, out));
    out->flags = self->flags;
    return LC_OK;
}

METHOD(expandtabs)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    int64_t size = 8;
    size_t column = 0;
    lc_text text;
    LC_TRY(lc_jinja_bind_call(vm, "expandtabs", "tabsize", 0, call, args));
    if (args[0].type != LC_J_MISSING) {
        LC_TRY(want_int(vm, &args[0], &size));
    }
    if (size > 1000) {
        return lc_jinja_fail(vm, "expandtabs: more than 1000 columns are not supported");
    }
    lc_code code = LC_OK;
    lc_text_init(&text);
    for (size_t at = 0; at < self->bytes && code == LC_OK; at++) {
        const char c = self->text[at];
        code = lc_jinja_check_size(vm, &text);
        if (c == '\t') {
            const size_t blanks = size > 0 ? (size_t)size - column % (size_t)size : 0;
            for (size_t i = 0; i < blanks; i++) {
                lc_text_add(&text, " ", 1);
            }
            column += blanks;
            continue;
        }
        lc_text_add(&text, &c, 1);
        column = c == '\n' || c == '\r' ? 0 : column + (((unsigned char)c & 0xc0) != 0x80);
    }
    LC_TRY(lc_jinja_take(vm, &text, code, out));
    out->flags = self->flags;
    return LC_OK;
}

/* ---- classes of characters ---- */

/* All characters have one of the classes; `empty` is the answer for no characters. */
static lc_code all_are(lc_jvm *vm, const char *name, const lc_jvalue *self, const lc_jcall *call,
                       unsigned classes, bool empty, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    bool are = self->bytes > 0 || empty;
    size_t length = 1;
    LC_TRY(bind(vm, name, "", 0, call, args));
    LC_TRY(lc_jinja_pay(vm, (size_t)self->bytes * 8));
    for (size_t at = 0; are && at < self->bytes; at += length) {
        length = 1;
        (void)lc_utf8_next(self->text + at, self->bytes - at, &length);
        are = (lc_char_classes(lc_utf8_decode(self->text + at, length)) & classes) != 0;
    }
    *out = lc_jinja_bool(are);
    return LC_OK;
}

#define CLASS_METHOD(name, classes, empty)                          \
    METHOD(name)                                                    \
    {                                                               \
        return all_are(vm, #name, self, call, classes, empty, out); \
    }
CLASS_METHOD(isalpha, LC_CHAR_ALPHA, false)
CLASS_METHOD(isalnum, LC_CHAR_ALPHA | LC_CHAR_NUMERIC, false)
CLASS_METHOD(isdecimal, LC_CHAR_DECIMAL, false)
CLASS_METHOD(isdigit, LC_CHAR_DIGIT, false)
CLASS_METHOD(isnumeric, LC_CHAR_NUMERIC, false)
CLASS_METHOD(isspace, LC_CHAR_SPACE, false)
CLASS_METHOD(isprintable, LC_CHAR_PRINTABLE, true)

METHOD(isascii)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    bool is_ascii = true;
    LC_TRY(bind(vm, "isascii", "", 0, call, args));
    for (size_t i = 0; i < self->bytes; i++) {
        is_ascii = is_ascii && (unsigned char)self->text[i] < 0x80;
    }
    *out = lc_jinja_bool(is_ascii);
    return LC_OK;
}

METHOD(isidentifier)
{
    LC_TRY(all_are(vm, "isidentifier", self, call, LC_CHAR_NAME, false, out));
    if (out->integer != 0) {
        size_t length = 1;
        (void)lc_utf8_next(self->text, self->bytes, &length);
        const unsigned classes = lc_char_classes(lc_utf8_decode(self->text, length));
        *out = lc_jinja_bool((classes & LC_CHAR_NAME_START) != 0);
    }
    return LC_OK;
}

METHOD(islower)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, "islower", "", 0, call, args));
    *out = lc_jinja_bool(lc_jinja_is_lower(self, false));
    return LC_OK;
}

METHOD(isupper)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(bind(vm, "isupper", "", 0, call, args));
    *out = lc_jinja_bool(lc_jinja_is_lower(self, true));
    return LC_OK;
}

METHOD(istitle)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    bool is_title = true, has_one = false, is_inside = false;
    size_t length = 1;
    LC_TRY(bind(vm, "istitle", "", 0, call, args));
    for (size_t at = 0; is_title && at < self->bytes; at += length) {
        length = 1;
        (void)lc_utf8_next(self->text + at, self->bytes - at, &length);
        const unsigned classes = lc_char_classes(lc_utf8_decode(self->text + at, length));
        const bool is_up = (classes & (LC_CHAR_UPPER | LC_CHAR_TITLE)) != 0;
        const bool is_low = (classes & LC_CHAR_LOWER) != 0;
        is_title = !(is_up && is_inside) && !(is_low && !is_inside);
        has_one = has_one || is_up || is_low;
        is_inside = is_up || is_low;
    }
    *out = lc_jinja_bool(is_title && has_one);
    return LC_OK;
}
