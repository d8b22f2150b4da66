// The engine's models and networks, given back at the end.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "model.hpp"
#include "native_jobs.hpp"
#include "native_onnx.hpp"

namespace native {

struct ModelHandle {
    explicit ModelHandle(const Bytes& file) {
        const std::vector<char> exact(file.begin(), file.end());  // on the heap, nothing behind it
        repsr_message message{};
        expect_ok(repsr_model_read(exact.data(), exact.size(), &model, &message), message, "repsr_model_read");
    }
    ~ModelHandle() { repsr_model_free(model); }
    ModelHandle(const ModelHandle&) = delete;
    ModelHandle& operator=(const ModelHandle&) = delete;
    repsr_model* model = nullptr;
};

struct NetworkHandle {
    NetworkHandle(const ModelHandle& model, int precision, const char* set) {
        repsr_message message{};
        const auto wanted = static_cast<repsr_precision>(precision);
        expect_ok(repsr_network_make(model.model, wanted, set, &network, &message), message, "repsr_network_make");
        expect(std::string(repsr_network_instruction_set(network)) == set, "another instruction set than asked for");
    }
    ~NetworkHandle() { repsr_network_free(network); }
    NetworkHandle(const NetworkHandle&) = delete;
    NetworkHandle& operator=(const NetworkHandle&) = delete;
    repsr_network* network = nullptr;
};

inline void check_description(const repsr::cpu::Model& model, const ModelHandle& handle) {
    repsr_description said{};
    repsr_model_describe(handle.model, &said);
    int32_t channels = 0, coded = 0;
    int64_t macs = 0;
    for (size_t i = 0; i < model.layers.size(); ++i) {
        if (i + 1 < model.layers.size()) channels = std::max(channels, model.layers[i].outputs);
        coded += model.layers[i].quantized;
        macs += model.layers[i].macs();
    }
    expect(said.colours == model.colours && said.scale == model.scale, "colours or scale");
    expect(said.layers == static_cast<int32_t>(model.layers.size()) && said.int8_layers == coded, "layers");
    expect(model.layers.size() == 1 || said.channels == channels, "channels");
    expect(said.io == model.io && said.clamps == model.clamps && said.macs_per_pixel == macs, "io, clamp or work");
    const bool same_skip = said.skip == model.skip || (model.scale == 1 && (said.skip == 0) == (model.skip == 0));
    expect(same_skip, "skip");
}

}  // namespace native
