/*
 * How many cores a process may use; private to src/base and its test. thread.h has the public
 * function.
 */
#ifndef LC_BASE_CPU_H
#define LC_BASE_CPU_H

/* Cores of a cgroup v2 quota, rounded up, the smallest on the way from the process's group to
 * the root; 0 when there is none. `membership`: a file as /proc/self/cgroup; `root`: where the
 * hierarchy is mounted. */
int lc_cpu_quota(const char *membership, const char *root);

#endif
