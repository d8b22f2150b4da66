// What this processor and its operating system have.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace repsr::cpu {

// An instruction set that this library was compiled with.
struct InstructionSet {
    const char* name;
    const Kernels* kernels;  // null where this processor has it not
};

// Those of the library, slowest first.
struct InstructionSets {
    InstructionSet sets[9] = {};
    int count = 0;

    const InstructionSet* begin() const { return sets; }
    const InstructionSet* end() const { return sets + count; }
};

const InstructionSets& instruction_sets() noexcept;

// Whether a name is one that the library could have been compiled with.
bool is_instruction_set(const char* name);

// Bytes of the L2 cache that one core can count on.
int64_t l2_cache_bytes();

}  // namespace repsr::cpu
