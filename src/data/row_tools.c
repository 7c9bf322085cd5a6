/*
 * The row rules for tools, calls and their answers, in today's spelling and the deprecated one.
 */
#include <inttypes.h>
#include <string.h>

#include "data/row_checker.h"

static bool is_string(const lc_json_node *value)
{
    return value != NULL && value->kind == LC_JSON_STRING;
}

static bool is_object(const lc_json_node *value)
{
    return value != NULL && value->kind == LC_JSON_OBJECT;
}

static bool is_bool(const lc_json_node *value)
{
    return value->kind == LC_JSON_TRUE || value->kind == LC_JSON_FALSE;
}

static bool is_function_type(const lc_row_checker *c, const lc_json_node *type)
{
    return is_string(type) && lc_json_node_is(&c->tape, type, "function");
}

/* Where to point for a member: at it, or at the object that lacks it. */
static const lc_place *place_of(const lc_place *member, const lc_json_node *value)
{
    return value != NULL ? member : member->up;
}

static bool is_name_character(unsigned char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '_' || ch == '-';
}

bool lc_row_is_name(lc_row_checker *c, const lc_json_node *string)
{
    size_t bytes;
    const char *text = lc_row_decode(c, string, &bytes);
    if (text == NULL || bytes == 0 || bytes > LC_MAX_FUNCTION_NAME) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (!is_name_character((unsigned char)text[i])) {
            return false;
        }
    }
    return true;
}

/* The name of a function; false: it is none. */
static bool check_function_name(lc_row_checker *c, const lc_place *function,
                                const lc_json_node *name)
{
    const lc_place place = {.up = function, .key = "name"};
    if (is_string(name) && lc_row_is_name(c, name)) {
        return true;
    }
    lc_row_report(c, LC_FINDING_BAD_FUNCTION_NAME, place_of(&place, name),
                  "the function's name is %s", lc_row_show(c, name));
    return false;
}

/* ---- tools ---- */

/* A JSON Schema of an object, as far as the service looks: its type, properties and required. Other
 * keywords are the schema's own business. */
static void check_parameters(lc_row_checker *c, const lc_place *place,
                             const lc_json_node *parameters)
{
    static const char *const names[] = {"type", "properties", "required", NULL};
    const lc_json_node *values[3];
    if (parameters == NULL) {
        return;
    }
    if (!is_object(parameters)) {
        lc_row_report(c, LC_FINDING_BAD_PARAMETERS, place, "the parameters are %s",
                      lc_row_show(c, parameters));
        return;
    }
    (void)lc_row_members(c, place, parameters, names, values, true);
    if (values[0] != NULL &&
        !(is_string(values[0]) && lc_json_node_is(&c->tape, values[0], "object"))) {
        const lc_place type = {.up = place, .key = "type"};
        lc_row_report(c, LC_FINDING_BAD_PARAMETERS, &type,
                      "the schema's type is %s, not \"object\"", lc_row_show(c, values[0]));
    }
    if (values[1] != NULL && !is_object(values[1])) {
        const lc_place properties = {.up = place, .key = "properties"};
        lc_row_report(c, LC_FINDING_BAD_PARAMETERS, &properties, "the properties are %s",
                      lc_row_show(c, values[1]));
    }
    if (values[2] != NULL && values[2]->kind != LC_JSON_ARRAY) {
        const lc_place required = {.up = place, .key = "required"};
        lc_row_report(c, LC_FINDING_BAD_PARAMETERS, &required, "required is %s, not a list",
                      lc_row_show(c, values[2]));
    }
}

static void note_tool(lc_row_checker *c, const lc_place *place, const lc_json_node *name)
{
    bool is_new = true;
    if (lc_names_add(c, &c->tools, lc_row_hash(c, name), &is_new) != NULL && !is_new) {
        lc_row_report(c, LC_FINDING_DUPLICATE_TOOL, place, "there is a tool %s already",
                      lc_row_show(c, name));
    }
}

/* {"name", "description", "parameters", "strict"} */
static void check_declared(lc_row_checker *c, const lc_place *place, const lc_json_node *function)
{
    static const char *const names[] = {"name", "parameters", "description", "strict", NULL};
    const lc_json_node *values[4];
    if (!is_object(function)) {
        c->are_tools_known = false;
        lc_row_report(c, LC_FINDING_BAD_TOOL, place_of(place, function), "the function is %s",
                      lc_row_show(c, function));
        return;
    }
    (void)lc_row_members(c, place, function, names, values, false);
    if (check_function_name(c, place, values[0])) {
        const lc_place name = {.up = place, .key = "name"};
        note_tool(c, &name, values[0]);
    } else {
        c->are_tools_known = false;
    }
    const lc_place parameters = {.up = place, .key = "parameters"};
    check_parameters(c, &parameters, values[1]);
    const bool is_described = values[2] == NULL || is_string(values[2]);
    if (!is_described || (values[3] != NULL && !is_bool(values[3]))) {
        const lc_place member = {.up = place, .key = is_described ? "strict" : "description"};
        lc_row_report(c, LC_FINDING_BAD_TOOL, &member, "it is %s",
                      lc_row_show(c, is_described ? values[3] : values[2]));
    }
}

static void check_tool(lc_row_checker *c, const lc_place *place, const lc_json_node *tool)
{
    static const char *const names[] = {"function", "type", NULL};
    const lc_json_node *values[2];
    if (!is_object(tool)) {
        c->are_tools_known = false;
        lc_row_report(c, LC_FINDING_BAD_TOOL, place, "the tool is %s", lc_row_show(c, tool));
        return;
    }
    (void)lc_row_members(c, place, tool, names, values, false);
    if (!is_function_type(c, values[1])) {
        const lc_place type = {.up = place, .key = "type"};
        c->are_tools_known = false;
        lc_row_report(c, LC_FINDING_BAD_TOOL, place_of(&type, values[1]),
                      "the tool's \"type\" is %s, not \"function\"", lc_row_show(c, values[1]));
        return;
    }
    const lc_place function = {.up = place, .key = "function"};
    check_declared(c, &function, values[0]);
}

static void check_tool_list(lc_row_checker *c, const lc_place *place, const lc_json_node *list,
                            void (*check)(lc_row_checker *, const lc_place *, const lc_json_node *))
{
    if (list->kind != LC_JSON_ARRAY) {
        lc_row_report(c, LC_FINDING_BAD_TOOLS, place, "it is %s", lc_row_show(c, list));
        return;
    }
    c->are_tools_known = true;
    c->facts->has_tools |= lc_json_node_first(list) != lc_json_node_end(&c->tape, list);
    lc_place item = {.up = place};
    for (const lc_json_node *tool = lc_json_node_first(list);
         tool != lc_json_node_end(&c->tape, list); tool = lc_json_node_next(&c->tape, tool)) {
        if (item.index < LC_MAX_TOOLS) {
            check(c, &item, tool);
        }
        item.index++;
    }
    if (item.index > LC_MAX_TOOLS) {
        c->are_tools_known = false;
        lc_row_report(c, LC_FINDING_TOO_MANY_TOOLS, place, "%" PRId64 " tools, the limit is %d",
                      item.index, LC_MAX_TOOLS);
    }
}

void lc_row_check_tools(lc_row_checker *c, const lc_place *up, const lc_json_node *tools,
                        const lc_json_node *functions, const lc_json_node *parallel)
{
    const lc_place tools_place = {.up = up, .key = "tools"};
    const lc_place functions_place = {.up = up, .key = "functions"};
    const lc_place parallel_place = {.up = up, .key = "parallel_tool_calls"};
    c->are_tools_known = tools == NULL && functions == NULL; /* there are none */
    if (tools != NULL) {
        check_tool_list(c, &tools_place, tools, check_tool);
    }
    if (functions != NULL && tools != NULL) {
        lc_row_report(c, LC_FINDING_FUNCTIONS_WITH_TOOLS, &functions_place,
                      "the row has tools as well");
    } else if (functions != NULL) {
        lc_row_report(c, LC_FINDING_DEPRECATED_FUNCTIONS, &functions_place,
                      "\"functions\" is read as tools");
        check_tool_list(c, &functions_place, functions, check_declared);
    }
    if (parallel != NULL && !is_bool(parallel)) {
        lc_row_report(c, LC_FINDING_BAD_PARALLEL_TOOL_CALLS, &parallel_place, "it is %s",
                      lc_row_show(c, parallel));
    }
}

/* ---- calls ---- */

static void check_arguments(lc_row_checker *c, const lc_place *function,
                            const lc_json_node *arguments)
{
    const lc_place place = {.up = function, .key = "arguments"};
    if (is_object(arguments)) {
        lc_row_report(c, LC_FINDING_ARGUMENTS_NOT_TEXT, &place, "the arguments are an object");
        return;
    }
    if (!is_string(arguments)) {
        lc_row_report(c, LC_FINDING_BAD_ARGUMENTS, place_of(&place, arguments),
                      "the arguments are %s", lc_row_show(c, arguments));
        return;
    }
    size_t bytes;
    const char *text = lc_row_decode(c, arguments, &bytes);
    if (text == NULL) {
        return;
    }
    lc_err why = {.code = LC_OK};
    const lc_code code = lc_json_tape_read(&c->inner, text, bytes, &why);
    if (code == LC_ERR_MEMORY) {
        c->failed = true;
    } else if (code != LC_OK) {
        lc_row_report(c, LC_FINDING_BAD_ARGUMENTS, &place, "in %s: %.100s",
                      lc_row_show(c, arguments), lc_row_reason(&why));
    }
}

/* {"name", "arguments"} */
static void check_called(lc_row_checker *c, const lc_place *place, const lc_json_node *function)
{
    static const char *const names[] = {"name", "arguments", NULL};
    const lc_json_node *values[2];
    if (!is_object(function)) {
        lc_row_report(c, LC_FINDING_BAD_TOOL_CALL, place_of(place, function),
                      "the call's \"function\" is %s", lc_row_show(c, function));
        return;
    }
    (void)lc_row_members(c, place, function, names, values, false);
    if (check_function_name(c, place, values[0]) && c->are_tools_known &&
        lc_names_find(c, &c->tools, lc_row_hash(c, values[0])) == NULL) {
        const lc_place name = {.up = place, .key = "name"};
        lc_row_report(c, LC_FINDING_UNDECLARED_TOOL, &name, "there is no tool %s",
                      lc_row_show(c, values[0]));
    }
    check_arguments(c, place, values[1]);
}

static void note_call(lc_row_checker *c, const lc_place *call, const lc_json_node *id,
                      lc_conversation *conversation)
{
    const lc_place place = {.up = call, .key = "id"};
    bool is_new = true;
    if (!is_string(id) || id->bytes == 0) {
        lc_row_report(c, LC_FINDING_BAD_CALL_ID, place_of(&place, id), "the call's \"id\" is %s",
                      lc_row_show(c, id));
        return;
    }
    lc_name *name = lc_names_add(c, &c->calls, lc_row_hash(c, id), &is_new);
    if (name == NULL) {
        return;
    }
    if (!is_new && name->message == conversation->message) {
        lc_row_report(c, LC_FINDING_DUPLICATE_CALL_ID, &place, "another call of the message is %s",
                      lc_row_show(c, id));
        return;
    }
    name->message = conversation->message;
    name->is_answered = false;
    conversation->open_calls++;
}

static void check_call(lc_row_checker *c, const lc_place *place, const lc_json_node *call,
                       lc_conversation *conversation)
{
    static const char *const names[] = {"id", "type", "function", NULL};
    const lc_json_node *values[3];
    if (!is_object(call)) {
        lc_row_report(c, LC_FINDING_BAD_TOOL_CALL, place, "the call is %s", lc_row_show(c, call));
        return;
    }
    (void)lc_row_members(c, place, call, names, values, false);
    note_call(c, place, values[0], conversation);
    if (!is_function_type(c, values[1])) {
        const lc_place type = {.up = place, .key = "type"};
        lc_row_report(c, LC_FINDING_BAD_TOOL_CALL, place_of(&type, values[1]),
                      "the call's \"type\" is %s, not \"function\"", lc_row_show(c, values[1]));
    }
    const lc_place function = {.up = place, .key = "function"};
    check_called(c, &function, values[2]);
}

static void check_call_list(lc_row_checker *c, const lc_place *place, const lc_json_node *calls,
                            lc_conversation *conversation)
{
    if (calls->kind != LC_JSON_ARRAY) {
        lc_row_report(c, LC_FINDING_BAD_TOOL_CALLS, place, "it is %s", lc_row_show(c, calls));
        return;
    }
    lc_place item = {.up = place};
    for (const lc_json_node *call = lc_json_node_first(calls);
         call != lc_json_node_end(&c->tape, calls); call = lc_json_node_next(&c->tape, call)) {
        check_call(c, &item, call, conversation);
        item.index++;
    }
    if (item.index == 0) {
        lc_row_report(c, LC_FINDING_EMPTY_TOOL_CALLS, place, "the list is empty");
    }
}

void lc_row_check_calls(lc_row_checker *c, const lc_place *up, const lc_json_node *calls,
                        const lc_json_node *function_call, lc_conversation *conversation)
{
    const lc_place calls_place = {.up = up, .key = "tool_calls"};
    const lc_place old_place = {.up = up, .key = "function_call"};
    if (calls != NULL) {
        check_call_list(c, &calls_place, calls, conversation);
    }
    if (function_call != NULL && calls != NULL) {
        lc_row_report(c, LC_FINDING_FUNCTION_CALL_WITH_TOOL_CALLS, &old_place,
                      "the message has tool_calls as well");
    } else if (function_call != NULL) {
        lc_row_report(c, LC_FINDING_DEPRECATED_FUNCTION_CALL, &old_place,
                      "\"function_call\" is read as tool_calls");
        check_called(c, &old_place, function_call);
    }
}

void lc_row_check_answer(lc_row_checker *c, const lc_place *up, const lc_json_node *id,
                         lc_conversation *conversation)
{
    const lc_place place = {.up = up, .key = "tool_call_id"};
    if (!is_string(id)) {
        lc_row_report(c, LC_FINDING_BAD_TOOL_CALL_ID, place_of(&place, id),
                      "the answer's \"tool_call_id\" is %s", lc_row_show(c, id));
        return;
    }
    lc_name *call = lc_names_find(c, &c->calls, lc_row_hash(c, id));
    if (call == NULL) {
        lc_row_report(c, LC_FINDING_UNKNOWN_TOOL_CALL_ID, &place, "no call before it is %s",
                      lc_row_show(c, id));
        return;
    }
    if (!call->is_answered && call->message == conversation->calling) {
        conversation->open_calls--;
    }
    call->is_answered = true;
}
