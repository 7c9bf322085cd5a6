/* The file behind a fake communicator. */
#include "nccl_shared.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace emu
{
namespace
{
constexpr size_t HEADER_BYTES = size_t(1) << 16;
static_assert(sizeof(SharedState) <= HEADER_BYTES, "the counters fit before the slots");

std::string path_of(const char *name)
{
    const char *folder = getenv("TMPDIR");
    return std::string(folder && *folder ? folder : "/tmp") + "/emu_nccl_" + name;
}
} // namespace

bool shared_open(SharedWorld *world, const char *name, int rank_count)
{
    size_t ranks = size_t(rank_count);
    world->rank_count = rank_count;
    world->bytes =
        HEADER_BYTES + ranks * SLOTS * SLOT_BYTES + ranks * ranks * CHANNEL_SLOTS * CHANNEL_BYTES;
    int file = open(path_of(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    void *memory = MAP_FAILED;
    if (ftruncate(file, off_t(world->bytes)) == 0)
        memory = mmap(nullptr, world->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      file, 0);
    close(file);
    if (memory == MAP_FAILED)
        return false;
    world->memory = static_cast<char *>(memory);
    world->state = static_cast<SharedState *>(memory);
    return true;
}

void shared_unlink(const char *name)
{
    unlink(path_of(name).c_str());
}

void shared_close(SharedWorld *world)
{
    munmap(world->memory, world->bytes);
    world->memory = nullptr;
    world->state = nullptr;
}

char *shared_slot(const SharedWorld *world, int rank, uint64_t number)
{
    size_t index = size_t(rank) * SLOTS + size_t(number % SLOTS);
    return world->memory + HEADER_BYTES + index * SLOT_BYTES;
}

char *shared_channel(const SharedWorld *world, int from, int to, uint64_t number)
{
    size_t slots = size_t(world->rank_count) * SLOTS * SLOT_BYTES;
    size_t pair = size_t(from) * size_t(world->rank_count) + size_t(to);
    size_t index = pair * CHANNEL_SLOTS + size_t(number % CHANNEL_SLOTS);
    return world->memory + HEADER_BYTES + slots + index * CHANNEL_BYTES;
}
} // namespace emu
