// What a cubin says about itself: an ELF file of nvcc's for one architecture.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace simulated {

struct Parameter {
    size_t offset, bytes;
};

struct Kernel {
    size_t parameter_bytes = 0;
    std::vector<Parameter> parameters;  // in the order of the declaration
    size_t shared_bytes = 0;            // static
    int registers = 0;                  // of a thread, as nvcc.py has it compiled
    int max_threads = 1024;             // of a block, by __launch_bounds__
};

struct Cubin {
    int architecture;  // 90 for sm_90
    bool is_of_cuda_13;
    size_t bytes;  // of the file, as its headers tell
    std::map<std::string, Kernel> kernels;
};

// Raises:
//     Failure: not a cubin.
Cubin read_cubin(const void* image);

}  // namespace simulated
