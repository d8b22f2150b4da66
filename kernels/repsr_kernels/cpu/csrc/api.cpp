// The C functions: everything that comes in is checked here, and no exception leaves.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "errors.hpp"
#include "job.hpp"
#include "model.hpp"
#include "network.hpp"
#include "processor.hpp"
#include "repsr_engine.h"
#include "threads.hpp"

#ifndef REPSR_SOURCES
#define REPSR_SOURCES "unknown"
#endif

using repsr::cpu::Error;
using repsr::cpu::InstructionSet;

struct repsr_model {
    repsr::cpu::Model model;
};

struct repsr_network {
    repsr::cpu::Network network;
};

namespace {

constexpr int32_t kMostThreads = 4096;
constexpr double kMostSeconds = 60;

// Bytes of the character of UTF-8 that begins here; 0 where none does (Unicode 15, table 3-7).
size_t character(const unsigned char* at) noexcept {
    const unsigned char first = at[0];
    if (first < 0x80) return 1;
    const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    const unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (length == 0 || at[1] < least || at[1] > most) return 0;
    for (size_t i = 2; i < length; ++i) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    return length;
}

// Names in it may come from anywhere: what is no UTF-8 becomes question marks.
void say(repsr_message* message, const char* text) noexcept {
    if (!message) return;
    char* to = message->text;
    const char* const end = to + sizeof message->text - 1;
    for (auto* at = reinterpret_cast<const unsigned char*>(text); *at;) {
        const size_t length = character(at);
        if (to + std::max<size_t>(length, 1) > end) break;
        if (length == 0) {
            *to++ = '?';
            ++at;
        }
        for (size_t i = 0; i < length; ++i) *to++ = static_cast<char>(*at++);
    }
    *to = 0;
}

// What `work` raises, as a status.
template <class Work>
repsr_status guarded(repsr_message* message, const Work& work) noexcept {
    try {
        work();
        say(message, "");
        return REPSR_OK;
    } catch (const Error& error) {
        say(message, error.what());
        return error.status();
    } catch (const std::exception& error) {  // bad_alloc, length_error, system_error of a lock
        say(message, "out of memory");
        return REPSR_OUT_OF_MEMORY;
    }
}

[[noreturn]] void refuse(const std::string& text) { throw Error(REPSR_BAD_ARGUMENT, text); }

const InstructionSet* find_instruction_set(const char* name) noexcept {
    for (const InstructionSet& set : repsr::cpu::instruction_sets()) {
        if (!std::strcmp(set.name, name)) return &set;
    }
    return nullptr;
}

const repsr::cpu::Kernels& kernels_named(const char* name) {
    if (!repsr::cpu::is_instruction_set(name)) {
        std::string known;
        for (const InstructionSet& set : repsr::cpu::instruction_sets()) {
            known += (known.empty() ? "" : ", ") + std::string(set.name);
        }
        refuse("this library has the instruction sets " + known + "; none is called '" + name + "'");
    }
    const InstructionSet* set = find_instruction_set(name);
    if (!set) throw Error(REPSR_UNSUPPORTED, std::string("this library was built without the instruction set ") + name);
    if (!set->kernels) {
        throw Error(REPSR_UNSUPPORTED, std::string("this processor has not the instruction set ") + name);
    }
    return *set->kernels;
}

// The fastest one of this processor that computes in a precision.
const repsr::cpu::Kernels& kernels_for(int32_t precision) {
    const repsr::cpu::Kernels* best = nullptr;
    for (const InstructionSet& set : repsr::cpu::instruction_sets()) {
        if (set.kernels && (repsr::cpu::precisions_of(*set.kernels) >> precision & 1)) best = set.kernels;
    }
    if (!best) {
        throw Error(REPSR_UNSUPPORTED, "no instruction set of this processor computes in this precision; take fp32");
    }
    return *best;
}

bool is_precision(int32_t precision) noexcept { return precision >= REPSR_FP32 && precision <= REPSR_INT8; }

}  // namespace

extern "C" {

const char* repsr_sources(void) { return REPSR_SOURCES; }

const char* repsr_instruction_set(int32_t index) {
    const auto& all = repsr::cpu::instruction_sets();
    return index >= 0 && index < all.count ? all.sets[index].name : nullptr;
}

uint32_t repsr_precisions(const char* instruction_set) {
    const InstructionSet* set = instruction_set ? find_instruction_set(instruction_set) : nullptr;
    return set && set->kernels ? repsr::cpu::precisions_of(*set->kernels) : 0;
}

repsr_status repsr_model_read(const void* onnx, uint64_t bytes, repsr_model** model, repsr_message* message) {
    return guarded(message, [&] {
        if (!model) refuse("no place for the model: a null pointer");
        *model = nullptr;
        if (!onnx) refuse("no model: a null pointer");
        *model = new repsr_model{repsr::cpu::read_model(static_cast<const uint8_t*>(onnx), bytes)};
    });
}

void repsr_model_free(repsr_model* model) { delete model; }

void repsr_model_describe(const repsr_model* model, repsr_description* description) {
    if (!model || !description) return;
    const repsr::cpu::Model& facts = model->model;
    *description = {facts.colours, facts.scale, static_cast<int32_t>(facts.layers.size()), 0, 0,
                    facts.skip, facts.io, facts.clamps, 0};
    for (const auto& layer : facts.layers) {
        if (&layer != &facts.layers.back()) description->channels = std::max(description->channels, layer.outputs);
        description->int8_layers += layer.quantized;
        description->macs_per_pixel += layer.macs();
    }
}

static const std::pair<std::string, std::string>* property_at(const repsr_model* model, int32_t index) {
    if (!model || index < 0 || static_cast<size_t>(index) >= model->model.properties.size()) return nullptr;
    return &model->model.properties[static_cast<size_t>(index)];
}

const char* repsr_model_property_key(const repsr_model* model, int32_t index) {
    const auto* property = property_at(model, index);
    return property ? property->first.c_str() : nullptr;
}

const char* repsr_model_property_value(const repsr_model* model, int32_t index) {
    const auto* property = property_at(model, index);
    return property ? property->second.c_str() : nullptr;
}

repsr_status repsr_network_make(const repsr_model* model, int32_t precision, const char* instruction_set,
                                repsr_network** network, repsr_message* message) {
    return guarded(message, [&] {
        if (!network) refuse("no place for the network: a null pointer");
        *network = nullptr;
        if (!model) refuse("no model: a null pointer");
        if (!is_precision(precision)) {
            refuse("precision " + std::to_string(precision) + " does not exist; expected 0, 1 or 2");
        }
        const auto& kernels = instruction_set ? kernels_named(instruction_set) : kernels_for(precision);
        *network = new repsr_network{{model->model, static_cast<repsr_precision>(precision), kernels}};
    });
}

void repsr_network_free(repsr_network* network) { delete network; }

const char* repsr_network_instruction_set(const repsr_network* network) {
    return network ? network->network.instruction_set() : nullptr;
}

repsr_status repsr_run(const repsr_network* network, const repsr_job* job, repsr_message* message) {
    return guarded(message, [&] {
        if (!network) refuse("no network: a null pointer");
        if (!job) refuse("no job: a null pointer");
        const repsr::cpu::CheckedJob checked = repsr::cpu::check_job(*job, network->network);
        network->network.run(checked.picture, checked.result, job->end_row, checked.wishes);
    });
}

double repsr_peak(const char* instruction_set, int32_t precision, int32_t threads, double seconds) {
    const InstructionSet* set = instruction_set ? find_instruction_set(instruction_set) : nullptr;
    if (!set || !set->kernels || !is_precision(precision) || threads < 1 || !(seconds > 0)) return 0;
    const repsr::cpu::Arithmetic* arithmetic = set->kernels->arithmetic[precision];  // words in the same order
    if (!arithmetic) return 0;
    using Clock = std::chrono::steady_clock;
    constexpr int64_t kRounds = 20000;  // about 100 microseconds
    std::atomic<double> sum{0};
    repsr::cpu::on_threads(std::min(threads, kMostThreads), [&]() noexcept {
        const Clock::time_point begun = Clock::now();
        std::chrono::duration<double> taken{0};
        int64_t done = 0;
        for (; taken.count() < std::min(seconds, kMostSeconds); taken = Clock::now() - begun) {
            done += arithmetic->spin(kRounds);
        }
        const double rate = static_cast<double>(done) / taken.count();
        for (double before = sum; !sum.compare_exchange_weak(before, before + rate);) {}
    });
    return sum;
}

}  // extern "C"
