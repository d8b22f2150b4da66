#include "network.hpp"

#include <algorithm>
#include <atomic>
#include <string>

#include "errors.hpp"
#include "processor.hpp"
#include "threads.hpp"

namespace repsr::cpu {
namespace {

constexpr size_t kMostIdleWords = size_t{4} << 20;  // of a strip: what is larger was made for one picture

const Arithmetic* arithmetic_of(const Kernels& kernels, Words words) {
    return kernels.arithmetic[static_cast<int>(words)];
}

[[noreturn]] void unsupported(const std::string& text) { throw Error(REPSR_UNSUPPORTED, text); }

void check_precision(const Model& model, repsr_precision precision, const Kernels& kernels) {
    const auto& layers = model.layers;
    const bool coded = std::any_of(layers.begin(), layers.end(), [](const Layer& layer) { return layer.quantized; });
    if (coded && precision != REPSR_INT8) {
        unsupported("this model computes in codes of 8 bits: its precision is int8; for fp32 and bf16 export it "
                    "without them, by `repsr-fuse export`");
    }
    if (!coded && precision == REPSR_INT8) {
        unsupported("this model has no codes of 8 bits: its precisions are fp32 and bf16; for int8 export it with "
                    "`repsr-fuse export --precision int8`");
    }
    if ((precisions_of(kernels) >> precision & 1) == 0) {
        static const char* const kNames[] = {"fp32", "bf16", "int8"};
        unsupported(std::string("the instruction set ") + kernels.name + " does not compute in " + kNames[precision]);
    }
}

Words words_of(const Layer& layer, repsr_precision precision) {
    if (precision == REPSR_BF16) return Words::halves;
    return layer.quantized ? Words::codes : Words::floats;
}

MakeRow make_of(const Arithmetic& arithmetic, Words to) {
    const MakeRow make = arithmetic.to[static_cast<int>(to)];
    if (!make) unsupported("this instruction set cannot go from one kind of numbers to the other as this model does");
    return make;
}

Program program_of(const Model& model, repsr_precision precision, const Kernels& kernels) {
    Program program;
    program.kernels = &kernels;
    program.colours = model.colours;
    program.scale = model.scale;
    program.skip = model.skip;
    program.clamps = model.clamps;
    const size_t last = model.layers.size() - 1;
    for (size_t i = 0; i <= last; ++i) {
        const Layer& layer = model.layers[i];
        const Words words = words_of(layer, precision);
        const Arithmetic& arithmetic = *arithmetic_of(kernels, words);
        Place place{words, &arithmetic};
        place.first = i == 0;
        place.groups = groups_of(place.first ? layer.inputs : padded_outputs(layer.inputs), arithmetic.group);
        const uint32_t pad = words == Words::codes ? StoredCodes(layer.input, arithmetic).pad : 0;
        program.stages.push_back({words, place.groups, pad});
        if (i == last) {
            program.features = {pack_row_layer(layer, place), make_of(arithmetic, Words::floats)};
            program.pixels = pack_pixels_layer(layer, place, model.colours, model.scale);
            program.make_pixels = arithmetic.pixels[model.colours == 3][model.scale - 1];
            break;
        }
        const Layer& next = model.layers[i + 1];
        const Words next_words = words_of(next, precision);
        if (next_words == Words::codes) {
            place.codes = &next.input;
            place.codes_arithmetic = arithmetic_of(kernels, next_words);
        }
        program.rows.push_back({pack_row_layer(layer, place), make_of(arithmetic, next_words)});
    }
    const Layer& first = model.layers[0];
    if (first.quantized) {
        program.picture_codes = StoredCodes(first.input, *arithmetic_of(kernels, Words::codes));
        program.picture_factor = picture_factor_of(first.input);
    }
    return program;
}

std::vector<LayerCost> costs_of(const Program& program) {
    std::vector<LayerCost> costs;
    for (size_t i = 0; i < program.stages.size(); ++i) {
        const Packed& packed = (i < program.rows.size() ? program.rows[i].layer : program.pixels).packed;
        const int64_t instructions = int64_t{kTaps} * packed.groups * packed.outputs;  // of a vector of pixels; two a cycle
        costs.push_back({static_cast<double>(instructions) / static_cast<double>(2 * program.kernels->lanes),
                         packed.groups * int64_t{sizeof(uint32_t)}, instructions * int64_t{sizeof(uint32_t)}});
    }
    return costs;
}

}  // namespace

uint32_t precisions_of(const Kernels& kernels) {
    const bool floats = arithmetic_of(kernels, Words::floats), halves = arithmetic_of(kernels, Words::halves),
               codes = arithmetic_of(kernels, Words::codes);
    return (floats ? 1u << REPSR_FP32 : 0) | (halves ? 1u << REPSR_BF16 : 0) | (floats && codes ? 1u << REPSR_INT8 : 0);
}

Network::Network(const Model& model, repsr_precision precision, const Kernels& kernels) : io_(model.io) {
    check_precision(model, precision, kernels);
    program_ = program_of(model, precision, kernels);
    costs_ = costs_of(program_);
}

std::unique_ptr<Strip> Network::take_strip(size_t words) const {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto fits = [&](const auto& strip) { return strip->capacity() >= words; };
        const auto found = std::find_if(idle_.begin(), idle_.end(), fits);
        if (found != idle_.end()) {
            std::unique_ptr<Strip> strip = std::move(*found);
            idle_.erase(found);
            return strip;
        }
        if (!idle_.empty()) idle_.pop_back();  // too small: the new one will take its place
    }
    return std::make_unique<Strip>(program_, words);
}

void Network::give_back(std::unique_ptr<Strip> strip) const noexcept {
    if (strip->capacity() > kMostIdleWords) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
        idle_.push_back(std::move(strip));
    } catch (const std::bad_alloc&) {  // then it is freed
    }
}

void Network::run(const Picture& picture, const Result& result, int64_t end_row, const Wishes& wishes) const {
    const Area area{picture.height, picture.width, result.first_row, end_row};
    const Plan plan = make_plan(area, costs_, {program_.kernels->lanes, l2_cache_bytes()}, wishes);
    const size_t words = Strip::words(program_, plan.block_columns, picture.width);
    std::unique_ptr<Strip> own = take_strip(words);  // one thread is enough to go on
    std::atomic<int64_t> next{0};
    std::atomic<Outcome> outcome{Outcome::done};
    const auto make_units = [&](Strip& strip) noexcept {
        for (int64_t i; outcome == Outcome::done && (i = next.fetch_add(1)) < plan.units();) {
            const Outcome unit = strip.run(picture, result, plan.unit(i));
            if (unit != Outcome::done) outcome = unit;
        }
    };
    on_threads(plan.threads, [&, caller = std::this_thread::get_id()]() noexcept {
        if (std::this_thread::get_id() == caller) return make_units(*own);
        try {
            std::unique_ptr<Strip> strip = take_strip(words);
            make_units(*strip);
            give_back(std::move(strip));
        } catch (const std::exception&) {  // no memory for it: the others go on
        }
    });
    give_back(std::move(own));
    if (outcome == Outcome::bad_picture) {
        throw Error(REPSR_NOT_FINITE, "the picture holds NaN or infinity, or numbers that large");
    }
    if (outcome == Outcome::bad_result) {
        throw Error(REPSR_NOT_FINITE, "the network gives NaN or infinity: its weights are too large");
    }
}

}  // namespace repsr::cpu
