// Where pixels go.
#include <algorithm>
#include <cmath>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

void expect_batch(const Node& node, const Pixels& x) {
    if (x.dims.size() != 4) not_plain(node, said("reads a tensor of shape ", shown(x.dims)), "N x C x H x W");
}

// The picture in the same state.
bool are_alike(const Pixels& a, const Pixels& b, size_t axis) {
    Dims dims = b.dims;
    if (axis >= dims.size() || a.dims.size() != dims.size()) return false;
    dims[axis] = a.dims[axis];
    return a.picture.there && b.picture.there && !a.features.there && !b.features.there && a.dims == dims &&
           a.type == b.type && a.factor == b.factor && a.bilinear == b.bilinear && a.coding == Coding::none &&
           b.coding == Coding::none;
}

}  // namespace

std::vector<int64_t> sliced(const Node& node, int64_t start, int64_t end, int64_t step, int64_t size) {
    if (step != 1) not_plain(node, said("has a step of ", step), "1");
    if (start < 0) start += size;
    if (end < 0) end += size;
    start = std::clamp<int64_t>(start, 0, size);
    end = std::clamp<int64_t>(end, 0, size);
    std::vector<int64_t> list;
    for (int64_t i = start; i < end; ++i) list.push_back(i);
    return list;
}

Dims resolved(const Node& node, const Dims& dims, const std::vector<int64_t>& target) {
    const int64_t count = count_of(dims);
    const bool copies = node.integer("allowzero", 0) == 0;
    Dims to;
    int64_t known = 1;
    for (size_t axis = 0; axis < target.size(); ++axis) {
        to.push_back(target[axis] == 0 && copies && axis < dims.size() ? dims[axis] : target[axis]);
        if (to[axis] == -1) continue;
        if (to[axis] < 1 || known > count / to[axis]) known = 0;
        if (known == 0) break;
        known *= to[axis];
    }
    const auto open = std::count(to.begin(), to.end(), -1);
    if (known == 0 || open > 1 || (open == 1 ? count % known : count - known) != 0) {
        not_plain(node, said("makes shape ", shown(target), " of ", shown(dims)), "one that fits pictures of any size");
    }
    std::replace(to.begin(), to.end(), int64_t{-1}, count / known);
    return to;
}

void Recogniser::identity(const Node& node) { give(node, pixels(node, 0)); }

void Recogniser::transpose(const Node& node) {
    const Pixels& x = pixels(node, 0);
    std::vector<int64_t> axes(x.dims.size());
    for (size_t axis = 0; axis < axes.size(); ++axis) axes[axis] = static_cast<int64_t>(axis);
    const std::vector<int64_t> order = node.integers("perm", {axes.rbegin(), axes.rend()});
    if (!std::is_permutation(order.begin(), order.end(), axes.begin(), axes.end())) {
        bad_model("has ", shown(node), " of ", axes.size(), " axes by perm ", shown(order));
    }
    give(node, mover_.transpose(x, order));
}

void Recogniser::gather(const Node& node) {
    const Pixels& x = pixels(node, 0);
    expect_batch(node, x);
    const int64_t axis = node.integer("axis", 0);
    if (axis != 1 && axis != -3) not_plain(node, said("gathers along axis ", axis), "channels, axis 1");
    std::vector<int64_t> list = integers(node, 1, kMostChannels);
    for (int64_t& channel : list) {
        if (channel < 0) channel += x.dims[1];
        if (channel < 0 || channel >= x.dims[1]) bad_model("has ", shown(node), " of channels that are not there");
    }
    if (list.empty()) bad_model("has ", shown(node), " of nothing");
    give(node, mover_.take(x, 1, list));
}

void Recogniser::slice(const Node& node) {
    const Pixels& x = pixels(node, 0);
    expect_batch(node, x);
    const auto part = [&](const char* name, size_t index) {
        return has_input(node, index) ? integers(node, index, kMostDims) : node.integers(name, {});
    };
    const auto starts = part("starts", 1), ends = part("ends", 2), axes = part("axes", 3), steps = part("steps", 4);
    if (starts.size() != 1 || ends.size() != 1 || axes != std::vector<int64_t>{1} || steps.size() > 1) {
        not_plain(node, "cuts the picture", "one range of channels");
    }
    const auto list = sliced(node, starts[0], ends[0], steps.empty() ? 1 : steps[0], x.dims[1]);
    if (list.empty()) bad_model("has ", shown(node), " of nothing");
    give(node, mover_.take(x, 1, list));
}

void Recogniser::concat(const Node& node) {
    std::vector<const Pixels*> parts;
    for (size_t i = 0; i < node.inputs.size(); ++i) parts.push_back(&pixels(node, i));
    const auto rank = static_cast<int64_t>(parts[0]->dims.size());
    const int64_t stated = node.integer("axis", 0), axis = stated < 0 ? stated + rank : stated;
    for (const Pixels* part : parts) {
        if (axis < 0 || !are_alike(*parts[0], *part, static_cast<size_t>(axis))) {
            not_plain(node, "joins other tensors than parts of the picture", kOnePath);
        }
    }
    give(node, mover_.concatenate(parts, static_cast<size_t>(axis)));
}

void Recogniser::tile(const Node& node) {
    Pixels x = pixels(node, 0);
    const std::vector<int64_t> times = integers(node, 1, kMostDims);
    if (times.size() != x.dims.size()) {
        bad_model("has ", shown(node), " of ", x.dims.size(), " axes with ", times.size(), " repeats");
    }
    for (size_t axis = 0; axis < times.size(); ++axis) {
        if (times[axis] < 1) bad_model("has ", shown(node), " that repeats ", times[axis], " times");
        if (times[axis] > 1) x = mover_.repeat(x, axis, times[axis]);
    }
    give(node, std::move(x));
}

void Recogniser::expand(const Node& node) {
    Pixels x = pixels(node, 0);
    const std::vector<int64_t> target = integers(node, 1, kMostDims);
    while (x.dims.size() < target.size()) x.dims.insert(x.dims.begin(), 1);
    const size_t before = x.dims.size() - target.size();
    for (size_t i = 0; i < target.size(); ++i) {
        const size_t axis = before + i;
        if (target[i] == 1 || target[i] == x.dims[axis]) continue;
        if (x.dims[axis] != 1 || target[i] < 1) {
            bad_model("has ", shown(node), " of ", shown(x.dims), " to ", shown(target));
        }
        x = mover_.repeat(x, axis, target[i]);
    }
    give(node, std::move(x));
}

void Recogniser::reshape(const Node& node) {
    const Pixels& x = pixels(node, 0);
    give(node, reshaped(x, resolved(node, x.dims, integers(node, 1, kMostDims))));
}

void Recogniser::squeeze(const Node& node) {
    const Pixels& x = pixels(node, 0);
    const std::vector<int64_t> gone = axes(node, 1, x.dims.size());
    const bool all = gone.empty();
    Dims dims;
    for (size_t axis = 0; axis < x.dims.size(); ++axis) {
        const bool stated = std::binary_search(gone.begin(), gone.end(), static_cast<int64_t>(axis));
        if (stated && x.dims[axis] != 1) bad_model("has ", shown(node), " of an axis of ", x.dims[axis]);
        if (!stated && !(all && x.dims[axis] == 1)) dims.push_back(x.dims[axis]);
    }
    give(node, reshaped(x, std::move(dims)));
}

void Recogniser::unsqueeze(const Node& node) {
    const Pixels& x = pixels(node, 0);
    const size_t added = (has_input(node, 1) ? integers(node, 1, kMostDims) : node.integers("axes", {})).size();
    if (x.dims.size() + added > kMostDims) not_plain(node, "makes many axes", "as many as PixelShuffle needs");
    Dims dims = x.dims;
    for (const int64_t axis : axes(node, 1, x.dims.size() + added)) dims.insert(dims.begin() + axis, 1);
    give(node, reshaped(x, std::move(dims)));
}

void Recogniser::depth_to_space(const Node& node) {
    const Pixels& x = pixels(node, 0);
    expect_batch(node, x);
    const int64_t factor = node.integer("blocksize", 0);
    if (factor < 1 || factor > kLargestScale) not_plain(node, said("has a blocksize of ", factor), "1 to 4");
    if (x.dims[1] % (factor * factor) != 0) {
        bad_model("has ", shown(node), ", which spreads ", x.dims[1], " channels over ", factor, "x", factor,
                  " pixels");
    }
    const std::string_view mode = node.text("mode", "DCR");
    if (mode != "CRD" && mode != "DCR") not_plain(node, said("has mode '", shown(mode), "'"), "CRD or DCR");
    give(node, mover_.depth_to_space(x, factor, mode == "CRD"));
}

// Four factors, or none.
std::vector<float> Recogniser::resize_scales(const Node& node, const Pixels& x) const {
    const bool old = node.op == "Upsample" || graph_.opset < 11;  // in which there is no region of interest
    if (const auto stated = node.attribute("scales")) return stated->singles;  // Upsample before operator set 9
    std::vector<float> scales;
    if (has_input(node, old ? 1 : 2)) scales = floats(node, old ? 1 : 2, 4);
    if (!scales.empty() || !has_input(node, 3)) return scales;
    for (const int64_t size : integers(node, 3, 4)) {
        if (scales.size() < x.dims.size()) {
            scales.push_back(static_cast<float>(size) / static_cast<float>(x.dims[scales.size()]));
        }
    }
    return scales;
}

void Recogniser::resize(const Node& node) {
    const Pixels& x = pixels(node, 0);
    expect_batch(node, x);
    const std::vector<float> scales = resize_scales(node, x);
    const float scale = scales.size() == 4 ? scales[3] : 0;
    const bool whole = scale >= 1 && scale <= kLargestScale && scale == std::floor(scale);
    if (!whole || scales != std::vector<float>{1, 1, scale, scale} || node.attribute("axes")) {
        not_plain(node, "enlarges by other factors", "1, 1, s, s with a whole s of 1 to 4");
    }
    const auto factor = static_cast<int64_t>(scale);

    const bool old = node.op == "Upsample" || graph_.opset < 11;
    const std::string_view mode = node.text("mode", "nearest");
    const std::string_view how = old ? "asymmetric" : node.text("coordinate_transformation_mode", "half_pixel");
    const std::string_view rounding = old ? "floor" : node.text("nearest_mode", "round_prefer_floor");
    const bool half_pixel = how == "half_pixel" || how == "pytorch_half_pixel";
    static const std::map<std::string_view, Nearest> kRounding = {{"floor", Nearest::floor},
                                                                  {"ceil", Nearest::ceil},
                                                                  {"round_prefer_floor", Nearest::prefer_floor},
                                                                  {"round_prefer_ceil", Nearest::prefer_ceil}};
    if (mode == "nearest" && (half_pixel || how == "asymmetric") && kRounding.count(rounding)) {
        return give(node, mover_.enlarge(x, factor, half_pixel, kRounding.at(rounding)));
    }
    const bool picture =
        x.picture.there && !x.picture.index && !x.features.there && !x.bilinear && x.coding == Coding::none;
    if (mode != "linear" || !half_pixel || !picture || node.integer("antialias", 0) != 0) {
        not_plain(node, said("enlarges by mode '", shown(mode), "' with '", shown(how), "'"),
                  "nearest, or of the picture linear with half_pixel");
    }
    Pixels y = reshaped(x, {x.dims[0], x.dims[1], factor * x.dims[2], factor * x.dims[3]});
    if (factor > 1) y.bilinear = static_cast<int>(factor);
    give(node, std::move(y));
}

}  // namespace repsr::cpu
