// How every function of the driver begins and ends.
#pragma once

#include <new>

#include "gpu.h"

namespace simulated {

// For functions that need no context. `function` is its name, by which tests can make it fail.
template <typename Body>
CUresult call(const char* function, Body body) {
    if (in_host_function) return CUDA_ERROR_NOT_PERMITTED;
    std::lock_guard<std::mutex> held(gpu().lock);
    try {
        if (!gpu().is_initialised) return CUDA_ERROR_NOT_INITIALIZED;
        if (const CUresult wanted = wanted_failure(function); wanted != CUDA_SUCCESS) {
            if (kills_context(wanted)) current_context().broken = wanted;
            return wanted;
        }
        body();
        return CUDA_SUCCESS;
    } catch (const Failure& failure) {
        return failure.code;
    } catch (const std::bad_alloc&) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
}

// For functions that work in the current context, which must be usable.
template <typename Body>
CUresult in_context(const char* function, Body body) {
    return call(function, [&] {
        Context& context = current_context();
        if (context.broken != CUDA_SUCCESS) throw Failure{context.broken};
        body(context);
    });
}

template <typename T>
void expect_pointer(const T* pointer) {
    expect(pointer != nullptr, CUDA_ERROR_INVALID_VALUE, "a null pointer where a result was to be written");
}

}  // namespace simulated
