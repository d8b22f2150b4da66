// Files of models with a few bytes changed, or cut off.
#pragma once

#include <memory>
#include <vector>

#include "native_jobs.hpp"
#include "native_onnx.hpp"

namespace native {

inline Bytes damaged(Random& random, Bytes file) {
    const auto place = [&] { return static_cast<size_t>(random.within(0, static_cast<int64_t>(file.size()) - 1)); };
    if (random.one_in(4)) file.resize(place());
    for (int64_t count = random.within(1, 4); count > 0 && !file.empty(); --count) {
        file[place()] = static_cast<char>(random.one_in(2) ? random.bits() : random.among({0x00, 0x7f, 0x80, 0xff}));
    }
    return file;
}

// A damaged file is refused, or another network, whose numbers may have become too large.
inline void check_damage(Random& random, const Bytes& file, const Picture& picture, const char* set) {
    const Bytes bad = damaged(random, file);
    const std::vector<char> exact(bad.begin(), bad.end());
    repsr_message message{};
    repsr_model* model = nullptr;
    const repsr_status read = repsr_model_read(exact.data(), exact.size(), &model, &message);
    if (read != REPSR_OK) {
        const bool said = read == REPSR_BAD_MODEL || read == REPSR_NOT_PLAIN || read == REPSR_BAD_ARGUMENT;
        return expect(said && model == nullptr && message.text[0] != 0, "no reason for refusing a damaged file");
    }
    const std::unique_ptr<repsr_model, void (*)(repsr_model*)> owned(model, repsr_model_free);
    repsr_description said{};
    repsr_model_describe(model, &said);
    if (said.colours != picture.channels) return;
    for (const repsr_precision precision : {REPSR_FP32, REPSR_BF16, REPSR_INT8}) {
        repsr_network* network = nullptr;
        const repsr_status made = repsr_network_make(model, precision, set, &network, &message);
        expect(made == REPSR_OK || made == REPSR_UNSUPPORTED, "no reason for refusing a damaged network");
        if (made != REPSR_OK) continue;
        const std::unique_ptr<repsr_network, void (*)(repsr_network*)> held(network, repsr_network_free);
        const Work work{picture, REPSR_FEATURES, int64_t{said.colours} * said.scale * said.scale, 1,
                        0, picture.height, random_split(random, picture)};
        Picture result;
        const repsr_status run = enlarge(random, network, work, result, message);
        expect(run == REPSR_OK || run == REPSR_NOT_FINITE, "no reason for refusing a damaged network's picture");
    }
}

}  // namespace native
