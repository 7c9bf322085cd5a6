/* The memory that the ranks of one fake NCCL communicator share: a sparse file under TMPDIR, mapped
 * by each rank, be it in this process or another one. Collectives pass through slots, two for each
 * rank, so that a rank may publish its next operand while others still read the last one; Send and
 * Recv through a channel for each pair of ranks. All states are counters that only grow. */
#pragma once

#include <atomic>
#include <stddef.h>
#include <stdint.h>

namespace emu
{
constexpr int MAX_RANKS = 16;
constexpr int SLOTS = 2;
constexpr size_t SLOT_BYTES = size_t(1) << 28;
constexpr int CHANNEL_SLOTS = 4;
constexpr size_t CHANNEL_BYTES = size_t(1) << 25;

struct RankState {
    std::atomic<int> pid;            // 0: not there yet
    std::atomic<int> has_left;       // aborted, or destroyed
    std::atomic<uint64_t> published; // collectives whose operand lies in its slot
    std::atomic<uint64_t> finished;  // collectives it has read all operands of
    std::atomic<uint64_t> signatures[SLOTS];
};

struct Channel {
    std::atomic<uint64_t> sent, received; // messages
    std::atomic<uint64_t> bytes[CHANNEL_SLOTS];
};

struct SharedState {
    std::atomic<int> joined;
    RankState ranks[MAX_RANKS];
    Channel channels[MAX_RANKS][MAX_RANKS]; // [from][to]
};

// A rank's view of the mapping.
struct SharedWorld {
    SharedState *state;
    char *memory;
    size_t bytes;
    int rank_count;
};

// Opens or makes the world called `name`; false if the file cannot be made.
bool shared_open(SharedWorld *world, const char *name, int rank_count);
// Removes the name once all ranks have it mapped.
void shared_unlink(const char *name);
void shared_close(SharedWorld *world);
// Where rank's operand of the collective with this number goes, SLOT_BYTES.
char *shared_slot(const SharedWorld *world, int rank, uint64_t number);
// Where the message with this number between two ranks goes, CHANNEL_BYTES.
char *shared_channel(const SharedWorld *world, int from, int to, uint64_t number);
} // namespace emu
