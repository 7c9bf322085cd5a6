/*
 * The version of the library: the build's LC_VERSION (project version in CMakeLists.txt), asked for
 * by `lorac --version`, the adapters we write and users of the C API.
 */
#include "lorac/lorac.h"

const char *lc_version(void)
{
    return LC_VERSION;
}
