/*
 * Counts the cores this process may use: the affinity mask and, in a container, the cgroup v2
 * quota. Called when a thread pool is started. Plain system calls, not file.c: a missing file is no
 * error here.
 */
#include "base/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/thread.h"

#define MAX_CPUS         8192
#define MAX_CGROUP_DEPTH 64

/* The first bytes of a small file as text; empty when it cannot be read. */
static void read_text(const char *path, char *text, size_t capacity)
{
    text[0] = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    const ssize_t got = read(fd, text, capacity - 1);
    text[got > 0 ? got : 0] = '\0';
    (void)close(fd);
}

/* "quota period" or "max period" -> cores, rounded up; 0 when unlimited or unreadable. */
static int cores_of_cpu_max(const char *path)
{
    char text[128];
    char *end = NULL;
    read_text(path, text, sizeof text);
    const long quota = strtol(text, &end, 10);
    const long period = strtol(end, NULL, 10);
    if (quota <= 0 || period <= 0) {
        return 0;
    }
    const long cores = (quota - 1) / period + 1;
    return cores < LC_MAX_THREADS ? (int)cores : LC_MAX_THREADS;
}

/* The group of the unified hierarchy: the line "0::/path". */
static void group_path(const char *membership, char *group, size_t capacity)
{
    char text[LC_MAX_PATH_BYTES];
    read_text(membership, text, sizeof text);
    const char *line = text;
    while (line != NULL && strncmp(line, "0::", 3) != 0) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    const char *start = line != NULL ? line + 3 : "";
    (void)snprintf(group, capacity, "%.*s", (int)strcspn(start, "\n"), start);
}

int lc_cpu_quota(const char *membership, const char *root)
{
    char group[LC_MAX_PATH_BYTES];
    char path[2 * LC_MAX_PATH_BYTES];
    int smallest = 0;
    group_path(membership, group, sizeof group);
    for (int depth = 0; depth < MAX_CGROUP_DEPTH; depth++) {
        (void)snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
        const int cores = cores_of_cpu_max(path);
        if (cores > 0 && (smallest == 0 || cores < smallest)) {
            smallest = cores;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            break;
        }
        *slash = '\0';
    }
    return smallest;
}

int lc_cpu_count(void)
{
    cpu_set_t sets[MAX_CPUS / CPU_SETSIZE];
    memset(sets, 0, sizeof sets);
    int count = 0;
    if (sched_getaffinity(0, sizeof sets, sets) == 0) {
        count = CPU_COUNT_S(sizeof sets, sets);
    }
    const int quota = lc_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota > 0 && quota < count) {
        count = quota;
    }
    if (count < 1) {
        return 1;
    }
    return count < LC_MAX_THREADS ? count : LC_MAX_THREADS;
}
