#include "strip.hpp"

#include <algorithm>
#include <cstring>

namespace repsr::cpu {
namespace {

// Rows or columns that a stage has, of those of the picture.
struct Range {
    int64_t first, end;
};

Range around(int64_t first, int64_t end, int64_t reach, int64_t least, int64_t most) {
    return {std::max(least, first - reach), std::min(most, end + reach)};
}

}  // namespace

size_t Strip::words(const Program& program, int64_t columns, int64_t width) {
    const int64_t layers = program.layers();
    int64_t words = kSlack;
    for (int64_t i = 0; i < layers; ++i) {
        const int64_t all = std::min(columns + 2 * (layers - i), width);
        words += 3 * program.stages[static_cast<size_t>(i)].groups * stride_of(all);
    }
    words += program.colours * stride_of(std::min(columns + 2 * layers, width));
    words += program.features.layer.packed.outputs * stride_of(columns);
    const Skip skip(*program.kernels, program.skip, program.colours, program.scale);
    return static_cast<size_t>(words) + skip.words(columns);
}

Strip::Strip(const Program& program, size_t words)
    : program_(program), memory_(words), rings_(program.stages.size()),
      skip_(*program.kernels, program.skip, program.colours, program.scale) {}

Outcome Strip::run(const Picture& picture, const Result& result, const Unit& unit) noexcept {
    picture_ = &picture;
    result_ = &result;
    unit_ = unit;
    lay_out();
    const int64_t layers = program_.layers();
    for (int64_t step = rings_[0].first_row; step < unit.end_row + layers; ++step) {
        for (int64_t stage = 0; stage < layers; ++stage) {
            const Ring& ring = rings_[static_cast<size_t>(stage)];
            const int64_t y = step - stage;
            if (y < ring.first_row || y >= ring.end_row) continue;
            if (y < 0 || y == picture.height) {
                pad_row(stage, y);
            } else if (stage > 0) {
                make_row(stage, y);
            } else if (!read_picture(y)) {
                return Outcome::bad_picture;
            }
        }
        const int64_t y = step - layers;
        if (y < unit.first_row) continue;
        if (!(result.samples == REPSR_FEATURES ? make_features(y) : make_result(y))) return Outcome::bad_result;
    }
    return Outcome::done;
}

void Strip::lay_out() {
    const int64_t layers = program_.layers(), columns = unit_.end_column - unit_.first_column;
    uint32_t* next = memory_.data() + kSlack;
    const auto take = [&next](int64_t words) {
        uint32_t* taken = next;
        next += words;
        return taken;
    };
    for (int64_t i = 0; i < layers; ++i) {
        const Stage& stage = program_.stages[static_cast<size_t>(i)];
        const Range x = around(unit_.first_column, unit_.end_column, layers - i, 0, picture_->width);
        const Range y = around(unit_.first_row, unit_.end_row, layers - i, -1, picture_->height + 1);
        const int64_t stride = stride_of(x.end - x.first), groups = stage.groups;
        Ring& ring = rings_[static_cast<size_t>(i)];
        ring = {take(3 * groups * stride), stride, groups, x.first, x.end - x.first, y.first, y.end};
        if (x.first > 0) continue;
        for (int64_t row = 0; row < 3 * groups; ++row) ring.words[row * stride - 1] = stage.pad;
    }
    planes_ = reinterpret_cast<float*>(take(program_.colours * stride_of(rings_[0].columns)));
    scratch_ = take(program_.features.layer.packed.outputs * stride_of(columns));
    skip_.begin(*picture_, result_->full_scale(), unit_, reinterpret_cast<float*>(next));
}

void Strip::pad_row(int64_t stage, int64_t y) {
    const Ring& ring = rings_[static_cast<size_t>(stage)];
    uint32_t* words = ring.row(y);
    for (int64_t group = 0; group < ring.groups; ++group, words += ring.stride) {
        std::fill_n(words - 1, ring.columns + 2, program_.stages[static_cast<size_t>(stage)].pad);
    }
}

// Kernels write whole vectors: what stands right of the picture is written anew behind each of them.
void Strip::pad_right(int64_t stage, int64_t y) {
    const Ring& ring = rings_[static_cast<size_t>(stage)];
    if (ring.left + ring.columns < picture_->width) return;
    uint32_t* word = ring.row(y) + ring.columns;
    for (int64_t group = 0; group < ring.groups; ++group, word += ring.stride) {
        *word = program_.stages[static_cast<size_t>(stage)].pad;
    }
}

bool Strip::read_picture(int64_t y) {
    const Ring& ring = rings_[0];
    const Kernels& kernels = *program_.kernels;
    const Words words = program_.stages[0].words;
    uint32_t* row = ring.row(y);
    float* planes = words == Words::floats ? reinterpret_cast<float*>(row) : planes_;
    const int64_t stride = ring.stride;
    const bool finite = read_planes(kernels, *picture_, y, ring.left, ring.columns, 255, planes, stride);
    if (words == Words::halves) {
        kernels.halves_from_planes(planes, stride, ring.columns, program_.colours, row, stride);
    } else if (words == Words::codes) {
        const StoredCodes& codes = program_.picture_codes;
        kernels.codes_from_planes(planes, stride, ring.columns, program_.colours, program_.picture_factor, codes.zero,
                                  codes.low, codes.high, row, stride);
    }
    pad_right(0, y);
    return finite;
}

// The rows that a layer makes row y of, from column `left` of the picture on.
Source Strip::source(int64_t layer, int64_t y, int64_t left) const {
    const Ring& ring = rings_[static_cast<size_t>(layer)];
    const int64_t shift = left - ring.left;
    return {{ring.row(y - 1) + shift, ring.row(y) + shift, ring.row(y + 1) + shift}, ring.stride};
}

void Strip::make_row(int64_t stage, int64_t y) {
    const Ring& ring = rings_[static_cast<size_t>(stage)];
    const RowLayer& layer = program_.rows[static_cast<size_t>(stage - 1)];
    layer.make(layer.layer.packed, source(stage - 1, y, ring.left), ring.columns, ring.row(y), ring.stride);
    pad_right(stage, y);
}

bool Strip::make_result(int64_t y) {
    const int64_t row = (y - result_->first_row) * program_.scale, column = unit_.first_column * program_.scale;
    uint8_t* out = result_->data + row * result_->pitch;
    Target target{};
    target.gain = result_->full_scale();
    target.pitch = result_->pitch;
    target.plane = result_->plane;
    if (result_->samples == REPSR_BYTES) {
        target.clamps = true;
        target.bytes = out + column * program_.colours;
    } else {
        target.clamps = program_.clamps;
        target.floats = reinterpret_cast<float*>(out + column * int64_t{sizeof(float)});
    }
    skip_.point(y, target);
    return !program_.make_pixels(program_.pixels.packed, source(program_.layers() - 1, y, unit_.first_column),
                                 unit_.end_column - unit_.first_column, target);
}

bool Strip::make_features(int64_t y) {
    const int64_t columns = unit_.end_column - unit_.first_column, stride = stride_of(columns);
    const RowLayer& layer = program_.features;
    layer.make(layer.layer.packed, source(program_.layers() - 1, y, unit_.first_column), columns, scratch_, stride);
    const int64_t channels = int64_t{program_.colours} * program_.scale * program_.scale;
    uint8_t* row = result_->data + (y - result_->first_row) * result_->pitch;
    uint8_t* out = row + unit_.first_column * int64_t{sizeof(float)};
    bool finite = true;
    for (int64_t channel = 0; channel < channels; ++channel) {
        const uint32_t* words = scratch_ + channel * stride;
        finite &= all_finite(words, columns);
        std::memcpy(out + channel * result_->plane, words, static_cast<size_t>(columns) * sizeof(float));
    }
    return finite;
}

}  // namespace repsr::cpu
