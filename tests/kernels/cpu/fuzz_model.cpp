// What any bytes do to the reader of models, and what it makes of them to the engine.
//
// With -fsanitize=fuzzer this is a libFuzzer target. With -DREPSR_STANDALONE it is a program that reads files (of
// AFL++, or what was found before): `fuzz_model FILE...`, or standard input without any; `fuzz_model --mutate COUNT SEED FILE...`
// reads COUNT files that are made of those at random. With -DREPSR_READER_ONLY nothing but the reader is needed.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "errors.hpp"
#include "model.hpp"
#include "repsr_engine.h"

namespace {

constexpr size_t kLongestMessage = 400;
constexpr int64_t kMostMacs = 100'000;  // of a pixel, for a network to be run: they all are alike

#define EXPECT(condition)                                                                \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                \
        }                                                                                \
    } while (false)

void expect_finite(const std::vector<float>& numbers) {
    for (const float number : numbers) EXPECT(std::isfinite(number));
}

void expect_steps(const std::vector<float>& steps) {
    for (const float step : steps) EXPECT(std::isnormal(step) && step > 0);
}

void expect_layer(const repsr::cpu::Layer& layer) {
    const auto outputs = static_cast<size_t>(layer.outputs), weights = 9 * outputs * static_cast<size_t>(layer.inputs);
    EXPECT(layer.inputs >= 1 && layer.inputs <= repsr::cpu::kMostChannels);
    EXPECT(layer.outputs >= 1 && layer.outputs <= repsr::cpu::kMostChannels);
    EXPECT(layer.kernel.size() == (layer.quantized ? 0 : weights) &&
           layer.codes.size() == (layer.quantized ? weights : 0));
    EXPECT(layer.bias.size() == outputs && (layer.slope.empty() || layer.slope.size() == outputs));
    EXPECT(layer.steps.size() == (layer.quantized ? outputs : 0));
    expect_finite(layer.kernel);
    expect_finite(layer.bias);
    expect_finite(layer.slope);
    expect_steps(layer.steps);
    if (!layer.quantized) return;
    expect_steps({layer.input.step});
    EXPECT(layer.input.low == -128 ? layer.input.high == 127 : layer.input.low == 0 && layer.input.high == 255);
    EXPECT(layer.input.zero >= layer.input.low && layer.input.zero <= layer.input.high);
}

// What model.hpp says of every model.
void expect_model(const repsr::cpu::Model& model, size_t file_bytes) {
    EXPECT((model.colours == 1 || model.colours == 3) && model.scale >= 1 && model.scale <= 4);
    EXPECT(!model.layers.empty() && model.layers.size() <= repsr::cpu::kMostLayers);
    int channels = model.colours;
    size_t weights = 0;
    for (const auto& layer : model.layers) {
        EXPECT(layer.inputs == channels);
        expect_layer(layer);
        channels = layer.outputs;
        weights += layer.kernel.size() + layer.codes.size();
    }
    EXPECT(channels == model.colours * model.scale * model.scale && model.layers.back().slope.empty());
    EXPECT(weights <= 9 * file_bytes);
    EXPECT(model.io != REPSR_IO_FEATURES || model.skip == REPSR_NO_SKIP);
    for (const auto& [key, value] : model.properties) {
        EXPECT(key.find('\0') == std::string::npos && value.find('\0') == std::string::npos);
    }
}

void expect_message(const repsr::cpu::Error& error) {
    const std::string text = error.what();
    EXPECT(error.status() == REPSR_BAD_MODEL || error.status() == REPSR_NOT_PLAIN);
    EXPECT(text.size() > 20 && text.size() < kLongestMessage);
    EXPECT(text.find("repsr-fuse export") != std::string::npos);
    EXPECT(std::all_of(text.begin(), text.end(), [](char letter) { return letter >= ' ' && letter <= '~'; }));
}

#ifndef REPSR_READER_ONLY
void run(const repsr_network* network, const repsr_description& description) {
    constexpr int64_t kHeight = 3, kWidth = 5;
    const int64_t scale = description.scale, pitch = kWidth * description.colours;
    std::vector<uint8_t> image(kHeight * pitch);
    for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<uint8_t>(37 * i);
    std::vector<uint8_t> out(scale * kHeight * scale * pitch);
    repsr_job job{};
    job.height = job.end_row = kHeight;
    job.width = kWidth;
    job.image = image.data();
    job.image_bytes = image.size();
    job.image_pitch = pitch;
    job.out = out.data();
    job.out_bytes = out.size();
    job.out_pitch = scale * pitch;
    job.threads = 1;
    const repsr_status status = repsr_run(network, &job, nullptr);
    EXPECT(status == REPSR_OK || status == REPSR_NOT_FINITE || status == REPSR_BAD_ARGUMENT);
}

void use(const repsr_model* model) {
    repsr_description description;
    repsr_model_describe(model, &description);
    for (const repsr_precision precision : {REPSR_FP32, REPSR_BF16, REPSR_INT8}) {
        repsr_network* network = nullptr;
        const repsr_status status = repsr_network_make(model, precision, "portable", &network, nullptr);
        EXPECT(status == REPSR_OK || status == REPSR_UNSUPPORTED);
        if (network && description.macs_per_pixel <= kMostMacs) run(network, description);
        repsr_network_free(network);
    }
}
#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        expect_model(repsr::cpu::read_model(data, size), size);
    } catch (const repsr::cpu::Error& error) {
        expect_message(error);
        return 0;
    }
#ifndef REPSR_READER_ONLY
    repsr_model* model = nullptr;
    EXPECT(repsr_model_read(data, size, &model, nullptr) == REPSR_OK);
    use(model);
    repsr_model_free(model);
#endif
    return 0;
}

#ifdef REPSR_STANDALONE
namespace {

using Content = std::vector<uint8_t>;

Content content_of(std::istream& stream) { return {std::istreambuf_iterator<char>(stream), {}}; }

// One of the changes that break files: bits, bytes, cuts, pieces that are repeated, removed or of another file.
void mutate(Content& content, const Content& other, std::mt19937_64& random) {
    const auto below = [&](size_t count) { return static_cast<size_t>(random() % (count + 1)); };
    if (content.empty()) return;
    const size_t at = random() % content.size(), run = std::min(content.size() - at, below(16));
    const auto from = content.begin() + static_cast<std::ptrdiff_t>(at), to = from + static_cast<std::ptrdiff_t>(run);
    switch (random() % 6) {
        case 0: content[at] ^= static_cast<uint8_t>(1 << random() % 8); break;
        case 1: content[at] = static_cast<uint8_t>(random() % 2 ? random() : 0xff * (random() % 2)); break;
        case 2: content.resize(random() % 8 ? content.size() : at); break;
        case 3: content.erase(from, to); break;
        case 4: {
            const Content piece(from, to);
            content.insert(from, piece.begin(), piece.end());
            break;
        }
        default:
            for (size_t i = 0; i < run && i < other.size(); ++i) content[at + i] = other[(at + i) % other.size()];
    }
}

void read_mutated(const std::vector<Content>& files, uint64_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (uint64_t i = 0; i < count && !files.empty(); ++i) {
        Content content = files[random() % files.size()];
        for (uint64_t changes = 1 + random() % 4; changes > 0; --changes)
            mutate(content, files[random() % files.size()], random);
        LLVMFuzzerTestOneInput(content.data(), content.size());
    }
}

}  // namespace

int main(int count, char** arguments) {
    const bool mutates = count > 3 && !std::strcmp(arguments[1], "--mutate");
    std::vector<Content> files;
    for (int i = mutates ? 4 : 1; i < count; ++i) {
        std::ifstream stream(arguments[i], std::ios::binary);
        if (!stream) return std::fprintf(stderr, "cannot read %s\n", arguments[i]), 2;
        files.push_back(content_of(stream));
    }
    if (count == 1) files.push_back(content_of(std::cin));
    for (const Content& file : files) LLVMFuzzerTestOneInput(file.data(), file.size());
    if (mutates)
        read_mutated(files, std::strtoull(arguments[2], nullptr, 10), std::strtoull(arguments[3], nullptr, 10));
    return 0;
}
#endif
