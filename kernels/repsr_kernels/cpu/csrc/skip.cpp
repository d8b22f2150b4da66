#include "skip.hpp"

#include <algorithm>
#include <cmath>

namespace repsr::cpu {
namespace {

// Where pixel d of `scale` lies, in pixels of the source from the middle of the one that it comes of (half-pixel
// centres): between it and the neighbour on that side.
float offset_of(int d, int scale) {
    return static_cast<float>((2 * d + 1 - scale) / (2.0 * scale));
}

// Exactly `near` where both are the same.
void mix(const float* near, const float* other, float part, int64_t count, float* out) {
    for (int64_t i = 0; i < count; ++i) out[i] = near[i] + part * (other[i] - near[i]);
}

}  // namespace

size_t Skip::words(int64_t columns) const {
    const int64_t around = columns + 2;
    const int64_t bilinear = kind_ == REPSR_BILINEAR ? 3 * planes_words(around) + stride_of(around) : 0;
    const int64_t enlarged = kind_ == REPSR_BILINEAR ? int64_t{scale_} * scale_ : 1;
    return static_cast<size_t>(bilinear + enlarged * planes_words(columns));
}

void Skip::begin(const Picture& picture, float full_scale, const Unit& unit, float* memory) {
    picture_ = &picture;
    full_scale_ = full_scale;
    left_ = unit.first_column;
    columns_ = unit.end_column - unit.first_column;
    planes_ = memory;
    if (kind_ == REPSR_NO_SKIP) std::fill_n(planes_, columns_, 0.0f);
    if (kind_ != REPSR_BILINEAR) return;
    rows_ = planes_ + int64_t{scale_} * scale_ * planes_words(columns_);
    column_ = rows_ + 3 * planes_words(columns_ + 2);
    next_row_ = std::max<int64_t>(unit.first_row - 1, 0);
}

void Skip::point(int64_t y, Target& target) {
    const int64_t stride = stride_of(columns_);
    target.skip = planes_;
    target.skip_colour = target.skip_dy = target.skip_dx = 0;
    if (kind_ == REPSR_NEAREST) {
        read_planes(kernels_, *picture_, y, left_, columns_, full_scale_, planes_, stride);
        target.skip_colour = stride;
    }
    if (kind_ == REPSR_BILINEAR) {
        for (; next_row_ <= std::min(y + 1, picture_->height - 1); ++next_row_) read_row(next_row_);
        enlarge_row(y);
        target.skip_dx = stride;
        target.skip_dy = scale_ * stride;
        target.skip_colour = scale_ * target.skip_dy;
    }
}

// With the pixel left and the one right of the unit; beyond the picture's border they are those at the border.
void Skip::read_row(int64_t y) {
    const int64_t stride = stride_of(columns_ + 2), end = left_ + columns_;
    const int64_t before = left_ > 0 ? 1 : 0, behind = end < picture_->width ? 1 : 0;
    float* planes = rows_ + y % 3 * planes_words(columns_ + 2);
    read_planes(kernels_, *picture_, y, left_ - before, before + columns_ + behind, full_scale_, planes + 1 - before,
                stride);
    for (int32_t c = 0; c < colours_; ++c, planes += stride) {
        if (!before) planes[0] = planes[1];
        if (!behind) planes[columns_ + 1] = planes[columns_];
    }
}

void Skip::enlarge_row(int64_t y) {
    const int64_t stride = stride_of(columns_ + 2);
    float* out = planes_;
    for (int32_t c = 0; c < colours_; ++c) {
        const auto plane = [&](int64_t row) {
            row = std::clamp<int64_t>(row, 0, picture_->height - 1);
            return rows_ + row % 3 * planes_words(columns_ + 2) + c * stride;
        };
        for (int32_t dy = 0; dy < scale_; ++dy) {
            const float down = offset_of(dy, scale_);
            mix(plane(y), plane(down < 0 ? y - 1 : y + 1), std::fabs(down), columns_ + 2, column_);
            for (int32_t dx = 0; dx < scale_; ++dx, out += stride_of(columns_)) {
                const float right = offset_of(dx, scale_);
                mix(column_ + 1, right < 0 ? column_ : column_ + 2, std::fabs(right), columns_, out);
            }
        }
    }
}

}  // namespace repsr::cpu
