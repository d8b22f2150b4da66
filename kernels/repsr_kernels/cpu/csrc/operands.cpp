// What nodes read and give.
#include <algorithm>
#include <cmath>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

[[noreturn]] void refuse_input(const Node& node, size_t index, uint64_t most, const char* kind) {
    const std::string expected =
        most == 1 ? said("one constant ", kind) : said("at most ", most, " constant ", kind, "s");
    not_plain(node, said("has something else at input ", index, " ('", shown(node.input(index)), "')"), expected);
}

float number_of(const Constant& constant, size_t element, int64_t code) {
    int64_t inner = 1;
    for (size_t axis = static_cast<size_t>(constant.axis) + 1; axis < constant.dims.size(); ++axis) {
        inner *= constant.dims[axis];
    }
    const size_t step = constant.steps.size() == 1 ? 0 : element / static_cast<size_t>(inner) % constant.steps.size();
    return static_cast<float>(code - constant.zeros[step]) * constant.steps[step];
}

}  // namespace

double as_size(int64_t number) {
    constexpr int64_t kMost = (int64_t{1} << 53) - 1;
    return static_cast<double>(std::clamp(number, -kMost, kMost));
}

const Value& Recogniser::input(const Node& node, size_t index) const {
    if (!has_input(node, index)) bad_model("has ", shown(node), " without its input ", index);
    const auto found = values_.find(node.input(index));
    if (found == values_.end()) {
        bad_model("has ", shown(node), ", which reads '", shown(node.input(index)), "', given by nothing before it");
    }
    return found->second;
}

// Pixels as the last step left them: what another step has changed since is no longer there.
const Pixels& Recogniser::pixels(const Node& node, size_t index) const {
    const Pixels* found = std::get_if<Pixels>(&input(node, index));
    const auto name = [&] { return said("'", shown(node.input(index)), "'"); };
    if (!found) not_plain(node, said("reads the constant ", name()), "the picture, or what layers make of it");
    if (found->features.there && found->stamp != stamp_) {
        not_plain(node, said("reads ", name(), ", which another node has read before"), kOnePath);
    }
    return *found;
}

std::vector<float> Recogniser::floats(const Node& node, size_t index, uint64_t most) const {
    const Value& found = input(node, index);
    if (const auto* few = std::get_if<Numbers>(&found); few && few->items.size() <= most) {
        return std::vector<float>(few->items.begin(), few->items.end());
    }
    const auto* constant = std::get_if<Constant>(&found);
    if (!constant || constant->tensor->elements > most ||
        (constant->steps.empty() && !is_float(constant->tensor->type))) {
        refuse_input(node, index, most, "float");
    }
    if (constant->steps.empty()) return floats_of(*constant->tensor);
    std::vector<float> values;
    for (const int64_t code : integers_of(*constant->tensor)) {
        values.push_back(number_of(*constant, values.size(), code));
    }
    for (const float value : values) {
        if (!std::isfinite(value)) bad_model("has ", shown(node), " with numbers that are too large for float32");
    }
    return values;
}

std::vector<int64_t> Recogniser::integers(const Node& node, size_t index, uint64_t most) const {
    const Value& found = input(node, index);
    if (const auto* few = std::get_if<Numbers>(&found); few && few->whole && few->items.size() <= most) {
        return std::vector<int64_t>(few->items.begin(), few->items.end());
    }
    const auto* constant = std::get_if<Constant>(&found);
    if (!constant || !constant->steps.empty() || is_float(constant->tensor->type) ||
        constant->tensor->elements > most) {
        refuse_input(node, index, most, "integer");
    }
    return integers_of(*constant->tensor);
}

Numbers Recogniser::numbers(const Node& node, size_t index) const {
    const Value& found = input(node, index);
    if (const auto* few = std::get_if<Numbers>(&found)) return *few;
    const auto* constant = std::get_if<Constant>(&found);
    const bool whole = constant && constant->steps.empty() && !is_float(constant->tensor->type);
    Numbers few{constant ? constant->dims : Dims{}, {}, whole};
    if (whole) {
        for (const int64_t number : integers(node, index, kMostNumbers)) few.items.push_back(as_size(number));
    } else {
        const auto list = floats(node, index, kMostNumbers);
        few.items.assign(list.begin(), list.end());
    }
    return few;
}

float Recogniser::scalar(const Node& node, size_t index) const {
    const std::vector<float> list = floats(node, index, 1);
    if (list.size() != 1) bad_model("has ", shown(node), " with nothing at input ", index);
    return list[0];
}

// Axes of Squeeze and Unsqueeze, an attribute before operator set 13, of `rank`.
std::vector<int64_t> Recogniser::axes(const Node& node, size_t index, size_t rank) const {
    std::vector<int64_t> list = has_input(node, index) ? integers(node, index, kMostDims) : node.integers("axes", {});
    for (int64_t& axis : list) {
        if (axis < 0) axis += static_cast<int64_t>(rank);
        if (axis < 0 || axis >= static_cast<int64_t>(rank)) {
            bad_model("has ", shown(node), " along an axis that is not there");
        }
    }
    std::sort(list.begin(), list.end());
    if (std::adjacent_find(list.begin(), list.end()) != list.end()) {
        bad_model("has ", shown(node), " along one axis twice");
    }
    return list;
}

void Recogniser::give(const Node& node, Value value) {
    if (node.outputs.empty() || node.outputs[0].empty()) bad_model("has ", shown(node), " without an output");
    if (const auto* few = std::get_if<Numbers>(&value)) {
        if (few->items.size() > kMostNumbers) not_plain(node, said("makes ", few->items.size(), " numbers"), kPlain);
        for (const double item : few->items) {
            if (!(std::abs(item) < 0x1p53)) not_plain(node, said("makes the number ", item), "sizes of pictures");
        }
    }
    values_.insert_or_assign(node.outputs[0], std::move(value));
}

void Recogniser::give(const Node& node, Pixels pixels) {
    if (pixels.features.there) pixels.stamp = ++stamp_;
    give(node, Value(std::move(pixels)));
}

}  // namespace repsr::cpu
