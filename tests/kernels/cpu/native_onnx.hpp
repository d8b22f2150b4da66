// Plain networks as ONNX files, written without ONNX's own library: protocol buffers are tags, lengths and bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "model.hpp"

namespace native {

using Bytes = std::string;

// One message: `text(2, "name")` is field 2 of kind "length and bytes". Field numbers are those of onnx.proto3.
class Message {
public:
    Message& number(int field, int64_t value) {
        varint(static_cast<uint64_t>(field) << 3);
        return varint(static_cast<uint64_t>(value));
    }
    Message& real(int field, float value) {
        varint(static_cast<uint64_t>(field) << 3 | 5);
        return raw(&value, sizeof value);
    }
    Message& text(int field, const Bytes& value) {
        varint(static_cast<uint64_t>(field) << 3 | 2);
        varint(value.size());
        return raw(value.data(), value.size());
    }
    Message& message(int field, const Message& value) { return text(field, value.bytes_); }
    const Bytes& bytes() const { return bytes_; }

private:
    Message& varint(uint64_t value) {
        for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value | 128);
        bytes_ += static_cast<char>(value);
        return *this;
    }
    Message& raw(const void* data, size_t size) {
        bytes_.append(static_cast<const char*>(data), size);
        return *this;
    }

    Bytes bytes_;
};

enum Type : int { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt64 = 7 };  // TensorProto.DataType

inline Message attribute(const char* name, int64_t value) {
    return Message().text(1, name).number(3, value).number(20, 2);
}
inline Message attribute(const char* name, float value) { return Message().text(1, name).real(2, value).number(20, 1); }
inline Message attribute(const char* name, const char* value) {
    return Message().text(1, name).text(4, value).number(20, 3);
}
inline Message attribute(const char* name, std::initializer_list<int64_t> values) {
    Message message;
    message.text(1, name);
    for (const int64_t value : values) message.number(8, value);
    return message.number(20, 7);
}

// A graph that grows node by node. Tensors go by their names.
class Graph {
public:
    template <class T>
    Bytes constant(const Bytes& name, Type type, const std::vector<T>& values, const std::vector<int64_t>& dims) {
        Message tensor;
        for (const int64_t dim : dims) tensor.number(1, dim);
        tensor.number(2, type).text(8, name);
        tensor.text(9, Bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
        graph_.message(5, tensor);
        return name;
    }
    Bytes scalar(const Bytes& name, float value) { return constant<float>(name, kFloat, {value}, {}); }
    Bytes node(const char* op, std::initializer_list<Bytes> inputs, const Bytes& output,
               std::initializer_list<Message> attributes = {}) {
        Message node;
        for (const Bytes& input : inputs) node.text(1, input);
        node.text(2, output).text(3, output + "_node").text(4, op);
        for (const Message& attribute : attributes) node.message(5, attribute);
        graph_.message(1, node);
        return output;
    }
    // `field` 11 for the input of the graph, 12 for the output. A dimension below 0 has a name instead.
    void value(int field, const Bytes& name, Type type, std::initializer_list<int64_t> dims) {
        Message shape;
        for (const int64_t dim : dims) {
            shape.message(1, dim < 0 ? Message().text(2, "side" + std::to_string(-dim)) : Message().number(1, dim));
        }
        const Message tensor = Message().number(1, type).message(2, shape);
        graph_.message(field, Message().text(1, name).message(2, Message().message(1, tensor)));
    }
    Bytes file(const std::vector<std::pair<std::string, std::string>>& properties) {
        Message model;
        model.number(1, 9).text(2, "native_runs").message(7, graph_.text(2, "network"));
        model.message(8, Message().text(1, "").number(2, 18));
        for (const auto& [key, value] : properties) model.message(14, Message().text(1, key).text(2, value));
        return model.bytes();
    }

private:
    Message graph_;
};

// One layer behind the tensor `x`: the name of what it gives.
inline Bytes write_layer(Graph& graph, const repsr::cpu::Layer& layer, Bytes x, const Bytes& name) {
    const int64_t outputs = layer.outputs, inputs = layer.inputs;
    const std::vector<int64_t> shape{outputs, inputs, 3, 3};
    Bytes weight;
    if (layer.quantized) {
        const repsr::cpu::Quantization& q = layer.input;
        const Bytes step = graph.scalar(name + ".step", q.step);
        const auto code = static_cast<uint8_t>(q.zero);  // a signed one has the same bits
        const Bytes zero = graph.constant<uint8_t>(name + ".zero", q.low < 0 ? kInt8 : kUint8, {code}, {});
        x = graph.node("QuantizeLinear", {x, step, zero}, name + ".codes");
        x = graph.node("DequantizeLinear", {x, step, zero}, name + ".in");
        const Bytes codes = graph.constant(name + ".weight.codes", kInt8, layer.codes, shape);
        const Bytes steps = graph.constant(name + ".weight.steps", kFloat, layer.steps, {outputs});
        const std::vector<int8_t> zeros(layer.steps.size());
        const Bytes zeros_name = graph.constant(name + ".weight.zeros", kInt8, zeros, {outputs});
        const Message axis = attribute("axis", int64_t{0});
        weight = graph.node("DequantizeLinear", {codes, steps, zeros_name}, name + ".weight", {axis});
    } else {
        weight = graph.constant(name + ".weight", kFloat, layer.kernel, shape);
    }
    const Bytes bias = graph.constant(name + ".bias", kFloat, layer.bias, {outputs});
    x = graph.node("Conv", {x, weight, bias}, name + ".out",
                   {attribute("kernel_shape", {3, 3}), attribute("pads", {1, 1, 1, 1})});
    if (layer.slope.empty()) return x;
    const float slope = layer.slope[0];
    for (const float other : layer.slope) {
        if (other != slope) {
            const Bytes slopes = graph.constant(name + ".slope", kFloat, layer.slope, {outputs, 1, 1});
            return graph.node("PRelu", {x, slopes}, name + ".act");
        }
    }
    if (slope == 0) return graph.node("Relu", {x}, name + ".act");
    return graph.node("LeakyRelu", {x}, name + ".act", {attribute("alpha", slope)});
}

// `early`: whether a nearest skip is added before DepthToSpace, as channels taken several times, or behind it.
inline Bytes write_onnx(const repsr::cpu::Model& model, bool early) {
    Graph graph;
    const bool images = model.io == REPSR_IO_IMAGE, features = model.io == REPSR_IO_FEATURES;
    const int64_t colours = model.colours, scale = model.scale;
    Bytes picture = "input";
    if (images) {
        graph.value(11, "input", kUint8, {-1, -2, -3, colours});
        graph.scalar("peak", 255);
        picture = graph.node("Cast", {"input"}, "image.float", {attribute("to", int64_t{kFloat})});
        picture = graph.node("Transpose", {picture}, "image.planes", {attribute("perm", {0, 3, 1, 2})});
        picture = graph.node("Div", {picture, "peak"}, "image.scaled");
    } else {
        graph.value(11, "input", kFloat, {-1, colours, -2, -3});
    }

    Bytes x = picture;
    for (size_t i = 0; i < model.layers.size(); ++i) {
        x = write_layer(graph, model.layers[i], x, "layer" + std::to_string(i));
    }

    Bytes skip = picture;
    const bool nearest = model.skip == REPSR_NEAREST, bilinear = model.skip == REPSR_BILINEAR;
    if (nearest && early) {
        std::vector<int64_t> order;
        for (int64_t i = 0; i < colours * scale * scale; ++i) order.push_back(i / (scale * scale));
        const Bytes names = graph.constant("skip.channels", kInt64, order, {colours * scale * scale});
        skip = graph.node("Gather", {picture, names}, "skip", {attribute("axis", int64_t{1})});
        x = graph.node("Add", {x, skip}, "early.sum");
    }
    if (scale > 1 && !features) {
        x = graph.node("DepthToSpace", {x}, "shuffled", {attribute("blocksize", scale), attribute("mode", "CRD")});
    }
    if (bilinear || (nearest && !early)) {
        if (scale > 1) {
            const auto factor = static_cast<float>(scale);
            const Bytes scales = graph.constant<float>("skip.scales", kFloat, {1, 1, factor, factor}, {4});
            const Message mode = attribute("mode", bilinear ? "linear" : "nearest");
            const char* where = bilinear ? "half_pixel" : "asymmetric";
            const Message coordinates = attribute("coordinate_transformation_mode", where);
            skip = bilinear ? graph.node("Resize", {picture, "", scales}, "skip", {mode, coordinates})
                            : graph.node("Resize", {picture, "", scales}, "skip",
                                         {mode, coordinates, attribute("nearest_mode", "floor")});
        }
        x = graph.node("Add", {x, skip}, "late.sum");
    }
    if (model.clamps) x = graph.node("Clip", {x, graph.scalar("low", 0), graph.scalar("high", 1)}, "clamped");
    if (images) {
        x = graph.node("Mul", {x, "peak"}, "image.levels");
        x = graph.node("Round", {x}, "image.whole");
        x = graph.node("Transpose", {x}, "image.pixels", {attribute("perm", {0, 2, 3, 1})});
        x = graph.node("Cast", {x}, "image.bytes", {attribute("to", int64_t{kUint8})});
        graph.value(12, x, kUint8, {-1, -4, -5, colours});
    } else {
        graph.value(12, x, kFloat, {-1, features ? colours * scale * scale : colours, -4, -5});
    }
    return graph.file(model.properties);
}

}  // namespace native
