// Memory of the GPU, and page-locked memory of the host: where it lies, whose it is, what was written beside it.
//
// Memory of the GPU lies in a range of addresses of its own that nobody may touch except the operation that is being
// executed, in its own context. Around every allocation lie guard bands and then pages that nobody may touch; addresses
// are never used twice. All of it begins as bytes 0xff: NaN in every type of floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "failure.h"

namespace simulated {

struct Context;

enum class Place { DEVICE, PINNED, REGISTERED };

struct Allocation {
    Context* context;
    Place place;
    unsigned char* data;
    size_t bytes;
    unsigned char* pages;  // with the guard bands; null for registered memory, which is the caller's
    size_t page_bytes;
    unsigned flags;
    unsigned long long id;

    bool contains(std::uintptr_t address, size_t length) const {
        const auto start = reinterpret_cast<std::uintptr_t>(data);
        return address >= start && address - start <= bytes && length <= bytes - (address - start);
    }
};

class Memory {
public:
    // Raises:
    //     Failure: out of memory, or no bytes at all.
    Allocation& allocate(Context* context, Place place, size_t bytes, unsigned flags = 0);
    Allocation& add_registered(Context* context, void* data, size_t bytes, unsigned flags);

    // Frees, or forgets what was registered. False: its guard bands were damaged, which was said.
    bool release(const Allocation& allocation);
    void release_all(Context* context);

    // The allocation with this address in it, or null.
    const Allocation* find(std::uintptr_t address) const;
    const Allocation* find(const void* address) const { return find(reinterpret_cast<std::uintptr_t>(address)); }

    // Whether an address is the GPU's, in use or not.
    bool is_of_device(std::uintptr_t address) const;

    // Lets operations touch the memory of a context, or not.
    void open(Context* context) { protect(context, true); }
    void close(Context* context) { protect(context, false); }

    // Whether all guard bands of a context's memory are whole; says which are not, and behind what.
    bool bands_are_whole(Context* context, const std::string& after) const;

    size_t used_bytes() const { return used_; }
    size_t peak_bytes() const { return peak_; }
    size_t count(Place place) const;

private:
    void protect(Context* context, bool usable);

    std::map<std::uintptr_t, Allocation> allocations_;  // by the address of their data
    unsigned char* next_ = nullptr;                     // of the GPU's addresses
    size_t used_ = 0, peak_ = 0;
    unsigned long long last_id_ = 0;
};

}  // namespace simulated
