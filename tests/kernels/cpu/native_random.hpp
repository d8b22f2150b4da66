// Random plain networks: the same ones from a seed on every processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "model.hpp"

namespace native {

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t bits() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    int64_t within(int64_t low, int64_t high) {  // both included
        return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
    }
    double real(double low, double high) { return low + (high - low) * 0x1p-53 * static_cast<double>(bits() >> 11); }
    float number(double low, double high) { return static_cast<float>(real(low, high)); }
    bool one_in(int64_t count) { return within(1, count) == 1; }
    template <class T>
    T among(std::initializer_list<T> values) {
        return values.begin()[within(0, static_cast<int64_t>(values.size()) - 1)];
    }

private:
    uint64_t state_;
};

inline std::vector<float> numbers(Random& random, int64_t count, double low, double high) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = random.number(low, high);
    return values;
}

// Slopes of PReLU, ReLU, LeakyReLU or none. Above 1 and below 0 too: nobody keeps training from that.
inline std::vector<float> random_slopes(Random& random, int outputs) {
    switch (random.within(0, 5)) {
        case 0: return {};
        case 1: return std::vector<float>(static_cast<size_t>(outputs), 0.0f);
        case 2: return std::vector<float>(static_cast<size_t>(outputs), random.number(0.01, 0.3));
        case 3: return numbers(random, outputs, -0.5, 1.5);
        default: return numbers(random, outputs, 0, 0.5);
    }
}

// Weights that keep the size of what goes through them, about.
inline repsr::cpu::Layer random_layer(Random& random, int inputs, int outputs, bool quantized, bool last) {
    repsr::cpu::Layer layer;
    layer.inputs = inputs;
    layer.outputs = outputs;
    layer.quantized = quantized;
    layer.bias = numbers(random, outputs, -0.2, 0.2);
    if (!last) layer.slope = random_slopes(random, outputs);
    const double reach = (last ? 0.7 : 1.7) / std::sqrt(9.0 * inputs);
    const int64_t weights = int64_t{9} * inputs * outputs;
    if (!quantized) {
        layer.kernel = numbers(random, weights, -reach, reach);
        return layer;
    }
    const bool is_signed = !random.one_in(3);
    layer.input.low = is_signed ? -128 : 0;
    layer.input.high = layer.input.low + 255;
    const bool centred = is_signed && random.one_in(2);
    layer.input.zero = centred ? 0 : static_cast<int32_t>(random.within(layer.input.low, layer.input.high));
    layer.input.step = random.number(0.004, 0.03);
    layer.codes.resize(static_cast<size_t>(weights));
    const int64_t limit = random.one_in(8) ? 128 : 127;
    for (int8_t& code : layer.codes) code = static_cast<int8_t>(std::min<int64_t>(random.within(-limit, 127), 127));
    layer.steps = numbers(random, outputs, 0.5 * reach / 127, 1.2 * reach / 127);
    return layer;
}

inline int random_channels(Random& random) {
    if (random.one_in(2)) return random.among({16, 16, 24, 32});
    if (random.one_in(6)) return random.among({40, 48, 63, 64});
    return static_cast<int>(random.within(4, 34));
}

inline repsr::cpu::Model random_model(Random& random) {
    repsr::cpu::Model model;
    model.colours = random.one_in(4) ? 1 : 3;
    model.scale = random.one_in(2) ? 2 : static_cast<int>(random.within(1, 4));
    model.io = random.among({REPSR_IO_FLOAT, REPSR_IO_FLOAT, REPSR_IO_IMAGE, REPSR_IO_FEATURES});
    if (model.io != REPSR_IO_FEATURES) {
        model.skip = random.among({REPSR_NO_SKIP, REPSR_NEAREST, REPSR_NEAREST, REPSR_BILINEAR});
        model.clamps = model.io == REPSR_IO_IMAGE || !random.one_in(3);
    }
    const int64_t layers = random.one_in(8) ? 1 : random.within(2, 6);
    const bool uneven = random.one_in(4), codes = random.one_in(2);
    const int64_t all_but = random.one_in(3) ? 3 : 1000;  // one layer in so many is left in float
    int inputs = model.colours, width = random_channels(random);
    for (int64_t index = 0; index < layers; ++index) {
        const bool last = index + 1 == layers;
        if (uneven) width = random_channels(random);
        const int outputs = last ? model.colours * model.scale * model.scale : width;
        const bool quantized = codes && !random.one_in(index == 0 ? 2 : all_but);
        model.layers.push_back(random_layer(random, inputs, outputs, quantized, last));
        inputs = outputs;
    }
    const char* io = model.io == REPSR_IO_FLOAT ? "float" : model.io == REPSR_IO_IMAGE ? "image" : "features";
    model.properties = {{"repsr.scale", std::to_string(model.scale)}, {"repsr.io", std::string("\"") + io + '"'}};
    return model;
}

}  // namespace native
