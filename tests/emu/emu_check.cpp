/* The checker: races, bounds, uninitialised shared memory and cp.async copies that are read too
 * early, in the spirit of compute-sanitizer. Kernels are compiled with -fsanitize=thread, so that
 * the compiler puts a call before every memory access; emu_check_entry.cpp takes those calls
 * instead of libtsan and hands them to check_access().
 *
 * Each 4 bytes of device and shared memory have a cell with the last write and the last read. An
 * access races with an earlier one if nothing orders them: another block of the same launch; or the
 * same block without a barrier between, and, in one warp, without a __syncwarp (vector clocks).
 * Launches are ordered by their streams, which is what lazy and random stream order test, so an
 * earlier launch never races. Two reads are kept where they are unordered. */
#include <algorithm>
#include <limits.h>
#include <map>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <link.h>

#include "emu_check.h"

namespace emu
{
namespace
{
constexpr int EXIT_STATUS = 66;
constexpr size_t CELL_BYTES = 4;

struct Record {
    uint32_t launch, block, clock, pc;
    uint32_t other_clock;
    uint16_t thread, epoch;
    uint16_t other; // a second unordered reader, its thread + 1
    uint8_t bytes;  // of the cell, a mask
    uint8_t flags;  // AccessFlags
    bool is_write;
    bool is_hidden; // by emu_memory_hide; in a cell's `write`
};

struct Cell {
    Record write, read;
};
static_assert(sizeof(Cell) == 64, "a cell is one line of the processor's cache");

// Memory with cells; those are committed by the system as they are touched.
struct Region {
    const char *first, *end;
    Cell *cells;
};

struct Access {
    const char *address;
    size_t bytes;
    bool is_write;
    int flags;
    void *pc;
    bool is_shared;
    const Region *region;
    size_t offset;
};

struct Checker {
    std::map<const char *, Region> memory;
    std::vector<std::pair<const char *, const char *>> statics; // variables of loaded objects
    Region arena = {};
    size_t arena_touched = 0;
    Region last = {};             // found last
    std::vector<uint32_t> clocks; // [warp][lane][lane]
    std::set<std::pair<uint64_t, const void *>> seen;
    int errors = 0;
    const char *text_base = nullptr;
    std::string object; // its file
};

Checker *const the_checker = new Checker; // never freed: kernels may run while a program ends

Checker *checker()
{
    return the_checker;
}

size_t shadow_bytes(size_t bytes)
{
    return (bytes / CELL_BYTES + 2) * sizeof(Cell);
}

Cell *make_shadow(size_t bytes)
{
    void *shadow = mmap(nullptr, shadow_bytes(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shadow == MAP_FAILED)
        fatal("no address space for the checker's shadow memory");
    return static_cast<Cell *>(shadow);
}

// ---- reports ----

uint32_t pc_offset(const void *pc)
{
    return uint32_t(static_cast<const char *>(pc) - checker()->text_base);
}

// The file that the kernels are in; a name that a child process understands as well.
std::string file_of_object()
{
    if (checker()->object != "/proc/self/exe")
        return checker()->object;
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program);
    return std::string(program, length > 0 ? size_t(length) : 0);
}

// "file:line" of an address in the kernels, the emulator's own headers left out; empty without
// addr2line.
std::string source_line(uint32_t pc)
{
    char text[512] = "", offset[16];
    snprintf(offset, sizeof offset, "0x%x", pc - 1);
    std::string command = "addr2line -Cie '" + file_of_object() + "' " + offset;
    command += " 2>/dev/null | grep -vE '(gpu|emu)_?[a-z]*[.]h' | head -n 1";
    FILE *pipe = popen(command.c_str(), "r");
    if (!pipe)
        return "";
    if (fgets(text, sizeof text, pipe))
        text[strcspn(text, "\n")] = 0;
    pclose(pipe);
    const char *slash = strrchr(text, '/');
    return slash ? slash + 1 : text;
}

[[gnu::cold]] void report(const char *what, const Access &access, const Record *earlier)
{
    uint32_t pc = pc_offset(access.pc);
    uint64_t places = uint64_t(pc) << 32 | (earlier ? earlier->pc : 0);
    if (!checker()->seen.insert({places, what}).second)
        return;
    checker()->errors++;
    const char *space = access.is_shared ? "shared" : access.region ? "global" : "unknown";
    fprintf(stderr, "EMUCHECK %s: %s of %zu bytes at %s+%zu by kernel %s block %u thread %d [%s]\n",
            what, access.is_write ? "write" : "read", access.bytes, space, access.offset,
            worker->kernel_name, worker->block, worker->current->linear, source_line(pc).c_str());
    if (earlier)
        fprintf(stderr, "    conflicts with a %s by block %u thread %u [%s]\n",
                earlier->is_write ? "write" : "read", earlier->block, earlier->thread,
                source_line(earlier->pc).c_str());
}

// ---- order ----

uint32_t &clock_of(int warp, int lane, int of_lane)
{
    return checker()->clocks[(size_t(warp) * 32 + size_t(lane)) * 32 + size_t(of_lane)];
}

uint32_t own_clock(const Thread *thread)
{
    return clock_of(thread->warp, thread->lane, thread->lane);
}

// Did it happen before what the current thread does now?
bool is_ordered(const Record &earlier, const Worker *w)
{
    const Thread *self = w->current;
    if (earlier.launch != w->launch)
        return true;
    if (earlier.block != w->block)
        return false;
    if (earlier.thread == self->linear || earlier.epoch != uint16_t(w->epoch))
        return true;
    if (earlier.thread / 32 != self->linear / 32)
        return false;
    return clock_of(self->warp, self->lane, earlier.thread % 32) >= earlier.clock;
}

bool is_this_block(const Record &record, const Worker *w)
{
    return record.launch == w->launch && record.block == w->block;
}

// ---- one cell ----

void check_uninitialised(const Access &access, const Cell &cell, uint8_t bytes, const Worker *w)
{
    if (access.is_write || !access.is_shared)
        return;
    if (!is_this_block(cell.write, w))
        report("uninitialised shared memory", access, nullptr);
    else if ((cell.write.flags & ACCESS_IN_FLIGHT) && (cell.write.bytes & bytes))
        report("in-flight cp.async", access, &cell.write);
}

void check_races(const Access &access, const Cell &cell, uint8_t bytes, const Worker *w)
{
    bool are_atomic = access.flags & cell.write.flags & ACCESS_ATOMIC;
    if ((cell.write.bytes & bytes) && !are_atomic && !is_ordered(cell.write, w) &&
        !(access.is_shared && cell.write.block != w->block))
        report("race", access, &cell.write);
    if (!access.is_write || !(cell.read.bytes & bytes) ||
        (access.is_shared && cell.read.block != w->block))
        return;
    Record reader = cell.read;
    bool is_racing = !is_ordered(reader, w);
    if (!is_racing && reader.other && is_this_block(reader, w)) {
        reader.thread = uint16_t(reader.other - 1);
        reader.clock = reader.other_clock;
        is_racing = !is_ordered(reader, w);
    }
    if (is_racing)
        report("race", access, &reader);
}

void remember(const Access &access, Cell *cell, uint8_t bytes, const Worker *w)
{
    const Thread *self = w->current;
    Record *record = access.is_write ? &cell->write : &cell->read;
    uint32_t clock = own_clock(self);
    bool is_recent = is_this_block(*record, w) && record->epoch == uint16_t(w->epoch);
    if (is_recent && record->thread == self->linear && record->clock == clock) {
        record->bytes |= bytes;
        record->pc = pc_offset(access.pc);
        record->flags = uint8_t(access.flags);
        return;
    }
    uint16_t other = 0;
    if (!access.is_write && is_recent && (record->bytes & bytes) && !is_ordered(*record, w))
        other = uint16_t(record->thread + 1);
    *record = {w->launch,
               w->block,
               clock,
               pc_offset(access.pc),
               record->clock,
               uint16_t(self->linear),
               uint16_t(w->epoch),
               other,
               bytes,
               uint8_t(access.flags),
               access.is_write,
               false};
}

void count(const Access &access, const Cell &cell, Worker *w)
{
    if (access.is_shared)
        return;
    if (access.is_write && cell.write.launch != w->launch)
        w->traffic.distinct_written_bytes += CELL_BYTES;
    if (!access.is_write && cell.read.launch != w->launch)
        w->traffic.distinct_read_bytes += CELL_BYTES;
}

void check_cells(const Access &access, Worker *w)
{
    size_t end = access.offset + access.bytes;
    for (size_t at = access.offset & ~(CELL_BYTES - 1); at < end; at += CELL_BYTES) {
        Cell *cell = &access.region->cells[at / CELL_BYTES];
        size_t low = std::max(at, access.offset) - at, high = std::min(at + CELL_BYTES, end) - at;
        uint8_t bytes = uint8_t((0xF << low) & (0xF >> (CELL_BYTES - high)));
        if (cell->write.is_hidden)
            return report("out of bounds (hidden gap)", access, nullptr);
        check_uninitialised(access, *cell, bytes, w);
        check_races(access, *cell, bytes, w);
        count(access, *cell, w);
        remember(access, cell, bytes, w);
    }
}

// ---- where an address lies ----

bool is_static(const char *p)
{
    for (const auto &range : checker()->statics) {
        if (p >= range.first && p < range.second)
            return true;
    }
    return false;
}

// Bounds of the block's shared arrays; true if the access lies in one.
bool find_shared(const Worker *w, Access *access)
{
    Checker *c = checker();
    if (c->arena.first != w->arena)
        c->arena = {w->arena, w->arena + ARENA_BYTES, make_shadow(ARENA_BYTES)};
    access->is_shared = true;
    access->region = &c->arena;
    access->offset = size_t(access->address - w->arena);
    size_t end = access->offset + access->bytes;
    bool is_inside = end <= w->dynamic_bytes;
    for (const SharedArray &array : w->arrays)
        is_inside |= access->offset >= array.offset && end <= array.offset + array.site->bytes;
    c->arena_touched = std::max(c->arena_touched, end);
    return is_inside;
}

bool find_global(Access *access)
{
    Checker *c = checker();
    if (access->address < c->last.first || access->address >= c->last.end) {
        auto next = c->memory.upper_bound(access->address);
        if (next == c->memory.begin() || access->address >= std::prev(next)->second.end)
            return false;
        c->last = std::prev(next)->second;
    }
    access->region = &c->last;
    access->offset = size_t(access->address - c->last.first);
    return true;
}

void access_hook(Worker *w, const void *p, size_t bytes, bool is_write, int flags, void *pc)
{
    check_access(w, p, bytes, is_write, flags, pc);
}

// ---- events from the scheduler ----

void block_begin(Worker *w)
{
    Checker *c = checker();
    c->clocks.assign(w->warps.size() * 32 * 32, 0);
    for (int warp = 0; warp < int(w->warps.size()); warp++)
        for (int lane = 0; lane < 32; lane++)
            clock_of(warp, lane, lane) = 1;
    if (c->arena.cells)
        memset(static_cast<void *>(c->arena.cells), 0, shadow_bytes(c->arena_touched));
    c->arena_touched = 0;
    if (!builtins_end) {
        const uint3 *builtins[] = {&threadIdx, &blockIdx, &blockDim, &gridDim};
        auto ends = std::minmax_element(builtins, builtins + 4);
        builtins_first = reinterpret_cast<const char *>(*ends.first);
        builtins_end = reinterpret_cast<const char *>(*ends.second + 1);
    }
}

void warp_sync(Worker *, int warp, unsigned mask)
{
    uint32_t joined[32] = {};
    for (unsigned rest = mask; rest; rest &= rest - 1)
        for (int of = 0; of < 32; of++)
            joined[of] = std::max(joined[of], clock_of(warp, __builtin_ctz(rest), of));
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        memcpy(&clock_of(warp, lane, 0), joined, sizeof joined);
        clock_of(warp, lane, lane)++;
    }
}

void memory_alloc(void *p, size_t bytes)
{
    const char *first = static_cast<const char *>(p);
    checker()->memory[first] = {first, first + bytes, make_shadow(bytes)};
    checker()->last = {};
}

void memory_free(void *p)
{
    auto found = checker()->memory.find(static_cast<const char *>(p));
    if (found == checker()->memory.end())
        return;
    const Region &region = found->second;
    munmap(region.cells, shadow_bytes(size_t(region.end - region.first)));
    checker()->memory.erase(found);
    checker()->last = {};
}

void memory_hide(void *p, size_t bytes, bool is_hidden)
{
    const char *first = static_cast<const char *>(p);
    auto next = checker()->memory.upper_bound(first);
    if (next == checker()->memory.begin() || first + bytes > std::prev(next)->second.end)
        fatal("emu_memory_hide: this is no part of a block of device memory");
    const Region &region = std::prev(next)->second;
    size_t begin = size_t(first - region.first), end = begin + bytes;
    size_t cell = (begin + CELL_BYTES - 1) / CELL_BYTES;
    for (; (cell + 1) * CELL_BYTES <= end; cell++)
        region.cells[cell].write.is_hidden = is_hidden;
}

// Notes where a loaded object lies, and which one the kernels are in: the checker's own, as both
// are linked together, be it a program or a library that was opened.
int note_object(dl_phdr_info *info, size_t, void *)
{
    Checker *c = checker();
    const char *base = reinterpret_cast<const char *>(info->dlpi_addr);
    const char *own = reinterpret_cast<const char *>(&check_access);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto &header = info->dlpi_phdr[i];
        const char *first = base + header.p_vaddr, *end = first + header.p_memsz;
        if (header.p_type != PT_LOAD)
            continue;
        c->statics.push_back({first, end});
        if (own >= first && own < end) {
            c->text_base = base;
            c->object = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
        }
    }
    return 0;
}

void finish()
{
    if (checker()->errors == 0)
        return;
    fprintf(stderr, "EMUCHECK: %d distinct errors\n", checker()->errors);
    fflush(stdout);
    _exit(EXIT_STATUS);
}

bool start()
{
    hooks = {block_begin, warp_sync, access_hook, memory_alloc, memory_free, memory_hide};
    dl_iterate_phdr(note_object, nullptr);
    return atexit(finish) == 0;
}

const bool is_started = start();
} // namespace

const char *builtins_first, *builtins_end;

void check_access(Worker *w, const void *p, size_t bytes, bool is_write, int flags, void *pc)
{
    if (!w || !w->current || bytes == 0 || is_private(w, p))
        return;
    Access access = {static_cast<const char *>(p), bytes, is_write, flags, pc, false, nullptr, 0};
    if (access.address >= w->arena && access.address < w->arena + ARENA_BYTES) {
        if (!find_shared(w, &access))
            return report("out of bounds", access, nullptr);
    } else if (!find_global(&access)) {
        if (!is_static(access.address)) // __constant__ and __device__ variables
            report("no device memory", access, nullptr);
        return;
    } else if (access.address + bytes > access.region->end) {
        return report("out of bounds", access, nullptr);
    }
    if (!access.is_shared)
        (is_write ? w->traffic.written_bytes : w->traffic.read_bytes) += bytes;
    check_cells(access, w);
}
} // namespace emu
