/* The row of normalizer steps, see normalizer.h; Unicode's forms are in normalizer_form.c. */
#include "text/normalizer.h"

void lc_normalizer_release(lc_normalizer *normalizer)
{
    for (int i = 0; i < normalizer->count; i++) {
        lc_finder_release(&normalizer->steps[i].finder);
    }
    normalizer->count = 0;
}

static lc_code run_step(const lc_normal_step *step, lc_matcher *matcher, lc_tracked *out,
                        const lc_piece *in, bool *changed, lc_err *err)
{
    switch (step->kind) {
    case LC_NORMAL_FORM:
        return lc_tracked_form(out, step->form, in, changed, err);
    case LC_NORMAL_REPLACE:
        return lc_tracked_replace(out, &step->finder, matcher, step->content, step->content_bytes,
                                  in, changed, err);
    default:
        *changed = true;
        return lc_tracked_prepend(out, step->content, step->content_bytes, in, err);
    }
}

lc_code lc_normalizer_run(const lc_normalizer *normalizer, lc_matcher *matcher, lc_tracked texts[2],
                          const lc_piece *in, lc_piece *out, lc_err *err)
{
    int turn = 0;
    *out = *in;
    for (int i = 0; i < normalizer->count && out->bytes > 0; i++) {
        bool changed = false;
        texts[turn].bytes = 0;
        LC_TRY(run_step(&normalizer->steps[i], matcher, &texts[turn], out, &changed, err));
        if (changed) {
            *out = lc_tracked_piece(&texts[turn]);
            turn = 1 - turn;
        }
    }
    return LC_OK;
}

lc_code lc_tracked_replace(lc_tracked *out, const lc_finder *finder, lc_matcher *matcher,
                           const char *content, size_t content_bytes, const lc_piece *in,
                           bool *changed, lc_err *err)
{
    size_t done = 0, begin = 0, end = 0;
    *changed = false;
    while (done < in->bytes) {
        bool found = false;
        LC_TRY(
            lc_finder_find(finder, matcher, in->text, in->bytes, done, &found, &begin, &end, err));
        if (!found) {
            break;
        }
        *changed = true;
        LC_TRY(lc_tracked_copy(out, in, done, begin, err));
        LC_TRY(lc_tracked_add(out, content, content_bytes, lc_piece_origin(in, end - 1), err));
        done = end;
    }
    return *changed ? lc_tracked_copy(out, in, done, in->bytes, err) : LC_OK;
}
