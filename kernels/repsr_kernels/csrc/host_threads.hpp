// Work split over the threads of a processor.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <type_traits>
#include <vector>

namespace repsr {

// Calls function(first, end) on `threads` threads until the parts cover 0..count. A part is at most `grain` long;
// whoever is done takes the next one, so that a busy core holds nobody up. Where the system starts no more threads,
// those that run do all the work.
template <class Function>
void parallel(int threads, int64_t count, int64_t grain, Function function) {
    static_assert(std::is_nothrow_invocable_v<Function&, int64_t, int64_t>, "nobody would catch what a thread throws");
    std::atomic<int64_t> next{0};
    const auto work = [&]() noexcept {
        for (int64_t first; (first = next.fetch_add(grain)) < count;) function(first, std::min(first + grain, count));
    };
    const int64_t parts = (count + grain - 1) / grain;
    const auto others = std::max<int64_t>(std::min<int64_t>(threads, parts) - 1, 0);
    std::vector<std::thread> started;
    try {
        while (static_cast<int64_t>(started.size()) < others) started.emplace_back(work);
    } catch (const std::exception&) {  // system_error: no more threads; bad_alloc: no memory for one
    }
    work();
    for (auto& thread : started) thread.join();
}

}  // namespace repsr
