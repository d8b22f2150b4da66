// How the blocks of a grid are run on one thread of the host: see cuda_on_host.h.
#pragma once

#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "meetings.h"

#pragma GCC visibility push(hidden)  // see meetings.h

namespace emulation {

// In which order blocks, and threads between barriers, run.
class Order {
public:
    // Whether there is such an order.
    bool choose(const char* name) {
        const std::string_view chosen = name == nullptr ? "forward" : name;
        reverse_ = chosen == "reverse";
        shuffle_ = chosen == "shuffle";
        return reverse_ || shuffle_ || chosen == "forward";
    }

    // 0, 1, ... in that order, another one each time when shuffled.
    void arrange(std::vector<unsigned>& order) {
        std::iota(order.begin(), order.end(), 0u);
        if (reverse_) std::reverse(order.begin(), order.end());
        if (shuffle_) std::shuffle(order.begin(), order.end(), random_);
    }

private:
    bool reverse_ = false, shuffle_ = false;
    std::mt19937 random_{1};
};

inline int run_block(Order& order) {
    Machine& m = machine();
    for (Thread& thread : m.threads) thread = {thread.index, nullptr, nullptr, 0, false};
    m.whole_block = {};
    m.whole_block.expected = static_cast<unsigned>(m.threads.size());
    for (auto& meetings : m.warps) meetings.clear();
    order.arrange(m.order);
    for (m.started = 0; m.started < m.threads.size() && m.error == kSuccess;) {
        if (m.idle.empty()) m.idle.push_back(m.fibers.emplace_back(new fibers::Fiber(run_threads)).get());
        fibers::go(m.scheduler, m.idle.back()->place);
    }
    for (bool all_ended = false; !all_ended && m.error == kSuccess;) {
        bool any_ran = false;
        all_ended = true;
        order.arrange(m.order);
        for (unsigned index : m.order) {
            Thread& thread = m.threads[index];
            if (thread.may_run()) {
                m.current = &thread;
                threadIdx = thread.index;
                fibers::go(m.scheduler, thread.fiber->place);
                if (m.error != kSuccess) return m.error;
                any_ran = true;
            }
            all_ended = all_ended && thread.ended;
        }
        if (!any_ran && !all_ended) return report_waiting();
    }
    return m.error;
}

// The static shared memory of a kernel's library: its variables of which every thread of the host has its own, which
// are those, threadIdx and its like.
inline void poison_static_shared() {
    dl_iterate_phdr(
        [](dl_phdr_info* library, size_t, void*) {
            auto* begin = static_cast<unsigned char*>(library->dlpi_tls_data);
            const auto* ours = reinterpret_cast<unsigned char*>(&threadIdx);
            for (int index = 0; index < library->dlpi_phnum; ++index) {
                const auto& segment = library->dlpi_phdr[index];
                const bool is_ours = begin != nullptr && ours >= begin && ours < begin + segment.p_memsz;
                if (segment.p_type != PT_TLS || !is_ours) continue;
                std::memset(begin, kPoison, segment.p_memsz);
                return 1;
            }
            return 0;
        },
        nullptr);
}

inline void poison_shared() {
    Machine& m = machine();
    poison_static_shared();
    m.memory.assign(m.shared_bytes + kCanary + 1024, kPoison);
    const auto address = reinterpret_cast<uintptr_t>(m.memory.data());
    m.shared = m.memory.data() + (1024 - address % 1024) % 1024;
}

inline bool is_overrun() {
    const Machine& m = machine();
    const auto* end = m.shared + m.shared_bytes;
    return std::any_of(end, end + kCanary, [](unsigned char byte) { return byte != kPoison; });
}

// Limits of the CUDA programming guide, table of technical specifications; shared memory is that of 9.0 and 10.0.
inline bool is_launchable(const unsigned grid[3], const unsigned block[3], size_t shared_bytes) {
    const auto within = [](const unsigned size[3], unsigned x, unsigned y, unsigned z) {
        return size[0] - 1 < x && size[1] - 1 < y && size[2] - 1 < z;
    };
    return within(grid, 0x7fffffff, 65535, 65535) && within(block, 1024, 1024, 64) &&
           uint64_t{block[0]} * block[1] * block[2] <= 1024 && shared_bytes <= 227 << 10;
}

// Run a grid: body(params) in every thread of every block.
inline int launch(const unsigned grid[3], const unsigned block[3], size_t shared_bytes, void (*body)(const void*),
                  const void* params) {
    Machine& m = machine();
    m.error = kSuccess;
    m.message[0] = '\0';
    Order order;
    if (!order.choose(std::getenv("REPSR_EMULATE_ORDER")))
        return fail(kOrder, "REPSR_EMULATE_ORDER is %s; expected forward, reverse or shuffle",
                    std::getenv("REPSR_EMULATE_ORDER"));
    if (!is_launchable(grid, block, shared_bytes))
        return fail(kLaunch, "grid (%u, %u, %u) of blocks (%u, %u, %u) with %zu bytes of shared memory; expected what "
                    "a GPU can launch", grid[0], grid[1], grid[2], block[0], block[1], block[2], shared_bytes);
    m.body = body, m.params = params, m.shared_bytes = shared_bytes;
    m.threads.resize(size_t{block[0]} * block[1] * block[2]);
    m.warps.resize((m.threads.size() + kLanes - 1) / kLanes);
    m.order.resize(m.threads.size());
    const auto place = [](size_t linear, const unsigned size[3]) {
        const auto at = [](size_t value) { return static_cast<unsigned>(value); };
        return uint3{at(linear % size[0]), at(linear / size[0] % size[1]), at(linear / size[0] / size[1])};
    };
    for (size_t linear = 0; linear < m.threads.size(); ++linear) m.threads[linear].index = place(linear, block);
    std::vector<unsigned> blocks(size_t{grid[0]} * grid[1] * grid[2]);
    order.arrange(blocks);
    for (unsigned linear : blocks) {
        poison_shared();
        gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
        blockIdx = place(linear, grid);
        if (run_block(order) == kSuccess && is_overrun())
            fail(kOverrun, "block (%u, %u, %u) wrote behind its %zu bytes of dynamic shared memory", blockIdx.x,
                 blockIdx.y, blockIdx.z, shared_bytes);
        if (m.error != kSuccess) break;
    }
    if (m.error != kSuccess) {  // fibers were left where they waited
        m.idle.clear();
        for (const auto& fiber : m.fibers) fiber->begin(run_threads);
        for (const auto& fiber : m.fibers) m.idle.push_back(fiber.get());
    }
    return m.error;
}

template <typename Params>
int launch_checked(const unsigned grid[3], const unsigned block[3], size_t shared_bytes, const void* params,
                   size_t params_bytes, void (*body)(const void*)) {
    if (params_bytes != sizeof(Params))
        return fail(kParams, "the kernel was given %zu bytes; expected its structure of %zu", params_bytes,
                    sizeof(Params));
    Params own;  // as aligned as the kernel expects it
    std::memcpy(&own, params, sizeof own);
    return launch(grid, block, shared_bytes, body, &own);
}

}  // namespace emulation

#pragma GCC visibility pop
