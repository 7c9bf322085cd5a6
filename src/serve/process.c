/*
 * Starting, finding, watching and signalling trainers; see process.h.
 */
#include "serve/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/system.h"
#include "lorac/mem.h"
#include "serve/environment.h"
#include "serve/jobs.h"

#define LOG_MODE      0600
#define NAME_ATTEMPTS 20 /* until a holder has written its number, 50 ms each */

/* ---- starting ---- */

/* Where it runs, what it reads and writes, and nothing else that is open here. */
static int fill_actions(posix_spawn_file_actions_t *actions, const char *place, const char *log)
{
    int result = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    result = result != 0 ? result
                         : posix_spawn_file_actions_addopen(
                               actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, LOG_MODE);
    result = result != 0 ? result : posix_spawn_file_actions_adddup2(actions, 1, 2);
    result = result != 0 ? result : posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return result != 0 ? result : posix_spawn_file_actions_addchdir_np(actions, place);
}

/* A session and process group of its own; no signal ignored or blocked as it may be here. SIGTERM
 * alone is held back until the trainer is ready for it: one that is stopped as it starts must not
 * die of it. */
static int fill_attributes(posix_spawnattr_t *attributes)
{
    sigset_t held, all;
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGTERM);
    (void)sigfillset(&all);
    int result = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                          POSIX_SPAWN_SETSIGDEF);
    result = result != 0 ? result : posix_spawnattr_setsigmask(attributes, &held);
    return result != 0 ? result : posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(const lc_process_args *args, const char *log, char **environment, pid_t *pid)
{
    char threads[16], *argv[12];
    int count = 0;
    static char train[] = "train", spec[] = LC_JOB_SPEC, out[] = "--out", run[] = LC_JOB_RUN,
                resume[] = "--resume", id_option[] = "--id", threads_option[] = "--threads";
    char id[LC_ID_BYTES], program[LC_MAX_PATH_BYTES];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    (void)snprintf(program, sizeof program, "%s", args->program);
    (void)snprintf(id, sizeof id, "%s", args->id);
    (void)snprintf(threads, sizeof threads, "%d", args->threads);
    char *const fixed[] = {program, train, spec, out, run, resume, id_option, id};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        argv[count++] = fixed[i];
    }
    if (args->threads > 0) {
        argv[count++] = threads_option;
        argv[count++] = threads;
    }
    argv[count] = NULL;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int result = fill_actions(&actions, args->place, log);
    result = result != 0 ? result : fill_attributes(&attributes);
    result =
        result != 0 ? result : posix_spawn(pid, program, &actions, &attributes, argv, environment);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return result;
}

lc_code lc_process_start(const lc_process_args *args, lc_process *out, lc_err *err)
{
    char log[LC_MAX_PATH_BYTES];
    char **environment = NULL;
    pid_t pid = 0;
    LC_TRY(lc_path_join(args->place, LC_PROCESS_LOG, log, err));
    LC_TRY(lc_environment_of_child(&environment, err));
    const int result = spawn(args, log, environment, &pid);
    lc_free(environment);
    if (result != 0) {
        errno = result;
        return lc_fail_errno(err, "cannot start %s", args->program);
    }
    *out = (lc_process){.pid = pid, .is_child = true, .exit_status = -1};
    lc_system_lower_priority(pid, args->nice);
    return LC_OK;
}

/* ---- finding ---- */

/* Whether a process has `place` as its working directory: trainers have, and hardly anybody else
 * whose number may have come out the same. */
static bool works_in(long pid, const char *place)
{
    char link[64];
    struct stat there, here;
    (void)snprintf(link, sizeof link, "/proc/%ld/cwd", pid);
    return pid > 0 && stat(link, &there) == 0 && stat(place, &here) == 0 &&
           there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

lc_code lc_process_find(const char *place, lc_process *out, bool *is_found, lc_err *err)
{
    static const struct timespec moment = {.tv_nsec = 50000000};
    char run[LC_MAX_PATH_BYTES];
    *is_found = false;
    LC_TRY(lc_path_join(place, LC_JOB_RUN, run, err));
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        long pid = 0;
        bool is_held = false;
        LC_TRY(lc_lock_holder(run, &is_held, &pid, err));
        if (!is_held) {
            return LC_OK;
        }
        if (works_in(pid, place)) {
            *out = (lc_process){.pid = pid, .exit_status = -1};
            *is_found = true;
            return LC_OK;
        }
        (void)nanosleep(&moment, NULL);
    }
    return lc_fail(err, LC_ERR_BUSY, "%s is locked by a process that is no trainer of it", run);
}

/* ---- watching ---- */

static lc_code look_for_child(lc_process *process, lc_err *err)
{
    int status = 0;
    const pid_t got = waitpid((pid_t)process->pid, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) {
        return LC_OK;
    }
    if (got < 0) {
        return lc_fail_errno(err, "cannot wait for process %ld", process->pid);
    }
    process->has_ended = true;
    process->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    process->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return LC_OK;
}

lc_code lc_process_look(lc_process *process, const char *place, lc_err *err)
{
    char run[LC_MAX_PATH_BYTES];
    bool is_held = false;
    long pid = 0;
    if (process->has_ended) {
        return LC_OK;
    }
    if (process->is_child) {
        return look_for_child(process, err);
    }
    LC_TRY(lc_path_join(place, LC_JOB_RUN, run, err));
    LC_TRY(lc_lock_holder(run, &is_held, &pid, err));
    process->has_ended = !is_held;
    return LC_OK;
}

void lc_process_signal(const lc_process *process, const char *place, int number)
{
    if (process->has_ended || (!process->is_child && !works_in(process->pid, place))) {
        return;
    }
    if (kill(-(pid_t)process->pid, number) != 0) { /* not the head of a group: alone */
        (void)kill((pid_t)process->pid, number);
    }
}
