// Random networks through the engine's C functions: `native_runs [--seed N] [--first N] [--networks N] [--macs N]`
// `[--missing N]`, where N bytes are missing from buffers (a planted error).
//
// Every instruction set of this processor makes every network in every precision that it has. The result of the whole
// picture in one piece must be that of a reference in double precision, but for a bound; of fp32 and of codes the same
// bits on every instruction set but `portable`; and always the same bits however the work is cut, in buffers of any
// pitch that end at the last byte, and while other threads use the same network. Damaged copies of its file do no harm.
// Last come checksums of all results, a line for each instruction set and precision. What fails is named by its number:
// `--first` begins there.
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "native_damage.hpp"
#include "native_handles.hpp"
#include "native_jobs.hpp"
#include "native_onnx.hpp"
#include "native_reference.hpp"

namespace native {
namespace {

using repsr::cpu::Model;

constexpr std::array<const char*, 3> kPrecisions{"fp32", "bf16", "int8"};

struct Options {
    int64_t seed = 1, first = 0, networks = 20;
    int64_t macs = 3'000'000;  // of one picture, about: what decides how long a network takes
    int64_t missing = 0;
};

// What was found out with one instruction set in one precision.
struct Tally {
    int64_t networks = 0, runs = 0;
    uint64_t checksum = 0xcbf29ce484222325u;  // FNV-1a, 64 bits
    double bound_used = 0;                    // by the result that came nearest to its own
    void add(const Picture& picture) {
        for (const uint8_t byte : picture.data) checksum = (checksum ^ byte) * 0x100000001b3u;
    }
};
using Tallies = std::map<std::pair<int32_t, size_t>, Tally>;  // by index of the instruction set and precision

// A network and a picture for it.
struct Case {
    Model model;
    Picture picture;
    repsr_samples out;
    int64_t channels() const {
        return out == REPSR_FEATURES ? model.colours * model.scale * model.scale : model.colours;
    }
    int64_t scale() const { return out == REPSR_FEATURES ? 1 : model.scale; }
    Work work(int64_t first_row, int64_t end_row, Split split) const {
        return {picture, out, channels(), scale(), first_row, end_row, split};
    }
    Work whole() const {
        const auto rows = static_cast<int32_t>(picture.height), columns = static_cast<int32_t>(picture.width);
        return work(0, rows, {1, rows, columns});
    }
};

Case random_case(Random& random, int64_t macs) {
    Model model = random_model(random);
    int64_t each = 0;
    for (const auto& layer : model.layers) each += layer.macs();
    if (random.one_in(6)) macs *= 4;
    const int64_t pixels = std::max<int64_t>(macs / each, 1);
    const int64_t longest = std::min<int64_t>(pixels, random.one_in(3) ? 300 : 40);
    int64_t height = random.within(1, longest), width = std::min(random.within(1, pixels / height), longest);
    switch (random.within(0, 9)) {
        case 0: width = height = 1; break;
        case 1: height = 1; width = random.within(1, std::min<int64_t>(pixels, 300)); break;
        case 2: width = 1; break;
        default: break;
    }
    const bool bytes = random.one_in(2);
    const auto out = model.io == REPSR_IO_FEATURES || random.one_in(5) ? REPSR_FEATURES
                     : bytes && !random.one_in(3)                      ? REPSR_BYTES
                                                                       : REPSR_FLOATS;
    Picture picture = random_picture(random, height, width, model.colours, bytes);
    return {std::move(model), std::move(picture), out};
}

// Runs on several threads at once, each with a cut of its own; the first thing that goes wrong is raised here.
void run_together(uint64_t seed, const NetworkHandle& network, const Case& what, const Picture& expected) {
    constexpr int kThreads = 3;
    std::array<std::exception_ptr, kThreads> raised;
    std::vector<std::thread> threads;
    for (uint64_t index = 0; index < kThreads; ++index) {
        threads.emplace_back([&, index] {
            try {
                Random random(seed + index);
                const Split split = random_split(random, what.picture);
                const Picture got = enlarged(random, network.network, what.work(0, what.picture.height, split));
                expect(got.data == expected.data, "another result while other threads use the network");
            } catch (...) {
                raised[index] = std::current_exception();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& error : raised) {
        if (error) std::rethrow_exception(error);
    }
}

void check_splits(Random& random, const NetworkHandle& network, const Case& what, const Picture& expected,
                  Tally& tally) {
    for (int count = 0; count < 3; ++count, ++tally.runs) {
        const bool all = count == 0;
        const int64_t first = all ? 0 : random.within(0, what.picture.height - 1);
        const int64_t end = all ? what.picture.height : random.within(first + 1, what.picture.height);
        const Split split = random_split(random, what.picture);
        const Picture got = enlarged(random, network.network, what.work(first, end, split));
        const Picture same = expected.rows(first * what.scale(), end * what.scale());
        expect(got.data == same.data,
               "rows " + std::to_string(first) + " to " + std::to_string(end) + " by " + std::to_string(split.threads) +
                   " threads, strips of " + std::to_string(split.strip_rows) + ", columns of " +
                   std::to_string(split.block_columns) + " differ from the whole");
    }
    if (random.one_in(3)) {
        run_together(random.bits(), network, what, expected);
        tally.runs += 3;
    }
}

// What is expected of a network in a precision, and what came from the first instruction set that fuses multiply-adds.
struct Known {
    Field features;
    std::optional<Picture> fused;
};

// One instruction set in one precision. Sums of fp32 and of codes are the same wherever multiply-adds are fused.
void check_arithmetic(Random& random, const ModelHandle& model, const Case& what, const std::string& set, int precision,
                      std::map<int, Known>& known, Tally& tally) {
    const NetworkHandle network(model, precision, set.c_str());
    const Picture whole = enlarged(random, network.network, what.whole());
    if (known.count(precision) == 0) {
        const Sum floats = precision == REPSR_BF16 ? Sum::halves : Sum::floats;
        known.insert({precision, {features_of(what.model, what.picture, floats, precision == REPSR_INT8), {}}});
    }
    Known& expected = known.at(precision);
    const double off = distance(what.model, what.picture, expected.features, what.out, whole);
    expect(off <= 1, "off by " + std::to_string(off) + " times its bound");
    if (set != "portable" && precision != REPSR_BF16) {
        if (!expected.fused) expected.fused = whole;
        expect(whole.data == expected.fused->data, "another result than on the instruction sets before");
    }
    check_splits(random, network, what, whole, tally);
    tally.networks += 1;
    tally.runs += 1;
    tally.bound_used = std::max(tally.bound_used, off);
    tally.add(whole);
}

// A model of codes is for int8, another one for the other two; which is said.
void check_refusal(const ModelHandle& model, int precision, const char* set) {
    repsr_message message{};
    repsr_network* network = nullptr;
    const auto wanted = static_cast<repsr_precision>(precision);
    const repsr_status status = repsr_network_make(model.model, wanted, set, &network, &message);
    expect(status == REPSR_UNSUPPORTED && network == nullptr && message.text[0] != 0, "not the model's precision");
}

void check_network(uint64_t seed, int64_t macs, Tallies& tallies) {
    Random random(seed);
    const Case what = random_case(random, macs);
    const Bytes file = write_onnx(what.model, random.one_in(2));
    const ModelHandle model(file);
    check_description(what.model, model);
    const auto is_coded = [](const auto& layer) { return layer.quantized; };
    const bool coded = std::any_of(what.model.layers.begin(), what.model.layers.end(), is_coded);
    std::map<int, Known> known;
    for (int32_t index = 0; const char* set = repsr_instruction_set(index); ++index) {
        for (int precision = 0; precision < 3; ++precision) {
            if ((repsr_precisions(set) >> precision & 1) == 0) continue;
            const std::string name = std::string(set) + " " + kPrecisions[static_cast<size_t>(precision)] + ": ";
            Tally& tally = tallies[{index, static_cast<size_t>(precision)}];
            try {
                if (coded != (precision == REPSR_INT8)) check_refusal(model, precision, set);
                else check_arithmetic(random, model, what, set, precision, known, tally);
            } catch (const Failure& failure) {
                throw Failure(name + failure.what());
            }
        }
        if (repsr_precisions(set) != 0) check_damage(random, file, what.picture, set);
    }
}

Options options_of(int count, char** arguments) {
    Options options;
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string name = arguments[i];
        int64_t* place = name == "--seed"       ? &options.seed
                         : name == "--first"    ? &options.first
                         : name == "--networks" ? &options.networks
                         : name == "--macs"     ? &options.macs
                         : name == "--missing"  ? &options.missing
                                                : nullptr;
        char* end = nullptr;
        if (place != nullptr) *place = std::strtoll(arguments[i + 1], &end, 10);
        if (end == nullptr || *end != 0) throw std::invalid_argument(name + " " + arguments[i + 1]);
    }
    if (count % 2 == 0) throw std::invalid_argument(arguments[count - 1]);
    return options;
}

int run(const Options& options) {
    Tallies tallies;
    missing_bytes = static_cast<uint64_t>(options.missing);
    for (int64_t number = options.first; number < options.first + options.networks; ++number) {
        try {
            const uint64_t seed = static_cast<uint64_t>(options.seed) << 32 | static_cast<uint64_t>(number);
            check_network(seed, options.macs, tallies);
        } catch (const Failure& failure) {
            std::fprintf(stderr, "network %" PRId64 " of seed %" PRId64 ": %s\n", number, options.seed, failure.what());
            return 1;
        }
    }
    for (const auto& [key, tally] : tallies) {
        const std::string name = std::string(repsr_instruction_set(key.first)) + ' ' + kPrecisions.at(key.second);
        std::printf("%s networks=%" PRId64 " runs=%" PRId64 " checksum=%016" PRIx64 " bound_used=%.3f\n", name.c_str(),
                    tally.networks, tally.runs, tally.checksum, tally.bound_used);
    }
    return 0;
}

}  // namespace
}  // namespace native

int main(int count, char** arguments) {
    try {
        return native::run(native::options_of(count, arguments));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "native_runs: %s\n", error.what());
        return 2;
    }
}
