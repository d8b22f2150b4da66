// Nodes that compute sizes of pixels, or constants of constants.
#include <algorithm>
#include <cmath>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

constexpr char kFew[] = "sizes of pictures, in one row";

Numbers list_of(const std::vector<int64_t>& list) {
    Numbers few{{static_cast<int64_t>(list.size())}, {}, true};
    for (const int64_t number : list) few.items.push_back(as_size(number));
    return few;
}

Numbers expect_row(const Node& node, Numbers few) {
    if (few.dims.size() > 1) not_plain(node, said("reads numbers of shape ", shown(few.dims)), kFew);
    return few;
}

// The larger of both shapes, one of which is that of a single number, or equal.
Dims joined(const Node& node, const Numbers& a, const Numbers& b) {
    if (a.items.size() != 1 && b.items.size() != 1 && a.dims != b.dims) {
        not_plain(node, said("joins numbers of shapes ", shown(a.dims), " and ", shown(b.dims)),
                  "equal ones, or one number");
    }
    if (a.items.size() == 1 && b.items.size() == 1) return a.dims.size() > b.dims.size() ? a.dims : b.dims;
    return a.items.size() == 1 ? b.dims : a.dims;
}

double at(const Numbers& few, size_t index) { return few.items[few.items.size() == 1 ? 0 : index]; }

}  // namespace

void Recogniser::constant(const Node& node) {
    const auto row = [](size_t size) { return Dims{static_cast<int64_t>(size)}; };
    if (const auto found = node.attribute("value")) {
        const Tensor& tensor = constants_.emplace_back(read_tensor(found->tensor));
        return give(node, Constant{&tensor, tensor.dims, {}, {}, 0});
    }
    if (const auto found = node.attribute("value_float")) return give(node, Numbers{{}, {found->single}, false});
    if (const auto found = node.attribute("value_int")) {
        return give(node, Numbers{{}, {as_size(found->integer)}, true});
    }
    if (const auto found = node.attribute("value_floats")) {
        return give(node, Numbers{row(found->singles.size()), {found->singles.begin(), found->singles.end()}, false});
    }
    if (const auto found = node.attribute("value_ints")) return give(node, list_of(found->integers));
    not_plain(node, "holds something else", "a tensor, or numbers");
}

void Recogniser::shape(const Node& node) {
    const Value& x = input(node, 0);  // also one that was changed since: it keeps its shape
    const Dims dims = std::visit([](const auto& value) { return value.dims; }, x);
    const auto rank = static_cast<int64_t>(dims.size());
    const auto taken = sliced(node, node.integer("start", 0), node.integer("end", rank), 1, rank);
    std::vector<int64_t> list;
    for (const int64_t axis : taken) list.push_back(dims[axis]);
    give(node, list_of(list));
}

void Recogniser::copy_constant(const Node& node) { give(node, input(node, 0)); }

void Recogniser::cast_constant(const Node& node) {
    const auto type = static_cast<Type>(node.integer("to", 0));
    const bool to_float = type == Type::float32,
               to_whole = type == Type::int64 || type == Type::int32 || type == Type::boolean;
    const auto* constant = std::get_if<Constant>(&input(node, 0));
    const bool of_floats = constant && (is_float(constant->tensor->type) || !constant->steps.empty());
    if (of_floats && (to_float || type == constant->tensor->type)) return give(node, *constant);  // widened when read
    if (!(to_float || to_whole)) not_plain(node, said("makes constants ", name_of(type)), "float32 or int64");
    Numbers few = numbers(node, 0);
    if (to_whole) {
        for (double& item : few.items) item = type == Type::boolean ? item != 0 : std::trunc(item);
    }
    few.whole = to_whole;
    give(node, std::move(few));
}

// Reshape, Squeeze and Unsqueeze.
void Recogniser::reshape_constant(const Node& node) {
    Value x = input(node, 0);
    const Dims dims = std::visit([](const auto& value) { return value.dims; }, x);
    Dims to;
    if (node.op == "Reshape") {
        to = resolved(node, dims, integers(node, 1, kMostDims));
    } else if (node.op == "Squeeze") {
        const std::vector<int64_t> gone = axes(node, 1, dims.size());
        for (size_t axis = 0; axis < dims.size(); ++axis) {
            const bool stated = std::binary_search(gone.begin(), gone.end(), static_cast<int64_t>(axis));
            if (dims[axis] != 1 || !(stated || gone.empty())) to.push_back(dims[axis]);
        }
    } else {
        const size_t added = (has_input(node, 1) ? integers(node, 1, kMostDims) : node.integers("axes", {})).size();
        to = dims;
        for (const int64_t axis : axes(node, 1, dims.size() + added)) to.insert(to.begin() + axis, 1);
    }
    if (to.size() > kMostDims) not_plain(node, "makes many axes", kFew);
    if (auto* few = std::get_if<Numbers>(&x)) few->dims = to;
    if (auto* constant = std::get_if<Constant>(&x)) {
        if (!constant->steps.empty()) not_plain(node, "changes the shape of codes", "it as it is");
        constant->dims = to;
    }
    give(node, std::move(x));
}

void Recogniser::gather_numbers(const Node& node) {
    const Numbers few = expect_row(node, numbers(node, 0));
    const auto size = static_cast<int64_t>(few.items.size());
    Numbers taken{numbers(node, 1).dims, {}, few.whole};
    for (const int64_t place : integers(node, 1, kMostNumbers)) {
        const int64_t index = place < 0 ? place + size : place;
        if (index < 0 || index >= size) bad_model("has ", shown(node), " of numbers that are not there");
        taken.items.push_back(few.items[index]);
    }
    give(node, std::move(taken));
}

void Recogniser::slice_numbers(const Node& node) {
    const Numbers few = expect_row(node, numbers(node, 0));
    const auto part = [&](const char* name, size_t index) {
        return has_input(node, index) ? integers(node, index, 1) : node.integers(name, {});
    };
    const auto starts = part("starts", 1), ends = part("ends", 2), steps = part("steps", 4);
    if (starts.size() != 1 || ends.size() != 1 || steps.size() > 1) not_plain(node, "cuts more than one axis", kFew);
    const auto size = static_cast<int64_t>(few.items.size());
    Numbers taken{{}, {}, few.whole};
    for (const int64_t i : sliced(node, starts[0], ends[0], steps.empty() ? 1 : steps[0], size)) {
        taken.items.push_back(few.items[i]);
    }
    taken.dims = {static_cast<int64_t>(taken.items.size())};
    give(node, std::move(taken));
}

void Recogniser::concat_numbers(const Node& node) {
    Numbers all;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
        const Numbers few = expect_row(node, numbers(node, i));
        all.whole = few.whole;
        all.items.insert(all.items.end(), few.items.begin(), few.items.end());
        if (all.items.size() > kMostNumbers) not_plain(node, "joins many numbers", kFew);
    }
    all.dims = {static_cast<int64_t>(all.items.size())};
    give(node, std::move(all));
}

void Recogniser::fill(const Node& node) {
    const std::vector<int64_t> dims = integers(node, 0, 1);
    if (dims.size() != 1 || dims[0] < 0 || dims[0] > kMostNumbers) not_plain(node, "makes many numbers", kFew);
    Numbers filled{dims, std::vector<double>(dims[0], 0.0), false};
    if (const auto value = node.attribute("value")) {
        const Tensor tensor = read_tensor(value->tensor);
        if (tensor.elements != 1) bad_model("has ", shown(node), " of ", tensor.elements, " numbers instead of one");
        filled.whole = !is_float(tensor.type);
        const double item = filled.whole ? as_size(integers_of(tensor)[0]) : floats_of(tensor)[0];
        std::fill(filled.items.begin(), filled.items.end(), item);
    }
    give(node, std::move(filled));
}

void Recogniser::choose(const Node& node) {
    const Numbers which = numbers(node, 0), yes = numbers(node, 1), no = numbers(node, 2);
    Numbers chosen{joined(node, yes, no), {}, yes.whole};
    if (which.dims != chosen.dims || chosen.items.size() == 1) {
        not_plain(node, "chooses among other shapes", "equal ones");
    }
    for (size_t i = 0; i < which.items.size(); ++i) {
        chosen.items.push_back(which.items[i] != 0 ? at(yes, i) : at(no, i));
    }
    give(node, std::move(chosen));
}

void Recogniser::floor_numbers(const Node& node) {
    Numbers few = numbers(node, 0);
    for (double& item : few.items) item = std::floor(item);
    give(node, std::move(few));
}

void Recogniser::calculate(const Node& node) {
    const Numbers a = numbers(node, 0), b = numbers(node, 1);
    Numbers result{joined(node, a, b), {}, a.whole};
    const size_t count = std::max(a.items.size(), b.items.size());
    for (size_t i = 0; i < count && !a.items.empty() && !b.items.empty(); ++i) {
        const double x = at(a, i), y = at(b, i);
        double value = 0;
        if (node.op == "Add") value = x + y;
        if (node.op == "Sub") value = x - y;
        if (node.op == "Mul") value = x * y;
        if (node.op == "Div") value = result.whole ? std::trunc(x / y) : x / y;
        if (node.op == "Equal") value = x == y;
        result.items.push_back(value);
    }
    result.whole = result.whole || node.op == "Equal";
    give(node, std::move(result));
}

}  // namespace repsr::cpu
