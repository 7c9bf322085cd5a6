/*
 * The launchers' variables; see launch.h. They are read through base/params.h, like all of the
 * environment. Called by the job, and by `lorac doctor` to say what it found.
 */
#include "comm/launch.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/params.h"

#define LEAST_PORT   20000 /* ports derived from a job's number: 20000 to 29999 */
#define PORT_COUNT   10000
#define DEFAULT_PORT 29617 /* on one node, where nothing tells one job from another */
#define LAST_PORT    65535

/* The variables of one launcher. `step` is set by the launcher alone, where the others may be left
 * over from what surrounds it; local_size tells that all ranks are on one node. */
typedef struct launcher {
    const char *name;
    lc_param_id rank, world_size, local_rank, step, local_size;
} launcher;

#define NONE LC_PARAM_COUNT

/* In the order of precedence: torchrun may run under srun or mpirun, mpirun under srun. A batch
 * script of Slurm has SLURM_PROCID and SLURM_NTASKS too, but is no step. */
static const launcher launchers[] = {
    {"torchrun", LC_PARAM_RANK, LC_PARAM_WORLD_SIZE, LC_PARAM_LOCAL_RANK, NONE,
     LC_PARAM_LOCAL_WORLD_SIZE},
    {"Open MPI", LC_PARAM_OMPI_RANK, LC_PARAM_OMPI_SIZE, LC_PARAM_OMPI_LOCAL_RANK, NONE,
     LC_PARAM_OMPI_LOCAL_SIZE},
    {"MPICH", LC_PARAM_PMI_RANK, LC_PARAM_PMI_SIZE, LC_PARAM_MPI_LOCAL_RANK,
     LC_PARAM_MPI_LOCAL_RANK, LC_PARAM_MPI_LOCAL_SIZE},
    {"srun", LC_PARAM_SLURM_PROCID, LC_PARAM_SLURM_NTASKS, LC_PARAM_SLURM_LOCALID,
     LC_PARAM_SLURM_STEP_NODELIST, NONE},
    {"MPICH", LC_PARAM_PMI_RANK, LC_PARAM_PMI_SIZE, LC_PARAM_MPI_LOCAL_RANK, NONE,
     LC_PARAM_MPI_LOCAL_SIZE},
};
#define LAUNCHER_COUNT (sizeof launchers / sizeof launchers[0])

static const char *name_of(lc_param_id id)
{
    return lc_param_describe(id)->name;
}

static bool is_set(lc_param_id id)
{
    const char *text = lc_param_text(id);
    return text != NULL && text[0] != '\0';
}

static const launcher *find_launcher(void)
{
    for (size_t i = 0; i < LAUNCHER_COUNT; i++) {
        const launcher *found = &launchers[i];
        if ((found->step == NONE || is_set(found->step)) &&
            (is_set(found->rank) || (found->step == NONE && is_set(found->world_size)))) {
            return found;
        }
    }
    return NULL;
}

static lc_code need(const launcher *found, lc_param_id id, int64_t *out, lc_err *err)
{
    if (!is_set(id)) {
        return lc_fail_param(
            err, LC_ERR_USAGE, name_of(id),
            "%s is not set, but %s of %s is: a rank needs %s, %s and %s", name_of(id),
            name_of(is_set(found->rank) ? found->rank : found->world_size), found->name,
            name_of(found->rank), name_of(found->world_size), name_of(found->local_rank));
    }
    return lc_param_int(id, 0, out, err);
}

static lc_code check_below(lc_param_id id, int64_t value, lc_param_id bound_id, int64_t bound,
                           lc_err *err)
{
    return value < bound
               ? LC_OK
               : lc_fail_param(err, LC_ERR_USAGE, name_of(id),
                               "%s is %" PRId64 ", but %s is %" PRId64 ": it must be below",
                               name_of(id), value, name_of(bound_id), bound);
}

static lc_code find_ranks(const launcher *found, lc_launch *out, lc_err *err)
{
    int64_t rank = 0, world_size = 1, local_rank = 0;
    LC_TRY(need(found, found->world_size, &world_size, err));
    LC_TRY(need(found, found->rank, &rank, err));
    LC_TRY(check_below(found->rank, rank, found->world_size, world_size, err));
    if (world_size > 1) {
        LC_TRY(need(found, found->local_rank, &local_rank, err));
        LC_TRY(check_below(found->local_rank, local_rank, found->world_size, world_size, err));
    }
    out->launcher = found->name;
    out->rank = (int)rank;
    out->world_size = (int)world_size;
    out->local_rank = (int)local_rank;
    return LC_OK;
}

/* ---- the address ---- */

static lc_code set_address(lc_launch *out, const char *host, int64_t port, const char *source,
                           lc_err *err)
{
    const bool is_bare_ipv6 = strchr(host, ':') != NULL && host[0] != '[';
    const int length = snprintf(out->address, sizeof out->address,
                                is_bare_ipv6 ? "[%s]:%d" : "%s:%d", host, (int)port);
    if (length < 0 || (size_t)length >= sizeof out->address) {
        return lc_fail_param(err, LC_ERR_USAGE, source, "%s: the name of the host is too long",
                             source);
    }
    out->address_source = source;
    return LC_OK;
}

/* "host:port" or "[IPv6]:port", as NCCL reads it. */
static lc_code use_comm_id(lc_launch *out, lc_err *err)
{
    const char *text = lc_param_text(LC_PARAM_NCCL_COMM_ID);
    const char *colon = strrchr(text, ':');
    const size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    if (colon == NULL || colon == text || digits < 1 || digits > 5 || colon[1 + digits] != '\0' ||
        strlen(text) >= sizeof out->address) {
        return lc_fail_param(err, LC_ERR_USAGE, name_of(LC_PARAM_NCCL_COMM_ID),
                             "NCCL_COMM_ID must be host:port of rank 0, not \"%.100s\"", text);
    }
    (void)snprintf(out->address, sizeof out->address, "%s", text);
    out->address_source = name_of(LC_PARAM_NCCL_COMM_ID);
    return LC_OK;
}

/* torchrun's agent keeps listening at MASTER_PORT itself and says so; the next port is ours then.
 */
static lc_code master_port(int64_t fallback, int64_t *port, lc_err *err)
{
    const char *agent = lc_param_text(LC_PARAM_TORCH_AGENT_STORE);
    LC_TRY(lc_param_int(LC_PARAM_MASTER_PORT, fallback, port, err));
    if (is_set(LC_PARAM_MASTER_PORT) && agent != NULL && strcmp(agent, "True") == 0) {
        *port += *port < LAST_PORT ? 1 : -1;
    }
    return LC_OK;
}

static lc_code use_master(lc_launch *out, lc_err *err)
{
    int64_t port = 0;
    if (!is_set(LC_PARAM_MASTER_PORT)) {
        return lc_fail_param(err, LC_ERR_USAGE, name_of(LC_PARAM_MASTER_PORT),
                             "MASTER_PORT is not set, but MASTER_ADDR is");
    }
    LC_TRY(master_port(0, &port, err));
    return set_address(out, lc_param_text(LC_PARAM_MASTER_ADDR), port, "MASTER_ADDR, MASTER_PORT",
                       err);
}

/* The first node runs rank 0; the port is made of the job's number, as all ranks know it. */
static lc_code use_nodes(lc_launch *out, lc_param_id list, lc_err *err)
{
    char host[LC_LAUNCH_ADDRESS_BYTES - 8];
    int64_t job = 0, port = 0;
    lc_err why = {.code = LC_OK};
    if (lc_launch_first_host(lc_param_text(list), host, sizeof host, &why) != LC_OK) {
        return lc_fail_param(err, LC_ERR_USAGE, name_of(list), "%s: %s", name_of(list),
                             why.message);
    }
    LC_TRY(lc_param_int(LC_PARAM_SLURM_JOB_ID, 0, &job, err));
    LC_TRY(master_port(LEAST_PORT + job % PORT_COUNT, &port, err));
    return set_address(out, host, port, name_of(list), err);
}

/* A number that ranks of one mpirun share and another one's do not. */
static int64_t port_of_text(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    }
    return LEAST_PORT + hash % PORT_COUNT;
}

static lc_code use_loopback(lc_launch *out, lc_err *err)
{
    int64_t port = 0;
    const int64_t fallback = is_set(LC_PARAM_PMIX_NAMESPACE)
                                 ? port_of_text(lc_param_text(LC_PARAM_PMIX_NAMESPACE))
                                 : DEFAULT_PORT;
    LC_TRY(master_port(fallback, &port, err));
    return set_address(out, "127.0.0.1", port, "one node", err);
}

static lc_code is_one_node(const launcher *found, const lc_launch *launch, bool *out, lc_err *err)
{
    int64_t local_size = 0;
    *out = false;
    if (found->local_size != NONE) {
        LC_TRY(lc_param_int(found->local_size, 0, &local_size, err));
        *out = local_size == launch->world_size;
    }
    return LC_OK;
}

static lc_code find_address(const launcher *found, lc_launch *out, lc_err *err)
{
    bool is_local = false;
    if (is_set(LC_PARAM_NCCL_COMM_ID)) {
        return use_comm_id(out, err);
    }
    if (is_set(LC_PARAM_MASTER_ADDR)) {
        return use_master(out, err);
    }
    LC_TRY(is_one_node(found, out, &is_local, err));
    if (is_local) {
        return use_loopback(out, err);
    }
    if (found->step == LC_PARAM_SLURM_STEP_NODELIST) {
        return use_nodes(out, LC_PARAM_SLURM_STEP_NODELIST, err);
    }
    if (is_set(LC_PARAM_SLURM_JOB_NODELIST)) {
        return use_nodes(out, LC_PARAM_SLURM_JOB_NODELIST, err);
    }
    return lc_fail_param(err, LC_ERR_USAGE, name_of(LC_PARAM_MASTER_ADDR),
                         "%s started %d ranks, but nothing says where rank 0 is: set MASTER_ADDR "
                         "and MASTER_PORT, or NCCL_COMM_ID=host:port",
                         found->name, out->world_size);
}

lc_code lc_launch_detect(lc_launch *out, lc_err *err)
{
    const launcher *found = find_launcher();
    *out = (lc_launch){.launcher = "none", .world_size = 1, .address_source = ""};
    if (found == NULL) {
        return LC_OK;
    }
    LC_TRY(find_ranks(found, out, err));
    return out->world_size > 1 ? find_address(found, out, err) : LC_OK;
}

/* ---- Slurm's list of nodes ---- */

/* The first number of "003-005,9]": its digits, zeros in front included. */
static size_t first_number(const char *bracket)
{
    const size_t digits = strspn(bracket, "0123456789");
    const bool ends_well =
        bracket[digits] == '-' || bracket[digits] == ',' || bracket[digits] == ']';
    return ends_well ? digits : 0;
}

/* "prefix[numbers]suffix", perhaps with several brackets; up to the comma behind them. */
lc_code lc_launch_first_host(const char *list, char *out, size_t capacity, lc_err *err)
{
    size_t used = 0;
    for (const char *at = list; used == 0 || (*at != '\0' && *at != ',');) {
        const bool is_bracket = *at == '[';
        const char *from = is_bracket ? at + 1 : at;
        const size_t length = is_bracket ? first_number(from) : strcspn(at, "[],");
        const char *end = is_bracket ? strchr(from, ']') : at + length;
        if (length == 0 || end == NULL || length >= capacity - used) {
            return lc_fail(err, LC_ERR_INVALID, "cannot make out the first host of \"%.100s\"",
                           list);
        }
        memcpy(out + used, from, length);
        used += length;
        at = is_bracket ? end + 1 : end;
    }
    out[used] = '\0';
    return LC_OK;
}
