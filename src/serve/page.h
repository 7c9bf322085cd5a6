/*
 * Lists of the API: {"object": "list", "data": [...], "first_id", "last_id", "has_more"}, paged by
 * the id of the last item of the page before.
 */
#ifndef LC_SERVE_PAGE_H
#define LC_SERVE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "serve/ids.h"

#define LC_MAX_ITEM_ID 256 /* models are listed by their names */

typedef struct lc_page {
    const char *after; /* id of the item before the first one; NULL: from the beginning */
    int64_t limit;     /* at most so many, 1 or more */
    bool ascending;    /* oldest first */
} lc_page;

/* A list while it is written:
 *
 *     lc_list_begin(&list, page, out);
 *     while (lc_rows_next(&rows) && lc_list_next(&list, id)) {
 *         write the item into out
 *     }
 *     lc_list_end(&list);
 *
 * The query's limit is page->limit + 1, so that one more row shows that there is more. */
typedef struct lc_list {
    lc_text *out; /* borrowed */
    int64_t limit, count;
    bool has_more;
    char first_id[LC_MAX_ITEM_ID], last_id[LC_MAX_ITEM_ID];
} lc_list;

void lc_list_begin(lc_list *list, const lc_page *page, lc_text *out);
bool lc_list_next(lc_list *list, const char *id); /* false: the page is full */
void lc_list_end(lc_list *list);

/* The pieces of an object: `, "key": value`; text NULL and numbers below 0 become null. */
void lc_json_add_text(lc_text *out, const char *key, const char *text);
void lc_json_add_int(lc_text *out, const char *key, int64_t value);
void lc_json_add_raw(lc_text *out, const char *key, const char *json); /* NULL: null */

#endif
