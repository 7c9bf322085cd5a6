/*
 * Starting and ending a worker's process; see worker_process.h. posix_spawn, since the server has
 * threads.
 */
#include "serve/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"
#include "lorac/mem.h"
#include "serve/environment.h"

#define MAX_ARGUMENTS 24
#define NUMBER_BYTES  24

typedef struct arguments {
    char *list[MAX_ARGUMENTS]; /* borrowed */
    int count;
    char numbers[8][NUMBER_BYTES];
    int number_count;
} arguments;

static void add(arguments *to, const char *text)
{
    to->list[to->count++] = (char *)(uintptr_t)text; /* posix_spawn takes it as a char * */
}

static void add_number(arguments *to, const char *name, int64_t value)
{
    if (value > 0) {
        char *text = to->numbers[to->number_count++];
        (void)snprintf(text, NUMBER_BYTES, "%lld", (long long)value);
        add(to, name);
        add(to, text);
    }
}

static lc_code open_log(const char *log_dir, const char *base, int *fd, lc_err *err)
{
    char name[LC_MODEL_NAME_BYTES + 8], path[LC_MAX_PATH_BYTES];
    (void)snprintf(name, sizeof name, "%s.log", base);
    LC_TRY(lc_mkdir_parents(log_dir, err));
    LC_TRY(lc_path_join(log_dir, name, path, err));
    return lc_append_open(path, fd, err);
}

/* As a program from a shell: no signal blocked or ignored, a process group of its own, so that a
 * Ctrl-C meant for the server does not end it first. */
static int spawn(const char *program, char **argv, char **environment, int socket_fd, int log_fd,
                 pid_t *process)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    int error = posix_spawn_file_actions_adddup2(&actions, socket_fd, STDIN_FILENO);
    error =
        error != 0 ? error : posix_spawn_file_actions_adddup2(&actions, socket_fd, STDOUT_FILENO);
    error = error != 0 ? error : posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    error = error != 0 ? error
                       : posix_spawn(process, program, &actions, &attributes, argv, environment);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

lc_code lc_worker_process_start(const lc_worker_options *options, const char *base,
                                const char *base_dir, pid_t *process, int *fd, lc_err *err)
{
    arguments argv = {.count = 0};
    int ends[2], log_fd = -1;
    LC_TRY(open_log(options->log_dir, base, &log_fd, err));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        (void)close(log_fd);
        return lc_fail_errno(err, "cannot make the socket of a worker");
    }
    add(&argv, options->program);
    add(&argv, "worker");
    add(&argv, "--model");
    add(&argv, base_dir);
    add(&argv, "--device");
    add(&argv, options->device);
    add_number(&argv, "--slots", options->slots);
    add_number(&argv, "--context", options->context);
    add_number(&argv, "--adapters", options->adapters);
    add_number(&argv, "--threads", options->threads);
    char **environment = NULL;
    const lc_code code = lc_environment_of_child(&environment, err);
    const int error =
        code == LC_OK ? spawn(options->program, argv.list, environment, ends[1], log_fd, process)
                      : 0;
    lc_free(environment);
    (void)close(log_fd);
    (void)close(ends[1]);
    if (code != LC_OK || error != 0) {
        (void)close(ends[0]);
        errno = error;
        return code != LC_OK ? code : lc_fail_errno(err, "cannot start %s", options->program);
    }
    lc_system_lower_priority(*process, options->nice);
    *fd = ends[0];
    return LC_OK;
}

int lc_worker_process_end(pid_t process, double seconds)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    const double until = lc_monotonic_seconds() + seconds;
    int status = 0;
    for (;;) {
        const pid_t ended = waitpid(process, &status, WNOHANG);
        if (ended == process || (ended < 0 && errno != EINTR)) {
            return status;
        }
        if (lc_monotonic_seconds() >= until) {
            (void)kill(process, SIGKILL);
            while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
            return status;
        }
        (void)nanosleep(&pause, NULL);
    }
}
