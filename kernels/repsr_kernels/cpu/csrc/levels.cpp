// What is done with all pixels alike: types, ranges, the sum with the skip.
#include <cmath>

#include "recogniser.hpp"

namespace repsr::cpu {
namespace {

constexpr double kSame = 1e-6;  // 255 * float32(1 / 255) is 1
constexpr double kPeak = 255;

bool is_level(const Pixels& x) { return is_float(x.type) && x.coding == Coding::none; }

}  // namespace

void Recogniser::cast(const Node& node) {
    const auto type = static_cast<Type>(node.integer("to", 0));
    Pixels x = pixels(node, 0);
    const bool to_bytes = type == Type::uint8 && (x.type == Type::uint8 || (x.rounded && x.factor == kPeak));
    if (x.coding == Coding::codes || !(is_float(type) || to_bytes)) {
        not_plain(node, said("converts to ", name_of(type)), "floats, or uint8 behind Round of 0..255");
    }
    x.type = type;
    give(node, std::move(x));
}

void Recogniser::scale(const Node& node) {
    const size_t which = std::holds_alternative<Pixels>(input(node, 0)) ? 0 : 1;
    const bool divides = node.op == "Div";
    if (std::holds_alternative<Pixels>(input(node, 1 - which)) || (divides && which == 1)) {
        not_plain(node, "computes with two tensors of pixels", "one, and a constant");
    }
    Pixels x = pixels(node, which);
    const double number = scalar(node, 1 - which), factor = divides ? x.factor / number : x.factor * number;
    const bool one = std::abs(factor - 1) < kSame, peak = std::abs(factor / kPeak - 1) < kSame;
    if (!is_level(x) || x.rounded || !(one || peak)) {
        not_plain(node, said("scales 0..", x.factor, " to 0..", factor),
                  "0..1 of 0..255, or 0..255 of 0..1 before Round");
    }
    x.factor = one ? 1 : kPeak;
    give(node, std::move(x));
}

void Recogniser::add(const Node& node) {
    for (size_t i = 0; i < 2; ++i) {
        if (!std::holds_alternative<Pixels>(input(node, i))) not_plain(node, "adds a constant", "the enlarged picture");
    }
    const size_t which = pixels(node, 0).features.there ? 0 : 1;
    const Pixels &x = pixels(node, which), &skip = pixels(node, 1 - which);
    if (!x.features.there || x.picture.there || !skip.picture.there || skip.features.there) {
        not_plain(node, "adds other tensors than what the last layer gives and the enlarged picture",
                  "one skip, around all layers");
    }
    for (const Pixels* part : {&x, &skip}) {
        if (!is_level(*part) || part->clamped || part->rounded || part->factor != 1) {
            not_plain(node, "adds pixels that were clamped, rounded or scaled before", "both as floats of 0..1");
        }
    }
    if (x.dims != skip.dims) {
        not_plain(node, said("adds shapes ", shown(x.dims), " and ", shown(skip.dims)), "equal ones");
    }
    Pixels sum = x;
    sum.picture = skip.picture;
    sum.bilinear = skip.bilinear;
    give(node, std::move(sum));
}

void Recogniser::clip(const Node& node) {
    Pixels x = pixels(node, 0);
    double bounds[2] = {-HUGE_VAL, HUGE_VAL};
    for (size_t i = 0; i < 2; ++i) {
        if (const auto stated = node.attribute(i == 0 ? "min" : "max")) bounds[i] = stated->single;
        if (has_input(node, i + 1)) bounds[i] = scalar(node, i + 1);
    }
    if (!x.features.there || !is_level(x) || bounds[0] != 0 || bounds[1] != x.factor) {
        not_plain(node, said("clamps to ", bounds[0], "..", bounds[1]), "0..1, behind the last layer");
    }
    x.clamped = true;
    give(node, std::move(x));
}

void Recogniser::round(const Node& node) {
    Pixels x = pixels(node, 0);
    if (!x.features.there || !is_level(x) || x.factor != kPeak) {
        not_plain(node, said("rounds values of 0..", x.factor), "a multiplication by 255 before it");
    }
    x.rounded = true;
    give(node, std::move(x));
}

}  // namespace repsr::cpu
