// What one instruction set offers to the driver: functions that make a row from rows. Nothing here allocates, throws or
// includes anything of the standard library but sizes: texts that are compiled for one instruction set must leave no
// function behind that others could be linked with.
//
// A row of activations is `[groups][stride]` words of 32 bits: pixel x of the channels of group g is word
// `g * stride + x`. A word holds 1 channel in fp32, 2 in bf16, 2 in codes of 16 bits, 4 in codes of 8 bits, the lower
// channel in the lower bits. So a vector holds neighbouring pixels, and a shift by a pixel is another address.
#pragma once

#include <cstdint>

namespace repsr::cpu {

constexpr int kOutputs = 8;      // outputs of a layer between head and tail are padded with zeros to a multiple
constexpr int kSlack = 64;       // words before the first and behind the last pixel of a row that may be read, and behind
                                 // the last one written, as a kernel works on whole vectors: `stride` of rows of words
                                 // is at least `columns + kSlack`. Bytes, planes and skips are read and written exactly

enum class Words : int { floats, halves, codes };  // fp32; bf16; codes of 8 or 16 bits, as the instruction set likes

// One layer, packed.
struct Packed {
    const uint32_t* weights;  // [blocks of outputs][3 rows][3 columns][groups of inputs][outputs of the block]
    const float* bias;        // [outputs]; of a layer whose output is codes: divided by their step
    const float* gain;        // [outputs]: a sum of codes becomes gain * sum + bias, in units as bias; null for floats.
                              // Where codes are made of it, it stays below 2^30, also behind the activation
    const float* slope;       // [outputs]: where the sign is set, of -0 too; null where nothing stands behind the layer
    const int32_t* start;     // [outputs]: what a sum of codes begins with, as padding and zero are not code 0; null for
                              // floats. Sums stay within 32 bits, also those of a part of the products
    int32_t groups;           // of inputs
    int32_t outputs;          // padded: a multiple of kOutputs; of a last layer C s s as it is
    int32_t out_zero;         // where codes are made: value -> clamp(rint(value) + out_zero, out_low, out_high), stored
    int32_t out_low, out_high;  // as the arithmetic's own codes (Arithmetic::offset is already in these three)
};

// The three rows that a row is made of. `rows[k]` is the word of pixel 0 of group 0; pixels -1 and `columns` are read.
struct Source {
    const uint32_t* rows[3];
    int64_t stride;
};

// A row of a layer between: `columns` pixels, and up to kSlack words more of any value behind them.
using MakeRow = void (*)(const Packed&, const Source&, int64_t columns, uint32_t* out, int64_t out_stride);

// Where a row of the result goes. What is added to channel (c, dy, dx) at pixel x is
// `skip[c * skip_colour + dy * skip_dy + dx * skip_dx + x]`, so that a nearest skip has strides 0 for dy and dx, and
// none at all reads one row of zeros. The value is `sum * gain + skip`, in one rounding.
struct Target {
    const float* skip;
    int64_t skip_colour, skip_dy, skip_dx;
    float gain;               // 255 for bytes, 1 for floats
    bool clamps;              // floats: to 0..1; bytes always are: to 0..255, rounded half to even
    uint8_t* bytes;           // row 0 of s, pixel 0 of the result: H x W x C; null: floats
    float* floats;            // the same of plane 0
    int64_t pitch, plane;     // both in bytes, of floats too
};

// The last layer, for s rows of the result. Returns whether a value was NaN or infinite. Writes exactly
// s x (s * columns) pixels.
using MakePixels = bool (*)(const Packed&, const Source&, int64_t columns, const Target&);

// How one precision is computed.
struct Arithmetic {
    int32_t group;            // channels in a word of its input
    int32_t block;            // outputs of a block, of layers between head and tail
    int32_t offset;           // codes: what is added to a code of -128..127 before it is stored (128 where the instruction
                              // wants unsigned ones)
    int32_t code_bits;        // codes: 8 or 16 bits in a word; 0 for others
    MakeRow to[3];            // by Words of the output; null where this does not occur
    MakePixels pixels[2][4];  // [C == 3][s - 1]
    int32_t pixels_block[2][4];  // outputs of a block of the last layer: Packed::weights of it are in the order dy, c, dx
                              // (output `(dy * C + c) * s + dx`), as are bias, gain and start
    // Multiply-adds of so many rounds of the instruction, timed by the caller.
    int64_t (*spin)(int64_t rounds);
};

struct Kernels {
    const char* name;
    int32_t lanes;                      // words of a vector
    const Arithmetic* arithmetic[3];    // by Words of the input; null where there is none
    // The picture is 0..255 inside, whatever the job's samples are.
    // A row of bytes H x W x C as planes of floats, `stride` floats apart.
    void (*planes_from_bytes)(const uint8_t* row, int64_t columns, int32_t colours, float* planes, int64_t stride);
    // Planes of floats as words of halves, (r, g), (b, 0) or (y, 0), rounded half to even; null without bf16.
    void (*halves_from_planes)(const float* planes, int64_t stride, int64_t columns, int32_t colours, uint32_t* words,
                               int64_t words_stride);
    // Planes of floats as codes: rint(value * factor) + zero, clamped to low..high; for models whose first layer is one of codes.
    void (*codes_from_planes)(const float* planes, int64_t stride, int64_t columns, int32_t colours, float factor,
                              int32_t zero, int32_t low, int32_t high, uint32_t* words, int64_t words_stride);
};

// The instruction sets, each there where REPSR_HAVE_AVX2 and so on says so: `build.py` defines it for those that it
// compiles. Whether this very processor has them is known to `processor.hpp`.
const Kernels* kernels_portable();
const Kernels* kernels_avx2();
const Kernels* kernels_avxvnni();
const Kernels* kernels_avx512();
const Kernels* kernels_avx512vnni();
const Kernels* kernels_avx512bf16();
const Kernels* kernels_neon();
const Kernels* kernels_neon_dotprod();
const Kernels* kernels_neon_bf16();

}  // namespace repsr::cpu
