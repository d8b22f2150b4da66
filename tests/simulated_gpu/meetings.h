// The threads of a block as fibers, and where they wait for each other: see cuda_on_host.h.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "fibers.h"

// Every library has its own: names of C++ that inline functions share would be shared by all libraries of a process.
#pragma GCC visibility push(hidden)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
};

inline thread_local uint3 threadIdx;
inline thread_local uint3 blockIdx;
inline thread_local dim3 blockDim;
inline thread_local dim3 gridDim;
inline constexpr int warpSize = 32;

namespace emulation {

enum Error : int {
    kSuccess = 0,
    kParams = 1,   // params_bytes is not the size of the kernel's structure
    kLaunch = 2,   // a grid, a block or shared memory that no GPU takes
    kBarrier = 3,  // a barrier, or something that a warp does together, which not all threads reach
    kOverrun = 4,  // something was written behind the dynamic shared memory
    kOrder = 5,    // REPSR_EMULATE_ORDER has no such value
};

constexpr unsigned kLanes = 32, kAllLanes = 0xffffffffu;
constexpr unsigned char kPoison = 0xff;  // NaN as a floating-point number of any size
constexpr size_t kCanary = 16384;        // bytes behind the dynamic shared memory, which must stay poisoned

// What the lanes of a warp do together; lanes without a bit in mask have null.
using Together = void (*)(void* const registers[kLanes], unsigned mask);

// A line of a kernel.
struct Site {
    const char* file;
    int line;
    bool operator!=(const Site& other) const { return line != other.line || std::strcmp(file, other.file) != 0; }
};

// Where threads wait for each other.
struct Meeting {
    Site site;
    Together together;  // null for a mere barrier
    unsigned mask;      // lanes; 0 for __syncthreads
    unsigned arrived, expected;
    uint64_t held;  // how often all have met
    void* registers[kLanes];
};

struct Thread {
    uint3 index;
    fibers::Fiber* fiber;
    Meeting* meeting;  // where it waits; null where it does not
    uint64_t until;    // it goes on when the meeting has been held so often
    bool ended;

    bool may_run() const { return !ended && (meeting == nullptr || meeting->held >= until); }
};

// The grid that this thread of the host runs, and what can be used again for the next.
struct Machine {
    void (*body)(const void* params);
    const void* params;
    std::vector<Thread> threads;
    std::vector<unsigned> order;  // in which threads run
    size_t started;               // so many, in this order
    Thread* current;
    Meeting whole_block;
    std::vector<std::map<unsigned, Meeting>> warps;  // of each warp, by mask: parts of it may be in different places
    fibers::Place scheduler;
    std::vector<std::unique_ptr<fibers::Fiber>> fibers;
    std::vector<fibers::Fiber*> idle;
    std::vector<unsigned char> memory;
    unsigned char* shared;  // dynamic shared memory, 1024 bytes aligned
    size_t shared_bytes;
    int error;
    char message[512];
};

inline Machine& machine() {
    // not thread_local: variables of that kind are the kernels' static shared memory, which is poisoned as a whole
    static const pthread_key_t key = [] {
        pthread_key_t made;
        if (pthread_key_create(&made, [](void* mine) { delete static_cast<Machine*>(mine); }) != 0) std::abort();
        return made;
    }();
    void* mine = pthread_getspecific(key);
    if (mine == nullptr) pthread_setspecific(key, mine = new Machine());
    return *static_cast<Machine*>(mine);
}

__attribute__((format(printf, 2, 3))) inline int fail(Error error, const char* format, ...) {
    Machine& m = machine();
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(m.message, sizeof m.message, format, arguments);
    va_end(arguments);
    return m.error = error;
}

// Hand over to the scheduler, from a thread of a block.
inline void leave() {
    Machine& m = machine();
    fibers::go(m.current->fiber->place, m.scheduler);
}

// Where a fiber begins: it runs threads that nobody has started, and is idle then.
inline void run_threads() {
    for (;;) {
        Machine& m = machine();
        fibers::Fiber* fiber = m.idle.back();
        m.idle.pop_back();
        while (m.started < m.threads.size()) {
            m.current = &m.threads[m.order[m.started++]];
            m.current->fiber = fiber;
            threadIdx = m.current->index;
            m.body(m.params);
            m.current->ended = true;
        }
        m.idle.push_back(fiber);
        fibers::go(fiber->place, m.scheduler);
    }
}

// Wait until all threads that are expected have come; the last one does it for all, and none goes on before.
inline void meet(Meeting& meeting, Site site, Together together, unsigned mask, unsigned lane, void* registers) {
    Machine& m = machine();
    if (meeting.arrived == 0) {
        meeting.site = site, meeting.together = together, meeting.mask = mask;
        std::fill_n(meeting.registers, kLanes, nullptr);
    }
    const uint3 index = m.current->index;
    if (meeting.together != together || meeting.site != site) {
        fail(kBarrier, "block (%u, %u, %u): thread (%u, %u, %u) is at %s:%d, and others that it should meet at %s:%d; "
             "expected all of them in one place", blockIdx.x, blockIdx.y, blockIdx.z, index.x, index.y, index.z,
             site.file, site.line, meeting.site.file, meeting.site.line);
        leave();
    }
    if (mask != 0 && !(mask >> lane & 1)) {
        fail(kBarrier, "block (%u, %u, %u): thread (%u, %u, %u) is lane %u at %s:%d; expected one of mask 0x%08x",
             blockIdx.x, blockIdx.y, blockIdx.z, index.x, index.y, index.z, lane, site.file, site.line, mask);
        leave();
    }
    meeting.registers[lane] = registers;
    m.current->meeting = &meeting;
    m.current->until = meeting.held + 1;
    if (++meeting.arrived == meeting.expected) {
        if (together != nullptr) together(meeting.registers, mask);
        meeting.arrived = 0;
        ++meeting.held;
    }
    leave();
    m.current->meeting = nullptr;
}

// __syncthreads.
inline void meet_block(Site site) { meet(machine().whole_block, site, nullptr, 0, 0, nullptr); }

// __syncwarp, and everything that a warp does together.
inline void meet_warp(Site site, unsigned mask, Together together, void* registers) {
    Machine& m = machine();
    const auto linear = static_cast<unsigned>(m.current - m.threads.data());
    const size_t existing = std::min<size_t>(kLanes, m.threads.size() - linear / kLanes * kLanes);
    mask &= existing == kLanes ? kAllLanes : (1u << existing) - 1;
    Meeting& meeting = m.warps[linear / kLanes][mask];
    meeting.expected = static_cast<unsigned>(__builtin_popcount(mask));
    meet(meeting, site, together, mask, linear % kLanes, registers);
}

// What needs all 32 lanes, as instructions for matrices do.
inline void meet_whole_warp(Site site, Together together, void* registers) {
    Machine& m = machine();
    if (m.threads.size() % kLanes != 0 && m.current >= &m.threads[m.threads.size() / kLanes * kLanes]) {
        fail(kBarrier, "block (%u, %u, %u): the last warp has %zu lanes at %s:%d; expected 32", blockIdx.x, blockIdx.y,
             blockIdx.z, m.threads.size() % kLanes, site.file, site.line);
        leave();
    }
    meet_warp(site, kAllLanes, together, registers);
}

// Some wait, and nobody else can run.
inline int report_waiting() {
    Machine& m = machine();
    const auto waits = [](const Thread& thread) { return thread.meeting != nullptr; };
    const auto waiting = std::find_if(m.threads.begin(), m.threads.end(), waits);
    const Meeting& meeting = *waiting->meeting;
    const auto missing = std::find_if(m.threads.begin(), m.threads.end(), [&](const Thread& thread) {
        const auto linear = static_cast<unsigned>(&thread - m.threads.data());
        const bool same_warp = linear / kLanes == (waiting - m.threads.begin()) / kLanes;
        const bool awaited = meeting.mask == 0 || (same_warp && meeting.mask >> linear % kLanes & 1);
        return awaited && thread.meeting != &meeting;
    });
    char doing[200] = "has ended";
    if (!missing->ended) {
        const Site site = missing->meeting->site;
        std::snprintf(doing, sizeof doing, "waits at %s:%d", site.file, site.line);
    }
    return fail(kBarrier, "block (%u, %u, %u): %u of %u threads wait at %s:%d, while thread (%u, %u, %u) %s; expected "
                "all of them to get there", blockIdx.x, blockIdx.y, blockIdx.z, meeting.arrived, meeting.expected,
                meeting.site.file, meeting.site.line, missing->index.x, missing->index.y, missing->index.z, doing);
}

}  // namespace emulation

#pragma GCC visibility pop
