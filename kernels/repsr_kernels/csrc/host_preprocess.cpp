// Preprocess (operations.py) on processors.
#include <cerrno>
#include <new>

#include "host_threads.hpp"
#include "preprocess.cuh"

namespace {

using repsr::Preprocess;

// Pixels of a block: many, so that loops over them become vectors; few, so that a block stays in the fastest cache.
constexpr int PIXELS = 64;
// Samples of a part that a thread takes: some 100 microseconds.
constexpr int64_t GRAIN = 1 << 18;

// The last block of a row begins so early that it is whole: it writes once more, and the same, what is there.
template <int CHANNELS>
void preprocess_row(const Preprocess& params, int n, int row) {
    const int64_t last = std::max(params.columns - PIXELS, 0);
    for (int64_t column = 0; column < params.columns; column += PIXELS) {
        repsr::preprocess_block<CHANNELS, PIXELS>(params, n, row, static_cast<int>(std::min(column, last)));
    }
}

}  // namespace

// 0, or an error number of errno.h.
extern "C" int repsr_preprocess(const Preprocess* params, int threads) {
    const auto make_row = params->channels == 3 ? preprocess_row<3> : preprocess_row<1>;
    const int64_t rows = params->rows, samples = int64_t{params->columns} * params->out_channels;
    try {
        repsr::parallel(threads, params->count * rows, std::max<int64_t>(GRAIN / samples, 1), [&](auto first, auto end) noexcept {
            for (int64_t at = first; at < end; ++at) {
                make_row(*params, static_cast<int>(at / rows), static_cast<int>(at % rows));
            }
        });
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
    return 0;
}
