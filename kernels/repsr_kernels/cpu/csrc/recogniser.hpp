// Follows a graph from its input to its output, and collects the layers of a plain network on the way.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moves.hpp"
#include "values.hpp"

namespace repsr::cpu {

constexpr int kLargestScale = 4;

// What messages expect.
constexpr char kPlain[] = "convolutions of 3x3, activations, a skip and PixelShuffle";
constexpr char kOnePath[] = "one path from the picture to the output, and the skip";

class Recogniser {
public:
    // `file_bytes` bounds what is made of it: layers that share weights make no large model of a small file.
    Recogniser(Graph graph, uint64_t file_bytes) : graph_(std::move(graph)), weights_left_(file_bytes) {}

    Recogniser(const Recogniser&) = delete;  // values point into the graph

    Model model();

private:
    using Step = void (Recogniser::*)(const Node&);

    // recogniser.cpp: the way through the graph
    void begin();
    std::vector<const Node*> needed() const;
    void follow(const Node& node);

    // operands.cpp: what nodes read and give
    const Value& input(const Node& node, size_t index) const;
    bool has_input(const Node& node, size_t index) const { return !node.input(index).empty(); }
    const Pixels& pixels(const Node& node, size_t index) const;
    std::vector<float> floats(const Node& node, size_t index, uint64_t most) const;
    std::vector<int64_t> integers(const Node& node, size_t index, uint64_t most) const;
    Numbers numbers(const Node& node, size_t index) const;
    float scalar(const Node& node, size_t index) const;
    std::vector<int64_t> axes(const Node& node, size_t index, size_t rank) const;
    void give(const Node& node, Value value);
    void give(const Node& node, Pixels pixels);

    // layers.cpp: convolutions, activations, codes
    void conv(const Node& node);
    void activation(const Node& node);
    void quantize(const Node& node);
    void dequantize(const Node& node);
    void dequantize_constant(const Node& node);
    void set_kernel(const Node& node, Layer& layer, const Pixels& x);
    Quantization quantization(const Node& node) const;
    bool is_whole(const Pixels& x) const;

    // levels.cpp: what is done with all pixels alike
    void cast(const Node& node);
    void scale(const Node& node);
    void add(const Node& node);
    void clip(const Node& node);
    void round(const Node& node);

    // places.cpp: where pixels go
    void identity(const Node& node);
    void transpose(const Node& node);
    void gather(const Node& node);
    void slice(const Node& node);
    void concat(const Node& node);
    void tile(const Node& node);
    void expand(const Node& node);
    void reshape(const Node& node);
    void squeeze(const Node& node);
    void unsqueeze(const Node& node);
    void depth_to_space(const Node& node);
    void resize(const Node& node);
    std::vector<float> resize_scales(const Node& node, const Pixels& x) const;

    // shapes.cpp: nodes that compute sizes of pixels, or constants of constants
    void constant(const Node& node);
    void shape(const Node& node);
    void copy_constant(const Node& node);
    void cast_constant(const Node& node);
    void reshape_constant(const Node& node);
    void gather_numbers(const Node& node);
    void slice_numbers(const Node& node);
    void concat_numbers(const Node& node);
    void fill(const Node& node);
    void choose(const Node& node);
    void floor_numbers(const Node& node);
    void calculate(const Node& node);

    // ending.cpp: what the output is
    void finish();
    void find_order(const Node& last, const Pixels& out);

    Graph graph_;
    uint64_t weights_left_;
    Model model_;
    std::map<std::string_view, Value> values_;
    std::deque<Tensor> constants_;
    std::vector<const Node*> convs_;
    Mover mover_;
    int stamp_ = 0;
    int64_t height_ = 0, width_ = 0;  // of the picture that is followed
};

// An integer as one of Numbers. Larger ones are no sizes; as the end of a range they mean the same.
double as_size(int64_t number);

// Start, end and step of Slice along one axis of `size`, as a list of what it takes.
std::vector<int64_t> sliced(const Node& node, int64_t start, int64_t end, int64_t step, int64_t size);

// `target` of Reshape for what has `dims`; raises Error where they do not fit.
Dims resolved(const Node& node, const Dims& dims, const std::vector<int64_t>& target);

}  // namespace repsr::cpu
