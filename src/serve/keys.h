/*
 * API keys. A key is shown once, when it is made; kept is a hash of it. Its id is the owner of all
 * that is made with it.
 */
#ifndef LC_SERVE_KEYS_H
#define LC_SERVE_KEYS_H

#include "serve/ids.h"
#include "serve/store.h"

#define LC_KEY_BYTES    128  /* of an API key's text with its NUL */
#define LC_MAX_KEY_NAME 64   /* bytes */
#define LC_MAX_KEYS     1000 /* valid ones */

typedef struct lc_key {
    char id[LC_ID_BYTES];
    char name[LC_MAX_KEY_NAME + 1];
    int64_t created_at;
    int64_t revoked_at; /* -1: it is valid */
} lc_key;

/* Makes a key with a name that no valid key has (LC_ERR_STATE), of printable characters. `key` is
 * the only copy of its text. The first key owns all that was made without keys. */
LC_WARN_UNUSED lc_code lc_keys_add(lc_store *store, const char *name, char id[LC_ID_BYTES],
                                   char key[LC_KEY_BYTES], lc_err *err);
/* All keys, oldest first, revoked ones too. Free with lc_free. */
LC_WARN_UNUSED lc_code lc_keys_list(lc_store *store, lc_key **keys, int64_t *count, lc_err *err);
/* A new text for a valid key, by name or id; the old one is none from now on. What it owns stays
 * its own. */
LC_WARN_UNUSED lc_code lc_keys_renew(lc_store *store, const char *name, char id[LC_ID_BYTES],
                                     char key[LC_KEY_BYTES], lc_err *err);
/* By name or id. What it owns stays, and is nobody's to see. */
LC_WARN_UNUSED lc_code lc_keys_revoke(lc_store *store, const char *name, lc_err *err);

/* Who asks: *is_known false for a text that is no valid key, whatever is wrong with it. How long it
 * takes says nothing about the secret. */
LC_WARN_UNUSED lc_code lc_keys_find(lc_store *store, const char *key, char owner[LC_ID_BYTES],
                                    bool *is_known, lc_err *err);
/* Whether a key was ever made: until then the server is the local user's. Revoked ones count, so
 * that revoking the last one does not open it. */
LC_WARN_UNUSED lc_code lc_keys_exist(lc_store *store, bool *exist, lc_err *err);

#endif
