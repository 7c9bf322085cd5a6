/*
 * A conversation whose last message is to be continued, as transformers' continue_final_message
 * has it: a mark is put behind the message, and the text ends where the mark comes out.
 */
#include <string.h>

#include "text/jinja_run.h"
#include "text/template_internal.h"

#define MARK       "CONTINUE_FINAL_MESSAGE_TAG " /* its blank tells whether the template trims */
#define MARK_BYTES (sizeof MARK - 1)

static const char *const reasoning_names[] = {"reasoning_content", "thinking", "reasoning"};

static bool is_reasoning(const char *field)
{
    bool found = false;
    for (size_t i = 0; i < 3; i++) {
        found = found || strcmp(reasoning_names[i], field) == 0;
    }
    return found;
}

static lc_jvalue *find(const lc_jvalue *object, const char *name)
{
    return object->type == LC_J_DICT ? lc_jinja_find_text(object->dict, name, strlen(name)) : NULL;
}

static const lc_jvalue *last_of(const lc_jvalue *list)
{
    return list->type == LC_J_LIST && list->list->count > 0
               ? &list->list->items[list->list->count - 1]
               : NULL;
}

/* The last block that has a text. */
static lc_jvalue *last_text(const lc_jlist *blocks)
{
    lc_jvalue *found = NULL;
    for (size_t i = blocks->count; i > 0 && found == NULL; i--) {
        found = find(&blocks->items[i - 1], "text");
    }
    return found;
}

static lc_code add_mark(lc_jvm *vm, lc_jvalue *text)
{
    const lc_jvalue mark = lc_jinja_literal(MARK);
    return lc_jinja_join_texts(vm, text, &mark, text);
}

lc_code lc_template_mark_end(lc_jvm *vm, const lc_jvalue *messages, const char *field,
                             lc_jvalue *was)
{
    const lc_jvalue *message = last_of(messages);
    lc_jvalue *text = message != NULL ? find(message, field) : NULL;
    text = text != NULL && text->type == LC_J_LIST ? last_text(text->list) : text;
    if (text == NULL || text->type != LC_J_STRING) {
        return lc_fail_param(vm->err, LC_ERR_INVALID, "continue_final_message",
                             "the last message has no text in \"%.40s\" to continue", field);
    }
    *was = *text;
    LC_TRY(add_mark(vm, text));
    for (size_t i = 0; i < 3 && is_reasoning(field); i++) { /* its copies by other names */
        lc_jvalue *other = find(message, reasoning_names[i]);
        if (other != NULL && other->type == LC_J_STRING && other->bytes == was->bytes &&
            memcmp(other->text, was->text, was->bytes) == 0) {
            LC_TRY(add_mark(vm, other));
        }
    }
    return LC_OK;
}

/* Where the mark stands last; NULL: nowhere. */
static const char *find_mark(const lc_text *text)
{
    const char *found = NULL, *end = text->data + text->length;
    const char *next =
        text->length > 0 ? memmem(text->data, text->length, MARK, MARK_BYTES - 1) : NULL;
    while (next != NULL) {
        found = next;
        next = memmem(found + 1, (size_t)(end - found) - 1, MARK, MARK_BYTES - 1);
    }
    return found;
}

lc_code lc_template_cut_at_mark(lc_jvm *vm, const lc_jvalue *was)
{
    const lc_jvalue stripped = lc_jinja_strip(was, NULL, true, true);
    const char *at = find_mark(&vm->out);
    if (at == NULL || memmem(vm->out.data, vm->out.length, stripped.text, stripped.bytes) == NULL) {
        return lc_fail_param(vm->err, LC_ERR_INVALID, "continue_final_message",
                             "the chat template does not write the last message, or only parts "
                             "of it, so that it cannot be continued");
    }
    const size_t begin = (size_t)(at - vm->out.data);
    lc_jvalue kept = lc_jinja_text(vm->out.data, begin);
    if (vm->out.length < begin + MARK_BYTES || at[MARK_BYTES - 1] != ' ') {
        kept = lc_jinja_strip(&kept, NULL, false, true); /* the template trims: so was the text */
    }
    vm->out.length = kept.bytes;
    return LC_OK;
}
