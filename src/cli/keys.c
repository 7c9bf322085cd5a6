/*
 * lorac keys: makes, lists, renews and revokes the API keys of a service, also while it runs.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "lorac/mem.h"
#include "serve/keys.h"

typedef lc_code (*maker)(lc_store *store, const char *name, char id[LC_ID_BYTES],
                         char key[LC_KEY_BYTES], lc_err *err);

static lc_code print_new(lc_store *store, maker make, const char *name, lc_err *err)
{
    char id[LC_ID_BYTES], key[LC_KEY_BYTES];
    LC_TRY(make(store, name, id, key, err));
    printf("%s\n", key);
    fprintf(stderr, "This is the key \"%s\" (%s); it is not shown again.\n", name, id);
    return LC_OK;
}

static void print_day(int64_t seconds)
{
    const time_t when = (time_t)seconds;
    struct tm parts;
    char text[16] = "-";
    if (seconds >= 0 && gmtime_r(&when, &parts) != NULL) {
        (void)strftime(text, sizeof text, "%Y-%m-%d", &parts);
    }
    printf("%-12s", text);
}

static lc_code list(lc_store *store, lc_err *err)
{
    lc_key *keys = NULL;
    int64_t count = 0;
    LC_TRY(lc_keys_list(store, &keys, &count, err));
    printf("%-38s%-12s%-12s%s\n", "ID", "CREATED", "REVOKED", "NAME");
    for (int64_t i = 0; i < count; i++) {
        printf("%-38s", keys[i].id);
        print_day(keys[i].created_at);
        print_day(keys[i].revoked_at);
        printf("%s\n", keys[i].name);
    }
    lc_free(keys);
    return LC_OK;
}

static lc_code act(lc_store *store, const char *action, const char *name, lc_err *err)
{
    if (strcmp(action, "list") == 0) {
        return name == NULL ? list(store, err)
                            : lc_fail_param(err, LC_ERR_USAGE, "NAME", "keys list takes no NAME");
    }
    if (name == NULL) {
        return lc_fail_param(err, LC_ERR_USAGE, "NAME", "keys %s needs a NAME", action);
    }
    if (strcmp(action, "revoke") == 0) {
        return lc_keys_revoke(store, name, err);
    }
    return print_new(store, strcmp(action, "add") == 0 ? lc_keys_add : lc_keys_renew, name, err);
}

lc_code lc_command_keys(int argc, char **argv, lc_err *err)
{
    static const char *const actions[] = {"add", "list", "renew", "revoke", NULL};
    const char *action = NULL, *name = NULL, *data = NULL;
    bool done = false;
    lc_store *store = NULL;
    const lc_option options[] = {
        {.name = "ACTION",
         .help = "what to do: add, list, renew or revoke",
         .text = &action,
         .choices = actions,
         .is_required = true},
        {.name = "NAME",
         .help = "of the key to add; name or id of the one to renew or revoke",
         .text = &name},
        {.name = "--data",
         .value = "DIR",
         .help = "data directory of the service; made when it is not there",
         .text = &data,
         .is_required = true},
    };
    const lc_command command = {
        .name = "keys",
        .description =
            "The API keys of a service. Each key sees its own files, jobs and models; the first\n"
            "one also all that was made without keys. \"add\" prints a new key; only a hash of it\n"
            "is kept. \"renew\" replaces a key that has become known: another text, the same jobs\n"
            "and models. A revoked key is refused from then on; what was made with it stays. Once\n"
            "there was a key, one is needed, even if all are revoked. A running service need not\n"
            "be told.\n",
        .examples = "  lorac keys add ann --data /var/lib/lorac\n"
                    "  lorac keys list --data /var/lib/lorac\n"
                    "  lorac keys revoke ann --data /var/lib/lorac\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    LC_TRY(lc_store_open(data, &store, err));
    const lc_code code = act(store, action, name, err);
    lc_store_close(store);
    return code;
}
