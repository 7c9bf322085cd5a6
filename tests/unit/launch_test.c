/* Launchers: what each of them sets, what can be wrong with it, and Slurm's lists of nodes. */
#include "testing.h"

#include "base/params.h"
#include "comm/launch.h"

#define MOST_VARIABLES 10

/* "NAME=value" of an environment; the rest of the launchers' variables are unset. */
typedef struct environment {
    const char *set[MOST_VARIABLES];
} environment;

static void enter(const environment *env)
{
    for (int id = LC_PARAM_FIRST_LAUNCHER; id < LC_PARAM_COUNT; id++) {
        (void)unsetenv(lc_param_describe((lc_param_id)id)->name);
    }
    for (int i = 0; i < MOST_VARIABLES && env->set[i] != NULL; i++) {
        char name[64];
        const char *equals = strchr(env->set[i], '=');
        (void)snprintf(name, sizeof name, "%.*s", (int)(equals - env->set[i]), env->set[i]);
        (void)setenv(name, equals + 1, 1);
    }
}

typedef struct found {
    environment env;
    const char *launcher;
    int rank, world_size, local_rank;
    const char *address;
} found;

static void test_found(void **state)
{
    (void)state;
    static const found cases[] = {
        {{{NULL}}, "none", 0, 1, 0, ""},
        {{{"RANK=3", "WORLD_SIZE=8", "LOCAL_RANK=3", "MASTER_ADDR=gpu1", "MASTER_PORT=29500"}},
         "torchrun",
         3,
         8,
         3,
         "gpu1:29500"},
        {{{"RANK=0", "WORLD_SIZE=1"}}, "torchrun", 0, 1, 0, ""},
        /* torchrun's own store has the port */
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1", "MASTER_ADDR=10.0.0.1", "MASTER_PORT=29500",
           "TORCHELASTIC_USE_AGENT_STORE=True"}},
         "torchrun",
         1,
         2,
         1,
         "10.0.0.1:29501"},
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1", "MASTER_ADDR=h", "MASTER_PORT=65535",
           "TORCHELASTIC_USE_AGENT_STORE=True"}},
         "torchrun",
         1,
         2,
         1,
         "h:65534"},
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1", "MASTER_ADDR=h", "MASTER_PORT=29500",
           "TORCHELASTIC_USE_AGENT_STORE=False"}},
         "torchrun",
         1,
         2,
         1,
         "h:29500"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "MASTER_ADDR=fd00::1", "MASTER_PORT=1"}},
         "torchrun",
         0,
         2,
         0,
         "[fd00::1]:1"},
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=2"}},
         "torchrun",
         1,
         2,
         1,
         "127.0.0.1:29617"},
        /* torchrun in a step of srun */
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=0", "MASTER_ADDR=h", "MASTER_PORT=5",
           "SLURM_PROCID=0", "SLURM_NTASKS=1", "SLURM_LOCALID=0", "SLURM_STEP_NODELIST=x1"}},
         "torchrun",
         1,
         2,
         0,
         "h:5"},
        {{{"OMPI_COMM_WORLD_RANK=2", "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_LOCAL_RANK=2",
           "OMPI_COMM_WORLD_LOCAL_SIZE=4"}},
         "Open MPI",
         2,
         4,
         2,
         "127.0.0.1:29617"},
        {{{"OMPI_COMM_WORLD_RANK=2", "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_LOCAL_RANK=0",
           "OMPI_COMM_WORLD_LOCAL_SIZE=2", "SLURM_JOB_NODELIST=n[07-08]", "SLURM_JOB_ID=1234567",
           "SLURM_PROCID=1", "SLURM_STEP_NODELIST=n08"}},
         "Open MPI",
         2,
         4,
         0,
         "n07:24567"},
        {{{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_LOCAL_RANK=0",
           "NCCL_COMM_ID=[::1]:77", "MASTER_ADDR=h"}},
         "Open MPI",
         1,
         2,
         0,
         "[::1]:77"},
        {{{"PMI_RANK=1", "PMI_SIZE=2", "MPI_LOCALRANKID=1", "MPI_LOCALNRANKS=2", "MASTER_PORT=9"}},
         "MPICH",
         1,
         2,
         1,
         "127.0.0.1:9"},
        {{{"SLURM_PROCID=5", "SLURM_NTASKS=8", "SLURM_LOCALID=1", "SLURM_JOB_ID=42",
           "SLURM_STEP_NODELIST=gpu[003-005,9]", "SLURM_JOB_NODELIST=gpu[001-009]"}},
         "srun",
         5,
         8,
         1,
         "gpu003:20042"},
        /* srun --mpi=pmi2 */
        {{{"SLURM_PROCID=1", "SLURM_NTASKS=2", "SLURM_LOCALID=1", "SLURM_JOB_ID=1",
           "SLURM_STEP_NODELIST=a,b", "PMI_RANK=1", "PMI_SIZE=2"}},
         "srun",
         1,
         2,
         1,
         "a:20001"},
        /* a batch script is one process, however many tasks were asked for */
        {{{"SLURM_PROCID=0", "SLURM_NTASKS=8", "SLURM_LOCALID=0", "SLURM_JOB_NODELIST=n1"}},
         "none",
         0,
         1,
         0,
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_launch launch;
        enter(&cases[i].env);
        assert_ok(lc_launch_detect(&launch, &test_err));
        assert_string_equal(launch.launcher, cases[i].launcher);
        assert_int_equal(launch.rank, cases[i].rank);
        assert_int_equal(launch.world_size, cases[i].world_size);
        assert_int_equal(launch.local_rank, cases[i].local_rank);
        assert_string_equal(launch.address, cases[i].address);
    }
}

/* Two jobs of Open MPI on one node do not meet. */
static void test_port_of_job(void **state)
{
    (void)state;
    lc_launch first, again, other;
    environment env = {{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2",
                        "OMPI_COMM_WORLD_LOCAL_RANK=1", "OMPI_COMM_WORLD_LOCAL_SIZE=2",
                        "PMIX_NAMESPACE=prterun-node-10@1"}};
    enter(&env);
    assert_ok(lc_launch_detect(&first, &test_err));
    env.set[0] = "OMPI_COMM_WORLD_RANK=0";
    env.set[2] = "OMPI_COMM_WORLD_LOCAL_RANK=0";
    enter(&env);
    assert_ok(lc_launch_detect(&again, &test_err));
    assert_string_equal(first.address, again.address);
    env.set[4] = "PMIX_NAMESPACE=prterun-node-11@1";
    enter(&env);
    assert_ok(lc_launch_detect(&other, &test_err));
    assert_string_not_equal(first.address, other.address);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        environment env;
        const char *param, *text;
    } cases[] = {
        {{{"WORLD_SIZE=2"}}, "RANK", "RANK is not set, but WORLD_SIZE of torchrun is"},
        {{{"RANK=0"}}, "WORLD_SIZE", "WORLD_SIZE is not set, but RANK of torchrun is"},
        {{{"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=h", "MASTER_PORT=1"}},
         "LOCAL_RANK",
         "LOCAL_RANK is not set"},
        {{{"RANK=2", "WORLD_SIZE=2", "LOCAL_RANK=0"}}, "RANK", "RANK is 2, but WORLD_SIZE is 2"},
        {{{"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=2"}},
         "LOCAL_RANK",
         "LOCAL_RANK is 2, but WORLD_SIZE is 2"},
        {{{"RANK=x", "WORLD_SIZE=2", "LOCAL_RANK=0"}}, "RANK", "not \"x\""},
        {{{"RANK=0", "WORLD_SIZE=0", "LOCAL_RANK=0"}}, "WORLD_SIZE", "from 1 to 1024"},
        {{{"RANK=0", "WORLD_SIZE=2000", "LOCAL_RANK=0"}}, "WORLD_SIZE", "from 1 to 1024"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0"}}, "MASTER_ADDR", "where rank 0 is"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "MASTER_ADDR=h"}},
         "MASTER_PORT",
         "MASTER_PORT is not set, but MASTER_ADDR is"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "MASTER_ADDR=h", "MASTER_PORT=70000"}},
         "MASTER_PORT",
         "from 1 to 65535"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "NCCL_COMM_ID=h"}},
         "NCCL_COMM_ID",
         "must be host:port"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "NCCL_COMM_ID=:12"}},
         "NCCL_COMM_ID",
         "must be host:port"},
        {{{"RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0", "NCCL_COMM_ID=h:12a"}},
         "NCCL_COMM_ID",
         "must be host:port"},
        {{{"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2"}},
         "OMPI_COMM_WORLD_LOCAL_RANK",
         "a rank needs"},
        {{{"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_LOCAL_RANK=0",
           "OMPI_COMM_WORLD_LOCAL_SIZE=1"}},
         "MASTER_ADDR",
         "Open MPI started 2 ranks"},
        {{{"PMI_RANK=0", "PMI_SIZE=2"}}, "MPI_LOCALRANKID", "a rank needs"},
        {{{"SLURM_PROCID=0", "SLURM_STEP_NODELIST=n1"}}, "SLURM_NTASKS", "SLURM_PROCID of srun is"},
        {{{"SLURM_PROCID=0", "SLURM_NTASKS=2", "SLURM_STEP_NODELIST=n1"}},
         "SLURM_LOCALID",
         "is not set"},
        {{{"SLURM_PROCID=0", "SLURM_NTASKS=2", "SLURM_LOCALID=0", "SLURM_STEP_NODELIST=n[1-"}},
         "SLURM_STEP_NODELIST",
         "SLURM_STEP_NODELIST: cannot make out the first host"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_launch launch;
        enter(&cases[i].env);
        assert_fails(lc_launch_detect(&launch, &test_err), LC_ERR_USAGE, cases[i].text);
        assert_string_equal(test_err.param, cases[i].param);
    }
}

static void test_first_host(void **state)
{
    (void)state;
    char host[16];
    static const struct {
        const char *list, *host;
    } good[] = {{"n1", "n1"},
                {"n1,n2", "n1"},
                {"gpu[003-005,9]", "gpu003"},
                {"gpu[9],x", "gpu9"},
                {"a[1-2]b[07,08]c.d,e", "a1b07c.d"},
                {"[12-14]", "12"},
                {"fifteen-letters", "fifteen-letters"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_ok(lc_launch_first_host(good[i].list, host, sizeof host, &test_err));
        assert_string_equal(host, good[i].host);
    }
    static const char *const bad[] = {
        "",    ",n1", "n[",    "n[]",   "n[a-b]",           "n[1-2",
        "n]1", "n[1", "n[,1]", "n[1x]", "sixteen--letters", "n[1111111111111111]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_fails(lc_launch_first_host(bad[i], host, sizeof host, &test_err), LC_ERR_INVALID,
                     "first host");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_port_of_job),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_first_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
