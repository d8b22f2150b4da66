#include "job.hpp"

#include <string>

#include "errors.hpp"

namespace repsr::cpu {
namespace {

constexpr int64_t kMostSide = int64_t{1} << 24;  // pixels

[[noreturn]] void refuse(const std::string& text) { throw Error(REPSR_BAD_ARGUMENT, text); }

std::string number(int64_t value) { return std::to_string(value); }

// Samples in a buffer: `planes` x `rows` x `row_bytes`.
struct Layout {
    const char* name;
    const void* data;
    uint64_t bytes;
    int64_t pitch, plane;
    int64_t planes, rows, row_bytes;
    bool floats;
};

// (count - 1) * step + rest. Refuses what leaves 63 bits.
int64_t reach(const char* name, int64_t count, int64_t step, int64_t rest) {
    int64_t bytes = 0;
    if (__builtin_mul_overflow(count - 1, step, &bytes) || __builtin_add_overflow(bytes, rest, &bytes)) {
        refuse(std::string(name) + ": a pitch of " + number(step) + " bytes for " + number(count) +
               " rows or planes is beyond every address");
    }
    return bytes;
}

// Bytes from the first sample to behind the last one. Either planes of rows, or rows of planes.
int64_t check_layout(const Layout& of) {
    const std::string name = of.name;
    if (!of.data) refuse(name + ": a null pointer");
    const int64_t alignment = of.floats ? int64_t{alignof(float)} : 1;
    if (reinterpret_cast<uintptr_t>(of.data) % static_cast<uintptr_t>(alignment) != 0) {
        refuse(name + ": floats that are not aligned to " + number(alignment) + " bytes");
    }
    if ((of.rows > 1 && of.pitch % alignment != 0) || (of.planes > 1 && of.plane % alignment != 0)) {
        refuse(name + ": a pitch that is no multiple of " + number(alignment) + " bytes");
    }
    const int64_t pitch = of.rows > 1 ? of.pitch : of.row_bytes;
    if (pitch < of.row_bytes) {
        refuse(name + ": a pitch of " + number(pitch) + " bytes; a row has " + number(of.row_bytes));
    }
    const int64_t plane_bytes = reach(of.name, of.rows, pitch, of.row_bytes);
    int64_t bytes = plane_bytes;
    if (of.planes > 1) {
        if (of.plane < of.row_bytes) {
            refuse(name + ": planes " + number(of.plane) + " bytes apart; a row has " + number(of.row_bytes));
        }
        bytes = reach(of.name, of.planes, of.plane, plane_bytes);
        const bool rows_of_planes = of.rows == 1 || reach(of.name, of.planes, of.plane, of.row_bytes) <= pitch;
        if (of.plane < plane_bytes && !rows_of_planes) {
            refuse(name + ": planes " + number(of.plane) + " bytes apart overlap; one has " + number(plane_bytes));
        }
    }
    if (static_cast<uint64_t>(bytes) > of.bytes) {
        refuse(name + ": a buffer of " + std::to_string(of.bytes) + " bytes; these sizes and pitches need " +
               number(bytes));
    }
    if (static_cast<uint64_t>(bytes) > UINTPTR_MAX - reinterpret_cast<uintptr_t>(of.data)) {
        refuse(name + ": a buffer beyond every address");
    }
    return bytes;
}

void check_side(const char* name, int64_t pixels) {
    if (pixels < 1 || pixels > kMostSide) {
        refuse("a picture " + number(pixels) + " pixels " + name + "; expected 1 to " + number(kMostSide));
    }
}

void check_kinds(const repsr_job& job, const Network& network) {
    const bool bytes_in = job.image_samples == REPSR_BYTES;
    if (!bytes_in && job.image_samples != REPSR_FLOATS) {
        refuse("image_samples " + number(job.image_samples) + "; expected bytes (0) or floats (1)");
    }
    if (job.out_samples < REPSR_BYTES || job.out_samples > REPSR_FEATURES) {
        refuse("out_samples " + number(job.out_samples) + "; expected bytes (0), floats (1) or features (2)");
    }
    if (job.out_samples == REPSR_BYTES && !bytes_in) {
        refuse("bytes are made only of bytes; floats give floats or features");
    }
    if (job.out_samples != REPSR_FEATURES && network.io() == REPSR_IO_FEATURES) {
        refuse("this model gives features, to which its skip is added elsewhere; ask for features");
    }
}

}  // namespace

CheckedJob check_job(const repsr_job& job, const Network& network) {
    check_side("high", job.height);
    check_side("wide", job.width);
    if (job.first_row < 0 || job.first_row >= job.end_row || job.end_row > job.height) {
        refuse("rows " + number(job.first_row) + " to " + number(job.end_row) + " of a picture with " +
               number(job.height));
    }
    if (job.threads < 1) refuse(number(job.threads) + " threads; expected 1 or more");
    if (job.strip_rows < 0 || job.block_columns < 0) {
        refuse("strips of " + number(job.strip_rows) + " rows and " + number(job.block_columns) +
               " columns; expected 1 or more, or 0 for what is best");
    }
    check_kinds(job, network);
    const int64_t colours = network.program().colours, scale = network.program().scale;
    const bool image_floats = job.image_samples == REPSR_FLOATS, out_floats = job.out_samples != REPSR_BYTES;
    const Layout image{"image", job.image, job.image_bytes, job.image_pitch, job.image_plane,
                       image_floats ? colours : 1, job.height,
                       job.width * (image_floats ? int64_t{sizeof(float)} : colours), image_floats};
    const int64_t factor = job.out_samples == REPSR_FEATURES ? 1 : scale;
    const int64_t channels = job.out_samples == REPSR_FEATURES ? colours * scale * scale : colours;
    const Layout out{"out", job.out, job.out_bytes, job.out_pitch, job.out_plane, out_floats ? channels : 1,
                     (job.end_row - job.first_row) * factor,
                     job.width * factor * (out_floats ? int64_t{sizeof(float)} : channels), out_floats};
    const int64_t image_bytes = check_layout(image), out_bytes = check_layout(out);
    const auto* const from = static_cast<const uint8_t*>(job.image);
    auto* const to = static_cast<uint8_t*>(job.out);
    const auto from_at = reinterpret_cast<uintptr_t>(from), to_at = reinterpret_cast<uintptr_t>(to);
    if (from_at < to_at + static_cast<uint64_t>(out_bytes) && to_at < from_at + static_cast<uint64_t>(image_bytes)) {
        refuse("image and out overlap");
    }
    // Steps that lead nowhere may be any number.
    return {{static_cast<repsr_samples>(job.image_samples), static_cast<int32_t>(colours), job.height, job.width, from,
             image.rows > 1 ? image.pitch : 0, image.planes > 1 ? image.plane : 0},
            {static_cast<repsr_samples>(job.out_samples), to, job.first_row, out.rows > 1 ? out.pitch : 0,
             out.planes > 1 ? out.plane : 0},
            {job.threads, job.strip_rows, job.block_columns}};
}

}  // namespace repsr::cpu
