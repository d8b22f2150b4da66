// Convolutions, activations, and codes.
#include <algorithm>
#include <cmath>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

constexpr float kLeakyRelu = 0.01f;  // where the file says nothing

std::vector<float> in_middle(const std::vector<float>& kernel_1x1) {
    std::vector<float> kernel(kernel_1x1.size() * 9, 0.0f);
    for (size_t i = 0; i < kernel_1x1.size(); ++i) kernel[9 * i + 4] = kernel_1x1[i];
    return kernel;
}

void expect(const Node& node, const char* what, const Dims& is, const Dims& expected) {
    if (is != expected) not_plain(node, said("has ", what, " ", shown(is)), shown(expected));
}

void expect_step(const Node& node, float step) {
    if (!std::isnormal(step) || step < 0) {
        bad_model("has ", shown(node), " with a step of ", step, ", which must be above 0");
    }
}

void expect_attributes(const Node& node, int64_t size) {
    const int64_t group = node.integer("group", 1);
    if (group != 1) not_plain(node, said("has ", group, " groups"), "1");
    expect(node, "kernel_shape", node.integers("kernel_shape", {size, size}), {size, size});
    expect(node, "strides", node.integers("strides", {1, 1}), {1, 1});
    if (size > 1) expect(node, "dilations", node.integers("dilations", {1, 1}), {1, 1});
    const std::string_view automatic = node.text("auto_pad", "NOTSET");
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") return;
    const Dims none(4, 0);
    expect(node, "pads", automatic == "NOTSET" ? node.integers("pads", none) : none, Dims(4, size / 2));
}

}  // namespace

// Whether x is all that the last layer gives, as it gives it.
bool Recogniser::is_whole(const Pixels& x) const {
    return x.features.there && !x.features.index && !x.picture.there && !x.clamped && !x.rounded && x.factor == 1 &&
           is_float(x.type) && x.dims == Dims{1, model_.layers.back().outputs, height_, width_};
}

void Recogniser::conv(const Node& node) {
    const Pixels& x = pixels(node, 0);
    if (convs_.empty() != x.picture.there) {
        not_plain(node, "does not read what the layer before it gives", kOnePath);
    }
    const bool whole = convs_.empty() ? !x.picture.index && !x.bilinear && is_float(x.type) &&
                                            x.dims == Dims{1, model_.colours, height_, width_}
                                      : is_whole(x);
    if (!whole || x.coding == Coding::codes) {
        not_plain(node, "reads pixels that were moved, added to, clamped or rounded",
                  "the picture, or what the last layer gives");
    }
    if (x.factor != 1) not_plain(node, said("reads a picture of 0..", x.factor), "0..1");
    if (convs_.size() == kMostLayers) {
        not_plain(node, said("is convolution ", kMostLayers + 1), said("at most ", kMostLayers));
    }

    const auto* weights = std::get_if<Constant>(&input(node, 1));
    if (!weights) not_plain(node, "has computed weights", "constant ones");
    const Dims& dims = weights->dims;
    const int64_t size = dims.size() == 4 ? dims[2] : 0;
    if ((size != 3 && size != 1) || dims[3] != size) {
        not_plain(node, said("has weights of shape ", shown(dims)), "C x C x 3 x 3");
    }
    expect_attributes(node, size);
    if (dims[1] != x.dims[1]) bad_model("has ", shown(node), " for ", dims[1], " channels where there are ", x.dims[1]);
    if (dims[0] < 1 || dims[0] > kMostChannels) {
        not_plain(node, said("gives ", dims[0], " channels"), said("1 to ", kMostChannels));
    }

    Layer layer;
    layer.inputs = static_cast<int>(dims[1]);
    layer.outputs = static_cast<int>(dims[0]);
    set_kernel(node, layer, x);
    layer.bias.assign(layer.outputs, 0.0f);
    if (has_input(node, 2)) {
        layer.bias = floats(node, 2, kMostChannels);
        if (layer.bias.size() != static_cast<size_t>(layer.outputs)) {
            bad_model("has ", shown(node), " with ", layer.bias.size(), " biases for ", layer.outputs, " channels");
        }
    }
    model_.layers.push_back(std::move(layer));
    convs_.push_back(&node);
    Pixels y;
    y.dims = {1, dims[0], height_, width_};
    y.features.there = true;
    give(node, std::move(y));
}

void Recogniser::set_kernel(const Node& node, Layer& layer, const Pixels& x) {
    const auto& weights = std::get<Constant>(input(node, 1));
    const uint64_t count = weights.tensor->elements;
    const bool is_3x3 = weights.dims[2] == 3;
    if (count > weights_left_) not_plain(node, "shares its weights with other layers", "weights of its own");
    weights_left_ -= count;
    if (x.coding == Coding::none) {
        const std::vector<float> kernel = floats(node, 1, count);
        layer.kernel = is_3x3 ? kernel : in_middle(kernel);
        return;
    }
    if (weights.steps.empty() || weights.axis != 0 || !is_3x3) {
        not_plain(node, "reads codes with weights that are none",
                  "3x3 behind DequantizeLinear, one step for each output or all");
    }
    layer.quantized = true;
    layer.input = x.quantization;
    layer.steps = weights.steps;
    layer.steps.resize(layer.outputs, weights.steps[0]);
    const size_t each = 9 * static_cast<size_t>(layer.inputs);
    for (const int64_t stored : integers_of(*weights.tensor)) {
        const int64_t code = stored - weights.zeros[weights.zeros.size() == 1 ? 0 : layer.codes.size() / each];
        if (code < -128 || code > 127) not_plain(node, said("has a weight of ", code, " steps"), "-128 to 127");
        layer.codes.push_back(static_cast<int8_t>(code));
    }
}

void Recogniser::activation(const Node& node) {
    const Pixels& x = pixels(node, 0);
    if (convs_.empty() || !is_whole(x)) {
        not_plain(node, "does not stand behind a convolution", "an activation between two of them");
    }
    Layer& layer = model_.layers.back();
    if (x.coding != Coding::none) not_plain(node, "reads codes", "QuantizeLinear behind it");
    if (!layer.slope.empty()) not_plain(node, "is the second activation in a row", "one behind each convolution");
    if (node.op == "PRelu") {
        const std::vector<float> slopes = floats(node, 1, kMostChannels);
        const Dims dims = std::visit([](const auto& value) { return value.dims; }, input(node, 1));
        const auto channels = dims.size() < 3 ? 1 : static_cast<size_t>(dims[dims.size() - 3]);
        if (dims.size() > 4 || slopes.size() != channels || (channels != 1 && channels != layer.bias.size())) {
            not_plain(node, said("has slopes of shape ", shown(dims)),
                      said("one for each of ", layer.outputs, " channels, or one"));
        }
        layer.slope = slopes;
        layer.slope.resize(layer.outputs, slopes[0]);
    } else {
        const auto alpha = node.attribute("alpha");
        const float slope = node.op == "Relu" ? 0.0f : alpha ? alpha->single : kLeakyRelu;
        if (!std::isfinite(slope)) bad_model("has ", shown(node), " with a slope of ", slope);
        layer.slope.assign(layer.outputs, slope);
    }
    give(node, Pixels(x));
}

// Step and zero of QuantizeLinear, or of the DequantizeLinear behind it.
Quantization Recogniser::quantization(const Node& node) const {
    if (node.integer("block_size", 0) != 0) not_plain(node, "has blocks of codes", "one step for all");
    Quantization found;
    found.step = scalar(node, 1);
    expect_step(node, found.step);
    const int64_t stated = node.op == "QuantizeLinear" ? node.integer("output_dtype", 0) : 0;
    Type type = stated ? static_cast<Type>(stated) : Type::uint8;
    if (has_input(node, 2)) {
        const auto* zero = std::get_if<Constant>(&input(node, 2));
        if (!zero) not_plain(node, "has a computed zero point", "a constant one");
        type = zero->tensor->type;
        if (type == Type::int8 || type == Type::uint8) {
            const std::vector<int64_t> zeros = integers(node, 2, 1);
            if (zeros.empty()) bad_model("has ", shown(node), " with an empty zero point");
            found.zero = static_cast<int32_t>(zeros[0]);
        }
    }
    if (type != Type::int8 && type != Type::uint8) {
        not_plain(node, said("makes codes of ", name_of(type)), "int8 or uint8");
    }
    found.low = type == Type::int8 ? -128 : 0;
    found.high = type == Type::int8 ? 127 : 255;
    return found;
}

void Recogniser::quantize(const Node& node) {
    Pixels x = pixels(node, 0);
    const bool of_picture = x.picture.there && !x.features.there && x.factor == 1 && is_float(x.type);
    if (x.coding != Coding::none || !(of_picture || (!convs_.empty() && is_whole(x)))) {
        not_plain(node, "does not stand before a convolution", "codes of the picture or of an activation");
    }
    x.quantization = quantization(node);
    x.coding = Coding::codes;
    give(node, std::move(x));
}

void Recogniser::dequantize(const Node& node) {
    Pixels x = pixels(node, 0);
    if (x.coding != Coding::codes) not_plain(node, "reads no codes", "QuantizeLinear before it");
    const Quantization back = quantization(node), &there = x.quantization;
    if (back.step != there.step || back.zero != there.zero || (has_input(node, 2) && back.low != there.low)) {
        not_plain(node, "has another step or zero point than the QuantizeLinear before it", "the same");
    }
    x.coding = Coding::rounded;
    give(node, std::move(x));
}

void Recogniser::dequantize_constant(const Node& node) {
    const auto* found = std::get_if<Constant>(&input(node, 0));
    const Type type = found ? found->tensor->type : Type::none;
    const bool of_codes = type == Type::int8 || type == Type::uint8 || type == Type::int32;
    if (!of_codes || !found->steps.empty()) {
        not_plain(node, "reads something else than codes", "a tensor of int8, uint8 or int32");
    }
    Constant constant = *found;
    constant.steps = floats(node, 1, kMostChannels);
    constant.zeros =
        has_input(node, 2) ? integers(node, 2, kMostChannels) : std::vector<int64_t>(constant.steps.size(), 0);
    const auto rank = static_cast<int64_t>(constant.dims.size()), count = static_cast<int64_t>(constant.steps.size());
    const int64_t stated = node.integer("axis", 1);
    constant.axis = count == 1 ? 0 : stated < 0 ? stated + rank : stated;
    const bool fits =
        count == 1 || (constant.axis >= 0 && constant.axis < rank && constant.dims[constant.axis] == count);
    if (!fits || constant.zeros.size() != constant.steps.size() || node.integer("block_size", 0) != 0) {
        not_plain(node, said("has ", count, " steps for shape ", shown(constant.dims)), "one for each output, or one");
    }
    for (const float step : constant.steps) expect_step(node, step);
    for (const int64_t zero : constant.zeros) {
        if (zero < -128 || zero > 255) not_plain(node, said("has a zero point of ", zero), "-128 to 255");
    }
    give(node, std::move(constant));
}

}  // namespace repsr::cpu
