// As much of ONNX as networks need: views into the file, checked when they are read. Numbers of fields:
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#pragma once

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protobuf.hpp"

namespace repsr::cpu {

constexpr int kMostNodes = 1 << 13;  // and initializers: a layer of codes takes up to 12
constexpr int kMostNames = 1 << 16;  // inputs and outputs of all nodes
constexpr int kMostProperties = 1 << 12;
constexpr int kMostDims = 8;

using Dims = std::vector<int64_t>;

enum class Type : int32_t {  // TensorProto.DataType
    none = 0,
    float32 = 1,
    uint8 = 2,
    int8 = 3,
    int32 = 6,
    int64 = 7,
    boolean = 9,
    float16 = 10,
    float64 = 11,
    bfloat16 = 16
};
bool is_float(Type type);  // one that becomes float32 without a change
std::string name_of(Type type);

struct Tensor {
    std::string_view name;
    Type type = Type::none;
    Dims dims;
    uint64_t elements = 1;
    bool external = false;
    std::optional<Bytes> raw;
    Bytes message;
};
Tensor read_tensor(Bytes message);

// The numbers of a tensor. Raises Error: REPSR_BAD_MODEL where there are not as many as its shape says, or not finite.
std::vector<float> floats_of(const Tensor& tensor);  // of a float type, widened exactly
std::vector<int64_t> integers_of(const Tensor& tensor);  // of an integer type

struct Attribute {
    int64_t integer = 0;
    float single = 0;
    std::string_view text;
    Bytes tensor;
    std::vector<int64_t> integers;
    std::vector<float> singles;
};

struct Node {
    std::string_view op, name, domain;
    std::vector<std::string_view> inputs, outputs;
    Bytes message;

    std::string_view input(size_t index) const { return index < inputs.size() ? inputs[index] : std::string_view(); }
    std::optional<Attribute> attribute(std::string_view name) const;
    int64_t integer(std::string_view name, int64_t otherwise) const;
    std::string_view text(std::string_view name, std::string_view otherwise) const;
    std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> otherwise) const;
};

constexpr int64_t kUnknown = -1;

// An input or output of the graph; a dimension that is not a number is kUnknown.
struct Port {
    std::string_view name;
    Type type = Type::none;
    std::optional<Dims> dims;
};

struct Graph {
    std::vector<Node> nodes;
    std::vector<Tensor> initializers;
    std::vector<Port> inputs, outputs;
    std::vector<std::pair<std::string, std::string>> properties;
    int64_t opset = 0;
};
Graph read_graph(Bytes file);

// Text of a file as messages may show it: printable ASCII, not long.
std::string shown(std::string_view text);
std::string shown(const Dims& dims);  // 3x3; kUnknown: ?
std::string shown(const Node& node);  // Conv 'head'

template <class... Parts>
std::string said(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
}

// "the model has ..."
template <class... Parts>
[[noreturn]] void bad_model(const Parts&... parts) {
    throw Error(REPSR_BAD_MODEL, said("the model ", parts..., "; export it again with `repsr-fuse export`"));
}

template <class T>
void append(std::vector<T>& list, T item, int most, const char* what) {
    if (list.size() >= static_cast<size_t>(most)) bad_model("has more than ", most, " ", what);
    list.push_back(std::move(item));
}

// "Conv 'head' has ...; expected ..."
[[noreturn]] void not_plain(const Node& node, const std::string& is, const std::string& expected);

}  // namespace repsr::cpu
