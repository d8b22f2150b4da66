// A model made ready for a precision and an instruction set.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.hpp"
#include "model.hpp"
#include "plan.hpp"
#include "strip.hpp"

namespace repsr::cpu {

// Precisions that these kernels compute in: bits 1 << repsr_precision.
uint32_t precisions_of(const Kernels& kernels);

class Network {
public:
    // Raises Error (REPSR_UNSUPPORTED) where the model is none of this precision, or its numbers are not for it;
    // bad_alloc.
    Network(const Model& model, repsr_precision precision, const Kernels& kernels);

    // Makes the result's rows `first_row` to `end_row` from the picture; any number of threads may call it.
    // Raises Error (REPSR_NOT_FINITE), bad_alloc.
    void run(const Picture& picture, const Result& result, int64_t end_row, const Wishes& wishes) const;

    const char* instruction_set() const { return program_.kernels->name; }
    const Program& program() const { return program_; }
    repsr_io io() const { return io_; }

private:
    std::unique_ptr<Strip> take_strip(size_t words) const;
    void give_back(std::unique_ptr<Strip> strip) const noexcept;

    Program program_;
    repsr_io io_;
    std::vector<LayerCost> costs_;
    // Memory of threads that are done, for the next ones: fresh memory costs a page fault every 4 KB.
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Strip>> idle_;
};

}  // namespace repsr::cpu
