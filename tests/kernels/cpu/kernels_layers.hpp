// Random rows and layers as kernels are given them, and what comes of them by plain loops.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.hpp"
#include "native_buffers.hpp"
#include "native_random.hpp"

namespace kernels_check {

using namespace repsr::cpu;
using native::Block;
using native::Random;

constexpr uint32_t kPoison = 0x7fc07fc0;  // NaN for floats and halves

inline int small(int64_t number) { return static_cast<int>(number); }

inline const char* name_of(Words words) {
    return words == Words::floats ? "floats" : words == Words::halves ? "halves" : "codes";
}

template <class To, class From>
To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline uint32_t half_of(float value) {
    const auto bits = bits_as<uint32_t>(value);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// One way to compute, of one instruction set.
struct Way {
    const Kernels* kernels;
    Words words;
    const Arithmetic* arithmetic;

    bool codes() const { return words == Words::codes; }
    float sum(float a, float b, float c) const {
        const bool fused = std::strcmp(kernels->name, "portable") != 0;
        return fused ? std::fmaf(a, b, c) : a * b + c;  // compiled without contraction
    }
    int bits_each() const { return 32 / arithmetic->group; }
    // Channel `index` of a word of a row or of weights.
    double channel(uint32_t word, int index, bool weight) const {
        if (words == Words::floats) return bits_as<float>(word);
        if (words == Words::halves) return bits_as<float>(word >> 16 * index << 16);
        const uint32_t code = word >> bits_each() * index;
        if (arithmetic->code_bits == 16) return static_cast<int16_t>(code);
        return arithmetic->offset != 0 && !weight ? static_cast<uint8_t>(code) : static_cast<int8_t>(code);
    }
    uint32_t random_word(Random& random, bool weight) const {
        if (words == Words::floats) return bits_as<uint32_t>(random.number(-2, 2));
        if (words == Words::halves) return half_of(random.number(-2, 2)) | half_of(random.number(-2, 2)) << 16;
        uint32_t word = 0;
        for (int k = 0; k < arithmetic->group; ++k) {
            const int64_t code = weight ? random.within(-127, 127) : random.within(-128, 127) + arithmetic->offset;
            word |= (static_cast<uint32_t>(code) & (bits_each() == 8 ? 0xffu : 0xffffu)) << bits_each() * k;
        }
        return word;
    }
};

// Rows [groups][stride] with slack, of which pixels -1 to `columns` are there.
struct Rows {
    int64_t columns, stride;
    std::vector<std::unique_ptr<Block>> blocks;
    Source source{};

    Rows(Random& random, const Way& way, int groups, int64_t width)
        : columns(width), stride(width + kSlack + random.within(0, 70)) {
        for (const uint32_t*& row : source.rows) {
            blocks.push_back(std::make_unique<Block>(random, words_in(groups) * 4, 4));
            auto* words = reinterpret_cast<uint32_t*>(blocks.back()->data());
            for (uint64_t k = 0; k < words_in(groups); ++k) words[k] = kPoison;
            row = words + kSlack;
            for (int group = 0; group < groups; ++group) {
                uint32_t* first = words + kSlack + group * stride;
                for (int64_t x = -1; x <= columns; ++x) first[x] = way.random_word(random, false);
            }
        }
        source.stride = stride;
    }
    uint64_t words_in(int groups) const { return static_cast<uint64_t>((groups - 1) * stride + columns + 2 * kSlack); }
};

struct RandomLayer {
    std::vector<uint32_t> weights;
    std::vector<float> bias, gain, slope;
    std::vector<int32_t> start;
    Packed packed{};
    int block;

    // Values of a random size: all the codes that they are rounded to occur.
    RandomLayer(Random& random, const Way& way, int groups, int outputs, int outputs_of_block)
        : block(outputs_of_block) {
        const auto count = static_cast<size_t>(outputs);
        for (size_t k = 0; k < count * 9 * static_cast<size_t>(groups); ++k) {
            weights.push_back(way.random_word(random, true));
        }
        const double size = std::pow(10.0, random.real(0, 3));
        bias = native::numbers(random, outputs, -size, size);
        slope = native::random_slopes(random, outputs);
        packed.weights = weights.data();
        packed.bias = bias.data();
        packed.slope = slope.empty() ? nullptr : slope.data();
        packed.groups = groups;
        packed.outputs = outputs;
        if (!way.codes()) return;
        gain = native::numbers(random, outputs, 1e-5 * size, 2e-5 * size);
        packed.gain = gain.data();
        for (size_t k = 0; k < count; ++k) start.push_back(static_cast<int32_t>(random.within(-1000000, 1000000)));
        packed.start = start.data();
    }
    uint32_t weight(int output, int tap, int group) const {
        const int at = ((output / block * 9 + tap) * packed.groups + group) * block + output % block;
        return weights[static_cast<size_t>(at)];
    }
    // The same with other blocks.
    RandomLayer blocked(int other, int outputs) const {
        RandomLayer layer = *this;
        layer.block = other;
        layer.weights.assign(static_cast<size_t>(outputs * 9 * packed.groups), 0);
        layer.bias.resize(static_cast<size_t>(outputs));
        if (!gain.empty()) layer.gain.resize(static_cast<size_t>(outputs));
        if (!slope.empty()) layer.slope.resize(static_cast<size_t>(outputs));
        if (!start.empty()) layer.start.resize(static_cast<size_t>(outputs));
        for (int o = 0; o < packed.outputs; ++o) {
            for (int tap = 0; tap < 9; ++tap) {
                for (int g = 0; g < packed.groups; ++g) {
                    const int at = ((o / other * 9 + tap) * packed.groups + g) * other + o % other;
                    layer.weights[static_cast<size_t>(at)] = weight(o, tap, g);
                }
            }
        }
        layer.packed.outputs = outputs;
        layer.packed.weights = layer.weights.data();
        layer.packed.bias = layer.bias.data();
        layer.packed.gain = gain.empty() ? nullptr : layer.gain.data();
        layer.packed.slope = slope.empty() ? nullptr : layer.slope.data();
        layer.packed.start = start.empty() ? nullptr : layer.start.data();
        return layer;
    }
};

struct Value {
    float value;
    double within;
};

// One output at one pixel, behind the activation.
inline Value value_of(const Way& way, const RandomLayer& layer, const Rows& rows, int output, int64_t x) {
    const auto at = static_cast<size_t>(output);
    float sum = layer.bias[at];
    double exact = layer.bias[at], size = std::fabs(exact);
    int64_t codes = layer.start.empty() ? 0 : layer.start[at];
    for (int tap = 0; tap < 9; ++tap) {
        for (int group = 0; group < layer.packed.groups; ++group) {
            const uint32_t pixel = rows.source.rows[tap / 3][group * rows.stride + x + tap % 3 - 1];
            const uint32_t weight = layer.weight(output, tap, group);
            for (int k = 0; k < way.arithmetic->group; ++k) {
                const double a = way.channel(pixel, k, false), b = way.channel(weight, k, true);
                if (way.codes()) codes += static_cast<int64_t>(a) * static_cast<int64_t>(b);
                else if (way.words == Words::floats) sum = way.sum(static_cast<float>(a), static_cast<float>(b), sum);
                exact += a * b;
                size += std::fabs(a * b);
            }
        }
    }
    if (way.codes()) sum = std::fmaf(static_cast<float>(codes), layer.gain[at], layer.bias[at]);
    if (way.words == Words::halves) sum = static_cast<float>(exact);
    const float slope = layer.slope.empty() ? 1.0f : layer.slope[at];
    const int terms = 9 * layer.packed.groups * way.arithmetic->group + 2;
    const double within = way.words == Words::halves ? terms * size * 0x1p-23 * std::fmax(1, std::fabs(slope)) : 0;
    return {std::signbit(sum) ? sum * slope : sum, within};
}

}  // namespace kernels_check
