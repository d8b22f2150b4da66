// Blocks of memory of an exact size, at whose ends something notices whoever goes beyond.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "native_random.hpp"

namespace native {

// On the heap, where AddressSanitizer knows the block's two ends; or beside a page that may not be touched, which stops
// masked loads and stores too. `alignment`: the block begins at a multiple of it, and at no higher one if that can be.
class Block {
public:
    Block(Random& random, uint64_t size, uint64_t alignment) : size_(size) {
        const uint64_t shift = alignment * static_cast<uint64_t>(random.within(0, 15));
        if (!random.one_in(3)) {
            base_ = static_cast<uint8_t*>(std::malloc(size + shift));
            if (base_ == nullptr) throw std::bad_alloc();
            data_ = base_ + shift;  // behind it lies nothing
            return;
        }
        const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
        const uint64_t room = (size + page - 1) / page * page;
        mapped_ = room + 2 * page;
        void* map = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) throw std::bad_alloc();
        base_ = static_cast<uint8_t*>(map);
        mprotect(base_, page, PROT_NONE);
        mprotect(base_ + page + room, page, PROT_NONE);
        data_ = random.one_in(2) ? base_ + page : base_ + page + room - size;  // at the one page, or at the other
    }
    ~Block() {
        if (mapped_ != 0) munmap(base_, mapped_);
        else std::free(base_);
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    uint8_t* data() const { return data_; }
    uint64_t size() const { return size_; }

private:
    uint64_t size_, mapped_ = 0;
    uint8_t* base_;
    uint8_t* data_;
};

// A picture in a buffer: `rows` of `columns` samples for each plane, or pixels of `colours` bytes in one plane.
struct Layout {
    bool bytes;                       // uint8 H x W x C, or float planes C x H x W
    int64_t planes, rows, columns;    // of bytes: 1 plane, W * C columns
    int64_t pitch, plane;             // bytes
    uint64_t size() const {
        return static_cast<uint64_t>((planes - 1) * plane + (rows - 1) * pitch + columns * sample());
    }
    int64_t sample() const { return bytes ? 1 : 4; }
    int64_t offset(int64_t channel, int64_t row) const { return channel * plane + row * pitch; }
};

inline Layout random_layout(Random& random, bool bytes, int64_t channels, int64_t rows, int64_t columns) {
    Layout layout{bytes, bytes ? 1 : channels, rows, bytes ? columns * channels : columns, 0, 0};
    const int64_t line = layout.columns * layout.sample();
    const auto gap = [&] { return random.one_in(2) ? 0 : layout.sample() * random.within(1, 37); };
    if (random.one_in(4)) {  // planes row by row: of each the first, then of each the second
        layout.plane = line + gap();
        layout.pitch = layout.planes * layout.plane + gap();
    } else {
        layout.pitch = line + gap();
        layout.plane = rows * layout.pitch + gap();
    }
    return layout;
}

}  // namespace native
