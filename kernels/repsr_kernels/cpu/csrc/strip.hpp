// One unit of work: a picture's rows go through all layers, three rows of each at a time, which stay in the cache.
//
// Stage 0 is the picture as words, stage i what layer i - 1 makes of stage i - 1. A row is made as soon as the one
// below it is there in the stage before. Stage i also has `layers - i` rows and columns around the unit, as far as the
// picture goes; what lies beyond is the stage's word of zeros, as a row or a column of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "aligned.hpp"
#include "kernels.hpp"
#include "pack.hpp"
#include "picture.hpp"
#include "plan.hpp"
#include "skip.hpp"

namespace repsr::cpu {

// What a layer reads.
struct Stage {
    Words words;
    int32_t groups;
    uint32_t pad;  // beyond the picture
};

// A layer between the picture and the last one.
struct RowLayer {
    PackedLayer layer;
    MakeRow make;
};

// A network made ready for one instruction set.
struct Program {
    const Kernels* kernels = nullptr;
    int32_t colours = 3, scale = 1;
    repsr_skip skip = REPSR_NO_SKIP;
    bool clamps = false;
    float picture_factor = 1;      // of a first layer of codes: value of 0..255 -> rint(value * factor) + zero
    StoredCodes picture_codes;
    std::vector<Stage> stages;     // one for each layer
    std::vector<RowLayer> rows;    // all layers but the last one
    RowLayer features;             // the last one, as rows of floats
    PackedLayer pixels;            // and as pixels
    MakePixels make_pixels = nullptr;

    int64_t layers() const { return static_cast<int64_t>(stages.size()); }
};

enum class Outcome { done, bad_picture, bad_result };  // the latter two: a number is NaN or infinite

// Makes one unit after the other, in memory that it keeps.
class Strip {
public:
    // Words for units of up to so many columns of a picture of such a width.
    static size_t words(const Program& program, int64_t columns, int64_t width);

    // `program` must live as long. Raises bad_alloc.
    Strip(const Program& program, size_t words);

    // Units that fit into the words.
    Outcome run(const Picture& picture, const Result& result, const Unit& unit) noexcept;

    size_t capacity() const { return memory_.size(); }

private:
    // Three rows of a stage.
    struct Ring {
        uint32_t* words = nullptr;              // pixel `left` of group 0 in the first of the three
        int64_t stride = 0, groups = 0;
        int64_t left = 0, columns = 0;          // of the picture
        int64_t first_row = 0, end_row = 0;     // row -1 and row `height` among them, where the unit comes near

        uint32_t* row(int64_t y) const { return words + (y + 3) % 3 * groups * stride; }
    };

    void lay_out();
    bool read_picture(int64_t y);
    void make_row(int64_t stage, int64_t y);
    bool make_result(int64_t y);
    bool make_features(int64_t y);
    void pad_row(int64_t stage, int64_t y);
    void pad_right(int64_t stage, int64_t y);
    Source source(int64_t layer, int64_t y, int64_t left) const;

    const Program& program_;
    Aligned<uint32_t> memory_;
    std::vector<Ring> rings_;
    Skip skip_;
    const Picture* picture_ = nullptr;
    const Result* result_ = nullptr;
    Unit unit_{};
    float* planes_ = nullptr;      // of a row of the picture
    uint32_t* scratch_ = nullptr;  // a row of features
};

}  // namespace repsr::cpu
