/*
 * Numbers of a parsed JSON text, spelled as Python's json module would write them again. cJSON
 * keeps doubles only, which tells 1.0 from 1 no more, nor 2^53+1 from 2^53; where that shows, the
 * spelling is attached.
 */
#ifndef LC_TEXT_NUMBER_SPELLING_H
#define LC_TEXT_NUMBER_SPELLING_H

#include "base/json.h"

/* `text` is what `root` was parsed from by lc_json_parse, untouched. Numbers that lc_text_add_json
 * would write otherwise than json.dumps(json.loads(text)) get their spelling as valuestring (owned
 * by the tree). */
LC_WARN_UNUSED lc_code lc_json_keep_spelling(cJSON *root, const char *text, size_t bytes,
                                             lc_err *err);

#endif
