// Every function of every instruction set that this processor has, on random layers and rows, against plain loops:
//     kernels_check SEED ROUNDS
// prints what is wrong, and what was checked.
//
// Floats and codes must be equal to the bit, on every instruction set; sums of halves lie within the bound of sums of
// as many products, and whatever is made of them must be equal to the bit. Slack words are NaN; memory beyond what may
// be touched cannot be, or is compared afterwards.

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels_layers.hpp"
#include "processor.hpp"

namespace {

using namespace repsr::cpu;
using namespace kernels_check;

constexpr uint8_t kUntouched = 0xa5;
int failures = 0;

__attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
    if (++failures > 20) return;
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::printf("\n");
}

// A value in a word of halves or codes.
uint32_t item_of(float value, const Arithmetic& reader, const Packed& layer) {
    if (reader.code_bits == 0) return half_of(value);
    const double code = std::nearbyint(static_cast<double>(value)) + layer.out_zero;
    const auto clamped = static_cast<int32_t>(std::fmin(std::fmax(code, layer.out_low), layer.out_high));
    return static_cast<uint32_t>(clamped) & ((1u << reader.code_bits) - 1);
}

// Output 0 becomes a sum a little below the middle of two floats, so little that double precision does not see it: it
// is rounded down, unless somebody takes it for the middle.
void plant_near_tie(RandomLayer& layer, const Rows& rows) {
    for (int tap = 0; tap < 9; ++tap) {
        for (int group = 0; group < layer.packed.groups; ++group) {
            layer.weights[static_cast<size_t>((tap * layer.packed.groups + group) * layer.block)] = 0;
        }
    }
    const auto centre = static_cast<size_t>(4 * layer.packed.groups * layer.block);
    layer.weights[centre] = bits_as<uint32_t>(0x1p-24f * (1 - 0x1p-15f));
    layer.bias[0] = 1 + 0x1p-23f;
    for (int64_t x = -1; x <= rows.columns; ++x) {
        const_cast<uint32_t*>(rows.source.rows[1])[x] = bits_as<uint32_t>(1 + 0x1p-15f);
    }
}

// Makes a row, and looks at what stands behind it.
std::vector<uint32_t> make_row(Random& random, const Way& way, Words out, const Packed& layer, const Rows& rows) {
    const Arithmetic* const reader = way.kernels->arithmetic[static_cast<int>(out)];
    const int groups = layer.outputs / reader->group;
    const int64_t stride = rows.columns + kSlack + random.within(0, 40);
    Block block(random, static_cast<uint64_t>((groups - 1) * stride + rows.columns + kSlack) * 4, 4);
    std::memset(block.data(), kUntouched, block.size());
    auto* words = reinterpret_cast<uint32_t*>(block.data());
    way.arithmetic->to[static_cast<int>(out)](layer, rows.source, rows.columns, words, stride);
    std::vector<uint32_t> made;
    for (int group = 0; group < groups; ++group) {
        made.insert(made.end(), words + group * stride, words + group * stride + rows.columns);
        if (group == groups - 1) break;
        for (int64_t x = rows.columns + kSlack; x < stride; ++x) {
            if (words[group * stride + x] != 0xa5a5a5a5) {
                fail("%s: wrote behind the slack of group %d", way.kernels->name, group);
            }
        }
    }
    return made;
}

void check_rows(Random& random, const Way& way) {
    const int groups = small(random.within(1, 16)), outputs = kOutputs * small(random.within(1, 8));
    Rows rows(random, way, groups, random.within(1, random.one_in(3) ? 200 : 40));
    RandomLayer layer(random, way, groups, outputs, way.arithmetic->block);
    if (way.words == Words::floats && random.one_in(4)) layer.bias[0] = random.one_in(2) ? 1e12f : -1e12f;
    if (way.words == Words::floats && random.one_in(4)) plant_near_tie(layer, rows);
    const int64_t columns = rows.columns;
    std::vector<float> values;  // as they were made: for halves they are not given to the bit
    for (const uint32_t word : make_row(random, way, Words::floats, layer.packed, rows)) {
        values.push_back(bits_as<float>(word));
    }
    for (int o = 0; o < outputs; ++o) {
        for (int64_t x = 0; x < columns; ++x) {
            const Value expected = value_of(way, layer, rows, o, x);
            const float made = values[static_cast<size_t>(o * columns + x)];
            const bool same = way.words == Words::halves ? std::fabs(double{made} - expected.value) <= expected.within
                                                         : bits_as<uint32_t>(made) == bits_as<uint32_t>(expected.value);
            if (!same) {
                fail("%s %s: output %d of %d, pixel %d of %d, %d groups: %.9g for %.9g", way.kernels->name,
                     name_of(way.words), o, outputs, small(x), small(columns), groups,
                     double{made}, double{expected.value});
            }
        }
    }
    for (const Words out : {Words::halves, Words::codes}) {
        const Arithmetic* const reader = way.kernels->arithmetic[static_cast<int>(out)];
        if (reader == nullptr) continue;
        const bool full = random.one_in(2);  // all codes of the type
        layer.packed.out_low = static_cast<int32_t>((full ? -128 : random.within(-128, -20)) + reader->offset);
        layer.packed.out_high = static_cast<int32_t>((full ? 127 : random.within(20, 127)) + reader->offset);
        layer.packed.out_zero = static_cast<int32_t>(random.within(layer.packed.out_low, layer.packed.out_high));
        const std::vector<uint32_t> words = make_row(random, way, out, layer.packed, rows);
        for (size_t at = 0; at < words.size(); ++at) {
            const int64_t group = static_cast<int64_t>(at) / columns, x = static_cast<int64_t>(at) % columns;
            uint32_t expected = 0;
            for (int k = 0; k < reader->group; ++k) {
                const int64_t channel = group * reader->group + k;
                const float value = values[static_cast<size_t>(channel * columns + x)];
                expected |= item_of(value, *reader, layer.packed) << 32 / reader->group * k;
            }
            if (words[at] != expected) {
                fail("%s %s to %s: group %d, pixel %d of %d: %08x for %08x", way.kernels->name, name_of(way.words),
                     name_of(out), small(group), small(x), small(columns), words[at], expected);
            }
        }
    }
}

void check_pixels(Random& random, const Way& way) {
    const int colours = random.one_in(2) ? 3 : 1, scale = small(random.within(1, 4));
    const int groups = small(random.within(1, 8)), outputs = colours * scale * scale;
    const int block = way.arithmetic->pixels_block[colours == 3][scale - 1];
    const int64_t columns = random.within(1, random.one_in(3) ? 260 : 70);
    Rows rows(random, way, groups, columns);
    RandomLayer layer(random, way, groups, outputs, block);
    if (outputs % block != 0) fail("%s: blocks of %d of %d outputs", way.kernels->name, block, outputs);
    // As a layer between, whose values are checked on their own.
    const int padded = (outputs + kOutputs - 1) / kOutputs * kOutputs;
    const RandomLayer other = layer.blocked(way.arithmetic->block, padded);
    const std::vector<uint32_t> sums = make_row(random, way, Words::floats, other.packed, rows);

    const bool bytes = random.one_in(2);
    Target target{};
    target.gain = bytes ? random.number(0.01, 1) : random.number(0.001, 0.01);
    target.clamps = random.one_in(2);
    const int kinds = small(random.within(0, 2));  // no skip, nearest, one for each pixel of the result
    const int skips = kinds == 0 ? 1 : kinds == 1 ? colours : outputs;
    Block skip(random, static_cast<uint64_t>(skips * columns) * 4, 4);
    auto* base = reinterpret_cast<float*>(skip.data());
    for (int64_t k = 0; k < skips * columns; ++k) base[k] = kinds == 0 ? 0.0f : random.number(0, bytes ? 255 : 1);
    const bool spoiled = random.one_in(8);
    if (spoiled) base[random.within(0, skips * columns - 1)] = random.one_in(2) ? NAN : -INFINITY;
    target.skip = base;
    target.skip_colour = kinds == 0 ? 0 : kinds == 1 ? columns : columns * scale * scale;
    target.skip_dy = kinds == 2 ? columns * scale : 0;
    target.skip_dx = kinds == 2 ? columns : 0;

    const int64_t line = columns * scale * (bytes ? colours : 4);
    target.pitch = line + (random.one_in(2) ? 0 : random.within(1, 99));
    target.plane = target.pitch * scale + (random.one_in(2) ? 0 : random.within(1, 99));
    const int64_t planes = bytes ? 0 : (colours - 1) * target.plane;
    Block out(random, static_cast<uint64_t>(line + (scale - 1) * target.pitch + planes), 1);
    std::memset(out.data(), kUntouched, out.size());
    if (bytes) target.bytes = out.data();
    else target.floats = reinterpret_cast<float*>(out.data());
    std::vector<uint8_t> expected(out.size(), kUntouched);
    for (int o = 0; o < outputs; ++o) {
        const int dy = o / (colours * scale), c = o / scale % colours, dx = o % scale;
        for (int64_t x = 0; x < columns; ++x) {
            const float sum = bits_as<float>(sums[static_cast<size_t>(o * columns + x)]);
            const float added = base[c * target.skip_colour + dy * target.skip_dy + dx * target.skip_dx + x];
            float value = std::fmaf(sum, target.gain, added);
            const int64_t pixel = x * scale + dx;
            if (bytes) {
                const float code = std::nearbyint(std::fmin(std::fmax(value, 0.0f), 255.0f));
                expected[static_cast<size_t>(dy * target.pitch + pixel * colours + c)] = static_cast<uint8_t>(code);
            } else {
                if (target.clamps) value = std::fmin(std::fmax(value, 0.0f), 1.0f);
                const int64_t at = c * target.plane + dy * target.pitch + pixel * 4;
                std::memcpy(&expected[static_cast<size_t>(at)], &value, 4);
            }
        }
    }
    const bool found = way.arithmetic->pixels[colours == 3][scale - 1](layer.packed, rows.source, columns, target);
    if (found != spoiled) fail("%s: NaN or not: %d for %d", way.kernels->name, found, spoiled);
    if (spoiled) return;
    for (size_t at = 0; at < expected.size(); ++at) {
        if (out.data()[at] != expected[at]) {
            fail("%s %s: %d colours x%d, %d columns, %s: byte %d of %d is %d for %d", way.kernels->name,
                 name_of(way.words), colours, scale, small(columns), bytes ? "bytes" : "floats",
                 static_cast<int>(at), static_cast<int>(expected.size()), out.data()[at], expected[at]);
            return;
        }
    }
}

void check_ways_in(Random& random, const Kernels& kernels) {
    const int colours = random.one_in(2) ? 3 : 1;
    const int64_t columns = random.within(1, 100), stride = columns + random.within(0, 9);
    Block bytes(random, static_cast<uint64_t>(columns * colours), 1);
    for (uint64_t k = 0; k < bytes.size(); ++k) bytes.data()[k] = static_cast<uint8_t>(random.bits());
    Block planes(random, static_cast<uint64_t>((colours - 1) * stride + columns) * 4, 4);
    std::memset(planes.data(), kUntouched, planes.size());
    auto* values = reinterpret_cast<float*>(planes.data());
    kernels.planes_from_bytes(bytes.data(), columns, colours, values, stride);
    for (int c = 0; c < colours; ++c) {
        for (int64_t x = 0; x < (c == colours - 1 ? columns : stride); ++x) {
            uint32_t expected = 0xa5a5a5a5;
            if (x < columns) expected = bits_as<uint32_t>(static_cast<float>(bytes.data()[x * colours + c]));
            if (bits_as<uint32_t>(values[c * stride + x]) != expected) fail("%s: planes_from_bytes", kernels.name);
        }
    }
    for (const Words out : {Words::halves, Words::codes}) {
        const Arithmetic* const reader = kernels.arithmetic[static_cast<int>(out)];
        if (reader == nullptr) continue;
        for (uint64_t k = 0; k < planes.size() / 4; ++k) values[k] = random.number(-10, 300);
        const int groups = (colours + reader->group - 1) / reader->group;
        const int64_t words_stride = columns + kSlack;
        Block block(random, static_cast<uint64_t>(groups * words_stride) * 4, 4);
        auto* words = reinterpret_cast<uint32_t*>(block.data());
        Packed rounding{};
        rounding.out_low = static_cast<int32_t>(random.within(-128, -20) + reader->offset);
        rounding.out_high = static_cast<int32_t>(random.within(20, 127) + reader->offset);
        rounding.out_zero = static_cast<int32_t>(random.within(rounding.out_low, rounding.out_high));
        const float factor = random.number(0.1, 1);
        if (out == Words::halves) {
            kernels.halves_from_planes(values, stride, columns, colours, words, words_stride);
        } else {
            kernels.codes_from_planes(values, stride, columns, colours, factor, rounding.out_zero, rounding.out_low,
                                      rounding.out_high, words, words_stride);
        }
        for (int group = 0; group < groups; ++group) {
            for (int64_t x = 0; x < columns; ++x) {
                uint32_t expected = 0;
                for (int k = 0; k < reader->group; ++k) {
                    const int c = group * reader->group + k;
                    float value = c < colours ? values[c * stride + x] : 0.0f;
                    if (out == Words::codes) value *= factor;
                    expected |= item_of(value, *reader, rounding) << 32 / reader->group * k;
                }
                const uint32_t made = words[group * words_stride + x];
                if (made == expected) continue;
                fail("%s: %s from planes: %08x for %08x", kernels.name, name_of(out), made, expected);
            }
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return 2;
    const int rounds = std::atoi(arguments[2]);
    for (const InstructionSet& set : instruction_sets()) {
        if (set.kernels == nullptr) continue;
        Random random(std::strtoull(arguments[1], nullptr, 10));
        std::printf("%s:", set.name);
        if (std::strcmp(set.name, set.kernels->name) != 0) fail("it calls itself %s", set.kernels->name);
        for (int words = 0; words < 3; ++words) {
            const Way way{set.kernels, static_cast<Words>(words), set.kernels->arithmetic[words]};
            if (way.arithmetic == nullptr) continue;
            std::printf(" %s", name_of(way.words));
            for (int round = 0; round < rounds; ++round) {
                check_rows(random, way);
                check_pixels(random, way);
                check_pixels(random, way);
            }
            if (way.arithmetic->spin(10) <= 0) fail("%s: spin does nothing", set.name);
        }
        for (int round = 0; round < rounds; ++round) check_ways_in(random, *set.kernels);
        std::printf("\n");
    }
    if (failures > 0) std::printf("%d wrong\n", failures);
    return failures > 0;
}
