#include <algorithm>
#include <cstring>

#include "call.h"
#include "module.h"
#include "settings.h"

namespace simulated {
namespace {

using Bytes = std::vector<unsigned char>;

// What the launch passes, packed as the kernel reads it.
Bytes packed(const Kernel& kernel, void** parameters, void** extra) {
    expect(parameters == nullptr || extra == nullptr, CUDA_ERROR_INVALID_VALUE, "kernelParams and extra at once");
    Bytes bytes(kernel.parameter_bytes);
    if (extra != nullptr) {
        const void* buffer = nullptr;
        size_t size = 0;
        for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
            if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
                buffer = extra[1];
            else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE)
                size = *static_cast<const size_t*>(extra[1]);
            else
                fail(CUDA_ERROR_INVALID_VALUE, "something unknown in extra");
        }
        if (buffer == nullptr || size != bytes.size())
            fail(CUDA_ERROR_INVALID_VALUE, "the launch passes " + std::to_string(size) + " bytes; the kernel takes " +
                                               std::to_string(bytes.size()));
        std::memcpy(bytes.data(), buffer, size);
    } else {
        expect(parameters != nullptr || kernel.parameters.empty(), CUDA_ERROR_INVALID_VALUE,
               "a launch without parameters");
        for (const Parameter& parameter : kernel.parameters)
            std::memcpy(bytes.data() + parameter.offset, *parameters++, parameter.bytes);
    }
    return bytes;
}

void check_geometry(const Function& function, const unsigned grid[3], const unsigned block[3], size_t shared_bytes) {
    const unsigned most_blocks[3] = {0x7fffffff, 65535, 65535}, most_threads[3] = {1024, 1024, 64};
    for (int axis = 0; axis < 3; ++axis) {
        if (grid[axis] - 1 >= most_blocks[axis] || block[axis] - 1 >= most_threads[axis])
            fail(CUDA_ERROR_INVALID_VALUE, "a grid of " + std::to_string(grid[axis]) + " blocks of " +
                                               std::to_string(block[axis]) + " threads along axis " +
                                               std::to_string(axis));
    }
    const std::uint64_t threads = std::uint64_t{block[0]} * block[1] * block[2];
    if (threads > static_cast<std::uint64_t>(function.kernel.max_threads))
        fail(CUDA_ERROR_INVALID_VALUE, "a block of " + std::to_string(threads) + " threads; " + function.name +
                                           " takes at most " + std::to_string(function.kernel.max_threads));
    if (shared_bytes > function.dynamic_shared_bytes)
        fail(CUDA_ERROR_INVALID_VALUE, std::to_string(shared_bytes) + " bytes of dynamic shared memory; " +
                                           function.name + " may use " + std::to_string(function.dynamic_shared_bytes));
}

struct Launch {
    std::shared_ptr<Function> function;
    unsigned grid[3], block[3];
    size_t shared_bytes;
    Bytes parameters;

    CUresult operator()() const {
        if (!function->module->is_loaded) {
            say(function->name + " belongs to a module that was unloaded");
            return CUDA_ERROR_ILLEGAL_INSTRUCTION;
        }
        const int error = function->emulation(grid, block, shared_bytes, parameters.data(), parameters.size());
        if (error == 0) return CUDA_SUCCESS;
        say(function->name + ": " +
            (function->message != nullptr ? function->message() : "error " + std::to_string(error)));
        return CUDA_ERROR_LAUNCH_FAILED;
    }
};

int attribute_of(const Function& function, CUfunction_attribute attribute) {
    switch (attribute) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return function.kernel.max_threads;
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: return static_cast<int>(function.kernel.shared_bytes);
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return static_cast<int>(function.dynamic_shared_bytes);
        case CU_FUNC_ATTRIBUTE_NUM_REGS: return function.kernel.registers;
        case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        case CU_FUNC_ATTRIBUTE_BINARY_VERSION: return function.module->cubin.architecture;
        case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
        case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: return 0;
        default:
            fail(CUDA_ERROR_INVALID_VALUE, "attribute " + std::to_string(attribute) + " of functions is not simulated");
    }
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream_handle,
                        void** parameters, void** extra) {
    return in_context(__func__, [&](Context&) {
        const auto function = gpu().functions.get(handle);
        Stream& stream = stream_of(stream_handle);
        expect(stream.context == function->context, CUDA_ERROR_INVALID_HANDLE,
               "the stream belongs to another context than the kernel");
        Launch launch{function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, {}};
        check_geometry(*function, launch.grid, launch.block, shared_bytes);
        launch.parameters = packed(function->kernel, parameters, extra);
        submit(stream, {Work::Kind::LAUNCH, function->name, std::move(launch)});
    });
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(value);
        *value = attribute_of(*gpu().functions.get(handle), attribute);
    });
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
    return in_context(__func__, [&](Context&) {
        const auto function = gpu().functions.get(handle);
        if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return;
        expect(attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, CUDA_ERROR_INVALID_VALUE,
               "this attribute of a function cannot be set");
        if (value < 0 || static_cast<size_t>(value) + function->kernel.shared_bytes > largest_shared_bytes())
            fail(CUDA_ERROR_INVALID_VALUE, std::to_string(value) + " bytes of dynamic shared memory; the GPU has " +
                                               std::to_string(largest_shared_bytes()) + " for a block");
        function->dynamic_shared_bytes = static_cast<size_t>(value);
    });
}

CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache) {
    return in_context(__func__, [&](Context&) { gpu().functions.get(handle); });
}

// PyCUDA still calls it before cuLaunchKernel, which takes no notice of it.
CUresult cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
    return in_context(__func__, [&](Context&) {
        gpu().functions.get(handle);
        expect(x > 0 && y > 0 && z > 0, CUDA_ERROR_INVALID_VALUE, "a block without threads");
    });
}
