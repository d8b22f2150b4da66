// How a picture is cut into pieces of work: pure functions of sizes.
#pragma once

#include <cstdint>
#include <vector>

namespace repsr::cpu {

// LR pixels that one thread makes in one go.
struct Unit {
    int64_t first_row, end_row, first_column, end_column;
};

// What a layer costs. The layers of a network stand in their order; layer i is also made for `layers - 1 - i` rows and
// columns around a unit, as far as the picture goes.
struct LayerCost {
    double cycles;         // of one pixel
    int64_t input_bytes;   // of one pixel in one row of what it reads
    int64_t weight_bytes;
};

struct Machine {
    int64_t lanes;     // words of a vector: columns are made by whole vectors
    int64_t l2_bytes;  // of a core
};

// Rows `first_row`..`end_row` of a picture.
struct Area {
    int64_t height, width, first_row, end_row;
};

// What the caller wants; 0: what is best.
struct Wishes {
    int64_t threads = 1, strip_rows = 0, block_columns = 0;
};

struct Plan {
    Area area;
    int64_t strip_rows, block_columns;
    int64_t strips, blocks;
    int64_t threads;  // no more than asked for, and than there is work for

    int64_t units() const { return strips * blocks; }
    Unit unit(int64_t index) const;
};

Plan make_plan(const Area& area, const std::vector<LayerCost>& layers, const Machine& machine, const Wishes& wishes);

}  // namespace repsr::cpu
