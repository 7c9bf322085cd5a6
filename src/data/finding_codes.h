/*
 * Everything that can be said about a file of training rows: the one table behind the messages,
 * `lorac validate --codes` and docs/data-files.md. A code, once published, keeps its meaning.
 *
 * X(NAME, "name", severity, "code of the service", "what it means", "what to do")
 * ERROR: the row or file is refused, by lorac and as far as known by the service. WARNING:
 * accepted, but hardly meant. The service's code is OpenAI's or Azure's for such a file, "-" where
 * neither has one.
 */
#ifndef LC_DATA_FINDING_CODES_H
#define LC_DATA_FINDING_CODES_H

#define LC_FINDING_CODES(X)                                                                        \
    /* the file */                                                                                 \
    X(FILE_UNREADABLE, "file_unreadable", ERROR, "fileImportFailed", "the file cannot be read",    \
      "check its path, its permissions and the disk")                                              \
    X(FILE_TOO_LARGE, "file_too_large", ERROR, "invalidPayload",                                   \
      "the file has more than 536870912 bytes (512 MiB)",                                          \
      "split it, or leave rows out; a tokenized data set may be larger")                           \
    X(UTF16, "utf16", ERROR, "jsonlValidationFailed", "the file is UTF-16 or UTF-32",              \
      "save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")                                               \
    X(TOO_FEW_EXAMPLES, "too_few_examples", ERROR, "invalid_n_examples", "fewer than 10 rows",     \
      "add rows: 10 are required, 50 to some hundreds advised")                                    \
    X(TOO_MANY_TOKENS, "too_many_tokens", WARNING, "quotaExceeded",                                \
      "tokens x epochs exceed the service's 2 billion", "lower n_epochs or leave rows out")        \
    X(DUPLICATE_ROW, "duplicate_row", WARNING, "-", "the same bytes as an earlier row",            \
      "remove it, unless the row is meant to count more")                                          \
    /* the line as JSON */                                                                         \
    X(BLANK_LINE, "blank_line", ERROR, "jsonlValidationFailed",                                    \
      "blank lines before the end of the file", "remove them")                                     \
    X(LINE_TOO_LONG, "line_too_long", ERROR, "jsonlValidationFailed",                              \
      "the line has more than 16777216 bytes (16 MiB)", "one row stands on one line: shorten it")  \
    X(INVALID_JSON, "invalid_json", ERROR, "jsonlValidationFailed", "the line is not JSON",        \
      "write each row with a JSON library, on one line")                                           \
    X(INVALID_UTF8, "invalid_utf8", ERROR, "jsonlValidationFailed", "bytes that are not UTF-8",    \
      "save the file as UTF-8")                                                                    \
    X(NUL_CHARACTER, "nul_character", ERROR, "jsonlValidationFailed", "a NUL byte or \\u0000",     \
      "remove it")                                                                                 \
    X(LONE_SURROGATE, "lone_surrogate", ERROR, "jsonlValidationFailed",                            \
      "half of a surrogate pair (\\ud800 to \\udfff)",                                             \
      "it comes from text cut within a character: remove it or write the whole pair")              \
    X(DUPLICATE_KEY, "duplicate_key", ERROR, "-", "a key stands twice in one object",              \
      "keep one of the two")                                                                       \
    X(NESTED_TOO_DEEP, "nested_too_deep", ERROR, "-", "values nested deeper than 64 levels",       \
      "flatten the row")                                                                           \
    X(NUMBER_OUT_OF_RANGE, "number_out_of_range", ERROR, "-",                                      \
      "a number beyond a double, or of more than 63 characters", "write it as a string")           \
    X(TOO_MANY_VALUES, "too_many_values", ERROR, "-",                                              \
      "more than 1048576 JSON values in messages and tools", "split the row")                      \
    /* the row */                                                                                  \
    X(ROW_NOT_OBJECT, "row_not_object", ERROR, "invalid_training_file",                            \
      "the row is not a JSON object", "write {\"messages\": [...]} on each line")                  \
    X(WRONG_METHOD, "wrong_method", ERROR, "invalid_training_file",                                \
      "the row has the format of another method",                                                  \
      "check the file with that --method, and train it with that method")                          \
    X(PROMPT_COMPLETION, "prompt_completion", ERROR, "invalid_training_file",                      \
      "a prompt/completion pair, the format of completion models",                                 \
      "write it as messages: the prompt as user, the completion as assistant")                     \
    X(MISSING_MESSAGES, "missing_messages", ERROR, "invalid_training_file",                        \
      "there is no \"messages\"", "add the list of messages")                                      \
    X(BAD_MESSAGES, "bad_messages", ERROR, "invalid_training_file", "\"messages\" is not a list",  \
      "write a list of messages")                                                                  \
    X(EMPTY_MESSAGES, "empty_messages", ERROR, "invalid_training_file", "\"messages\" is empty",   \
      "remove the row or fill it")                                                                 \
    X(TOO_MANY_MESSAGES, "too_many_messages", ERROR, "invalid_training_file",                      \
      "more than 2048 messages in a row", "split the conversation")                                \
    X(UNKNOWN_KEY, "unknown_key", WARNING, "invalid_training_file",                                \
      "a key that the format does not have",                                                       \
      "lorac leaves it aside; the service may refuse it: remove it or correct its spelling")       \
    /* messages */                                                                                 \
    X(MESSAGE_NOT_OBJECT, "message_not_object", ERROR, "invalid_training_file",                    \
      "a message is not an object", "write {\"role\": ..., \"content\": ...}")                     \
    X(MISSING_ROLE, "missing_role", ERROR, "invalid_training_file", "a message has no \"role\"",   \
      "add it: system, developer, user, assistant or tool")                                        \
    X(UNKNOWN_ROLE, "unknown_role", ERROR, "invalid_training_file",                                \
      "a role that is none of system, developer, user, assistant, tool, function",                 \
      "use one of these")                                                                          \
    X(MISSING_CONTENT, "missing_content", ERROR, "invalid_training_file",                          \
      "a message has no \"content\"",                                                              \
      "add it; only assistant messages with tool_calls or refusal may go without")                 \
    X(BAD_CONTENT, "bad_content", ERROR, "invalid_training_file",                                  \
      "\"content\" is neither a string nor a list of parts, or \"refusal\" no string",             \
      "write a string, or parts {\"type\": \"text\", \"text\": \"...\"}")                          \
    X(BAD_CONTENT_PART, "bad_content_part", ERROR, "invalid_training_file",                        \
      "a part of the content is malformed", "write {\"type\": \"text\", \"text\": \"...\"}")       \
    X(IMAGE_UNSUPPORTED, "image_unsupported", ERROR, "-", "a part of the content is an image",     \
      "this version trains on text only: remove the row")                                          \
    X(PART_UNSUPPORTED, "part_unsupported", ERROR, "invalid_training_file",                        \
      "a part of the content is of another type than text",                                        \
      "this version trains on text only: remove the part or the row")                              \
    X(EMPTY_ANSWER, "empty_answer", WARNING, "-", "an assistant message to train on says nothing", \
      "remove it, or set its weight to 0")                                                         \
    X(BAD_WEIGHT, "bad_weight", ERROR, "invalid_training_file", "a weight is neither 0 nor 1",     \
      "write 0 (not trained on) or 1")                                                             \
    X(WEIGHT_ON_OTHER_ROLE, "weight_on_other_role", ERROR, "invalid_training_file",                \
      "a weight on a message that is not the assistant's", "remove it: those are never trained")   \
    X(BAD_NAME, "bad_name", ERROR, "invalid_training_file",                                        \
      "\"name\" is not a string, or missing where the role is function",                           \
      "write a string, or leave it out")                                                           \
    X(ODD_NAME, "odd_name", WARNING, "-",                                                          \
      "\"name\" has other characters than letters, digits, _ and -, or more than 64",              \
      "the service may refuse it: rename")                                                         \
    X(SYSTEM_NOT_FIRST, "system_not_first", WARNING, "-",                                          \
      "a system or developer message behind others",                                               \
      "put it first: many chat templates refuse it elsewhere")                                     \
    X(REPEATED_SYSTEM, "repeated_system", WARNING, "-",                                            \
      "more than one system or developer message", "join them: many chat templates take one only") \
    X(STARTS_WITH_ASSISTANT, "starts_with_assistant", WARNING, "-",                                \
      "the conversation begins with the assistant",                                                \
      "begin with the user: many chat templates refuse anything else")                             \
    X(LAST_NOT_ASSISTANT, "last_not_assistant", WARNING, "-",                                      \
      "the last message is not the assistant's",                                                   \
      "nothing is learnt from what stands behind the last answer: remove it")                      \
    X(NO_TRAINED_MESSAGE, "no_trained_message", ERROR, "invalid_training_file",                    \
      "no assistant message with weight 1", "add an answer to learn, or remove the row")           \
    /* tools and calls */                                                                          \
    X(BAD_TOOLS, "bad_tools", ERROR, "invalid_training_file", "\"tools\" is not a list",           \
      "write a list of {\"type\": \"function\", \"function\": {...}}")                             \
    X(TOO_MANY_TOOLS, "too_many_tools", ERROR, "invalid_training_file",                            \
      "more than 128 tools in a row", "leave some out")                                            \
    X(BAD_TOOL, "bad_tool", ERROR, "invalid_training_file", "a tool is malformed",                 \
      "write {\"type\": \"function\", \"function\": {\"name\": ..., \"parameters\": {...}}}")      \
    X(BAD_FUNCTION_NAME, "bad_function_name", ERROR, "invalid_training_file",                      \
      "the name of a function is missing, or not 1 to 64 letters, digits, _ and -",                \
      "rename the function, in tools and calls alike")                                             \
    X(DUPLICATE_TOOL, "duplicate_tool", WARNING, "-", "two tools of one name", "remove one")       \
    X(BAD_PARAMETERS, "bad_parameters", ERROR, "invalid_training_file",                            \
      "the parameters of a function are no JSON Schema of an object",                              \
      "write {\"type\": \"object\", \"properties\": {...}, \"required\": [...]}")                  \
    X(BAD_PARALLEL_TOOL_CALLS, "bad_parallel_tool_calls", ERROR, "invalid_training_file",          \
      "\"parallel_tool_calls\" is neither true nor false", "write true or false")                  \
    X(FUNCTIONS_WITH_TOOLS, "functions_with_tools", ERROR, "invalid_training_file",                \
      "both \"tools\" and the old \"functions\"", "keep tools")                                    \
    X(DEPRECATED_FUNCTIONS, "deprecated_functions", WARNING, "-",                                  \
      "the old spelling \"functions\"", "write tools; lorac reads it as that")                     \
    X(DEPRECATED_FUNCTION_CALL, "deprecated_function_call", WARNING, "-",                          \
      "the old spelling \"function_call\"", "write tool_calls; lorac reads it as that")            \
    X(DEPRECATED_FUNCTION_ROLE, "deprecated_function_role", WARNING, "-",                          \
      "the old role \"function\"", "write role tool with tool_call_id")                            \
    X(FUNCTION_CALL_WITH_TOOL_CALLS, "function_call_with_tool_calls", ERROR,                       \
      "invalid_training_file", "both \"tool_calls\" and the old \"function_call\"",                \
      "keep tool_calls")                                                                           \
    X(CALLS_ON_OTHER_ROLE, "calls_on_other_role", ERROR, "invalid_training_file",                  \
      "tool calls in a message that is not the assistant's", "move them to the assistant")         \
    X(BAD_TOOL_CALLS, "bad_tool_calls", ERROR, "invalid_training_file",                            \
      "\"tool_calls\" is not a list", "write a list of calls")                                     \
    X(EMPTY_TOOL_CALLS, "empty_tool_calls", WARNING, "-", "an empty list of tool calls",           \
      "leave tool_calls out; the service's chat API refuses []")                                   \
    X(BAD_TOOL_CALL, "bad_tool_call", ERROR, "invalid_training_file", "a call is malformed",       \
      "write {\"id\": ..., \"type\": \"function\", \"function\": {\"name\": ..., "                 \
      "\"arguments\": \"...\"}}")                                                                  \
    X(BAD_CALL_ID, "bad_call_id", ERROR, "invalid_training_file",                                  \
      "the id of a call is missing or no string", "give each call an id; its answer refers to it") \
    X(DUPLICATE_CALL_ID, "duplicate_call_id", WARNING, "-",                                        \
      "two calls of one message have the same id", "number them")                                  \
    X(BAD_ARGUMENTS, "bad_arguments", ERROR, "invalid_training_file",                              \
      "the arguments of a call are missing, or no string of JSON",                                 \
      "write the JSON object as a string: \"{\\\"place\\\": \\\"pier\\\"}\"")                      \
    X(ARGUMENTS_NOT_TEXT, "arguments_not_text", WARNING, "invalid_training_file",                  \
      "the arguments of a call are an object instead of its text",                                 \
      "lorac takes it; the service wants a string: json.dumps it")                                 \
    X(UNDECLARED_TOOL, "undeclared_tool", WARNING, "-",                                            \
      "a call of a function that tools does not list", "declare it, or correct its name")          \
    X(UNANSWERED_CALL, "unanswered_call", WARNING, "-",                                            \
      "the conversation goes on without the answer to a call",                                     \
      "add a tool message for each call; the service's chat API refuses such a conversation")      \
    X(BAD_TOOL_CALL_ID, "bad_tool_call_id", ERROR, "invalid_training_file",                        \
      "a tool message without \"tool_call_id\", or it is no string",                               \
      "name the call that it answers")                                                             \
    X(UNKNOWN_TOOL_CALL_ID, "unknown_tool_call_id", ERROR, "invalid_training_file",                \
      "a tool message answers no call before it", "put it behind its call, with that call's id")   \
    /* preferences */                                                                              \
    X(MISSING_INPUT, "missing_input", ERROR, "invalid_training_file",                              \
      "a preference row without \"input\", or it is no object",                                    \
      "write \"input\": {\"messages\": [...]}")                                                    \
    X(MISSING_OUTPUT, "missing_output", ERROR, "invalid_training_file",                            \
      "a preference row needs preferred_output and non_preferred_output",                          \
      "write exactly these two completions")                                                       \
    X(BAD_OUTPUT, "bad_output", ERROR, "invalid_training_file",                                    \
      "a completion is not a list of messages, or empty",                                          \
      "write [{\"role\": \"assistant\", \"content\": ...}]")                                       \
    X(OUTPUT_ROLE, "output_role", ERROR, "invalid_training_file",                                  \
      "a completion has another role than assistant and tool", "move it to input.messages")        \
    X(OUTPUT_WITHOUT_ASSISTANT, "output_without_assistant", ERROR, "invalid_training_file",        \
      "a completion without an assistant message", "add the answer")                               \
    X(IDENTICAL_OUTPUTS, "identical_outputs", WARNING, "-", "both completions are the same",       \
      "nothing is learnt from such a row: remove it")                                              \
    /* reinforcement */                                                                            \
    X(LAST_NOT_USER, "last_not_user", ERROR, "invalid_training_file",                              \
      "the last message is not the user's",                                                        \
      "end with the question; what graders need stands in keys of its own")                        \
    /* with --model */                                                                             \
    X(TEMPLATE_REFUSED, "template_refused", ERROR, "-",                                            \
      "the model's chat template or tokenizer refuses the row",                                    \
      "change the row, or choose another template")                                                \
    X(NO_TRAINED_TOKEN, "no_trained_token", ERROR, "-", "no token of the row is trained",          \
      "look at what the chat template makes of its assistant messages")                            \
    X(TRAINED_PART_CUT_OFF, "trained_part_cut_off", ERROR, "-",                                    \
      "all that is trained lies behind the longest length",                                        \
      "shorten the row or raise max_seq_len")                                                      \
    X(ROW_TRUNCATED, "row_truncated", WARNING, "-",                                                \
      "the row is longer than a job takes and is cut at its end",                                  \
      "shorten it or raise max_seq_len")

typedef enum lc_finding_code {
#define LC_FINDING_ENUM(name, ...) LC_FINDING_##name,
    LC_FINDING_CODES(LC_FINDING_ENUM)
#undef LC_FINDING_ENUM
        LC_FINDING_COUNT
} lc_finding_code;

#endif
