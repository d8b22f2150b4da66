// What a value of the graph is while a network is recognised. Nothing is computed: the graph is followed on one small
// picture whose pixels carry only where they come from, so that every spelling of PixelShuffle or of an enlargement is
// the same to us.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "model.hpp"
#include "onnx.hpp"

namespace repsr::cpu {

// A tensor of the file, perhaps in another shape; with `steps` behind DequantizeLinear: steps[i] * (code - zeros[i])
// for element i of `axis`, or one for all.
struct Constant {
    const Tensor* tensor = nullptr;
    Dims dims;
    std::vector<float> steps;
    std::vector<int64_t> zeros;
    int64_t axis = 0;
};

constexpr int kMostNumbers = 64;

// A few numbers that nodes compute, as shapes are: integers below 2^53, or floats.
struct Numbers {
    Dims dims;
    std::vector<double> items;
    bool whole = true;
};

// Which element of the source each element is.
struct Origin {
    bool there = false;
    std::shared_ptr<const std::vector<int32_t>> index;  // null: element i is element i
    int32_t at(int64_t element) const { return index ? (*index)[element] : static_cast<int32_t>(element); }
};

enum class Coding { none, codes, rounded };  // codes: behind QuantizeLinear; rounded: behind DequantizeLinear, too

// A tensor of pixels of the picture (C x H x W), of what the layers so far make of it (the same of other C), or of sums
// of both.
struct Pixels {
    Dims dims;
    Origin picture, features;
    int stamp = 0;  // of features: how many steps were made up to here
    Type type = Type::float32;
    double factor = 1;  // 255: what is 0..1 in the picture is 0..255 here
    int bilinear = 0;  // the source is the picture enlarged bilinearly by it
    bool clamped = false, rounded = false;
    Coding coding = Coding::none;
    Quantization quantization;
};

using Value = std::variant<Constant, Numbers, Pixels>;

}  // namespace repsr::cpu
