// What the output is: which channel of the last layer each pixel comes from, and what was added to it.
#include <utility>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

// Channel k of the last layer becomes what its channel order[k] was.
void reorder_outputs(Layer& layer, const std::vector<int64_t>& order) {
    const auto reorder = [&](auto& numbers) {
        const auto old = std::exchange(numbers, {});
        const size_t each = old.size() / order.size();
        for (const int64_t channel : order) {
            numbers.insert(numbers.end(), old.begin() + channel * each, old.begin() + (channel + 1) * each);
        }
    };
    reorder(layer.kernel);
    reorder(layer.bias);
    reorder(layer.codes);
    reorder(layer.steps);
}

bool says_features(const Graph& graph) {
    for (const auto& [key, value] : graph.properties) {
        if (key == "repsr.io") return value == "\"features\"";
    }
    return false;
}

}  // namespace

void Recogniser::finish() {
    const std::string_view name = graph_.outputs[0].name;
    const auto made = [&](const Node& node) {
        for (const std::string_view output : node.outputs) {
            if (output == name) return true;
        }
        return false;
    };
    const auto found = values_.find(name);
    const auto* end = found == values_.end() ? nullptr : std::get_if<Pixels>(&found->second);
    const Node* last = nullptr;
    for (const Node& node : graph_.nodes) last = made(node) ? &node : last;
    if (!last) bad_model("gives '", shown(name), "', which no node makes");
    if (!end || !end->features.there || end->stamp != stamp_) {
        not_plain(*last, "does not give what the last layer makes", "one path from the picture to the output");
    }
    const Layer& tail = model_.layers.back();
    if (!tail.slope.empty()) {
        not_plain(*convs_.back(), "is the last convolution and has an activation behind it", "no activation there");
    }
    const bool image = model_.io == REPSR_IO_IMAGE;
    if (end->coding != Coding::none || image != (end->type == Type::uint8) || (!image && end->factor != 1)) {
        not_plain(*last, "gives another kind of numbers than the model takes",
                  "floats of 0..1 from floats, or uint8 from uint8");
    }
    int& scale = model_.scale;
    while (scale < kLargestScale && model_.colours * scale * scale < tail.outputs) ++scale;
    if (model_.colours * scale * scale != tail.outputs) {
        not_plain(*convs_.back(), said("is the last convolution and gives ", tail.outputs, " channels"),
                  said(model_.colours, " times the square of a scale of 1 to 4"));
    }
    model_.clamps = image || end->clamped;
    if (!image && !end->clamped && is_whole(*end) && (scale > 1 || says_features(graph_))) {
        model_.io = REPSR_IO_FEATURES;
        return;
    }
    find_order(*last, image && end->dims.size() == 4 ? mover_.transpose(*end, {0, 3, 1, 2}) : *end);
}

// Puts the last layer's channels into the order of DepthToSpace in mode CRD, and finds out what was added.
void Recogniser::find_order(const Node& last, const Pixels& out) {
    const int64_t colours = model_.colours, scale = model_.scale, area = height_ * width_;
    if (out.dims != Dims{1, colours, scale * height_, scale * width_}) {
        not_plain(last,
                  said("gives shape ", shown(out.dims), " of a picture of ", shown(Dims{1, colours, height_, width_})),
                  "one enlarged by PixelShuffle");
    }
    std::vector<int64_t> order(colours * scale * scale, -1);
    bool shuffled = true, nearest = !out.bilinear, bilinear = out.bilinear == scale;
    int64_t element = 0;
    for (int64_t c = 0; c < colours; ++c) {
        for (int64_t y = 0; y < scale * height_; ++y) {
            for (int64_t x = 0; x < scale * width_; ++x, ++element) {
                const int64_t place = y / scale * width_ + x / scale, from = out.features.at(element);
                int64_t& channel = order[(c * scale + y % scale) * scale + x % scale];
                if (channel < 0) channel = from / area;
                shuffled = shuffled && from == channel * area + place;
                if (!out.picture.there) continue;
                nearest = nearest && out.picture.at(element) == c * area + place;
                bilinear = bilinear && out.picture.at(element) == element;
            }
        }
    }
    std::vector<bool> seen(order.size(), false);
    for (const int64_t channel : order) {
        shuffled = shuffled && !seen[channel];
        seen[channel] = true;
    }
    if (!shuffled) {
        not_plain(last, "gives the last convolution's channels at other places than PixelShuffle does", "DepthToSpace");
    }
    if (out.picture.there && !nearest && !bilinear) {
        not_plain(last, "gives a sum with another picture than the enlarged one",
                  "its nearest or bilinear enlargement");
    }
    model_.skip = !out.picture.there ? REPSR_NO_SKIP : nearest ? REPSR_NEAREST : REPSR_BILINEAR;
    reorder_outputs(model_.layers.back(), order);
}

}  // namespace repsr::cpu
