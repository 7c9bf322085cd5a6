/* See jinja_vm.h. */
#include "text/jinja_vm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "lorac/mem.h"
#include "text/jinja_program.h"

#define FIRST_BLOCK      ((size_t)8 << 10)
#define LARGEST_BLOCK    ((size_t)1 << 20)
#define BYTES_PER_STEP   16
#define MAX_SHOWN_REPORT 1000

struct lc_jblock {
    lc_jblock *next;
    size_t bytes;
    _Alignas(16) char data[];
};

/* ---- memory ---- */

void lc_jinja_memory_init(lc_jmemory *memory, size_t limit)
{
    *memory = (lc_jmemory){.limit = limit};
}

void lc_jinja_memory_release(lc_jmemory *memory)
{
    while (memory->blocks != NULL) {
        lc_jblock *next = memory->blocks->next;
        lc_free(memory->blocks);
        memory->blocks = next;
    }
    lc_jinja_memory_init(memory, memory->limit);
}

/* A block with room for `bytes`: the blocks double, so that there are few. */
static lc_jblock *add_block(lc_jmemory *memory, size_t bytes)
{
    size_t size = memory->bytes < FIRST_BLOCK ? FIRST_BLOCK : memory->bytes;
    size = size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
    size = size < bytes ? bytes : size;
    if (bytes > memory->limit || memory->bytes > memory->limit - bytes) {
        return NULL;
    }
    lc_jblock *block = lc_malloc(sizeof *block + size);
    if (block == NULL) {
        return NULL;
    }
    block->next = memory->blocks;
    block->bytes = size;
    memory->blocks = block;
    memory->bytes += size;
    return block;
}

void *lc_jinja_memory_get(lc_jmemory *memory, size_t bytes)
{
    if (bytes > memory->limit) {
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (memory->at == NULL || (size_t)(memory->end - memory->at) < bytes) {
        lc_jblock *block = add_block(memory, bytes);
        if (block == NULL) {
            return NULL;
        }
        memory->at = block->data;
        memory->end = block->data + block->bytes;
    }
    void *out = memory->at;
    memory->at += bytes;
    return out;
}

char *lc_jinja_memory_text(lc_jmemory *memory, size_t bytes)
{
    if (memory->text_at == NULL || (size_t)(memory->text_end - memory->text_at) < bytes) {
        lc_jblock *block = add_block(memory, bytes);
        if (block == NULL) {
            return NULL;
        }
        memory->text_at = block->data;
        memory->text_end = block->data + block->bytes;
    }
    char *out = memory->text_at;
    memory->text_at += bytes;
    return out;
}

/* ---- errors ---- */

static lc_code record(lc_jvm *vm, lc_code code, const char *format, va_list arguments)
    LC_PRINTF(3, 0);

static lc_code record(lc_jvm *vm, lc_code code, const char *format, va_list arguments)
{
    char message[LC_ERR_MESSAGE_BYTES];
    if (vm->code != LC_OK) {
        return vm->code;
    }
    (void)vsnprintf(message, sizeof message, format, arguments);
    vm->code = code;
    return lc_fail_line(vm->err, code, vm->line, "%.120s, line %d: %.800s", vm->name, vm->line,
                        message);
}

lc_code lc_jinja_fail(lc_jvm *vm, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const lc_code code = record(vm, LC_ERR_INVALID, format, arguments);
    va_end(arguments);
    return code;
}

lc_code lc_jinja_fail_as(lc_jvm *vm, lc_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    code = record(vm, code, format, arguments);
    va_end(arguments);
    return code;
}

lc_code lc_jinja_fail_type(lc_jvm *vm, const char *format, const lc_jvalue *value)
{
    char message[LC_ERR_MESSAGE_BYTES];
    const char *name = strstr(format, "%s");
    (void)snprintf(message, sizeof message, "%.*s%s%s", (int)(name - format), format,
                   lc_jinja_type_name(value), name + 2);
    return lc_jinja_fail(vm, "%s", message);
}

/* object_type_repr of Jinja2: "dict object", "None". */
static void describe_object(const lc_jvalue *object, char *out, size_t capacity)
{
    static const char *const modules[] = {
        [LC_J_NAMESPACE] = "transformers.utils.chat_template_utils.TemplateNamespace object",
        [LC_J_MACRO] = "jinja2.runtime.Macro object",
        [LC_J_LOOP] = "jinja2.runtime.LoopContext object",
        [LC_J_CYCLER] = "jinja2.utils.Cycler object",
        [LC_J_JOINER] = "jinja2.utils.Joiner object"};
    if (object->type == LC_J_NONE) {
        (void)snprintf(out, capacity, "None");
    } else if (object->type < sizeof modules / sizeof *modules && modules[object->type] != NULL) {
        (void)snprintf(out, capacity, "%s", modules[object->type]);
    } else if (object->type == LC_J_STRING && (object->flags & LC_J_SAFE) != 0) {
        (void)snprintf(out, capacity, "markupsafe.Markup object");
    } else {
        (void)snprintf(out, capacity, "%s object", lc_jinja_type_name(object));
    }
}

/* A name or an element as repr shows it, cut where it is long. */
static void show(const lc_jvalue *value, char *out, size_t capacity)
{
    if (value->type == LC_J_STRING) {
        const bool has_quote = memchr(value->text, '\'', value->bytes) != NULL;
        const int bytes = value->bytes < 200 ? (int)value->bytes : 200;
        (void)snprintf(out, capacity, has_quote ? "\"%.*s\"" : "'%.*s'", bytes, value->text);
    } else if (value->type == LC_J_BOOL || value->type == LC_J_NONE) {
        (void)snprintf(out, capacity, "%s",
                       value->type == LC_J_NONE ? "None"
                       : value->integer != 0    ? "True"
                                                : "False");
    } else if (value->type == LC_J_FLOAT) {
        lc_text text;
        lc_text_init(&text);
        lc_jinja_add_double(&text, value->number);
        (void)snprintf(out, capacity, "%s", text.data != NULL ? text.data : "");
        lc_text_release(&text);
    } else if (lc_jinja_is_integer(value)) {
        (void)snprintf(out, capacity, "%" PRId64, value->integer);
    } else {
        (void)snprintf(out, capacity, "of type %s", lc_jinja_type_name(value));
    }
}

void lc_jinja_describe_undefined(const lc_jvalue *value, char *out, size_t capacity)
{
    const lc_jundefined *why = value->undefined;
    char name[256], object[128];
    show(&why->name, name, sizeof name);
    if (why->is_forbidden) {
        (void)snprintf(out, capacity, "access to attribute %s of '%s' object is unsafe.", name,
                       lc_jinja_type_name(&why->object));
    } else if (why->hint != NULL) {
        (void)snprintf(out, capacity, "%s", why->hint);
    } else if (why->object.type == LC_J_MISSING) {
        (void)snprintf(out, capacity, "%s is undefined", name);
    } else {
        const bool is_name = why->name.type == LC_J_STRING;
        describe_object(&why->object, object, sizeof object);
        (void)snprintf(out, capacity, is_name ? "'%s' has no attribute %s" : "%s has no element %s",
                       object, name);
    }
}

lc_code lc_jinja_fail_undefined(lc_jvm *vm, const lc_jvalue *value)
{
    char message[MAX_SHOWN_REPORT];
    lc_jinja_describe_undefined(value, message, sizeof message);
    return lc_jinja_fail(vm, "%s", message);
}

/* ---- what a rendering may use ---- */

static lc_code fail_memory(lc_jvm *vm, size_t bytes)
{
    if (vm->memory.bytes > vm->memory.limit || bytes > vm->memory.limit - vm->memory.bytes) {
        return lc_jinja_fail(vm,
                             "the template's values take more than %zu MiB "
                             "(LC_MAX_TEMPLATE_MEMORY)",
                             vm->memory.limit >> 20);
    }
    return lc_jinja_fail_as(vm, LC_ERR_MEMORY, "no memory for a value of %zu bytes", bytes);
}

lc_code lc_jinja_pay(lc_jvm *vm, size_t bytes)
{
    vm->steps -= 1 + (int64_t)(bytes / BYTES_PER_STEP);
    return vm->steps >= 0 ? LC_OK
                          : lc_jinja_fail(vm,
                                          "the template took more than %" PRId64
                                          " steps (LC_MAX_TEMPLATE_STEPS)",
                                          (int64_t)LC_MAX_TEMPLATE_STEPS);
}

lc_code lc_jinja_alloc(lc_jvm *vm, size_t bytes, void **out)
{
    *out = lc_jinja_memory_get(&vm->memory, bytes);
    return *out != NULL ? LC_OK : fail_memory(vm, bytes);
}

lc_code lc_jinja_new_text(lc_jvm *vm, size_t bytes, char **out)
{
    LC_TRY(lc_jinja_pay(vm, bytes));
    *out = lc_jinja_memory_text(&vm->memory, bytes);
    return *out != NULL ? LC_OK : fail_memory(vm, bytes);
}

lc_code lc_jinja_join_texts(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jvalue *out)
{
    lc_jmemory *memory = &vm->memory;
    const size_t bytes = (size_t)a->bytes + b->bytes;
    char *text = NULL;
    if (a->bytes > 0 && a->text + a->bytes == memory->text_at &&
        (size_t)(memory->text_end - memory->text_at) >= b->bytes) {
        LC_TRY(lc_jinja_pay(vm, b->bytes));
        memmove(memory->text_at, b->text, b->bytes);
        memory->text_at += b->bytes;
        *out = lc_jinja_text(a->text, bytes);
        return LC_OK;
    }
    LC_TRY(lc_jinja_new_text(vm, bytes, &text));
    memcpy(text, a->text, a->bytes);
    memcpy(text + a->bytes, b->text, b->bytes);
    *out = lc_jinja_text(text, bytes);
    return LC_OK;
}

lc_code lc_jinja_check_size(lc_jvm *vm, const lc_text *text)
{
    return text->length <= LC_MAX_TEMPLATE_OUTPUT
               ? LC_OK
               : lc_jinja_fail(vm,
                               "the template makes a text of more than %zu MiB "
                               "(LC_MAX_TEMPLATE_OUTPUT)",
                               LC_MAX_TEMPLATE_OUTPUT >> 20);
}

lc_code lc_jinja_take(lc_jvm *vm, lc_text *text, lc_code code, lc_jvalue *out)
{
    if (code == LC_OK && text->failed) {
        code = lc_jinja_fail_as(vm, LC_ERR_MEMORY, "no memory for a text");
    }
    if (code == LC_OK) {
        code = lc_jinja_copy_text(vm, text->data != NULL ? text->data : "", text->length, out);
    }
    lc_text_release(text);
    return code;
}

lc_code lc_jinja_enter(lc_jvm *vm)
{
    if (vm->depth >= LC_MAX_TEMPLATE_DEPTH) {
        return lc_jinja_fail(vm, "evaluation is nested more than %d deep (LC_MAX_TEMPLATE_DEPTH)",
                             LC_MAX_TEMPLATE_DEPTH);
    }
    vm->depth++;
    return LC_OK;
}
