/*
 * Which programs would take a PEFT adapter, judged by their documented rules from the adapter's
 * files alone.
 */
#ifndef LC_CLI_READERS_H
#define LC_CLI_READERS_H

#include "base/json.h"

#define LC_READER_COUNT        4
#define LC_READER_REASON_BYTES 256

typedef struct lc_reader_verdict {
    const char *reader;
    bool is_accepted;
    char note[LC_READER_REASON_BYTES]; /* why not, or what to mind; may be empty */
} lc_reader_verdict;

/* Reads adapter_config.json and the tensor names of adapter_dir. Fails only when they cannot be
 * read. */
LC_WARN_UNUSED lc_code lc_readers_judge(const char *adapter_dir,
                                        lc_reader_verdict verdicts[LC_READER_COUNT], lc_err *err);

#endif
