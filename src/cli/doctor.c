/*
 * lorac doctor: what this build and this machine can do, and why not; what lies in a job directory.
 */
#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/file.h"
#include "base/format.h"
#include "base/params.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "comm/launch.h"
#include "base/system.h"
#include "infer/engine.h"
#include "ops/backend.h"
#include "lorac/lorac.h"
#include "lorac/mem.h"

#define MAX_JOB_JSON ((size_t)16 << 20)

static void print_compiler(void)
{
#if defined(__clang__)
    printf("compiler      clang %s\n", __clang_version__);
#else
    printf("compiler      gcc %s\n", __VERSION__);
#endif
}

static void print_libraries(void)
{
    char pcre[64] = "?";
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    printf("libraries     PCRE2 %s, cJSON %s\n", pcre, cJSON_Version());
}

static void print_cpu(void)
{
    static const char *const flags[] = {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"};
    char name[128];
    lc_system_cpu_name(name, sizeof name);
    printf("processor     %s; it has", name);
    bool is_any = false;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (lc_system_has_cpu_flag(flags[i])) {
            printf(" %s", flags[i]);
            is_any = true;
        }
    }
    printf(is_any ? "\n" : " none of avx2, fma, avx512f, avx512_bf16, amx_bf16\n");
}

/* Whether the CUDA backend loads and finds a GPU, and why not. */
static void print_cuda(void)
{
    const lc_backend *backend = NULL;
    const char *path = NULL;
    char text[LC_DESCRIPTION_BYTES];
    lc_err why = {.code = LC_OK};
    if (lc_backend_load(LC_DEVICE_CUDA, &backend, &path, &why) == LC_OK &&
        backend->describe(text, &why) == LC_OK) {
        const lc_device_options options = {.attention = lc_attention_path_asked()};
        printf("cuda backend  yes: %s\n              from %s\n", text, path);
        backend->describe_attention(&options, text);
        printf("attention     %s\n", text);
        return;
    }
    printf("cuda backend  no: %s%s\n", why.message,
           lc_system_has_gpu_driver() ? "; a GPU's driver is there" : "");
}

/* Opens the device as a job would. */
static lc_code print_device(lc_err *err)
{
    int threads = 0;
    lc_device *device = NULL;
    LC_TRY(lc_engine_threads(0, &threads, err));
    LC_TRY(lc_cpu_open(threads, &device, err));
    printf("cpu backend   yes: %s (of %d cores this process may use)\n", device->description,
           lc_cpu_count());
    device->ops->close(device);
    print_cuda();
    return LC_OK;
}

/* Who started this process, as a job would see it. */
static void print_launcher(void)
{
    lc_launch launch;
    lc_err why = {.code = LC_OK};
    if (lc_launch_detect(&launch, &why) != LC_OK) {
        printf("launcher      cannot be used: %s\n", why.message);
    } else if (launch.world_size == 1) {
        printf("launcher      %s: one rank\n", launch.launcher);
    } else {
        printf("launcher      %s: rank %d of %d, GPU %d; rank 0 at %s (%s)\n", launch.launcher,
               launch.rank, launch.world_size, launch.local_rank, launch.address,
               launch.address_source);
    }
}

static void print_memory(void)
{
    char total[LC_FORMAT_BYTES], usable[LC_FORMAT_BYTES], limit[LC_FORMAT_BYTES];
    lc_system_memory memory;
    lc_system_read_memory(&memory);
    printf("memory        %s usable of %s", lc_format_size(memory.usable_bytes, usable),
           lc_format_size(memory.total_bytes, total));
    if (memory.cgroup_limit_bytes >= 0) {
        printf(", limited to %s by a control group",
               lc_format_size(memory.cgroup_limit_bytes, limit));
    }
    const int64_t disk = lc_disk_free(".");
    printf("\ndisk          %s free here\n", disk < 0 ? "?" : lc_format_size(disk, total));
}

static void print_parameters(void)
{
    printf("\nEnvironment:\n");
    for (int id = 0; id < LC_PARAM_COUNT; id++) {
        const lc_param *param = lc_param_describe((lc_param_id)id);
        const char *text = lc_param_text((lc_param_id)id);
        if (id >= LC_PARAM_FIRST_LAUNCHER && text == NULL) {
            continue; /* only launchers set them */
        }
        char bounds[64] = "";
        if (param->max > param->min) {
            (void)snprintf(bounds, sizeof bounds, " %lld..%lld", (long long)param->min,
                           (long long)param->max);
        }
        printf("  %-14s %s%s; %s\n  %-14s   now: %s; default: %s\n", param->name, param->type,
               bounds, param->help, "", text != NULL ? text : "not set", param->default_text);
    }
}

static lc_code print_models(const char *models_dir, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!lc_path_is_dir(models_dir)) {
        printf("\nModels: there is no directory %s\n", models_dir);
        return LC_OK;
    }
    LC_TRY(lc_list_dir(models_dir, &names, &count, err));
    printf("\nModels in %s:\n", models_dir);
    for (size_t i = 0; i < count; i++) {
        char path[LC_MAX_PATH_BYTES];
        lc_model_config config;
        lc_err reason = {.code = LC_OK};
        if (lc_path_join(models_dir, names[i], path, &reason) != LC_OK || !lc_path_is_dir(path)) {
            continue;
        }
        lc_weight_files *files = NULL;
        lc_code code = lc_model_config_load(path, &config, &reason);
        if (code == LC_OK) {
            code = lc_weight_files_open(path, &files, &reason);
        }
        if (code == LC_OK) {
            char size[LC_FORMAT_BYTES];
            printf("  %-20s %s, %d layers, width %d, vocabulary %d, context %lld, %s of weights\n",
                   names[i], lc_family_name(config.family), config.layers, config.width,
                   config.vocab, (long long)config.max_position,
                   lc_format_size(lc_weight_files_bytes(files), size));
            lc_weight_files_close(files);
        } else {
            printf("  %-20s cannot be used: %s\n", names[i], reason.message);
        }
    }
    lc_list_free(names, count);
    return LC_OK;
}

/* ---- a job directory ---- */

static bool is_debris(const char *name)
{
    return strncmp(name, ".tmp-", 5) == 0 || strncmp(name, ".trash-", 7) == 0;
}

/* Unfinished writes in one directory of the job; *count grows. */
static lc_code print_debris(const char *dir, int *count, lc_err *err)
{
    char **names = NULL;
    size_t name_count = 0;
    if (!lc_path_is_dir(dir)) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(dir, &names, &name_count, err));
    for (size_t i = 0; i < name_count; i++) {
        if (is_debris(names[i])) {
            printf("  left over: %s/%s (removed by the next --resume)\n", dir, names[i]);
            (*count)++;
        }
    }
    lc_list_free(names, name_count);
    return LC_OK;
}

static void print_names(const char *dir, const char *title)
{
    char **names = NULL;
    size_t count = 0;
    lc_err ignored = {.code = LC_OK};
    if (!lc_path_is_dir(dir) || lc_list_dir(dir, &names, &count, &ignored) != LC_OK) {
        return;
    }
    printf("  %s:", title);
    int shown = 0;
    for (size_t i = 0; i < count; i++) {
        if (names[i][0] != '.') {
            printf(" %s", names[i]);
            shown++;
        }
    }
    printf(shown == 0 ? " none\n" : "\n");
    lc_list_free(names, count);
}

static lc_code print_job_json(const char *path, lc_err *err)
{
    cJSON *job = NULL;
    const char *status = "?", *model = "?", *message = NULL;
    const cJSON *error = NULL;
    LC_TRY(lc_json_load(path, MAX_JOB_JSON, LC_JSON_DEFAULT, &job, err));
    lc_code code;
    LC_TRY_GOTO(lc_json_string(job, "status", false, &status, err));
    LC_TRY_GOTO(lc_json_string(job, "model", false, &model, err));
    LC_TRY_GOTO(lc_json_object(job, "error", false, &error, err));
    if (error != NULL) {
        LC_TRY_GOTO(lc_json_string(error, "message", false, &message, err));
    }
    printf("  status %s, model %s%s%s\n", status, model, message != NULL ? "\n  error: " : "",
           message != NULL ? message : "");
fail:
    cJSON_Delete(job);
    return code;
}

/* Whether somebody works on it: the lock is taken and given back at once. */
static void print_lock(const char *dir)
{
    char path[LC_MAX_PATH_BYTES];
    lc_err reason = {.code = LC_OK};
    int fd = -1;
    if (lc_path_join(dir, ".lock", path, &reason) != LC_OK || !lc_path_exists(path)) {
        return;
    }
    if (lc_lock_dir(dir, &fd, &reason) == LC_OK) {
        lc_unlock_dir(fd);
        printf("  no process works on it\n");
    } else {
        printf("  %s\n",
               reason.code == LC_ERR_BUSY ? "a process is working on it" : reason.message);
    }
}

static lc_code print_job(const char *dir, lc_err *err)
{
    static const char *const parts[] = {"checkpoints", "resume", "dataset"};
    char path[LC_MAX_PATH_BYTES];
    int debris = 0;
    printf("\nJob directory %s:\n", dir);
    if (!lc_path_is_dir(dir)) {
        return lc_fail(err, LC_ERR_NOT_FOUND, "%s is not a directory", dir);
    }
    LC_TRY(lc_path_join(dir, "job.json", path, err));
    if (!lc_path_exists(path)) {
        printf("  there is no job.json: not a job directory, or nothing was started\n");
    } else {
        LC_TRY(print_job_json(path, err));
    }
    print_lock(dir);
    LC_TRY(print_debris(dir, &debris, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        LC_TRY(lc_path_join(dir, parts[i], path, err));
        LC_TRY(print_debris(path, &debris, err));
    }
    LC_TRY(lc_path_join(dir, "checkpoints", path, err));
    print_names(path, "checkpoints");
    LC_TRY(lc_path_join(dir, "resume", path, err));
    print_names(path, "resume from");
    LC_TRY(lc_path_join(dir, "adapter", path, err));
    printf("  adapter: %s\n", lc_path_is_dir(path) ? path : "not yet");
    if (debris == 0) {
        printf("  nothing is left over from a crash\n");
    }
    return LC_OK;
}

lc_code lc_command_doctor(int argc, char **argv, lc_err *err)
{
    const char *job_dir = NULL, *models_dir = "models";
    bool done = false;
    const lc_option options[] = {
        {.name = "--job",
         .value = "DIR",
         .help = "also look into this job directory",
         .text = &job_dir},
        {.name = "--models",
         .value = "DIR",
         .help = "directory whose models are listed",
         .fallback = "models",
         .text = &models_dir},
    };
    const lc_command command = {
        .name = "doctor",
        .description = "Prints version, libraries, processor, backends and why one is missing, "
                       "memory, disk, the\n"
                       "environment variables that are read, and which models can be used.\n",
        .examples = "  lorac doctor\n"
                    "  lorac doctor --job runs/quickstart\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    printf("lorac         %s\n", lc_version());
    print_compiler();
    print_libraries();
    print_cpu();
    LC_TRY(print_device(err));
    print_launcher();
    print_memory();
    print_parameters();
    LC_TRY(print_models(models_dir, err));
    return job_dir != NULL ? print_job(job_dir, err) : LC_OK;
}
