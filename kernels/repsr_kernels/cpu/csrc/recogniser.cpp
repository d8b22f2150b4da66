#include "recogniser.hpp"

#include <set>

namespace repsr::cpu {
namespace {

constexpr int64_t kOldestOpset = 7;  // before it, shapes were spread in another way
// The picture that is followed where the model takes any: sides that no constant of a graph has by accident.
constexpr int64_t kHeight = 5, kWidth = 7;
// A model for pictures of one size is followed at that size, up to this side: its constants may depend on it.
constexpr int64_t kLargestSide = 64;

[[noreturn]] void refuse_ports(const std::string& is) {
    throw Error(REPSR_NOT_PLAIN,
                said("the model ", is, "; expected one picture N x C x H x W of floats or N x H x W x C of ",
                     "uint8, C being 1 or 3 (`repsr-fuse export` writes such models)"));
}

}  // namespace

Model read_model(const uint8_t* onnx, uint64_t bytes) {
    return Recogniser(read_graph({onnx, bytes, 0}), bytes).model();
}

Model Recogniser::model() {
    begin();
    for (const Node* node : needed()) follow(*node);
    finish();
    model_.properties = std::move(graph_.properties);
    return std::move(model_);
}

void Recogniser::begin() {
    if (graph_.opset < kOldestOpset) bad_model("is of operator set ", graph_.opset, ", older than ", kOldestOpset);
    for (const Tensor& tensor : graph_.initializers) {
        if (!values_.emplace(tensor.name, Constant{&tensor, tensor.dims, {}, {}, 0}).second) {
            bad_model("has two initializers '", shown(tensor.name), "'");
        }
    }
    std::vector<const Port*> inputs;
    for (const Port& port : graph_.inputs) {
        if (!values_.count(port.name)) inputs.push_back(&port);
    }
    if (inputs.size() != 1 || graph_.outputs.size() != 1) {
        refuse_ports(said("has ", inputs.size(), " inputs and ", graph_.outputs.size(), " outputs"));
    }
    const Port& input = *inputs[0];
    const bool image = input.type == Type::uint8;
    if (!image && !is_float(input.type)) refuse_ports(said("takes '", shown(input.name), "' of ", name_of(input.type)));
    if (!input.dims) refuse_ports(said("does not say of which shape '", shown(input.name), "' is"));
    const Dims& dims = *input.dims;
    const int64_t colours = dims.size() == 4 ? dims[image ? 3 : 1] : 0;
    if (colours != 1 && colours != 3) refuse_ports(said("takes '", shown(input.name), "' of shape ", shown(dims)));

    model_.colours = static_cast<int>(colours);
    model_.io = image ? REPSR_IO_IMAGE : REPSR_IO_FLOAT;
    height_ = dims[image ? 1 : 2];
    width_ = dims[image ? 2 : 3];
    if (height_ < 1 || height_ > kLargestSide) height_ = kHeight;
    if (width_ < 1 || width_ > kLargestSide) width_ = kWidth;
    Pixels picture;
    picture.dims = {1, colours, height_, width_};
    picture.picture.there = true;
    if (image) {
        picture = mover_.transpose(picture, {0, 2, 3, 1});
        picture.type = Type::uint8;
        picture.factor = 255;
    }
    values_.emplace(input.name, std::move(picture));
}

// Nodes that the output needs, in the order of the file.
std::vector<const Node*> Recogniser::needed() const {
    std::map<std::string_view, const Node*> makers;
    for (const Node& node : graph_.nodes) {
        for (const std::string_view output : node.outputs) {
            if (output.empty()) continue;
            if (values_.count(output) || !makers.emplace(output, &node).second) {
                bad_model("gives '", shown(output), "' twice");
            }
        }
    }
    std::set<const Node*> found;
    std::vector<std::string_view> open{graph_.outputs[0].name};
    while (!open.empty()) {
        const auto maker = makers.find(open.back());
        open.pop_back();
        if (maker == makers.end() || !found.insert(maker->second).second) continue;
        for (const std::string_view input : maker->second->inputs) open.push_back(input);
    }
    std::vector<const Node*> nodes;
    for (const Node& node : graph_.nodes) {
        if (found.count(&node)) nodes.push_back(&node);
    }
    return nodes;
}

void Recogniser::follow(const Node& node) {
    static const std::map<std::string_view, Step> kOfPixels = {
        {"Add", &Recogniser::add},
        {"Cast", &Recogniser::cast},
        {"Clip", &Recogniser::clip},
        {"Concat", &Recogniser::concat},
        {"Conv", &Recogniser::conv},
        {"DepthToSpace", &Recogniser::depth_to_space},
        {"DequantizeLinear", &Recogniser::dequantize},
        {"Div", &Recogniser::scale},
        {"Expand", &Recogniser::expand},
        {"Gather", &Recogniser::gather},
        {"Identity", &Recogniser::identity},
        {"LeakyRelu", &Recogniser::activation},
        {"Mul", &Recogniser::scale},
        {"PRelu", &Recogniser::activation},
        {"QuantizeLinear", &Recogniser::quantize},
        {"Relu", &Recogniser::activation},
        {"Reshape", &Recogniser::reshape},
        {"Resize", &Recogniser::resize},
        {"Round", &Recogniser::round},
        {"Shape", &Recogniser::shape},
        {"Slice", &Recogniser::slice},
        {"Squeeze", &Recogniser::squeeze},
        {"Tile", &Recogniser::tile},
        {"Transpose", &Recogniser::transpose},
        {"Unsqueeze", &Recogniser::unsqueeze},
        {"Upsample", &Recogniser::resize},
    };
    static const std::map<std::string_view, Step> kOfConstants = {
        {"Add", &Recogniser::calculate},
        {"Cast", &Recogniser::cast_constant},
        {"Concat", &Recogniser::concat_numbers},
        {"Constant", &Recogniser::constant},
        {"ConstantOfShape", &Recogniser::fill},
        {"DequantizeLinear", &Recogniser::dequantize_constant},
        {"Div", &Recogniser::calculate},
        {"Equal", &Recogniser::calculate},
        {"Floor", &Recogniser::floor_numbers},
        {"Gather", &Recogniser::gather_numbers},
        {"Identity", &Recogniser::copy_constant},
        {"Mul", &Recogniser::calculate},
        {"Reshape", &Recogniser::reshape_constant},
        {"Shape", &Recogniser::shape},
        {"Slice", &Recogniser::slice_numbers},
        {"Squeeze", &Recogniser::reshape_constant},
        {"Sub", &Recogniser::calculate},
        {"Unsqueeze", &Recogniser::reshape_constant},
        {"Where", &Recogniser::choose},
    };
    bool of_pixels = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (has_input(node, i)) of_pixels = std::holds_alternative<Pixels>(input(node, i)) || of_pixels;
    }
    const auto find = [&](const auto& steps) {
        const auto found = steps.find(node.op);
        return found == steps.end() ? Step() : found->second;
    };
    Step step = of_pixels ? nullptr : find(kOfConstants);
    if (!step) step = find(kOfPixels);  // which says what it misses
    if (!step || !(node.domain.empty() || node.domain == "ai.onnx")) {
        not_plain(node, "is no part of a plain network", kPlain);
    }
    (this->*step)(node);
}

}  // namespace repsr::cpu
