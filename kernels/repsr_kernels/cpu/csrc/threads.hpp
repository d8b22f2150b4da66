// Several threads at one piece of work.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <thread>
#include <type_traits>
#include <vector>

namespace repsr::cpu {

// Calls work() on `threads` threads at once, this one among them, and waits for all. Where the system starts no more,
// those that run are all there are: `work` takes pieces until none is left.
template <class Work>
void on_threads(int64_t threads, const Work& work) noexcept {
    static_assert(std::is_nothrow_invocable_v<const Work&>, "nobody would catch what a thread throws");
    std::vector<std::thread> started;
    try {
        for (int64_t i = 1; i < threads; ++i) started.emplace_back(std::cref(work));
    } catch (const std::exception&) {  // system_error: no more threads; bad_alloc: no memory for one
    }
    work();
    for (auto& thread : started) thread.join();
}

}  // namespace repsr::cpu
