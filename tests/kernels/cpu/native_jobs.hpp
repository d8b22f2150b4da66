// Pictures enlarged by the engine, in buffers of every shape; everything around the samples must stay as it was.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "native_buffers.hpp"
#include "native_random.hpp"
#include "repsr_engine.h"

namespace native {

// Something is not as it should be: of the engine, not of this program.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void expect(bool right, const std::string& what) {
    if (!right) throw Failure(what);
}

inline void expect_ok(repsr_status status, const repsr_message& message, const std::string& what) {
    expect(status == REPSR_OK, what + ": status " + std::to_string(status) + ", " + message.text);
}

// Samples without gaps: uint8 H x W x C or float planes.
struct Picture {
    int64_t height, width, channels;
    bool bytes;
    std::vector<uint8_t> data;

    int64_t sample() const { return bytes ? 1 : 4; }
    int64_t planes() const { return bytes ? 1 : channels; }
    int64_t line() const { return width * sample() * (bytes ? channels : 1); }
    uint8_t* at(int64_t plane, int64_t row) { return data.data() + (plane * height + row) * line(); }
    const uint8_t* at(int64_t plane, int64_t row) const { return data.data() + (plane * height + row) * line(); }
    float real(int64_t channel, int64_t row, int64_t column) const {
        if (bytes) return at(0, row)[column * channels + channel];
        float value;
        std::memcpy(&value, at(channel, row) + 4 * column, 4);
        return value;
    }
    // Of all rows, those from `first` to `end`.
    Picture rows(int64_t first, int64_t end) const {
        Picture part{end - first, width, channels, bytes, {}};
        for (int64_t plane = 0; plane < planes(); ++plane) {
            part.data.insert(part.data.end(), at(plane, first), at(plane, first) + part.height * line());
        }
        return part;
    }
};

inline Picture empty_picture(int64_t height, int64_t width, int64_t channels, bool bytes) {
    const int64_t size = height * width * channels * (bytes ? 1 : 4);
    return {height, width, channels, bytes, std::vector<uint8_t>(static_cast<size_t>(size))};
}

inline Picture random_picture(Random& random, int64_t height, int64_t width, int64_t colours, bool bytes) {
    Picture picture = empty_picture(height, width, colours, bytes);
    const int64_t kind = random.within(0, 5);
    for (size_t i = 0; i < picture.data.size(); i += static_cast<size_t>(picture.sample())) {
        const double value = kind == 0 ? 1 : kind == 1 ? random.among({0.0, 1.0}) : random.real(0, 1);
        const auto real = static_cast<float>(value);
        if (bytes) picture.data[i] = static_cast<uint8_t>(255.99 * value);
        else std::memcpy(&picture.data[i], &real, 4);
    }
    return picture;
}

// How the work is cut. Nothing of it may change a bit.
struct Split {
    int32_t threads, strip_rows, block_columns;
};

inline Split random_split(Random& random, const Picture& picture) {
    const auto part = [&](int64_t size) {
        return random.one_in(4) ? 0 : static_cast<int32_t>(random.within(1, std::min<int64_t>(size + 1, 100)));
    };
    return {static_cast<int32_t>(random.within(1, 4)), part(picture.height), part(picture.width)};
}

struct Work {
    const Picture& picture;
    repsr_samples out;
    int64_t channels, scale;   // of the result: of features C s s, 1
    int64_t first_row, end_row;
    Split split;
};

constexpr uint8_t kUntouched = 0xff;  // as floats NaN: whoever reads a gap finds it in the result

inline void fill(const Block& block, const Layout& layout, const Picture& picture) {
    std::memset(block.data(), kUntouched, block.size());
    for (int64_t plane = 0; plane < picture.planes(); ++plane) {
        for (int64_t row = 0; row < picture.height; ++row) {
            std::memcpy(block.data() + layout.offset(plane, row), picture.at(plane, row),
                        static_cast<size_t>(picture.line()));
        }
    }
}

// Takes the samples out, and checks that nothing else was written.
inline Picture taken(const Block& block, const Layout& layout, Picture picture) {
    for (int64_t plane = 0; plane < picture.planes(); ++plane) {
        for (int64_t row = 0; row < picture.height; ++row) {
            uint8_t* line = block.data() + layout.offset(plane, row);
            std::memcpy(picture.at(plane, row), line, static_cast<size_t>(picture.line()));
            std::memset(line, kUntouched, static_cast<size_t>(picture.line()));
        }
    }
    for (uint64_t i = 0; i < block.size(); ++i) {
        expect(block.data()[i] == kUntouched, "byte " + std::to_string(i) + " beside the result was written");
    }
    return picture;
}

// A planted error: the buffer of the result is so much shorter than the engine is told, which what watches over memory
// must say.
inline uint64_t missing_bytes = 0;

// One call of the engine, in buffers of its own.
inline repsr_status enlarge(Random& random, const repsr_network* network, const Work& work, Picture& made,
                            repsr_message& message) {
    const Picture& picture = work.picture;
    const bool bytes = work.out == REPSR_BYTES;
    const int64_t rows = (work.end_row - work.first_row) * work.scale;
    const Layout in = random_layout(random, picture.bytes, picture.channels, picture.height, picture.width);
    const Layout out = random_layout(random, bytes, work.channels, rows, picture.width * work.scale);
    const Block image(random, in.size(), picture.bytes ? 1 : 4);
    const Block result(random, out.size() - missing_bytes, bytes ? 1 : 4);
    fill(image, in, picture);
    std::memset(result.data(), kUntouched, result.size());

    repsr_job job{};
    job.height = picture.height;
    job.width = picture.width;
    job.first_row = work.first_row;
    job.end_row = work.end_row;
    job.image = image.data();
    job.image_bytes = in.size();
    job.image_pitch = in.pitch;
    job.image_plane = in.plane;
    job.out = result.data();
    job.out_bytes = out.size();
    job.out_pitch = out.pitch;
    job.out_plane = out.plane;
    job.image_samples = picture.bytes ? REPSR_BYTES : REPSR_FLOATS;
    job.out_samples = work.out;
    job.threads = work.split.threads;
    job.strip_rows = work.split.strip_rows;
    job.block_columns = work.split.block_columns;

    repsr_job short_job = job;  // first with buffers that are too short, which must be seen
    (random.one_in(2) ? short_job.image_bytes : short_job.out_bytes) -= 1;
    expect(repsr_run(network, &short_job, &message) == REPSR_BAD_ARGUMENT, "a buffer too short by a byte was taken");
    expect(message.text[0] != 0, "no message");
    const repsr_status status = repsr_run(network, &job, &message);
    expect(taken(image, in, picture).data == picture.data, "the engine wrote into the picture");
    made = taken(result, out, empty_picture(rows, picture.width * work.scale, work.channels, bytes));
    return status;
}

inline Picture enlarged(Random& random, const repsr_network* network, const Work& work) {
    Picture made;
    repsr_message message{};
    expect_ok(enlarge(random, network, work, made, message), message, "repsr_run");
    return made;
}

}  // namespace native
