/* Launch and traffic counters, one table for the program. */
#include "emu_counters.h"

#include <map>
#include <mutex>
#include <string>

#include "emu_counters_internal.h"
#include "emu_internal.h"

namespace emu
{
namespace
{
struct Table {
    std::mutex mutex;
    std::map<std::string, emu_counter> counters; // entries stay, since their names are handed out
    std::map<std::string, emu_call> calls;
};

Table *table()
{
    static Table *const instance = new Table;
    return instance;
}

// The entry for a name as the launch macro spells it; the table is locked.
emu_counter *find(std::string name)
{
    if (name.size() > 2 && name.front() == '(' && name.back() == ')')
        name = name.substr(1, name.size() - 2);
    auto entry = table()->counters.emplace(name, emu_counter{}).first;
    entry->second.name = entry->first.c_str();
    return &entry->second;
}
emu_call *find_call(const char *name)
{
    auto entry = table()->calls.emplace(name, emu_call{}).first;
    entry->second.name = entry->first.c_str();
    return &entry->second;
}
} // namespace

void count_call(const char *name)
{
    std::lock_guard<std::mutex> lock(table()->mutex);
    find_call(name)->count++;
}

void count_wait(const char *name, bool is_blocked, bool is_drained)
{
    std::lock_guard<std::mutex> lock(table()->mutex);
    emu_call *call = find_call(name);
    call->count++;
    call->blocked += is_blocked;
    call->drained += is_drained;
}

void count_launch(const char *name)
{
    std::lock_guard<std::mutex> lock(table()->mutex);
    find(name)->launches++;
}

void count_traffic(const char *name, const Traffic &traffic)
{
    if (!traffic.read_bytes && !traffic.written_bytes)
        return;
    std::lock_guard<std::mutex> lock(table()->mutex);
    emu_counter *counter = find(name);
    counter->read_bytes += traffic.read_bytes;
    counter->written_bytes += traffic.written_bytes;
    counter->distinct_read_bytes += traffic.distinct_read_bytes;
    counter->distinct_written_bytes += traffic.distinct_written_bytes;
}

void count_operands(const char *name, uint64_t read_bytes, uint64_t written_bytes)
{
    count_traffic(name, {read_bytes, written_bytes, read_bytes, written_bytes});
}
} // namespace emu

namespace
{
// Of those that counted something, up to `capacity`; how many there are.
template <class Entry>
size_t list(const std::map<std::string, Entry> &from, uint64_t Entry::*number, Entry *to,
            size_t capacity)
{
    size_t count = 0;
    for (const auto &entry : from) {
        if (entry.second.*number == 0)
            continue;
        if (count < capacity)
            to[count] = entry.second;
        count++;
    }
    return count;
}
} // namespace

size_t emu_counters_get(emu_counter *counters, size_t capacity)
{
    std::lock_guard<std::mutex> lock(emu::table()->mutex);
    return list(emu::table()->counters, &emu_counter::launches, counters, capacity);
}

size_t emu_calls_get(emu_call *calls, size_t capacity)
{
    std::lock_guard<std::mutex> lock(emu::table()->mutex);
    return list(emu::table()->calls, &emu_call::count, calls, capacity);
}

emu_call emu_calls_find(const char *name)
{
    std::lock_guard<std::mutex> lock(emu::table()->mutex);
    return *emu::find_call(name);
}

emu_counter emu_counters_find(const char *name)
{
    std::lock_guard<std::mutex> lock(emu::table()->mutex);
    return *emu::find(name);
}

void emu_counters_clear(void)
{
    std::lock_guard<std::mutex> lock(emu::table()->mutex);
    for (auto &entry : emu::table()->counters) {
        emu_counter zero = {};
        zero.name = entry.second.name;
        entry.second = zero;
    }
    for (auto &entry : emu::table()->calls)
        entry.second = {entry.first.c_str(), 0, 0, 0};
    emu::clear_memory_peaks();
}
