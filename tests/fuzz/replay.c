/*
 * Runs a fuzzer's entry on saved inputs, where libFuzzer is not at hand: every file of the folders
 * and every file named as an argument. No input at all is a failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_INPUT_BYTES ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *buffer = malloc(MAX_INPUT_BYTES);
    if (file == NULL || buffer == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    const size_t size = fread(buffer, 1, MAX_INPUT_BYTES, file);
    (void)fclose(file);
    /* An exact copy, so that a read past the end is one past an allocation. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    for (size_t i = 0; exact != NULL && i < size; i++) {
        exact[i] = buffer[i];
    }
    free(buffer);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static int replay_folder(const char *path, DIR *folder)
{
    int count = 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] != '.') {
            const int length = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            count += length > 0 && (size_t)length < sizeof(name) ? replay_file(name) : 0;
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            count += replay_file(argv[i]);
            continue;
        }
        count += replay_folder(argv[i], folder);
        (void)closedir(folder);
    }
    (void)printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
