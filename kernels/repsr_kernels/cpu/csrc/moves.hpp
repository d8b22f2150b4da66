// Operators that move pixels, as functions of where each comes from.
#pragma once

#include <cstdint>
#include <vector>

#include "values.hpp"

namespace repsr::cpu {

constexpr int64_t kMostMoved = 1 << 20;  // elements that all moves of a graph may make: 4 MB

enum class Nearest { floor, ceil, prefer_floor, prefer_ceil };

// Makes moved tensors until too many elements were. Raises Error: REPSR_NOT_PLAIN.
class Mover {
public:
    // Elements `list` of an axis, which are there.
    Pixels take(const Pixels& from, size_t axis, const std::vector<int64_t>& list);
    // An axis `times` after itself; 1 or more.
    Pixels repeat(const Pixels& from, size_t axis, int64_t times);
    // Axis k of the result is axis order[k].
    Pixels transpose(const Pixels& from, const std::vector<int64_t>& order);
    // Of N x C x H x W.
    Pixels depth_to_space(const Pixels& from, int64_t factor, bool colour_first);
    Pixels enlarge(const Pixels& from, int64_t factor, bool half_pixel, Nearest rounding);
    // Along an axis; `parts` have the same sources, and the same other dims.
    Pixels concatenate(const std::vector<const Pixels*>& parts, size_t axis);

private:
    void check(const Dims& dims) const;
    void spend(const Dims& dims);

    int64_t left_ = kMostMoved;
};

int64_t count_of(const Dims& dims);  // where the product is known to fit

// The same elements in another shape.
Pixels reshaped(Pixels pixels, Dims dims);

}  // namespace repsr::cpu
