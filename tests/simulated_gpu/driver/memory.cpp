#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "settings.h"

namespace simulated {
namespace {

constexpr size_t kPage = 4096, kGuardPages = 16 * kPage, kBand = 512;
constexpr size_t kUnit = 512;               // what memory is counted in
constexpr size_t kRange = size_t{1} << 42;  // of addresses, over the life of a process
constexpr unsigned char kUnwritten = 0xff;
constexpr std::uint16_t kGuard = 0xfffe;  // also NaN, and not what is there before something is written

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

unsigned char* device_range() {
    static unsigned char* const range = [] {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void* wish = reinterpret_cast<void*>(0x0a00'0000'0000);
        void* found = mmap(wish, kRange, PROT_NONE, flags, -1, 0);
        if (found == MAP_FAILED) fail(CUDA_ERROR_UNKNOWN, "no address space for the memory of the GPU");
        return static_cast<unsigned char*>(found);
    }();
    return range;
}

void paint(unsigned char* from, const unsigned char* to) {
    for (; from < to; ++from)
        *from = static_cast<unsigned char>(kGuard >> (reinterpret_cast<std::uintptr_t>(from) & 1) * 8);
}

// Bytes of a band that were overwritten, and the first of them.
size_t damaged(const unsigned char* from, const unsigned char* to, const unsigned char** first) {
    size_t count = 0;
    for (; from < to; ++from) {
        if (*from == static_cast<unsigned char>(kGuard >> (reinterpret_cast<std::uintptr_t>(from) & 1) * 8)) continue;
        if (count++ == 0) *first = from;
    }
    return count;
}

std::string said(const Allocation& allocation) {
    const char* kind = allocation.place == Place::DEVICE ? " bytes of the GPU" : " page-locked bytes of the host";
    return "allocation " + std::to_string(allocation.id) + " of " + std::to_string(allocation.bytes) + kind;
}

bool bands_are_whole(const Allocation& allocation, const std::string& after) {
    if (allocation.pages == nullptr) return true;
    const unsigned char* first = nullptr;
    const unsigned char* end = allocation.data + allocation.bytes;
    const size_t before = damaged(allocation.pages, allocation.data, &first);
    const size_t behind = damaged(end, allocation.pages + allocation.page_bytes, &first);
    if (before > 0) say(after + " wrote " + std::to_string(before) + " bytes before " + said(allocation));
    if (behind > 0)
        say(after + " wrote " + std::to_string(behind) + " bytes behind " + said(allocation) + ", the first " +
            std::to_string(first - end) + " behind its end");
    return before + behind == 0;
}

}  // namespace

Allocation& Memory::allocate(Context* context, Place place, size_t bytes, unsigned flags) {
    expect(bytes > 0, CUDA_ERROR_INVALID_VALUE, "an allocation of no bytes");
    const size_t counted = rounded(bytes, kUnit), page_bytes = rounded(bytes + 2 * kBand, kPage);
    unsigned char* pages = nullptr;
    if (place == Place::DEVICE) {
        if (next_ == nullptr) next_ = device_range() + kGuardPages;
        const size_t left = static_cast<size_t>(device_range() + kRange - next_);
        // no line: running out of memory is something that programs ask for
        if (bytes > settings().memory_bytes || counted > settings().memory_bytes - used_)
            throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
        if (page_bytes + kGuardPages > left)
            fail(CUDA_ERROR_OUT_OF_MEMORY, "no addresses left: they are never used twice");
        pages = next_;
        if (mprotect(pages, page_bytes, PROT_READ | PROT_WRITE) != 0) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
        next_ += page_bytes + kGuardPages;
        used_ += counted;
        peak_ = std::max(peak_, used_);
    } else {
        void* found = mmap(nullptr, page_bytes + 2 * kGuardPages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found == MAP_FAILED) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
        pages = static_cast<unsigned char*>(found) + kGuardPages;
        if (mprotect(pages, page_bytes, PROT_READ | PROT_WRITE) != 0) throw Failure{CUDA_ERROR_OUT_OF_MEMORY};
    }
    unsigned char* data = pages + kBand;
    paint(pages, data);
    std::memset(data, kUnwritten, bytes);
    paint(data + bytes, pages + page_bytes);
    if (place == Place::DEVICE) mprotect(pages, page_bytes, PROT_NONE);
    const Allocation made{context, place, data, bytes, pages, page_bytes, flags, ++last_id_};
    return allocations_[reinterpret_cast<std::uintptr_t>(data)] = made;
}

Allocation& Memory::add_registered(Context* context, void* data, size_t bytes, unsigned flags) {
    const auto start = reinterpret_cast<std::uintptr_t>(data);
    const auto next = allocations_.lower_bound(start);
    if (find(start) != nullptr || (next != allocations_.end() && next->first < start + bytes))
        fail(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "memory of the host that is page-locked already");
    const Allocation made{context, Place::REGISTERED, static_cast<unsigned char*>(data), bytes, nullptr, 0,
                          flags,   ++last_id_};
    return allocations_[start] = made;
}

bool Memory::release(const Allocation& gone) {
    const Allocation allocation = gone;  // erased below
    bool whole = true;
    if (allocation.place == Place::DEVICE) {
        mprotect(allocation.pages, allocation.page_bytes, PROT_READ | PROT_WRITE);
        whole = simulated::bands_are_whole(allocation, "somebody");
        mprotect(allocation.pages, allocation.page_bytes, PROT_NONE);
        madvise(allocation.pages, allocation.page_bytes, MADV_DONTNEED);
        used_ -= rounded(allocation.bytes, kUnit);
    } else if (allocation.place == Place::PINNED) {
        whole = simulated::bands_are_whole(allocation, "somebody");
        munmap(allocation.pages - kGuardPages, allocation.page_bytes + 2 * kGuardPages);
    }
    allocations_.erase(reinterpret_cast<std::uintptr_t>(allocation.data));
    return whole;
}

void Memory::release_all(Context* context) {
    for (auto each = allocations_.begin(); each != allocations_.end();) {
        const Allocation& allocation = (each++)->second;
        if (allocation.context == context) release(allocation);
    }
}

const Allocation* Memory::find(std::uintptr_t address) const {
    auto next = allocations_.upper_bound(address);
    if (next == allocations_.begin()) return nullptr;
    const Allocation& before = std::prev(next)->second;
    const auto start = reinterpret_cast<std::uintptr_t>(before.data);
    return address - start < before.bytes ? &before : nullptr;
}

bool Memory::is_of_device(std::uintptr_t address) const {
    const auto start = reinterpret_cast<std::uintptr_t>(device_range());
    return address >= start && address - start < kRange;
}

bool Memory::bands_are_whole(Context* context, const std::string& after) const {
    bool whole = true;
    for (const auto& [address, allocation] : allocations_)
        if (allocation.context == context) whole &= simulated::bands_are_whole(allocation, after);
    return whole;
}

size_t Memory::count(Place place) const {
    return static_cast<size_t>(std::count_if(allocations_.begin(), allocations_.end(),
                                             [=](const auto& each) { return each.second.place == place; }));
}

void Memory::protect(Context* context, bool usable) {
    for (const auto& [address, allocation] : allocations_)
        if (allocation.context == context && allocation.place == Place::DEVICE)
            mprotect(allocation.pages, allocation.page_bytes, usable ? PROT_READ | PROT_WRITE : PROT_NONE);
}

}  // namespace simulated
