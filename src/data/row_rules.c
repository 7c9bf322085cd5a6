/*
 * The row rules: from a line to its findings, by method; see row_rules.h. The rules of messages are
 * in row_messages.c, those of tools and calls in row_tools.c.
 */
#include "data/row_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/row_checker.h"

const char *const lc_method_names[LC_METHOD_COUNT + 1] = {"supervised", "dpo", "reinforcement"};

enum { MESSAGES, TOOLS, PARALLEL, FUNCTIONS, FUNCTION_CALL, INPUT, PREFERRED, NON_PREFERRED, KEYS };
static const char *const row_keys[KEYS + 1] = {
    "messages",      "tools", "parallel_tool_calls", "functions",
    "function_call", "input", "preferred_output",    "non_preferred_output"};
static const char *const pair_keys[] = {"prompt", "completion", NULL};

/* ---- the line as JSON ---- */

static const lc_finding_code problem_codes[] = {
    [LC_JSON_SYNTAX] = LC_FINDING_INVALID_JSON,
    [LC_JSON_BAD_UTF8] = LC_FINDING_INVALID_UTF8,
    [LC_JSON_NUL] = LC_FINDING_NUL_CHARACTER,
    [LC_JSON_SURROGATE] = LC_FINDING_LONE_SURROGATE,
    [LC_JSON_DUPLICATE_KEY] = LC_FINDING_DUPLICATE_KEY,
    [LC_JSON_TOO_DEEP] = LC_FINDING_NESTED_TOO_DEEP,
    [LC_JSON_NUMBER_RANGE] = LC_FINDING_NUMBER_OUT_OF_RANGE,
};

/* Says why; most lines of a broken file come here only to be counted. */
static void report_problem(lc_row_checker *c)
{
    const lc_finding_code code = problem_codes[c->tape.problem];
    lc_err why = {.code = LC_OK};
    char offset[64] = "";
    if (!lc_findings_wants(c->findings, code)) {
        lc_findings_add(c->findings, code, c->row.line, NULL, "");
        return;
    }
    if (lc_json_tape_read(&c->tape, c->row.text, c->row.bytes, &why) == LC_ERR_MEMORY) {
        c->failed = true;
    }
    if (c->row.offset >= 0) {
        (void)snprintf(offset, sizeof offset, ", byte %" PRId64 " of the file",
                       c->row.offset + (int64_t)c->tape.problem_at + 1);
    }
    lc_row_report(c, code, NULL, "%.160s (byte %zu of the line%s)", lc_row_reason(&why),
                  c->tape.problem_at + 1, offset);
}

static bool is_one_of(const char *key, size_t bytes, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strlen(*names) == bytes && memcmp(*names, key, bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* What the rules do not look into: members of a row that are the user's own, and the properties of
 * a function. A key written with escapes is looked into: it may be any. */
static bool is_opaque(const char *key, size_t bytes, int depth)
{
    static const char *const properties[] = {"properties", NULL};
    return depth == 1 ? !is_one_of(key, bytes, row_keys) && memchr(key, '\\', bytes) == NULL
                      : is_one_of(key, bytes, properties);
}

/* ---- which format it is ---- */

/* The role of a message, LC_ROLE_COUNT: none that is known. */
static lc_role role_of(const lc_row_checker *c, const lc_json_node *message)
{
    const lc_json_node *role = NULL, *end = lc_json_node_end(&c->tape, message);
    if (message->kind != LC_JSON_OBJECT) {
        return LC_ROLE_COUNT;
    }
    for (const lc_json_node *key = lc_json_node_first(message); key != end;
         key = lc_json_node_next(&c->tape, key + 1)) {
        role = lc_json_node_is(&c->tape, key, "role") ? key + 1 : role;
    }
    for (int i = 0; i < LC_ROLE_COUNT && role != NULL && role->kind == LC_JSON_STRING; i++) {
        if (lc_json_node_is(&c->tape, role, lc_role_names[i])) {
            return (lc_role)i;
        }
    }
    return LC_ROLE_COUNT;
}

/* Roles of the conversation: whether the assistant speaks, and who does last. */
static void look_at_roles(const lc_row_checker *c, const lc_json_node *messages,
                          bool *has_assistant, lc_role *last)
{
    *has_assistant = false;
    *last = LC_ROLE_COUNT;
    if (messages->kind != LC_JSON_ARRAY) {
        return;
    }
    for (const lc_json_node *m = lc_json_node_first(messages);
         m != lc_json_node_end(&c->tape, messages); m = lc_json_node_next(&c->tape, m)) {
        *last = role_of(c, m);
        *has_assistant |= *last == LC_ROLE_ASSISTANT;
    }
}

/* Looks at what stands in the row, not at what is missing, so that a mere slip is not taken for
 * another format. */
static lc_method guess_method(const lc_row_checker *c, const lc_json_node *const *values,
                              int64_t unknown_keys)
{
    const bool has_output = values[PREFERRED] != NULL || values[NON_PREFERRED] != NULL;
    if (has_output || (values[INPUT] != NULL && values[MESSAGES] == NULL)) {
        return LC_METHOD_DPO;
    }
    if (values[MESSAGES] == NULL) {
        return c->method;
    }
    if (c->method == LC_METHOD_SUPERVISED && unknown_keys == 0) {
        return c->method; /* most rows */
    }
    bool has_assistant;
    lc_role last;
    look_at_roles(c, values[MESSAGES], &has_assistant, &last);
    if (c->method == LC_METHOD_REINFORCEMENT) {
        return last == LC_ROLE_ASSISTANT && unknown_keys == 0 ? LC_METHOD_SUPERVISED : c->method;
    }
    return last == LC_ROLE_USER && !has_assistant && unknown_keys > 0 ? LC_METHOD_REINFORCEMENT
                                                                      : LC_METHOD_SUPERVISED;
}

static bool is_pair(lc_row_checker *c, const lc_json_node *row)
{
    const lc_json_node *values[2];
    (void)lc_row_members(c, NULL, row, pair_keys, values, true);
    return values[0] != NULL || values[1] != NULL;
}

/* ---- by method ---- */

/* "messages" of the row or of `up`; true when there are some. */
static bool check_conversation(lc_row_checker *c, const lc_place *up, const lc_json_node *messages,
                               lc_conversation *conversation)
{
    const lc_place place = {.up = up, .key = "messages"};
    if (messages == NULL) {
        lc_row_report(c, LC_FINDING_MISSING_MESSAGES, up, "there is no \"messages\"");
        return false;
    }
    if (messages->kind != LC_JSON_ARRAY) {
        lc_row_report(c, LC_FINDING_BAD_MESSAGES, &place, "it is %s", lc_row_show(c, messages));
        return false;
    }
    if (!lc_row_check_messages(c, &place, messages, conversation)) {
        lc_row_report(c, LC_FINDING_EMPTY_MESSAGES, &place, "the list is empty");
        return false;
    }
    return true;
}

static void check_trained(lc_row_checker *c, const lc_conversation *conversation)
{
    const lc_place place = {.key = "messages"};
    if (conversation->is_unclear) {
        return;
    }
    if (!conversation->has_trained) {
        lc_row_report(c, LC_FINDING_NO_TRAINED_MESSAGE, &place, "%s",
                      conversation->has_assistant ? "all assistant messages have weight 0"
                                                  : "there is no assistant message");
    } else if (conversation->last != LC_ROLE_ASSISTANT) {
        lc_row_report(c, LC_FINDING_LAST_NOT_ASSISTANT, &place, "the last message is the %s's",
                      lc_role_names[conversation->last]);
    }
}

static void check_last_user(lc_row_checker *c, const lc_conversation *conversation)
{
    const lc_place place = {.key = "messages"};
    if (conversation->last != LC_ROLE_COUNT && conversation->last != LC_ROLE_USER) {
        lc_row_report(c, LC_FINDING_LAST_NOT_USER, &place, "the last message is the %s's",
                      lc_role_names[conversation->last]);
    }
}

/* Supervised and reinforcement rows. */
static void check_chat(lc_row_checker *c, const lc_json_node *const *values)
{
    lc_conversation conversation = {.last = LC_ROLE_COUNT};
    lc_row_check_tools(c, NULL, values[TOOLS], values[FUNCTIONS], values[PARALLEL]);
    if (!check_conversation(c, NULL, values[MESSAGES], &conversation)) {
        return;
    }
    if (c->method == LC_METHOD_SUPERVISED) {
        check_trained(c, &conversation);
    } else {
        check_last_user(c, &conversation);
    }
}

/* Number of the message behind the conversation. */
static int64_t behind(const lc_conversation *conversation)
{
    return conversation->message + 1;
}

static int64_t check_input(lc_row_checker *c, const lc_json_node *input)
{
    static const char *const keys[] = {"messages", "tools", "parallel_tool_calls", "functions",
                                       NULL};
    const lc_place place = {.key = "input"};
    const lc_json_node *values[4];
    lc_conversation conversation = {.last = LC_ROLE_COUNT};
    if (input == NULL || input->kind != LC_JSON_OBJECT) {
        lc_row_report(c, LC_FINDING_MISSING_INPUT, input != NULL ? &place : NULL, "\"input\" is %s",
                      lc_row_show(c, input));
        return 0;
    }
    (void)lc_row_members(c, &place, input, keys, values, false);
    lc_row_check_tools(c, &place, values[1], values[3], values[2]);
    (void)check_conversation(c, &place, values[0], &conversation);
    return behind(&conversation);
}

/* One of the two completions; `first`: number of its first message. */
static int64_t check_output(lc_row_checker *c, const char *key, const lc_json_node *output,
                            int64_t first)
{
    const lc_place place = {.key = key};
    lc_conversation conversation = {
        .is_output = true, .first = first, .message = first, .last = LC_ROLE_COUNT};
    if (output == NULL) {
        lc_row_report(c, LC_FINDING_MISSING_OUTPUT, NULL, "there is no \"%s\"", key);
    } else if (output->kind != LC_JSON_ARRAY) {
        lc_row_report(c, LC_FINDING_BAD_OUTPUT, &place, "it is %s", lc_row_show(c, output));
    } else if (!lc_row_check_messages(c, &place, output, &conversation)) {
        lc_row_report(c, LC_FINDING_BAD_OUTPUT, &place, "the list is empty");
    } else if (!conversation.has_assistant && !conversation.is_unclear) {
        lc_row_report(c, LC_FINDING_OUTPUT_WITHOUT_ASSISTANT, &place,
                      "there is no assistant message");
    }
    return behind(&conversation);
}

/* The same values, spelled alike but for blanks. */
static bool are_same(const lc_row_checker *c, const lc_json_node *a, const lc_json_node *b)
{
    const uint32_t count = a->next - (uint32_t)(a - c->tape.nodes);
    if (count != b->next - (uint32_t)(b - c->tape.nodes)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const bool is_container = a[i].kind >= LC_JSON_ARRAY;
        if (a[i].kind != b[i].kind || a[i].next - (uint32_t)(a - c->tape.nodes) !=
                                          b[i].next - (uint32_t)(b - c->tape.nodes)) {
            return false;
        }
        if (!is_container && (a[i].bytes != b[i].bytes ||
                              memcmp(lc_json_node_text(&c->tape, &a[i]),
                                     lc_json_node_text(&c->tape, &b[i]), a[i].bytes) != 0)) {
            return false;
        }
    }
    return true;
}

static void check_preference(lc_row_checker *c, const lc_json_node *const *values)
{
    const lc_json_node *preferred = values[PREFERRED], *other = values[NON_PREFERRED];
    int64_t number = check_input(c, values[INPUT]);
    number = check_output(c, row_keys[PREFERRED], preferred, number);
    (void)check_output(c, row_keys[NON_PREFERRED], other, number);
    if (preferred != NULL && other != NULL && preferred->kind == LC_JSON_ARRAY &&
        preferred->next > (uint32_t)(preferred - c->tape.nodes) + 1 &&
        are_same(c, preferred, other)) {
        const lc_place place = {.key = row_keys[NON_PREFERRED]};
        lc_row_report(c, LC_FINDING_IDENTICAL_OUTPUTS, &place, "it is the preferred_output again");
    }
}

/* Members of the row that its format does not have; in reinforcement rows they are the graders'. */
static void tell_unknown_keys(lc_row_checker *c, const lc_json_node *row)
{
    static const char *const chat_keys[] = {"messages",  "tools",         "parallel_tool_calls",
                                            "functions", "function_call", NULL};
    static const char *const preference_keys[] = {"input", "preferred_output",
                                                  "non_preferred_output", NULL};
    const lc_json_node *values[KEYS];
    if (c->method != LC_METHOD_REINFORCEMENT) {
        (void)lc_row_members(c, NULL, row, c->method == LC_METHOD_DPO ? preference_keys : chat_keys,
                             values, false);
    }
}

static void check_object(lc_row_checker *c, const lc_json_node *row)
{
    const lc_json_node *values[KEYS];
    const int64_t unknown = lc_row_members(c, NULL, row, row_keys, values, true);
    const lc_method guess = guess_method(c, values, unknown);
    if (guess != c->method) {
        lc_row_report(c, LC_FINDING_WRONG_METHOD, NULL,
                      "the row is in the format of method %s: give --method %s",
                      lc_method_names[guess], lc_method_names[guess]);
        return;
    }
    if (values[MESSAGES] == NULL && values[INPUT] == NULL && is_pair(c, row)) {
        lc_row_report(c, LC_FINDING_PROMPT_COMPLETION, NULL,
                      "the row is a prompt/completion pair, not a conversation");
        return;
    }
    if (c->method == LC_METHOD_DPO) {
        check_preference(c, values);
    } else {
        check_chat(c, values);
    }
    tell_unknown_keys(c, row);
}

lc_code lc_row_check(lc_row_checker *checker, const lc_row_text *row, lc_method method,
                     lc_findings *findings, lc_row_facts *facts, lc_err *err)
{
    lc_row_checker *c = checker;
    *facts = (lc_row_facts){0};
    c->row = *row;
    c->method = method;
    c->findings = findings;
    c->facts = facts;
    c->row_count++;
    c->tools.count = c->calls.count = 0;
    c->tape.is_opaque = is_opaque;
    c->failed = false;
    const lc_code code = lc_json_tape_read(&c->tape, row->text, row->bytes, NULL);
    if (code == LC_ERR_MEMORY) {
        c->failed = true;
    } else if (row->bytes == 0) {
        lc_row_report(c, LC_FINDING_BLANK_LINE, NULL, "the line is blank");
    } else if (code != LC_OK) {
        report_problem(c);
    } else if (c->tape.is_cut) {
        lc_row_report(c, LC_FINDING_TOO_MANY_VALUES, NULL, "more than %zu values",
                      LC_MAX_JSON_NODES);
    } else if (c->tape.nodes[0].kind != LC_JSON_OBJECT) {
        lc_row_report(c, LC_FINDING_ROW_NOT_OBJECT, NULL, "the row is %s",
                      lc_row_show(c, c->tape.nodes));
    } else {
        check_object(c, c->tape.nodes);
    }
    if (c->failed || findings->failed) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to check line %" PRId64, row->line);
    }
    return LC_OK;
}
