/*
 * The service's commands in a build without it (-DLORAC_SERVE=OFF).
 */
#include "cli/commands.h"

lc_code lc_command_keys(int argc, char **argv, lc_err *err)
{
    (void)argc, (void)argv;
    return lc_fail(err, LC_ERR_UNSUPPORTED, "this lorac was built without the service");
}
