/*
 * lorac template: conversations to text by a chat template, line by line, for scripts and for
 * whoever wants to see what a model is shown.
 */
#include <string.h>

#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/options.h"
#include "cli/template_options.h"
#include "text/number_spelling.h"
#include "text/template.h"

typedef struct lc_template_verb {
    lc_chat_template *chat_template; /* owned */
    bool normalize, spans;
} lc_template_verb;

static void add_spans(lc_text *out, const lc_rendered *rendered)
{
    lc_text_add(out, "{\"text\": ", 9);
    lc_text_add_json_string(out, rendered->text, rendered->bytes);
    lc_text_add(out, ", \"spans\": [", 12);
    for (size_t i = 0; i < rendered->span_count; i++) {
        lc_text_addf(out, "%s[%zu, %zu]", i > 0 ? ", " : "", rendered->spans[i].begin,
                     rendered->spans[i].end);
    }
    lc_text_add(out, "]}", 2);
}

static lc_code render_line(void *context, const char *line, size_t bytes, lc_text *out, lc_err *err)
{
    const lc_template_verb *verb = context;
    cJSON *row = NULL;
    lc_rendered rendered = {0};
    lc_code code;
    LC_TRY_GOTO(lc_json_parse(line, bytes, LC_JSON_DEFAULT, "the line", &row, err));
    LC_TRY_GOTO(lc_json_keep_spelling(row, line, bytes, err));
    if (!cJSON_IsObject(row)) {
        code = lc_fail(err, LC_ERR_INVALID, "the line is not a JSON object");
        goto fail;
    }
    const lc_template_args args = {
        .row = row, .is_raw = !verb->normalize, .with_spans = verb->spans};
    LC_TRY_GOTO(lc_chat_template_render(verb->chat_template, &args, &rendered, err));
    if (verb->spans) {
        add_spans(out, &rendered);
    } else {
        lc_text_add_json_string(out, rendered.text, rendered.bytes);
    }
fail:
    lc_rendered_release(&rendered);
    cJSON_Delete(row);
    return code;
}

lc_code lc_command_template(int argc, char **argv, lc_err *err)
{
    lc_template_options o = {0};
    const char *model_dir = NULL;
    lc_template_verb verb = {0};
    bool done = false;
    const lc_option options[] = {
        {.name = "--model",
         .value = "DIR",
         .help = "model directory: its chat template and special tokens",
         .text = &model_dir},
        LC_CHAT_TEMPLATE_OPTION(o),
        {.name = "--date",
         .value = "YYYY-MM-DD",
         .help = "the day that strftime_now tells",
         .fallback = "today, and the time",
         .text = &o.date},
        {.name = "--normalize",
         .help = "do to messages first what lorac's other commands do: as in transformers' "
                 "apply_chat_template members that are null are dropped and reasoning goes by all "
                 "its names; weight is not shown; arguments of tool calls become objects or "
                 "text, and lists of text parts strings, where the template wants them so",
         .flag = &verb.normalize},
        {.name = "--spans",
         .help = "write {\"text\", \"spans\"}: the byte ranges that the assistant wrote",
         .flag = &verb.spans},
    };
    const lc_command command = {
        .name = "template",
        .description =
            "Reads one JSON object a line: messages, tools, add_generation_prompt, and "
            "any other variable of the\n"
            "template. Writes the text as one JSON string a line; a row that fails gives "
            "{\"error\": ...}.\n",
        .examples = "  lorac template --model models/sprout-3m < conversations.jsonl\n"
                    "  lorac template --chat-template chat_template.jinja < conversations.jsonl\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    if (model_dir == NULL && o.file == NULL) {
        return lc_fail(err, LC_ERR_USAGE,
                       "give --model or --chat-template; see lorac template "
                       "--help");
    }
    LC_TRY(lc_template_options_open(&o, model_dir, &verb.chat_template, err));
    const lc_code code = lc_answer_lines(render_line, &verb, err);
    lc_chat_template_free(verb.chat_template);
    return code;
}
