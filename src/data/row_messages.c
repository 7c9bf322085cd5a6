/*
 * The row rules for the messages of one conversation: roles and their order, contents, weights.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/row_checker.h"

const char *const lc_role_names[LC_ROLE_COUNT + 1] = {"system",    "developer", "user",
                                                      "assistant", "tool",      "function"};

enum { ROLE, CONTENT, NAME, WEIGHT, TOOL_CALLS, FUNCTION_CALL, TOOL_CALL_ID, REFUSAL, MEMBERS };
static const char *const message_keys[MEMBERS + 1] = {
    "role", "content", "name", "weight", "tool_calls", "function_call", "tool_call_id", "refusal"};

/* A message being checked. */
typedef struct message {
    const lc_place *place;
    const lc_json_node *members[MEMBERS];
    lc_role role;
    bool has_calls; /* not an empty list of them */
} message;

static bool is_string(const lc_json_node *value)
{
    return value != NULL && value->kind == LC_JSON_STRING;
}

static bool is_assistant(const message *m)
{
    return m->role == LC_ROLE_ASSISTANT;
}

/* ---- content ---- */

static void check_part(lc_row_checker *c, const lc_place *place, const lc_json_node *part)
{
    static const char *const names[] = {"type", "text", NULL};
    const lc_json_node *values[2];
    if (part->kind != LC_JSON_OBJECT) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT_PART, place, "the part is %s",
                      lc_row_show(c, part));
        return;
    }
    (void)lc_row_members(c, place, part, names, values, true);
    const lc_place type = {.up = place, .key = "type"}, text = {.up = place, .key = "text"};
    if (!is_string(values[0])) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT_PART, values[0] != NULL ? &type : place,
                      "the part's \"type\" is %s", lc_row_show(c, values[0]));
    } else if (lc_json_node_is(&c->tape, values[0], "image_url") ||
               lc_json_node_is(&c->tape, values[0], "image")) {
        lc_row_report(c, LC_FINDING_IMAGE_UNSUPPORTED, &type, "the part is an image (%s)",
                      lc_row_show(c, values[0]));
    } else if (!lc_json_node_is(&c->tape, values[0], "text")) {
        lc_row_report(c, LC_FINDING_PART_UNSUPPORTED, &type,
                      "parts of type %s are not supported, only \"text\"",
                      lc_row_show(c, values[0]));
    } else if (!is_string(values[1])) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT_PART, values[1] != NULL ? &text : place,
                      "the part's \"text\" is %s", lc_row_show(c, values[1]));
    }
}

static void check_parts(lc_row_checker *c, const lc_place *place, const lc_json_node *parts)
{
    lc_place item = {.up = place};
    for (const lc_json_node *part = lc_json_node_first(parts);
         part != lc_json_node_end(&c->tape, parts); part = lc_json_node_next(&c->tape, part)) {
        check_part(c, &item, part);
        item.index++;
    }
    if (item.index == 0) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT, place, "it is an empty list");
    }
}

static void check_content(lc_row_checker *c, const message *m)
{
    const lc_json_node *content = m->members[CONTENT];
    const lc_place place = {.up = m->place, .key = "content"};
    const lc_place refusal = {.up = m->place, .key = "refusal"};
    if (m->members[REFUSAL] != NULL && !is_string(m->members[REFUSAL])) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT, &refusal, "it is %s",
                      lc_row_show(c, m->members[REFUSAL]));
    }
    if (content == NULL) {
        const bool may_lack = is_assistant(m) && (m->has_calls || m->members[REFUSAL] != NULL);
        if (!may_lack) {
            lc_row_report(c, LC_FINDING_MISSING_CONTENT, m->place,
                          "the %s message has no \"content\"", lc_role_names[m->role]);
        }
    } else if (content->kind == LC_JSON_ARRAY) {
        check_parts(c, &place, content);
    } else if (content->kind != LC_JSON_STRING) {
        lc_row_report(c, LC_FINDING_BAD_CONTENT, &place, "it is %s", lc_row_show(c, content));
    }
}

/* ---- weight, name ---- */

/* 0, 1, or -1 for anything else. Spellings such as 1.0 and 0e3 are numbers too. */
static int weight_value(const lc_row_checker *c, const lc_json_node *weight)
{
    const char *text = lc_json_node_text(&c->tape, weight);
    char number[64];
    if (weight->kind != LC_JSON_NUMBER || weight->bytes >= sizeof number) {
        return -1;
    }
    memcpy(number, text, weight->bytes);
    number[weight->bytes] = '\0';
    const double value = strtod(number, NULL);
    const bool is_zero = !(value < 0.0) && !(value > 0.0);
    const bool is_one = !(value < 1.0) && !(value > 1.0);
    return is_zero ? 0 : is_one ? 1 : -1;
}

/* Whether the message is trained on. */
static bool check_weight(lc_row_checker *c, const message *m)
{
    const lc_json_node *weight = m->members[WEIGHT];
    const lc_place place = {.up = m->place, .key = "weight"};
    if (weight == NULL) {
        return is_assistant(m);
    }
    if (!is_assistant(m)) {
        lc_row_report(c, LC_FINDING_WEIGHT_ON_OTHER_ROLE, &place, "the message is the %s's",
                      lc_role_names[m->role]);
        return false;
    }
    const int value = weight_value(c, weight);
    if (value < 0) {
        lc_row_report(c, LC_FINDING_BAD_WEIGHT, &place, "it is %s, not 0 or 1",
                      lc_row_show(c, weight));
    }
    return value != 0;
}

static void check_name(lc_row_checker *c, const message *m)
{
    const lc_json_node *name = m->members[NAME];
    const lc_place place = {.up = m->place, .key = "name"};
    if (name == NULL) {
        if (m->role == LC_ROLE_FUNCTION) {
            lc_row_report(c, LC_FINDING_BAD_NAME, m->place, "a function message needs a \"name\"");
        }
    } else if (name->kind != LC_JSON_STRING) {
        lc_row_report(c, LC_FINDING_BAD_NAME, &place, "it is %s", lc_row_show(c, name));
    } else if (!lc_row_is_name(c, name)) {
        lc_row_report(c, LC_FINDING_ODD_NAME, &place, "it is %s", lc_row_show(c, name));
    }
}

/* ---- one message ---- */

/* The role; false: there is none that is known. */
static bool read_role(lc_row_checker *c, message *m)
{
    const lc_json_node *role = m->members[ROLE];
    const lc_place place = {.up = m->place, .key = "role"};
    if (role == NULL) {
        lc_row_report(c, LC_FINDING_MISSING_ROLE, m->place, "the message has no \"role\"");
        return false;
    }
    for (int i = 0; i < LC_ROLE_COUNT && role->kind == LC_JSON_STRING; i++) {
        if (lc_json_node_is(&c->tape, role, lc_role_names[i])) {
            m->role = (lc_role)i;
            return true;
        }
    }
    lc_row_report(c, LC_FINDING_UNKNOWN_ROLE, &place,
                  "%s is not one of system, developer, user, assistant, tool, function",
                  lc_row_show(c, role));
    return false;
}

static void tell_unanswered(lc_row_checker *c, lc_conversation *conversation)
{
    const lc_place call = {.up = conversation->list,
                           .index = conversation->calling - conversation->first};
    const lc_place place = {.up = &call, .key = "tool_calls"};
    lc_row_report(c, LC_FINDING_UNANSWERED_CALL, &place,
                  "the conversation goes on, and %" PRId64 " call(s) have no answer",
                  conversation->open_calls);
    conversation->open_calls = 0;
}

/* What the place of the message in the conversation says. */
static void check_order(lc_row_checker *c, const message *m, lc_conversation *conversation)
{
    const lc_place place = {.up = m->place, .key = "role"};
    const bool is_system = m->role == LC_ROLE_SYSTEM || m->role == LC_ROLE_DEVELOPER;
    if (conversation->open_calls > 0 && m->role != LC_ROLE_TOOL) {
        tell_unanswered(c, conversation);
    }
    if (conversation->is_output) {
        if (m->role != LC_ROLE_ASSISTANT && m->role != LC_ROLE_TOOL) {
            lc_row_report(c, LC_FINDING_OUTPUT_ROLE, &place, "the message is the %s's",
                          lc_role_names[m->role]);
        }
    } else if (is_system && conversation->has_turn) {
        lc_row_report(c, LC_FINDING_SYSTEM_NOT_FIRST, &place, "a %s message behind others",
                      lc_role_names[m->role]);
    } else if (is_system && conversation->has_system) {
        lc_row_report(c, LC_FINDING_REPEATED_SYSTEM, &place, "one more %s message",
                      lc_role_names[m->role]);
    } else if (is_assistant(m) && !conversation->has_turn) {
        lc_row_report(c, LC_FINDING_STARTS_WITH_ASSISTANT, &place, "no user message before it");
    }
    conversation->has_system |= is_system;
    conversation->has_turn |= !is_system;
    if (m->role == LC_ROLE_FUNCTION) {
        lc_row_report(c, LC_FINDING_DEPRECATED_FUNCTION_ROLE, &place, "the role is \"function\"");
    }
}

static void check_call_members(lc_row_checker *c, const message *m, lc_conversation *conversation)
{
    const lc_json_node *calls = m->members[TOOL_CALLS], *old = m->members[FUNCTION_CALL];
    const lc_json_node *id = m->members[TOOL_CALL_ID];
    const lc_place id_place = {.up = m->place, .key = "tool_call_id"};
    const lc_place calls_place = {.up = m->place,
                                  .key = calls != NULL ? "tool_calls" : "function_call"};
    if (is_assistant(m)) {
        conversation->calling = conversation->message;
        lc_row_check_calls(c, m->place, calls, old, conversation);
    } else if (calls != NULL || old != NULL) {
        lc_row_report(c, LC_FINDING_CALLS_ON_OTHER_ROLE, &calls_place, "the message is the %s's",
                      lc_role_names[m->role]);
    }
    if (m->role == LC_ROLE_TOOL) {
        lc_row_check_answer(c, m->place, id, conversation);
    } else if (id != NULL) {
        lc_row_report(c, LC_FINDING_UNKNOWN_KEY, &id_place,
                      "\"tool_call_id\" says nothing in a message of the %s",
                      lc_role_names[m->role]);
    }
}

static bool is_empty_list(const lc_row_checker *c, const lc_json_node *value)
{
    return value->kind == LC_JSON_ARRAY &&
           lc_json_node_first(value) == lc_json_node_end(&c->tape, value);
}

static void check_answer_text(lc_row_checker *c, const message *m)
{
    const lc_json_node *content = m->members[CONTENT];
    const lc_place place = {.up = m->place, .key = "content"};
    const lc_place refusal = {.up = m->place, .key = "refusal"};
    if ((content != NULL && !(is_string(content) && content->bytes == 0)) || m->has_calls) {
        return;
    }
    if (m->members[REFUSAL] != NULL) {
        lc_row_report(c, LC_FINDING_EMPTY_ANSWER, &refusal,
                      "chat templates do not show a refusal: write it as the content");
    } else if (content != NULL) {
        lc_row_report(c, LC_FINDING_EMPTY_ANSWER, &place, "it is empty");
    }
}

/* The message might be anybody's: what the order of roles says is not told from here on. */
static void note_unclear(lc_conversation *conversation)
{
    conversation->is_unclear = true;
    conversation->has_turn = true;
    conversation->open_calls = 0;
}

static void check_message(lc_row_checker *c, const lc_place *place, const lc_json_node *value,
                          lc_conversation *conversation)
{
    message m = {.place = place};
    conversation->last = LC_ROLE_COUNT;
    if (value->kind != LC_JSON_OBJECT) {
        note_unclear(conversation);
        lc_row_report(c, LC_FINDING_MESSAGE_NOT_OBJECT, place, "the message is %s",
                      lc_row_show(c, value));
        return;
    }
    (void)lc_row_members(c, place, value, message_keys, m.members, false);
    if (!read_role(c, &m)) {
        note_unclear(conversation);
        return;
    }
    const lc_json_node *calls = m.members[TOOL_CALLS];
    m.has_calls = m.members[FUNCTION_CALL] != NULL || (calls != NULL && !is_empty_list(c, calls));
    conversation->last = m.role;
    conversation->has_assistant |= is_assistant(&m);
    c->facts->messages_of[m.role]++;
    check_order(c, &m, conversation);
    check_content(c, &m);
    check_name(c, &m);
    check_call_members(c, &m, conversation);
    if (check_weight(c, &m)) {
        conversation->has_trained = true;
        if (conversation->is_output || c->method == LC_METHOD_SUPERVISED) {
            check_answer_text(c, &m);
        }
    }
}

bool lc_row_check_messages(lc_row_checker *c, const lc_place *place, const lc_json_node *messages,
                           lc_conversation *conversation)
{
    lc_place item = {.up = place};
    conversation->list = place;
    conversation->last = LC_ROLE_COUNT;
    for (const lc_json_node *value = lc_json_node_first(messages);
         value != lc_json_node_end(&c->tape, messages);
         value = lc_json_node_next(&c->tape, value)) {
        if (item.index < LC_MAX_MESSAGES) {
            conversation->message = conversation->first + item.index;
            check_message(c, &item, value, conversation);
        }
        item.index++;
    }
    if (item.index > LC_MAX_MESSAGES) {
        conversation->is_unclear = true;
        conversation->last = LC_ROLE_COUNT;
        lc_row_report(c, LC_FINDING_TOO_MANY_MESSAGES, place,
                      "%" PRId64 " messages, the limit is %d", item.index, LC_MAX_MESSAGES);
    }
    return item.index > 0;
}
