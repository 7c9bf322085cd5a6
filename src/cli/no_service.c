/*
 * The service's commands in a build without it (-DLORAC_SERVE=OFF).
 */
#include "cli/commands.h"

static lc_code fail(lc_err *err)
{
    return lc_fail(err, LC_ERR_UNSUPPORTED, "this lorac was built without the service");
}

lc_code lc_command_serve(int argc, char **argv, lc_err *err)
{
    (void)argc, (void)argv;
    return fail(err);
}

lc_code lc_command_keys(int argc, char **argv, lc_err *err)
{
    (void)argc, (void)argv;
    return fail(err);
}
