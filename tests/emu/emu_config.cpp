/* Reads the environment into emu::Config. */
#include "emu_config.h"

#include <random>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>

namespace emu
{
namespace
{
const DeviceModel SM80 = {"Emulated sm_80", 8,       0, 108, 163 << 10, 164 << 10,
                          size_t(80) << 30, 40 << 20};
const DeviceModel SM90 = {"Emulated sm_90",  9,       0, 132, 227 << 10, 228 << 10,
                          size_t(141) << 30, 50 << 20};

[[noreturn]] void bad_value(const char *name, const char *value)
{
    fprintf(stderr, "EMU ERROR: %s=%s: no such value, see tests/emu/README.md\n", name, value);
    exit(66);
}

// A number from 0 to `limit`, or `fallback` where the variable is not set.
uint64_t number(const char *name, uint64_t fallback, uint64_t limit)
{
    const char *value = getenv(name);
    if (!value || !*value)
        return fallback;
    char *end = nullptr;
    uint64_t result = strtoull(value, &end, 10);
    if (*end || result > limit)
        bad_value(name, value);
    return result;
}

// "random" or "random:SEED".
bool is_random(const std::string &value, uint64_t *seed)
{
    if (value.compare(0, 6, "random") != 0)
        return false;
    if (value.size() > 7 && value[6] == ':')
        *seed = strtoull(value.c_str() + 7, nullptr, 10);
    else
        *seed = std::random_device{}();
    return true;
}

void read_orders(Config *config)
{
    if (const char *value = getenv("EMU_SCHED")) {
        if (!strcmp(value, "reverse"))
            config->thread_order = ThreadOrder::Reverse;
        else if (is_random(value, &config->thread_seed))
            config->thread_order = ThreadOrder::Random;
        else if (strcmp(value, "inorder"))
            bad_value("EMU_SCHED", value);
    }
    if (const char *value = getenv("EMU_STREAMS")) {
        if (!strcmp(value, "lazy"))
            config->stream_order = StreamOrder::Lazy;
        else if (is_random(value, &config->stream_seed))
            config->stream_order = StreamOrder::Random;
        else if (strcmp(value, "eager"))
            bad_value("EMU_STREAMS", value);
    }
    if (config->thread_order == ThreadOrder::Random || config->stream_order == StreamOrder::Random)
        fprintf(stderr, "EMU: EMU_SCHED seed %llu, EMU_STREAMS seed %llu\n",
                (unsigned long long)config->thread_seed, (unsigned long long)config->stream_seed);
}

Config read_config()
{
    Config config;
    read_orders(&config);
    config.worker_count = int(number("EMU_THREADS", 1, 256));
    config.device_count = int(number("EMU_DEVICES", 1, 64));
    config.poisons = number("EMU_POISON", 1, 1);
    config.guards = number("EMU_GUARD", 0, 1);
    config.strict_exit = number("EMU_STRICT_EXIT", 0, 1);
    config.timeout_s = int(number("EMU_TIMEOUT_S", 60, 86400));
    config.cublaslt_version = number("EMU_CUBLASLT_VERSION", 0, 1u << 30);
    config.cublaslt_by_rows = number("EMU_CUBLASLT_BY_ROWS", 0, 1);
    config.nccl_first_rank = int(number("EMU_NCCL_FIRST_RANK", 0, 1024));
    config.breaks_at = int(number("EMU_BREAKS_AT", 0, 1 << 20));
    const char *device = getenv("EMU_DEVICE");
    if (!device || !strcmp(device, "sm_90"))
        config.device = SM90;
    else if (!strcmp(device, "sm_80"))
        config.device = SM80;
    else
        bad_value("EMU_DEVICE", device);
    size_t megabytes = number("EMU_MEMORY_MB", config.device.memory_bytes >> 20, 1u << 24);
    config.device.memory_bytes = megabytes << 20;
    return config;
}
} // namespace

const Config &config()
{
    static const Config settings = read_config();
    return settings;
}
} // namespace emu
