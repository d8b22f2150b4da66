// The enlarged picture that the last layer is added to.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "picture.hpp"
#include "plan.hpp"

namespace repsr::cpu {

// Gives one row after the other.
class Skip {
public:
    Skip(const Kernels& kernels, repsr_skip kind, int32_t colours, int32_t scale)
        : kernels_(kernels), kind_(kind), colours_(colours), scale_(scale) {}

    // Floats of memory for a unit of so many columns.
    size_t words(int64_t columns) const;

    void begin(const Picture& picture, float full_scale, const Unit& unit, float* memory);

    // Fills in what the target's skip says, for LR row y, in units of `full_scale`; rows come in their order.
    void point(int64_t y, Target& target);

private:
    int64_t planes_words(int64_t columns) const { return colours_ * stride_of(columns); }
    void read_row(int64_t y);
    void enlarge_row(int64_t y);

    const Kernels& kernels_;
    const repsr_skip kind_;
    const int32_t colours_, scale_;
    const Picture* picture_ = nullptr;
    float full_scale_ = 1;
    int64_t left_ = 0, columns_ = 0;
    int64_t next_row_ = 0;     // bilinear: of the picture, to be read
    float* rows_ = nullptr;    // bilinear: three rows of planes, with a column more on both sides
    float* column_ = nullptr;  // bilinear: a row between rows
    float* planes_ = nullptr;  // what is given
};

}  // namespace repsr::cpu
