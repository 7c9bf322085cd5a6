/*
 * Reading /proc and the cgroup files; see system.h.
 */
#include "base/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"

#define MAX_LINE   16384 /* /proc/cpuinfo has long lines */
#define CGROUP_DIR "/sys/fs/cgroup"

/* The text behind "key...:" of the first line that begins with key; false when there is none. */
static bool read_field(const char *path, const char *key, char *out, size_t capacity)
{
    char line[MAX_LINE];
    bool is_found = false;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    while (!is_found && fgets(line, sizeof line, file) != NULL) {
        const size_t length = strlen(key);
        if (strncmp(line, key, length) == 0) {
            const char *value = line + length + strspn(line + length, " \t:");
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(out, capacity, "%s", value);
            is_found = true;
        }
    }
    (void)fclose(file);
    return is_found;
}

/* A number at the beginning of a field, times `unit`; -1 when there is none ("max"). */
static int64_t read_number(const char *path, const char *key, int64_t unit)
{
    char text[64];
    if (!read_field(path, key, text, sizeof text) || text[0] < '0' || text[0] > '9') {
        return -1;
    }
    const long long value = strtoll(text, NULL, 10);
    return value > INT64_MAX / unit ? -1 : value * unit;
}

/* DIR/name as a number, -1 when absent or "max". */
static int64_t read_group_number(const char *dir, const char *name, const char *key)
{
    char path[LC_MAX_PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return read_number(path, key, 1);
}

/* Takes over the limits of one group when they leave less room. File pages can be reclaimed, those
 * that were read twice (a base model is) as well. */
static void apply_group(lc_system_memory *memory, const char *dir)
{
    const int64_t limit = read_group_number(dir, "memory.max", "");
    const int64_t used = read_group_number(dir, "memory.current", "");
    const int64_t inactive = read_group_number(dir, "memory.stat", "inactive_file ");
    const int64_t active = read_group_number(dir, "memory.stat", "active_file ");
    const int64_t cached = (inactive > 0 ? inactive : 0) + (active > 0 ? active : 0);
    if (limit < 0 || used < 0) {
        return;
    }
    const int64_t busy = cached > 0 && cached < used ? used - cached : used;
    if (memory->cgroup_limit_bytes < 0 ||
        limit - busy < memory->cgroup_limit_bytes - memory->cgroup_used_bytes) {
        memory->cgroup_limit_bytes = limit;
        memory->cgroup_used_bytes = busy;
    }
}

/* Every group from the process's own to the root (cgroup v2). */
static void read_groups(lc_system_memory *memory)
{
    char group[LC_MAX_PATH_BYTES - 64], dir[LC_MAX_PATH_BYTES];
    if (!read_field("/proc/self/cgroup", "0::", group, sizeof group)) {
        return;
    }
    for (;;) {
        (void)snprintf(dir, sizeof dir, CGROUP_DIR "%s", strcmp(group, "/") == 0 ? "" : group);
        apply_group(memory, dir);
        char *slash = strrchr(group, '/');
        if (slash == NULL || group[0] == '\0') {
            return;
        }
        *slash = '\0';
    }
}

/* What is left of RLIMIT_AS. */
static int64_t read_address_space(void)
{
    struct rlimit limit;
    const int64_t used = read_number("/proc/self/status", "VmSize", 1024);
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || used < 0) {
        return -1;
    }
    return limit.rlim_cur > (rlim_t)used ? (int64_t)(limit.rlim_cur - (rlim_t)used) : 0;
}

/* Of two figures of which -1 is unknown. */
static int64_t smaller(int64_t a, int64_t b)
{
    return b >= 0 && (a < 0 || b < a) ? b : a;
}

void lc_system_read_memory(lc_system_memory *memory)
{
    const lc_system_memory unknown = {-1, -1, -1, -1, -1, -1};
    *memory = unknown;
    memory->total_bytes = read_number("/proc/meminfo", "MemTotal", 1024);
    memory->available_bytes = read_number("/proc/meminfo", "MemAvailable", 1024);
    read_groups(memory);
    memory->address_bytes = read_address_space();
    memory->usable_bytes = smaller(memory->available_bytes, memory->address_bytes);
    if (memory->cgroup_limit_bytes >= 0) {
        const int64_t left = memory->cgroup_limit_bytes - memory->cgroup_used_bytes;
        memory->usable_bytes = smaller(memory->usable_bytes, left > 0 ? left : 0);
    }
}

int64_t lc_system_resident_bytes(void)
{
    return read_number("/proc/self/status", "VmRSS", 1024);
}

void lc_system_cpu_name(char *out, size_t capacity)
{
    if (!read_field("/proc/cpuinfo", "model name", out, capacity) &&
        !read_field("/proc/cpuinfo", "Model", out, capacity)) {
        (void)snprintf(out, capacity, "unknown");
    }
}

bool lc_system_has_cpu_flag(const char *flag)
{
    char flags[MAX_LINE];
    const size_t length = strlen(flag);
    if (!read_field("/proc/cpuinfo", "flags", flags, sizeof flags)) {
        return false;
    }
    for (const char *at = flags; (at = strstr(at, flag)) != NULL; at += length) {
        const bool begins = at == flags || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

void lc_system_lower_priority(long process, int steps)
{
    const int own = getpriority(PRIO_PROCESS, 0);
    (void)setpriority(PRIO_PROCESS, (id_t)process, own + steps); /* an ended one needs none */
}

bool lc_system_has_gpu_driver(void)
{
    return lc_path_exists("/dev/nvidiactl") || lc_path_exists("/dev/dxg") ||
           lc_path_exists("/dev/nvhost-ctrl-gpu");
}
