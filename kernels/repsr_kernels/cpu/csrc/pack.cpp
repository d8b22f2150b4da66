#include "pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "errors.hpp"

namespace repsr::cpu {
namespace {

constexpr int kNobody = -1;                       // an output that is padding
constexpr double kMostCode = double{1 << 30};     // what is rounded to a code stays below, far inside of int32

uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Rounded half to even. A number beyond the largest of bf16 becomes infinite.
uint32_t half_of(float value) {
    const uint32_t bits = bits_of(value);
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// Codes of `width` bits side by side, the first one in the lowest bits.
uint32_t code_at(int32_t code, int32_t width, int32_t position) {
    const uint32_t mask = (uint32_t{1} << width) - 1;
    return (static_cast<uint32_t>(code) & mask) << (width * position);
}

float finite(double value) {
    if (!(std::fabs(value) <= double{std::numeric_limits<float>::max()})) {
        throw Error(REPSR_UNSUPPORTED,
                    "weights of the model over the steps of its codes are beyond single precision; calibrate it anew");
    }
    return static_cast<float>(value);
}

// What sums of codes of one output lie between, whole ones and those of a part of the products.
struct Reach {
    int64_t least = 0, most = 0;
};

Reach reach_of(const int8_t* codes, size_t count, const StoredCodes& stored) {
    Reach reach;
    for (size_t i = 0; i < count; ++i) {
        const int64_t low = int64_t{codes[i]} * stored.low, high = int64_t{codes[i]} * stored.high;
        reach.least += std::min({low, high, int64_t{0}});
        reach.most += std::max({low, high, int64_t{0}});
    }
    return reach;
}

void pack_weights(PackedLayer& result, const Layer& layer, const Place& place, const std::vector<int>& order, int block,
                  double scale) {
    const size_t groups = static_cast<size_t>(place.groups), blocks = order.size() / static_cast<size_t>(block);
    result.weights = Aligned<uint32_t>(blocks * kTaps * groups * static_cast<size_t>(block));
    const int group = place.arithmetic->group, bits = place.arithmetic->code_bits;
    uint32_t* word = result.weights.data();
    for (size_t b = 0; b < blocks; ++b) {
        for (int tap = 0; tap < kTaps; ++tap) {
            for (int g = 0; g < place.groups; ++g) {
                for (int k = 0; k < block; ++k, ++word) {
                    const int output = order[b * static_cast<size_t>(block) + static_cast<size_t>(k)];
                    for (int i = 0; i < group && g * group + i < layer.inputs && output != kNobody; ++i) {
                        const size_t at = static_cast<size_t>((output * layer.inputs + g * group + i) * kTaps + tap);
                        switch (place.input) {
                        case Words::floats: *word = bits_of(finite(layer.kernel[at] * scale)); break;
                        case Words::halves: *word |= half_of(finite(layer.kernel[at] * scale)) << (16 * i); break;
                        case Words::codes: *word |= code_at(layer.codes[at], bits, i); break;
                        }
                    }
                }
            }
        }
    }
}

// What makes values of the sums of codes of one output.
void pack_codes(PackedLayer& result, const Layer& layer, const Place& place, int output, size_t at, double unit) {
    const StoredCodes stored(layer.input, *place.arithmetic);
    const size_t count = static_cast<size_t>(layer.inputs) * kTaps;
    const int8_t* codes = layer.codes.data() + static_cast<size_t>(output) * count;
    int64_t sum = 0;
    for (size_t i = 0; i < count; ++i) sum += codes[i];
    const int64_t start = -sum * stored.zero;
    const Reach reach = reach_of(codes, count, stored);
    const int64_t furthest = std::abs(start) + std::max(-reach.least, reach.most);
    if (furthest > std::numeric_limits<int32_t>::max()) {
        throw Error(REPSR_UNSUPPORTED, "the sums of a layer of codes can leave 32 bits: it has too many inputs");
    }
    const double gain = double{layer.input.step} * layer.steps[static_cast<size_t>(output)] / unit;
    result.gain[at] = finite(gain);
    result.start[at] = static_cast<int32_t>(start);
    const double bias = result.bias[at], slope = layer.slope.empty() ? 1 : layer.slope[static_cast<size_t>(output)];
    const double least = gain * static_cast<double>(reach.least + start) + bias;
    const double most = gain * static_cast<double>(reach.most + start) + bias;
    const double largest = std::max(std::fabs(least), std::fabs(most)) * std::max(1.0, std::fabs(slope));
    if (place.codes && largest >= kMostCode) {
        throw Error(REPSR_UNSUPPORTED,
                    "a layer of codes gives values beyond 2^30 steps of the next layer's codes; calibrate it anew");
    }
}

// `order`: the output of the layer at each place, whole blocks; `outputs`: how many of them the kernel makes.
PackedLayer pack(const Layer& layer, const Place& place, const std::vector<int>& order, int32_t outputs, int block) {
    const double unit = place.codes ? double{place.codes->step} : 1;
    const bool codes = place.input == Words::codes;
    PackedLayer result;
    pack_weights(result, layer, place, order, block, (place.first ? 1 / 255.0 : 1) / unit);
    result.bias.resize(order.size());
    result.gain.resize(codes ? order.size() : 0);
    result.start.resize(codes ? order.size() : 0);
    result.slope.resize(layer.slope.empty() ? 0 : order.size());
    for (size_t at = 0; at < order.size(); ++at) {
        if (order[at] == kNobody) continue;
        const size_t output = static_cast<size_t>(order[at]);
        result.bias[at] = finite(layer.bias[output] / unit);
        if (!layer.slope.empty()) result.slope[at] = layer.slope[output];
        if (codes) pack_codes(result, layer, place, order[at], at, unit);
    }
    Packed& packed = result.packed;
    packed.weights = result.weights.data();
    packed.bias = result.bias.data();
    packed.gain = codes ? result.gain.data() : nullptr;
    packed.slope = layer.slope.empty() ? nullptr : result.slope.data();
    packed.start = codes ? result.start.data() : nullptr;
    packed.groups = place.groups;
    packed.outputs = outputs;
    if (place.codes) {
        const StoredCodes stored(*place.codes, *place.codes_arithmetic);
        packed.out_zero = stored.zero;
        packed.out_low = stored.low;
        packed.out_high = stored.high;
    }
    return result;
}

}  // namespace

StoredCodes::StoredCodes(const Quantization& codes, const Arithmetic& arithmetic) {
    const int32_t shift = arithmetic.offset - (codes.low < 0 ? 0 : 128);
    zero = codes.zero + shift;
    low = codes.low + shift;
    high = codes.high + shift;
    for (int32_t i = 0; i < arithmetic.group; ++i) pad |= code_at(zero, arithmetic.code_bits, i);
}

float picture_factor_of(const Quantization& codes) {
    const double factor = 1 / (255.0 * codes.step);
    if (255 * factor >= kMostCode) {
        throw Error(REPSR_UNSUPPORTED,
                    "the first layer's step is below 2^-30: white would be beyond every code; calibrate it anew");
    }
    return static_cast<float>(factor);
}

PackedLayer pack_row_layer(const Layer& layer, const Place& place) {
    std::vector<int> order(static_cast<size_t>(padded_outputs(layer.outputs)), kNobody);
    for (int output = 0; output < layer.outputs; ++output) order[static_cast<size_t>(output)] = output;
    return pack(layer, place, order, static_cast<int32_t>(order.size()), place.arithmetic->block);
}

PackedLayer pack_pixels_layer(const Layer& layer, const Place& place, int colours, int scale) {
    std::vector<int> order;
    for (int dy = 0; dy < scale; ++dy) {
        for (int colour = 0; colour < colours; ++colour) {
            for (int dx = 0; dx < scale; ++dx) order.push_back((colour * scale + dy) * scale + dx);
        }
    }
    return pack(layer, place, order, layer.outputs, place.arithmetic->pixels_block[colours == 3][scale - 1]);
}

}  // namespace repsr::cpu
