/* Kernels, emulator and checker in a library that a program opens, as lorac opens its CUDA backend:
 * runs the main() of the library named on the command line. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: emu_module LIBRARY\n");
        return 2;
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*run)(void);
    *(void **)&run = dlsym(library, "main");
    return run ? run() : 1;
}
