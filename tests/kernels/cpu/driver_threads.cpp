// Work on several threads when memory runs out as they start: all of it is done, by those that did.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "host_threads.hpp"
#include "threads.hpp"

namespace {

constexpr int kCount = 100;
std::atomic<long> left{-1};  // allocations until one fails; below 0: none does

struct Work {
    std::atomic<int> done[kCount] = {};
    std::atomic<int> next{0};
    bool whole() const {
        for (const auto& count : done) {
            if (count != 1) return false;
        }
        return true;
    }
};

}  // namespace

void* operator new(size_t size) {
    if (left.fetch_sub(1) == 0) throw std::bad_alloc();
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

int main() {
    for (long at = 0; at < 20; ++at) {
        Work here, there;
        left = at;
        repsr::parallel(5, kCount, 1, [&](int64_t first, int64_t) noexcept { ++here.done[first]; });
        left = at;
        repsr::cpu::on_threads(5, [&]() noexcept {
            for (int i; (i = there.next++) < kCount;) ++there.done[i];
        });
        left = -1;
        if (!here.whole() || !there.whole()) return std::printf("not all is done when allocation %ld fails\n", at), 1;
    }
}
