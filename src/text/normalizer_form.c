/*
 * Unicode's normalization forms (Unicode Standard Annex 15), with origins. The text is cut before
 * every inert character that something else follows; each such segment is decomposed, its marks
 * are put in order, and for C and KC it is composed again. What lies between is copied.
 *
 * Each character carries how many of the source's it stands for, less one: +1 for one that a
 * decomposition added, -1 and less for a composite of several. That is what decides where a
 * character comes from, as in Hugging Face: the marks of a composite leave no trace.
 */
#include "text/normalizer.h"

#include <stdlib.h>

#include "lorac/mem.h"
#include "text/utf8.h"

typedef struct mark {
    uint32_t code_point;
    uint32_t place; /* in the segment, for a stable order */
    int32_t added; /* 1: of a longer decomposition; else minus the source's characters beyond one */
    uint8_t combining_class;
} mark;

typedef struct former {
    lc_form form;
    const lc_piece *in;
    lc_tracked *out;
    mark *marks; /* owned: the segment's characters */
    size_t count, capacity;
    lc_err *err;
} former;

static lc_code form_segment(former *f, size_t begin, size_t end);

static uint32_t next_code_point(const lc_piece *in, size_t at, size_t *length)
{
    if ((uint8_t)in->text[at] < 0x80) {
        *length = 1;
        return (uint8_t)in->text[at];
    }
    (void)lc_utf8_next(in->text + at, in->bytes - at, length);
    return lc_utf8_decode(in->text + at, *length);
}

/* The first character at or after `from` that is (not) inert; `before` is the one before it. */
static size_t find(const former *f, size_t from, bool inert, size_t *before)
{
    size_t length = 0;
    for (size_t at = from; at < f->in->bytes; at += length) {
        if (lc_is_inert(f->form, next_code_point(f->in, at, &length)) == inert) {
            return at;
        }
        *before = at;
    }
    return f->in->bytes;
}

static lc_code form(former *f, bool *changed)
{
    size_t done = 0;
    for (;;) {
        size_t begin = done; /* the inert character that what follows may be composed with */
        const size_t other = find(f, done, false, &begin);
        if (other == f->in->bytes) {
            return *changed ? lc_tracked_copy(f->out, f->in, done, f->in->bytes, f->err) : LC_OK;
        }
        *changed = true;
        const size_t end = find(f, other, true, &(size_t){0});
        LC_TRY(lc_tracked_copy(f->out, f->in, done, begin, f->err));
        LC_TRY(form_segment(f, begin, end));
        done = end;
    }
}

lc_code lc_tracked_form(lc_tracked *out, lc_form which, const lc_piece *in, bool *changed,
                        lc_err *err)
{
    former f = {.form = which, .in = in, .out = out, .err = err};
    *changed = false;
    const lc_code code = form(&f, changed);
    lc_free(f.marks);
    return code;
}

/* ---- one segment ---- */

static lc_code add_mark(former *f, uint32_t code_point, int32_t added)
{
    if (f->count == f->capacity) {
        const size_t capacity = f->capacity < 32 ? 32 : 2 * f->capacity;
        mark *marks = lc_realloc(f->marks, capacity * sizeof *marks);
        if (marks == NULL) {
            return lc_fail(f->err, LC_ERR_MEMORY, "no memory to normalize %zu characters",
                           capacity);
        }
        f->marks = marks;
        f->capacity = capacity;
    }
    f->marks[f->count] =
        (mark){code_point, (uint32_t)f->count, added, lc_combining_class(code_point)};
    f->count++;
    return LC_OK;
}

static lc_code decompose(former *f, size_t begin, size_t end)
{
    uint32_t parts[LC_MAX_DECOMPOSITION];
    size_t length = 0;
    f->count = 0;
    for (size_t at = begin; at < end; at += length) {
        const int count = lc_decompose(f->form, next_code_point(f->in, at, &length), parts);
        for (int i = 0; i < count; i++) {
            LC_TRY(add_mark(f, parts[i], i > 0));
        }
    }
    return LC_OK;
}

static int by_class_then_place(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    if (x->combining_class != y->combining_class) {
        return x->combining_class < y->combining_class ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Sorts every run of marks between starters. */
static void put_in_order(former *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const size_t first = i;
        bool sorted = true;
        for (; i < f->count && f->marks[i].combining_class > 0; i++) {
            sorted = sorted &&
                     (i == first || f->marks[i - 1].combining_class <= f->marks[i].combining_class);
        }
        if (!sorted) {
            qsort(f->marks + first, i - first, sizeof *f->marks, by_class_then_place);
        }
    }
}

/* Composes in place: `starter` takes in what no mark of its class or a higher one cuts it off
 * from. */
static void compose(former *f)
{
    size_t kept = 0, starter = SIZE_MAX;
    int last_class = -1; /* of the marks kept behind the starter; -1: none */
    for (size_t i = 0; i < f->count; i++) {
        const mark m = f->marks[i];
        uint32_t composite = 0;
        if (starter != SIZE_MAX && last_class < (int)m.combining_class) {
            composite = lc_compose(f->marks[starter].code_point, m.code_point);
        }
        if (composite != 0) {
            f->marks[starter].code_point = composite;
            f->marks[starter].added += m.added - 1;
            continue;
        }
        if (m.combining_class == 0) {
            starter = kept;
            last_class = -1;
        } else {
            last_class = m.combining_class;
        }
        f->marks[kept++] = m;
    }
    f->count = kept;
}

/* Writes the characters; each takes as many of the source's as it stands for. */
static lc_code write_marks(former *f, size_t begin)
{
    size_t at = begin, length = 0;
    for (size_t i = 0; i < f->count; i++) {
        const mark *m = &f->marks[i];
        char bytes[4];
        const size_t origin = lc_piece_origin(f->in, m->added > 0 && at > 0 ? at - 1 : at);
        LC_TRY(lc_tracked_add(f->out, bytes, lc_utf8_encode(m->code_point, bytes), origin, f->err));
        for (int32_t taken = m->added; taken <= 0; taken++) {
            (void)next_code_point(f->in, at, &length);
            at += length;
        }
    }
    return LC_OK;
}

static lc_code form_segment(former *f, size_t begin, size_t end)
{
    LC_TRY(decompose(f, begin, end));
    put_in_order(f);
    if (f->form == LC_FORM_C || f->form == LC_FORM_KC) {
        compose(f);
    }
    return write_marks(f, begin);
}
