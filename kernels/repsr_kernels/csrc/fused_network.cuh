// A whole network in one kernel: RepSR-MxC16 folded, 3 -> 16, M times 16 -> 16, 16 -> 3 s s, all 3 x 3 and zero-padded,
// PReLU between, the picture repeated before PixelShuffle; uint8 in, uint8 out. docs/design/fused_network.md.
//
// A block makes one tile of the picture after the other, a layer at a time. Activations stay in shared memory, 16
// halves a pixel; the region that is computed shrinks by a pixel on each side from layer to layer. Within a layer a
// warp walks down a strip of 16 columns: each row of pixels is loaded once (the A operand, three times shifted by a
// column) and multiplied by the three rows of a kernel's taps (B operands, in registers), for the three rows of output
// that see it.
#pragma once

#include "blocks.cuh"
#include "mma.cuh"
#include "shared_memory.cuh"

namespace repsr {

struct FusedNetwork {
    View image;               // N x 3 x height x width: UINT8
    View out;                 // N x 3 x s height x s width: UINT8
    const uint32_t* weights;  // packing.py writes them
    int32_t count, height, width;
    int32_t tile_rows;
    int32_t down, across;     // tiles of an image
};

static_assert(sizeof(FusedNetwork) == 128, "the layout that operation.py writes");

// Sizes of a network and of its tiles; plan.py has the same formulas.
template <int SCALE_, int BODY_, int STRIPS_>
struct NetworkPlan {
    static_assert(SCALE_ == 2 || SCALE_ == 4, "neighbours in a word of sums are neighbours in a row of the picture");
    static constexpr int SCALE = SCALE_, BODY = BODY_, STRIPS = STRIPS_;
    static constexpr int MARGIN = BODY + 1;  // pixels around a tile that the first layer makes
    static constexpr int COLUMNS = 16 * STRIPS, TILE_COLUMNS = COLUMNS - 2 * MARGIN;
    static constexpr int INPUT_COLUMNS = COLUMNS + 4;       // one on the left, three on the right: A reaches there
    static constexpr int WARPS = 12, THREADS = 32 * WARPS;  // more would leave them too few registers: 168 each
    static constexpr int SEGMENTS = WARPS / STRIPS;         // parts into which the rows of a strip are divided
    static_assert(WARPS % STRIPS == 0, "every strip has as many warps");
    static constexpr int TAIL_PASSES = (3 * SCALE * SCALE + 15) / 16;

    // bytes: two buffers, the second one without the first and the last row, pixels that may be touched around them
    static constexpr int PIXEL = 32, ROW = COLUMNS * PIXEL, GUARD = 256, FIRST = GUARD;
    static constexpr __device__ __forceinline__ int second(int rows) { return FIRST + rows * ROW + GUARD; }
    static constexpr int FEWEST = 2 * MARGIN + 1;  // rows
    static_assert((FEWEST + 2) * INPUT_COLUMNS * 8 <= (FEWEST - 2) * ROW, "the second buffer holds the picture first");
    static_assert(TILE_COLUMNS > 0, "strips that are wider than their margins");
};

// Weights of 16 output channels, as B operands: rows of taps, fragments of a row, channels 0..7 and 8..15.
template <int FRAGMENTS>
struct Taps {
    static constexpr int WORDS = 3 * FRAGMENTS * 2 * 64 + 32;  // with 16 biases and 16 slopes behind them

    uint32_t words[3][FRAGMENTS][2][2];
    float bias[2][2], slope[2][2];  // of this lane's channels 8 h + 2 t + i

    __device__ __forceinline__ void load(const uint32_t* from) {
        const int lane = threadIdx.x % 32, t = lane % 4;
        for (int index = 0; index < 3 * FRAGMENTS * 2; ++index) {
            const Words<8> pair = read_words<8>(from + index * 64 + lane * 2);
            uint32_t(&operand)[2] = words[index / 2 / FRAGMENTS][index / 2 % FRAGMENTS][index % 2];
            for (int i = 0; i < 2; ++i) operand[i] = pair.words[i];
        }
        from += 3 * FRAGMENTS * 2 * 64;
        for (int h = 0; h < 2; ++h) {
            const Words<8> biases = read_words<8>(from + 8 * h + 2 * t);
            const Words<8> slopes = read_words<8>(from + 16 + 8 * h + 2 * t);
            for (int i = 0; i < 2; ++i) bias[h][i] = float_of(biases.words[i]), slope[h][i] = float_of(slopes.words[i]);
        }
    }
};

// Sums of 16 pixels x 16 channels, as D operands of channels 0..7 and 8..15.
using Sums = float[2][4];

// Rows begin..end - 1 of a convolution in a strip. load(row, pixels) gives the A operands of a row of its input;
// finish(row, sums) takes a row of sums, which began with the bias and then took the taps from the upper left on.
template <int FRAGMENTS, class Load, class Finish>
__device__ __forceinline__ void convolve(const Taps<FRAGMENTS>& taps, int begin, int end, Load load, Finish finish) {
    const auto start = [&](Sums& sums) {
        for (int h = 0; h < 2; ++h)
            for (int k = 0; k < 4; ++k) sums[h][k] = taps.bias[h][k % 2];
    };
    // `row` is what the upper taps of the row below see, the middle ones of the same row, the lower ones of that above
    const auto step = [&](int row, Sums& below, Sums& same, Sums& above) {
        uint32_t pixels[FRAGMENTS][4];
        load(row, pixels);
        const auto add = [&](int made, Sums& sums, int tap) {
            if (made < begin || made >= end) return;
            for (int f = 0; f < FRAGMENTS; ++f)
                for (int h = 0; h < 2; ++h) multiply_add(sums[h], pixels[f], taps.words[tap][f][h]);
        };
        add(row + 1, below, 0);
        add(row, same, 1);
        add(row - 1, above, 2);
        if (row > begin) finish(row - 1, above);
        start(above);
    };
    Sums first, second, third;
    start(first);
    for (int row = begin - 1; row <= end; row += 3) {  // three steps, after which all are in their places again
        step(row, first, second, third);
        if (row + 1 <= end) step(row + 1, third, first, second);
        if (row + 2 <= end) step(row + 2, second, third, first);
    }
}

// One tile, as a thread sees it.
template <class Plan>
struct NetworkTile {
    const FusedNetwork& params;
    unsigned char* const shared;
    int32_t image, top, left;  // of the tile in the picture
    int32_t rows;              // of the region that is computed, margins and all; fewer at the picture's lower end

    __device__ __forceinline__ NetworkTile(const FusedNetwork& params, int32_t index)
        : params(params), shared(shared_memory()) {
        image = index / (params.down * params.across);
        top = index / params.across % params.down * params.tile_rows;
        left = index % params.across * Plan::TILE_COLUMNS;
        rows = least(params.tile_rows, params.height - top) + 2 * Plan::MARGIN;
    }

    // Row and column of the picture for those of the region, and whether they lie in it.
    __device__ __forceinline__ int32_t y_of(int32_t row) const { return top - Plan::MARGIN + row; }
    __device__ __forceinline__ int32_t x_of(int32_t column) const { return left - Plan::MARGIN + column; }
    __device__ __forceinline__ bool has_row(int32_t row) const { return y_of(row) >= 0 && y_of(row) < params.height; }
    __device__ __forceinline__ bool has_column(int32_t column) const {
        return x_of(column) >= 0 && x_of(column) < params.width;
    }

    static __device__ __forceinline__ int lane() { return threadIdx.x % 32; }
    static __device__ __forceinline__ int strip() { return threadIdx.x / 32 % Plan::STRIPS; }
    static __device__ __forceinline__ int segment() { return threadIdx.x / 32 / Plan::STRIPS; }
    static __device__ __forceinline__ int pixel() { return strip() * 16 + lane() / 4; }  // column of d0; d2: 8 further

    // Where a layer's rows begin for a buffer that is read or written.
    __device__ __forceinline__ unsigned char* buffer(int index) const {
        return index == 0 ? shared + Plan::FIRST : picture() - Plan::ROW;
    }

    // Bytes from a row's begin to 8 channels of a pixel. The halves of every second group of four pixels change places:
    // 8 pixels beside each other then lie in different banks.
    static __device__ __forceinline__ int offset(int column, int half) {
        return column * Plan::PIXEL + ((half ^ (column >> 2 & 1)) * 16);
    }

    // This thread's rows of a layer, begin and end.
    __device__ __forceinline__ int begin_of(int layer) const { return layer + segment() * share_of(layer); }
    __device__ __forceinline__ int end_of(int layer) const {
        return least(begin_of(layer) + share_of(layer), rows - layer);
    }
    __device__ __forceinline__ int share_of(int layer) const {
        return (rows - 2 * layer + Plan::SEGMENTS - 1) / Plan::SEGMENTS;
    }

    // The picture's codes as halves, red, green, blue and 0, zeros around it.
    __device__ __forceinline__ void load_picture() const {
        for (int index = threadIdx.x; index < (rows + 2) * Plan::INPUT_COLUMNS; index += Plan::THREADS) {
            const int row = index / Plan::INPUT_COLUMNS - 1, column = index % Plan::INPUT_COLUMNS - 1;
            Words<8> codes = {{0, 0}};
            if (has_row(row) && has_column(column)) {
                const uint8_t* red = item_at<const uint8_t>(params.image, image, 0, y_of(row), x_of(column));
                const auto code = [&](int c) { return static_cast<float>(read_item(red + c * params.image.channel)); };
                codes = {{to_fp16_pair(code(0), code(1)), to_fp16_pair(code(2), 0)}};
            }
            write_words<8>(picture() + index * 8, codes);
        }
    }
    // At the same place for all tiles, low ones too: other warps may still read the first buffer for the tile before.
    __device__ __forceinline__ unsigned char* picture() const {
        return shared + Plan::second(params.tile_rows + 2 * Plan::MARGIN);
    }

    // PReLU, and zero outside the picture: there the next layer's padding is.
    template <bool IS_HEAD, int FRAGMENTS>
    __device__ __forceinline__ void store(
        unsigned char* to, const Taps<FRAGMENTS>& taps, int row, const Sums& sums) const {
        const auto activated = [&](int h, int k) {
            const float sum = IS_HEAD ? sums[h][k] * (1.0f / 255.0f) : sums[h][k];
            return sum > 0 ? sum : sum * taps.slope[h][k % 2];
        };
        to += row * Plan::ROW + lane() % 4 * 4;
        for (int part = 0; part < 2; ++part) {
            const uint32_t kept = has_row(row) && has_column(pixel() + 8 * part) ? ~0u : 0u;
            for (int h = 0; h < 2; ++h) {
                const uint32_t pair = to_fp16_pair(activated(h, 2 * part), activated(h, 2 * part + 1));
                write_words<4>(to + offset(pixel(), h) + part * 8 * Plan::PIXEL, Words<4>{{pair & kept}});
            }
        }
    }

    // 3 -> 16: a word of A holds two of four neighbours' red, green, blue and 0.
    __device__ __forceinline__ void head(const Taps<1>& taps) const {
        unsigned char* const to = buffer(0);
        convolve(
            taps, begin_of(0), end_of(0),
            [&](int row, uint32_t (&pixels)[1][4]) {
                const int at = ((row + 1) * Plan::INPUT_COLUMNS + pixel()) * 8 + lane() % 4 * 4;
                for (int k = 0; k < 4; ++k) pixels[0][k] = shared_word(picture() + at + k % 2 * 64 + k / 2 * 16);
            },
            [&](int row, const Sums& sums) { store<true>(to, taps, row, sums); });
    }
    static __device__ __forceinline__ uint32_t shared_word(const unsigned char* from) {
        return reinterpret_cast<const Words<4>*>(from)->words[0];
    }

    // A operands of a row of 16 channels, shifted by -1, 0 and 1 columns.
    __device__ __forceinline__ void load_row(const unsigned char* from, int row, uint32_t (&pixels)[3][4]) const {
        for (int f = 0; f < 3; ++f) {
            load_matrices(pixels[f], from + row * Plan::ROW + offset(strip() * 16 + lane() % 16 + f - 1, lane() / 16));
        }
    }

    // 16 -> 16, from buffer `source` to the other one.
    __device__ __forceinline__ void body(const Taps<3>& taps, int layer, int source) const {
        const unsigned char* const from = buffer(source);
        unsigned char* const to = buffer(1 - source);
        convolve(
            taps, begin_of(layer), end_of(layer),
            [&](int row, uint32_t (&pixels)[3][4]) { load_row(from, row, pixels); },
            [&](int row, const Sums& sums) { store<false>(to, taps, row, sums); });
    }

    // 16 -> channels 16 pass .. 16 pass + 15 of 3 s s, with the picture repeated, to the place that PixelShuffle gives.
    __device__ __forceinline__ void tail(const Taps<3>& taps, int pass) const {
        constexpr int layer = Plan::BODY + 1, s = Plan::SCALE;
        const unsigned char* const from = buffer(Plan::BODY % 2);
        convolve(
            taps, begin_of(layer), end_of(layer),
            [&](int row, uint32_t (&pixels)[3][4]) { load_row(from, row, pixels); },
            [&](int row, const Sums& sums) {
                for (int k = 0; k < 4; ++k) {
                    const int part = k / 2, h = k % 2, column = pixel() + 8 * part;
                    const int channel = 16 * pass + 8 * h + lane() % 4 * 2, colour = channel / (s * s);
                    const bool mine = column >= Plan::MARGIN && column < Plan::COLUMNS - Plan::MARGIN;
                    if (colour >= 3 || !mine || !has_column(column)) continue;
                    const int64_t y = y_of(row), x = x_of(column);
                    const float skip = over_255(read_item(item_at<const uint8_t>(params.image, image, colour, y, x)));
                    uint8_t* to = item_at<uint8_t>(
                        params.out, image, colour, y * s + channel / s % s, x * s + channel % s);
                    for (int i = 0; i < 2; ++i) {
                        const float value = clamped_or_0(sums[h][2 * part + i] + skip) * 255.0f;
                        to[i * params.out.pixel] = static_cast<uint8_t>(whole(value));
                    }
                }
            });
    }

    __device__ __forceinline__ void make() const {
        const uint32_t* weights = params.weights;
        const auto next = [&](auto& taps) {
            taps.load(weights);
            weights += taps.WORDS;
            __syncthreads();  // behind the load, which goes on meanwhile
        };
        load_picture();
        {
            Taps<1> taps;
            next(taps);
            head(taps);
        }
        Taps<3> taps;
        for (int layer = 1; layer <= Plan::BODY; ++layer) {
            next(taps);
            body(taps, layer, (layer - 1) % 2);
        }
        for (int pass = 0; pass < Plan::TAIL_PASSES; ++pass) {
            next(taps);
            tail(taps, pass);
        }
        // the next tile's picture goes to the second buffer, which nobody reads now unless the tail does
        if (Plan::BODY % 2 == 1) __syncthreads();
    }
};

}  // namespace repsr
