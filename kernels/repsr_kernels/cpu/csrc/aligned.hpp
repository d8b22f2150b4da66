// Memory that begins where a cache line does.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace repsr::cpu {

constexpr size_t kLine = 64;  // bytes of a cache line

// An array of numbers, zero at first, of a length that stays. Raises bad_alloc.
template <class T>
class Aligned {
public:
    Aligned() = default;
    explicit Aligned(size_t size) : size_(size) {
        if (size > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
        data_.reset(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{kLine})));
        std::memset(static_cast<void*>(data_.get()), 0, size * sizeof(T));
    }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    size_t size() const { return size_; }
    T& operator[](size_t index) { return data_.get()[index]; }

private:
    struct Free {
        void operator()(T* data) const { ::operator delete(data, std::align_val_t{kLine}); }
    };
    std::unique_ptr<T[], Free> data_;
    size_t size_ = 0;
};

}  // namespace repsr::cpu
