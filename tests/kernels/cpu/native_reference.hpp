// What a network gives, in double precision, and how far an engine may be from it.
//
// Every value goes with an error: numbers that are rounded on purpose (to bf16, or to codes) are so here too, and where
// an error reaches across the border between two of them, the distance of those two is the error from there on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "native_jobs.hpp"
#include "native_random.hpp"

namespace native {

constexpr double kUlp = 0x1p-23;  // twice what a rounded fp32 operation is off, relatively: bfdot of Arm rounds to odd

// Values of C x H x W and bounds of their errors.
struct Field {
    int64_t channels, height, width;
    std::vector<double> values, errors;
    Field(int64_t c, int64_t h, int64_t w) : channels(c), height(h), width(w) {
        values.resize(static_cast<size_t>(c * h * w));
        errors.resize(values.size());
    }
    size_t at(int64_t c, int64_t y, int64_t x) const { return static_cast<size_t>((c * height + y) * width + x); }
};

// bf16: 8 bits of significand, half to even.
inline double to_half(double value) {
    auto single = static_cast<float>(value);
    uint32_t bits;
    std::memcpy(&bits, &single, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    std::memcpy(&single, &bits, sizeof single);
    return single;
}

// A value within `error` of the true one, rounded: the error becomes 0, or a step, seldom more.
template <class Round>
void round_within(double& value, double& error, Round round) {
    const double rounded = round(value);
    error = std::max(std::abs(round(value + error) - rounded), std::abs(round(value - error) - rounded));
    value = rounded;
}

struct Weights {
    std::vector<double> values, errors;
};

// `divisor` 255 where the layer reads the picture, whose values are 0..255.
inline Weights weights_of(const repsr::cpu::Layer& layer, double divisor, bool halves) {
    Weights weights;
    const size_t per_output = static_cast<size_t>(9 * layer.inputs);
    for (size_t i = 0; i < per_output * static_cast<size_t>(layer.outputs); ++i) {
        double value = layer.quantized ? layer.codes[i] * double{layer.steps[i / per_output]} : layer.kernel[i];
        value /= divisor;
        double error = kUlp * std::abs(value);  // steps of codes go into the weights
        if (halves) round_within(value, error, to_half);
        weights.values.push_back(value);
        weights.errors.push_back(error);
    }
    return weights;
}

enum class Sum { floats, halves, codes };

// The convolution, its bias and what stands behind it. Errors of rounding come from the sizes of products and sums.
inline Field layer_of(const Field& in, const repsr::cpu::Layer& layer, const Weights& weights, Sum sum) {
    Field out(layer.outputs, in.height, in.width);
    for (int64_t o = 0; o < layer.outputs; ++o) {
        const size_t first = static_cast<size_t>(o * layer.inputs * 9);
        const double bias = layer.bias[static_cast<size_t>(o)];
        for (int64_t y = 0; y < in.height; ++y) {
            for (int64_t x = 0; x < in.width; ++x) {
                double value = bias, error = 0, roundings = std::abs(bias);
                for (int64_t tap = 0; tap < 9; ++tap) {
                    const int64_t row = y + tap / 3 - 1, column = x + tap % 3 - 1;
                    if (row < 0 || row >= in.height || column < 0 || column >= in.width) continue;
                    for (int64_t i = 0; i < layer.inputs; ++i) {
                        const size_t w = first + static_cast<size_t>(i * 9 + tap), p = in.at(i, row, column);
                        const double weight = weights.values[w], input = in.values[p], product = weight * input;
                        value += product;
                        error += std::abs(weight) * in.errors[p];
                        error += weights.errors[w] * (std::abs(input) + in.errors[p]);
                        roundings += std::abs(value) + std::abs(product);  // of both where they are not fused
                    }
                }
                // codes are summed exactly; then come few operations in float
                error += kUlp * (sum == Sum::codes ? 4 * (std::abs(value) + std::abs(bias)) : roundings);
                if (!layer.slope.empty()) {
                    const double slope = layer.slope[static_cast<size_t>(o)];
                    error *= std::max(1.0, std::abs(slope));
                    if (value < 0) value *= slope;
                    error += kUlp * std::abs(value);
                }
                const size_t place = out.at(o, y, x);
                out.values[place] = value;
                out.errors[place] = error + 1e-30;
            }
        }
    }
    return out;
}

inline void quantize(Field& field, const repsr::cpu::Quantization& q, double divisor) {
    const double step = double{q.step} * divisor;
    const auto round = [&](double value) {
        const double code = std::nearbyint(value / step) + q.zero;
        return step * (std::min<double>(std::max<double>(code, q.low), q.high) - q.zero);
    };
    for (size_t i = 0; i < field.values.size(); ++i) {
        field.errors[i] += 4 * kUlp * std::abs(field.values[i]);
        round_within(field.values[i], field.errors[i], round);
    }
}

// What the last convolution gives. The picture is 0..255 inside, so that bf16 holds bytes exactly.
// `floats`: how layers that are not made of codes are summed; `codes`: whether the others are.
inline Field features_of(const repsr::cpu::Model& model, const Picture& picture, Sum floats, bool codes) {
    Field field(picture.channels, picture.height, picture.width);
    for (int64_t c = 0; c < field.channels; ++c) {
        for (int64_t y = 0; y < field.height; ++y) {
            for (int64_t x = 0; x < field.width; ++x) {
                field.values[field.at(c, y, x)] = picture.real(c, y, x) * (picture.bytes ? 1.0f : 255.0f);
            }
        }
    }
    double divisor = 255;
    for (const repsr::cpu::Layer& layer : model.layers) {
        const Sum sum = codes && layer.quantized ? Sum::codes : floats;
        if (sum == Sum::codes) quantize(field, layer.input, divisor);
        if (sum == Sum::halves) {
            for (size_t i = 0; i < field.values.size(); ++i) round_within(field.values[i], field.errors[i], to_half);
        }
        field = layer_of(field, layer, weights_of(layer, divisor, sum == Sum::halves), sum);
        divisor = 1;
    }
    return field;
}

// The enlarged picture that is added, 0..1, at a pixel of the result.
inline double skip_of(const repsr::cpu::Model& model, const Picture& picture, int64_t channel, int64_t row,
                      int64_t column) {
    const double peak = picture.bytes ? 255 : 1;
    if (model.skip == REPSR_NO_SKIP) return 0;
    if (model.skip == REPSR_NEAREST) return picture.real(channel, row / model.scale, column / model.scale) / peak;
    const auto source = [&](int64_t place, int64_t size) {
        const double centre = (static_cast<double>(place) + 0.5) / model.scale - 0.5;
        return std::clamp(centre, 0.0, static_cast<double>(size - 1));
    };
    const double y = source(row, picture.height), x = source(column, picture.width);
    const auto y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
    const int64_t y1 = std::min(y0 + 1, picture.height - 1), x1 = std::min(x0 + 1, picture.width - 1);
    const double dy = y - static_cast<double>(y0), dx = x - static_cast<double>(x0);
    const double upper = (1 - dx) * picture.real(channel, y0, x0) + dx * picture.real(channel, y0, x1);
    const double lower = (1 - dx) * picture.real(channel, y1, x0) + dx * picture.real(channel, y1, x1);
    return ((1 - dy) * upper + dy * lower) / peak;
}

// The largest share of its bound by which a sample of the result is off; above 1 it is wrong.
inline double distance(const repsr::cpu::Model& model, const Picture& picture, const Field& features, repsr_samples out,
                       const Picture& result) {
    const int64_t s = out == REPSR_FEATURES ? 1 : model.scale;
    const double peak = out == REPSR_BYTES ? 255 : 1;
    double most = 0;
    for (int64_t c = 0; c < result.channels; ++c) {
        for (int64_t y = 0; y < result.height; ++y) {
            for (int64_t x = 0; x < result.width; ++x) {
                const size_t place = features.at((c * s + y % s) * s + x % s, y / s, x / s);
                double value = features.values[place], size = std::abs(value);
                if (out != REPSR_FEATURES) {
                    const double skip = skip_of(model, picture, c, y, x);
                    value += skip;
                    size += std::abs(skip);
                    if (model.clamps || out == REPSR_BYTES) value = std::clamp(value, 0.0, 1.0);
                }
                const double bound = peak * (features.errors[place] + 4 * kUlp * size);
                const double rounding = out == REPSR_BYTES ? 0.5 : 0;
                const double off = std::abs(result.real(c, y, x) - peak * value);
                most = std::max(most, (off - rounding) / bound);
                if (std::isnan(off)) return off;
            }
        }
    }
    return most;
}

}  // namespace native
