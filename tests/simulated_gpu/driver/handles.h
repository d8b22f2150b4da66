// Handles that callers hold: numbers that are never used twice, so that one of something destroyed is known as such.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "failure.h"

namespace simulated {

inline std::uintptr_t new_number() {
    static std::uintptr_t last = 0x7e51'0000'0000;  // of more than 32 bits, as pointers are, and never mapped
    return last += 0x100;
}

template <typename Object, typename Handle>
class Handles {
public:
    explicit Handles(const char* what) : what_(what) {}

    Handle add(std::shared_ptr<Object> object) {
        const std::uintptr_t number = new_number();
        objects_[number] = std::move(object);
        return reinterpret_cast<Handle>(number);
    }

    std::shared_ptr<Object> get(Handle handle, CUresult otherwise = CUDA_ERROR_INVALID_HANDLE) const {
        const auto found = objects_.find(reinterpret_cast<std::uintptr_t>(handle));
        if (found == objects_.end()) fail(otherwise, std::string("no such ") + what_ + ", or it was destroyed");
        return found->second;
    }

    std::shared_ptr<Object> take(Handle handle) {
        auto object = get(handle);
        objects_.erase(reinterpret_cast<std::uintptr_t>(handle));
        return object;
    }

    template <typename Condition>
    void remove_if(Condition condition) {
        for (auto each = objects_.begin(); each != objects_.end();)
            each = condition(*each->second) ? objects_.erase(each) : std::next(each);
    }

    size_t count() const { return objects_.size(); }

private:
    const char* what_;
    std::map<std::uintptr_t, std::shared_ptr<Object>> objects_;
};

}  // namespace simulated
