/*
 * The determinism ledger: what the bytes of a job's results hang on beside its files, that is facts
 * of device and libraries, and the choices that the device has made (lorac/choices.h).
 * DIR/ledger.json is one, a tuning table (`lorac bench --tune`) is one too. It only grows: a
 * checkpoint pins the first part of it by a hash.
 */
#ifndef LC_JOB_LEDGER_H
#define LC_JOB_LEDGER_H

#include <stdbool.h>

#include "base/file.h"
#include "lorac/choices.h"

#define LC_MAX_LEDGER_FACTS        (LC_MAX_FACTS + 1)
#define LC_MAX_LEDGER_BYTES        ((size_t)64 << 20)
#define LC_LEDGER_DIFFERENCE_BYTES 640

typedef struct lc_ledger {
    lc_fact facts[LC_MAX_LEDGER_FACTS];
    int fact_count;
    lc_choice *choices; /* owned */
    int64_t count, capacity;
} lc_ledger;

void lc_ledger_release(lc_ledger *ledger);

/* What the device is, without choices; the version of lora.c comes first. */
void lc_ledger_of_device(const lc_device *device, lc_ledger *out);
/* Appends the device's choices from index ledger->count on; *added: how many. */
LC_WARN_UNUSED lc_code lc_ledger_take(lc_ledger *ledger, const lc_device *device, int64_t *added,
                                      lc_err *err);
/* Gives all choices to a device that has made none. */
LC_WARN_UNUSED lc_code lc_ledger_give(const lc_ledger *ledger, lc_device *device, lc_err *err);
/* Appends one. */
LC_WARN_UNUSED lc_code lc_ledger_add(lc_ledger *ledger, const lc_choice *choice, lc_err *err);
/* The choice of a product, NULL: none. Borrowed. */
const lc_choice *lc_ledger_find(const lc_ledger *ledger, const char *product);

/* The first fact of a device's ledger `now` that decides (decides false: that does not) and has
 * another value in `then`, which is *before; NULL: none. Borrowed. */
const lc_fact *lc_ledger_other_fact(const lc_ledger *then, const lc_ledger *now, bool decides,
                                    const char **before);
/* The same as "cublaslt was 130100 and is 130200 now"; false: none. */
bool lc_ledger_difference(const lc_ledger *then, const lc_ledger *now, bool decides,
                          char out[LC_LEDGER_DIFFERENCE_BYTES]);

/* The same between a tuning table and a device: of the facts that products hang on. */
bool lc_tuning_difference(const lc_ledger *table, const lc_ledger *device,
                          char out[LC_LEDGER_DIFFERENCE_BYTES]);

/* SHA-256 of the facts and the first `count` choices. */
void lc_ledger_digest(const lc_ledger *ledger, int64_t count, uint8_t digest[32]);

/* JSON, atomically; its last member is the hash of everything before it. */
LC_WARN_UNUSED lc_code lc_ledger_save(const lc_ledger *ledger, const char *path, lc_err *err);
/* LC_ERR_NOT_FOUND: there is no such file; LC_ERR_INVALID: it is no ledger or was damaged. Release
 * in any case. */
LC_WARN_UNUSED lc_code lc_ledger_load(const char *path, lc_ledger *out, lc_err *err);

/* Where a device's tuning table is looked for: LORAC_TUNING (*is_named), else
 * lorac/tuning/GPU-NUMBERS.json in XDG_CACHE_HOME or ~/.cache. Empty: nowhere (LORAC_TUNING is
 * "off", or there is no home). */
LC_WARN_UNUSED lc_code lc_tuning_path(const lc_ledger *device, bool *is_named,
                                      char path[LC_MAX_PATH_BYTES], lc_err *err);
/* The device's table into *out; empty where there is none. A named file must be there and be this
 * device's (LC_ERR_INVALID says what differs); another one that is not is left out with a
 * warning. */
LC_WARN_UNUSED lc_code lc_tuning_load(const lc_ledger *device, lc_ledger *out, lc_err *err);

#endif
