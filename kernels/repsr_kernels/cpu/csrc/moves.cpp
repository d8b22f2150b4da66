#include "moves.hpp"

#include <algorithm>
#include <utility>

namespace repsr::cpu {
namespace {

int64_t product(const Dims& dims, size_t from, size_t to) {
    int64_t count = 1;
    for (size_t axis = from; axis < to; ++axis) count *= dims[axis];
    return count;
}

void set_index(Origin& origin, std::vector<int32_t> index) {
    bool itself = true;
    for (size_t i = 0; itself && i < index.size(); ++i) itself = index[i] == static_cast<int32_t>(i);
    origin.index = itself ? nullptr : std::make_shared<const std::vector<int32_t>>(std::move(index));
}

Pixels with_elements(const Pixels& from, Dims dims, const std::vector<int32_t>& elements) {
    Pixels to = reshaped(from, std::move(dims));
    for (Origin Pixels::* origin : {&Pixels::picture, &Pixels::features}) {
        if (!(from.*origin).there) continue;
        std::vector<int32_t> index;
        index.reserve(elements.size());
        for (const int32_t element : elements) index.push_back((from.*origin).at(element));
        set_index(to.*origin, std::move(index));
    }
    return to;
}

// Which of `size` pixels a nearest enlargement takes for each of `size * factor`.
std::vector<int64_t> nearest_pixels(int64_t size, int64_t factor, bool half_pixel, Nearest rounding) {
    std::vector<int64_t> list;
    for (int64_t to = 0; to < size * factor; ++to) {
        // place / (2 factor) is where it lies, and one pixel more, so that nothing is below 0
        const int64_t place = (half_pixel ? 2 * to + 1 - factor : 2 * to) + 2 * factor;
        const int64_t below = place / (2 * factor) - 1, rest = place % (2 * factor);
        bool up = false;
        switch (rounding) {
            case Nearest::floor: break;
            case Nearest::ceil: up = rest > 0; break;
            case Nearest::prefer_floor: up = rest > factor; break;
            case Nearest::prefer_ceil: up = rest >= factor; break;
        }
        list.push_back(std::clamp<int64_t>(below + up, 0, size - 1));
    }
    return list;
}

}  // namespace

int64_t count_of(const Dims& dims) { return product(dims, 0, dims.size()); }

Pixels reshaped(Pixels pixels, Dims dims) {
    pixels.dims = std::move(dims);
    return pixels;
}

void Mover::check(const Dims& dims) const {
    int64_t count = 1;
    for (const int64_t dim : dims) {
        if (dim > 0 && count > left_ / dim) {
            throw Error(REPSR_NOT_PLAIN,
                        "the graph moves more pixels about than a plain network does; expected convolutions of "
                        "3x3, activations, a skip and PixelShuffle, as `repsr-fuse export` writes them");
        }
        count *= dim;
    }
}

void Mover::spend(const Dims& dims) {
    check(dims);
    left_ -= count_of(dims);
}

Pixels Mover::take(const Pixels& from, size_t axis, const std::vector<int64_t>& list) {
    Dims dims = from.dims;
    dims[axis] = static_cast<int64_t>(list.size());
    spend(dims);
    const int64_t outer = product(dims, 0, axis), inner = product(dims, axis + 1, dims.size()),
                  before = from.dims[axis];
    std::vector<int32_t> elements;
    elements.reserve(count_of(dims));
    for (int64_t i = 0; i < outer; ++i) {
        for (const int64_t place : list) {
            for (int64_t k = 0; k < inner; ++k) {
                elements.push_back(static_cast<int32_t>((i * before + place) * inner + k));
            }
        }
    }
    return with_elements(from, std::move(dims), elements);
}

Pixels Mover::repeat(const Pixels& from, size_t axis, int64_t times) {
    Dims dims = from.dims;
    dims.push_back(times);
    check(dims);
    std::vector<int64_t> list;
    for (int64_t i = 0; i < times * from.dims[axis]; ++i) list.push_back(i % from.dims[axis]);
    return take(from, axis, list);
}

Pixels Mover::transpose(const Pixels& from, const std::vector<int64_t>& order) {
    const size_t rank = order.size();
    Dims dims(rank), strides(rank), place(rank, 0);
    for (size_t axis = 0; axis < rank; ++axis) {
        const auto old = static_cast<size_t>(order[axis]);
        dims[axis] = from.dims[old];
        strides[axis] = product(from.dims, old + 1, rank);
    }
    spend(dims);
    std::vector<int32_t> elements(count_of(dims));
    int64_t element = 0;
    for (int32_t& to : elements) {
        to = static_cast<int32_t>(element);
        for (size_t axis = rank; axis-- > 0;) {  // the next place, counting from the last axis
            element += strides[axis];
            if (++place[axis] < dims[axis]) break;
            element -= strides[axis] * dims[axis];
            place[axis] = 0;
        }
    }
    return with_elements(from, std::move(dims), elements);
}

Pixels Mover::depth_to_space(const Pixels& from, int64_t factor, bool colour_first) {
    const int64_t colours = from.dims[1] / (factor * factor), height = from.dims[2], width = from.dims[3];
    const Dims parts = colour_first ? Dims{from.dims[0], colours, factor, factor, height, width}
                                    : Dims{from.dims[0], factor, factor, colours, height, width};
    const auto order = colour_first ? std::vector<int64_t>{0, 1, 4, 2, 5, 3} : std::vector<int64_t>{0, 3, 4, 1, 5, 2};
    return reshaped(transpose(reshaped(from, parts), order), {from.dims[0], colours, factor * height, factor * width});
}

Pixels Mover::enlarge(const Pixels& from, int64_t factor, bool half_pixel, Nearest rounding) {
    Dims dims = from.dims;
    dims.push_back(factor * factor);
    check(dims);
    const Pixels rows = take(from, 2, nearest_pixels(from.dims[2], factor, half_pixel, rounding));
    return take(rows, 3, nearest_pixels(from.dims[3], factor, half_pixel, rounding));
}

Pixels Mover::concatenate(const std::vector<const Pixels*>& parts, size_t axis) {
    Pixels whole = *parts[0];
    whole.dims[axis] = 0;
    for (const Pixels* part : parts) whole.dims[axis] += part->dims[axis];
    spend(whole.dims);
    const int64_t outer = product(whole.dims, 0, axis);
    for (Origin Pixels::* origin : {&Pixels::picture, &Pixels::features}) {
        if (!(whole.*origin).there) continue;
        std::vector<int32_t> index;
        index.reserve(count_of(whole.dims));
        for (int64_t i = 0; i < outer; ++i) {
            for (const Pixels* part : parts) {
                const int64_t run = product(part->dims, axis, part->dims.size());
                for (int64_t k = 0; k < run; ++k) index.push_back((part->*origin).at(i * run + k));
            }
        }
        set_index(whole.*origin, std::move(index));
    }
    return whole;
}

}  // namespace repsr::cpu
