// Modules: a cubin, which says what is in it, and behind it the library in which a processor does the same.
#pragma once

#include <memory>
#include <string>

#include "cubin.h"
#include "gpu.h"

namespace simulated {

// As `REPSR_EMULATE` (cuda_on_host.h) exports it.
using Emulation = int (*)(const unsigned grid[3], const unsigned block[3], size_t shared_bytes, const void* params,
                          size_t params_bytes);

class Library {
public:
    Library(const unsigned char* bytes, size_t size);
    ~Library();
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    // What this name stands for, or null.
    void* find(const std::string& name) const;

private:
    int file_;  // open as long as it is loaded: the loader would take another file with this number for the same
                // library
    void* handle_;
};

struct Module {
    Context* context;
    Cubin cubin;
    std::shared_ptr<Library> library;
    bool is_loaded = true;
};

struct Function {
    Context* context;
    std::shared_ptr<Module> module;
    std::string name;
    Kernel kernel;
    Emulation emulation;
    const char* (*message)();     // what its emulation says about an error; null where it says nothing
    size_t dynamic_shared_bytes;  // allowed
};

// Raises:
//     Failure: an image that the GPU would not run, or without a library behind it.
std::shared_ptr<Module> load_module(Context& context, const void* image);

// Shared memory of a block of the GPU that we simulate, and what of it a kernel gets without asking for more.
size_t largest_shared_bytes();
constexpr size_t kUsualSharedBytes = 48 * 1024;

}  // namespace simulated
