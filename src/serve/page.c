/*
 * The envelope of lists, and members of objects; see page.h.
 */
#include "serve/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void lc_list_begin(lc_list *list, const lc_page *page, lc_text *out)
{
    *list = (lc_list){.out = out, .limit = page->limit};
    lc_text_addf(out, "{\"object\": \"list\", \"data\": [");
}

bool lc_list_next(lc_list *list, const char *id)
{
    if (list->count == list->limit) {
        list->has_more = true;
        return false;
    }
    if (list->count == 0) {
        (void)snprintf(list->first_id, sizeof list->first_id, "%s", id);
    }
    (void)snprintf(list->last_id, sizeof list->last_id, "%s", id);
    lc_text_addf(list->out, "%s\n", list->count > 0 ? "," : "");
    list->count++;
    return true;
}

void lc_list_end(lc_list *list)
{
    lc_text_addf(list->out, "]");
    lc_json_add_text(list->out, "first_id", list->count > 0 ? list->first_id : NULL);
    lc_json_add_text(list->out, "last_id", list->count > 0 ? list->last_id : NULL);
    lc_json_add_raw(list->out, "has_more", list->has_more ? "true" : "false");
    lc_text_addf(list->out, "}");
}

void lc_json_add_raw(lc_text *out, const char *key, const char *json)
{
    lc_text_addf(out, ", \"%s\": ", key);
    json = json != NULL ? json : "null";
    lc_text_add(out, json, strlen(json));
}

void lc_json_add_text(lc_text *out, const char *key, const char *text)
{
    if (text == NULL) {
        lc_json_add_raw(out, key, NULL);
        return;
    }
    lc_text_addf(out, ", \"%s\": ", key);
    lc_text_add_json_string(out, text, strlen(text));
}

void lc_json_add_int(lc_text *out, const char *key, int64_t value)
{
    if (value < 0) {
        lc_json_add_raw(out, key, NULL);
        return;
    }
    lc_text_addf(out, ", \"%s\": %" PRId64, key, value);
}
