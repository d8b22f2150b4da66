// The table of functions of an instruction set, made of the types of numbers that it computes with.
#pragma once

#include "pixels.hpp"

namespace repsr::cpu {
namespace {

template <class N, class... Made>
constexpr Arithmetic make_arithmetic() {
    Arithmetic made{};
    made.group = N::kGroup;
    made.block = N::kBlock;
    made.offset = N::kOffset;
    made.code_bits = N::kCodeBits;
    ((made.to[static_cast<int>(Made::kWords)] = make_row<N, Made>), ...);
    made.pixels[0][0] = make_pixels<N, 1, 1>, made.pixels[0][1] = make_pixels<N, 1, 2>;
    made.pixels[0][2] = make_pixels<N, 1, 3>, made.pixels[0][3] = make_pixels<N, 1, 4>;
    made.pixels[1][0] = make_pixels<N, 3, 1>, made.pixels[1][1] = make_pixels<N, 3, 2>;
    made.pixels[1][2] = make_pixels<N, 3, 3>, made.pixels[1][3] = make_pixels<N, 3, 4>;
    for (int colour = 0; colour < 2; ++colour) {
        for (int scale = 1; scale <= 4; ++scale) {
            made.pixels_block[colour][scale - 1] = pixels_block<N>((colour ? 3 : 1) * scale * scale);
        }
    }
    made.spin = spin<N>;
    return made;
}

template <class N, class... Made>
constexpr Arithmetic kArithmetic = make_arithmetic<N, Made...>();

// `First`: any type of the set.
template <class First, class... Others>
constexpr Kernels make_kernels(const char* name) {
    Kernels made{};
    made.name = name;
    made.lanes = First::kLanes;
    made.planes_from_bytes = planes_from_bytes<First>;
    const auto add = [&made](auto number) {
        using N = decltype(number);
        made.arithmetic[static_cast<int>(N::kWords)] = &kArithmetic<N, First, Others...>;
        if constexpr (N::kWords == Words::halves) made.halves_from_planes = halves_from_planes<N>;
        if constexpr (N::kWords == Words::codes) made.codes_from_planes = codes_from_planes<N>;
    };
    add(First{});
    (add(Others{}), ...);
    return made;
}

}  // namespace
}  // namespace repsr::cpu
