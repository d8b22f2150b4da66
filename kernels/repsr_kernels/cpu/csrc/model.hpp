// A plain network as a file says it, before anything is made ready.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "repsr_engine.h"

namespace repsr::cpu {

constexpr int kMostChannels = 64;   // of a layer between head and tail
constexpr int kMostLayers = 512;

// Codes of 8 bits: value = step * (code - zero), for codes of low..high (-128..127, or 0..255).
struct Quantization {
    float step = 0;
    int32_t zero = 0, low = 0, high = 0;
};

// A zero-padded convolution of 3x3 and what stands behind it.
struct Layer {
    int inputs = 0, outputs = 0;
    std::vector<float> kernel;     // outputs x inputs x 3 x 3; of a layer of codes empty
    std::vector<float> bias;       // outputs
    std::vector<float> slope;      // outputs: value < 0 ? slope * value : value. ReLU 0; empty where nothing stands there
    bool quantized = false;        // its input and its kernel are codes; sums are exact, then float
    Quantization input;            // of the layer's input, rounded half to even
    std::vector<int8_t> codes;     // outputs x inputs x 3 x 3, symmetric: weight = steps[output] * code
    std::vector<float> steps;      // outputs

    int64_t macs() const { return int64_t{9} * inputs * outputs; }
};

// Layers from the picture to C s s channels, channel c s s + dy s + dx for colour c of the pixel at (dy, dx) (DepthToSpace
// in mode CRD), to which the enlarged picture is added. The picture is 0..1 there. Checked by `read_model`: one layer or
// more; shapes that follow one another; all numbers finite; steps above 0.
struct Model {
    int colours = 3, scale = 1;
    repsr_skip skip = REPSR_NO_SKIP;  // REPSR_BILINEAR: half-pixel centres, clamped at the borders (align_corners = False)
    repsr_io io = REPSR_IO_FLOAT;
    bool clamps = false;
    std::vector<Layer> layers;
    std::vector<std::pair<std::string, std::string>> properties;  // metadata_props, in the order of the file
};

// Reads an ONNX model. Raises Error: REPSR_BAD_MODEL, REPSR_NOT_PLAIN; std::bad_alloc.
Model read_model(const uint8_t* onnx, uint64_t bytes);

}  // namespace repsr::cpu
