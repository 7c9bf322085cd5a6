/*
 * Fault injection: counts allocations and I/O calls and fails the n-th. Asked by mem.c and io.c
 * before each call; armed by LORAC_FAULT at the first question or by a test.
 */
#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/params.h"
#include "lorac/log.h"

#define SHORT_WRITE (-1)

static struct {
    pthread_once_t once;
    _Atomic int kind; /* lc_fault_kind */
    _Atomic int error;
    _Atomic bool sticky;
    _Atomic int64_t at;
    _Atomic int64_t alloc_count;
    _Atomic int64_t io_count;
} fault = {.once = PTHREAD_ONCE_INIT};

static void arm(lc_fault_kind kind, int64_t at, int error, bool sticky)
{
    atomic_store(&fault.kind, LC_FAULT_NONE);
    atomic_store(&fault.at, at);
    atomic_store(&fault.error, error);
    atomic_store(&fault.sticky, sticky);
    atomic_store(&fault.alloc_count, 0);
    atomic_store(&fault.io_count, 0);
    atomic_store(&fault.kind, (int)kind);
}

static bool parse_error_name(const char *name, int *error)
{
    static const struct {
        const char *name;
        int error;
    } names[] = {{"EIO", EIO},     {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT},
                 {"EROFS", EROFS}, {"EACCES", EACCES}, {"SHORT", SHORT_WRITE}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *error = names[i].error;
            return true;
        }
    }
    return false;
}

static bool parse_kind(const char *text, lc_fault_kind *kind, const char **rest)
{
    static const struct {
        const char *prefix;
        lc_fault_kind kind;
    } kinds[] = {{"alloc:", LC_FAULT_ALLOC}, {"io:", LC_FAULT_IO}, {"kill:", LC_FAULT_KILL}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t length = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, length) == 0) {
            *kind = kinds[i].kind;
            *rest = text + length;
            return true;
        }
    }
    return false;
}

lc_code lc_fault_set_text(const char *text, lc_err *err)
{
    char copy[64];
    const size_t length = strlen(text);
    lc_fault_kind kind = LC_FAULT_NONE;
    const char *rest = NULL;
    char *end = NULL;
    int error = EIO;
    if (length == 0 || length >= sizeof copy) {
        goto fail;
    }
    memcpy(copy, text, length + 1);
    const bool sticky = copy[length - 1] == '+';
    if (sticky) {
        copy[length - 1] = '\0';
    }
    if (!parse_kind(copy, &kind, &rest) || rest[0] < '0' || rest[0] > '9') {
        goto fail;
    }
    errno = 0;
    const long long at = strtoll(rest, &end, 10);
    if (errno != 0 || at < 1 || (*end != '\0' && *end != ':')) {
        goto fail;
    }
    if (*end == ':' && (kind != LC_FAULT_IO || !parse_error_name(end + 1, &error))) {
        goto fail;
    }
    arm(kind, at, error, sticky);
    return LC_OK;
fail:
    return lc_fail_param(err, LC_ERR_USAGE, "LORAC_FAULT",
                         "LORAC_FAULT: \"%.64s\" is not \"alloc:N\", \"io:N\", \"io:N:ENOSPC\", "
                         "\"io:N:EIO\", \"io:N:SHORT\" or \"kill:N\", each with an optional +",
                         text);
}

static void arm_from_environment(void)
{
    const char *text = lc_param_text(LC_PARAM_FAULT);
    if (text == NULL || text[0] == '\0') {
        return;
    }
    lc_err err = {0};
    if (lc_fault_set_text(text, &err) != LC_OK) {
        lc_log(LC_LOG_WARN, "%s; ignored", err.message);
    }
}

static void start_once(void)
{
    (void)pthread_once(&fault.once, arm_from_environment);
}

void lc_fault_set(lc_fault_kind kind, int64_t at, int error, bool sticky)
{
    start_once();
    arm(kind, at, error, sticky);
}

int64_t lc_fault_count(lc_fault_kind kind)
{
    switch (kind) {
    case LC_FAULT_ALLOC:
        return atomic_load(&fault.alloc_count);
    case LC_FAULT_IO:
    case LC_FAULT_KILL:
        return atomic_load(&fault.io_count);
    default:
        return 0;
    }
}

static bool is_due(int64_t count)
{
    const int64_t at = atomic_load(&fault.at);
    return count == at || (count > at && atomic_load(&fault.sticky));
}

bool lc_fault_alloc(void)
{
    start_once();
    const int64_t count = atomic_fetch_add(&fault.alloc_count, 1) + 1;
    return atomic_load(&fault.kind) == LC_FAULT_ALLOC && is_due(count);
}

int lc_fault_io(void)
{
    start_once();
    const int64_t count = atomic_fetch_add(&fault.io_count, 1) + 1;
    const int kind = atomic_load(&fault.kind);
    if ((kind != LC_FAULT_IO && kind != LC_FAULT_KILL) || !is_due(count)) {
        return 0;
    }
    if (kind == LC_FAULT_KILL) {
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause(); /* the signal is on its way */
        }
    }
    return atomic_load(&fault.error);
}
