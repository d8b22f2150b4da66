#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "call.h"
#include "module.h"
#include "settings.h"

namespace simulated {
namespace {

constexpr char kMark[] = "repsr-emulation";  // 16 bytes; nvcc.py writes it, the size in 64 bits, and the library

// The library behind a cubin. Without one nothing beyond the first byte that differs from the mark is read.
std::shared_ptr<Library> library_behind(const unsigned char* end) {
    for (size_t index = 0; index < sizeof kMark; ++index)
        if (end[index] != static_cast<unsigned char>(kMark[index]))
            fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                 "no library for the processor lies behind the cubin; compile it with the nvcc of "
                 "scripts/simulated_gpu");
    std::uint64_t size = 0;
    std::memcpy(&size, end + sizeof kMark, sizeof size);
    return std::make_shared<Library>(end + sizeof kMark + sizeof size, size);
}

void expect_runs_here(const Cubin& cubin) {
    const Settings& device = settings();
    const int major = cubin.architecture / 10, minor = cubin.architecture % 10;
    if (major != device.major || minor > device.minor)
        fail(CUDA_ERROR_NO_BINARY_FOR_GPU, "a cubin of sm_" + std::to_string(cubin.architecture) + " on a GPU of sm_" +
                                               std::to_string(device.major * 10 + device.minor));
    expect(!cubin.is_of_cuda_13 || device.driver_version >= 13000, CUDA_ERROR_INVALID_IMAGE,
           "a cubin of CUDA 13 with an older driver");
}

// Nothing is compiled, so nothing is said: callers get their buffers back empty.
void empty_logs(unsigned count, const CUjit_option* options, void** values) {
    for (unsigned index = 0; index < count; ++index)
        if (options[index] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES || options[index] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
            values[index] = nullptr;
}

void load(Context& context, CUmodule* module, const void* image, const char* function) {
    expect_pointer(module);
    expect_pointer(image);
    expect_safe(function);
    *module = gpu().modules.add(load_module(context, image));
}

}  // namespace

Library::Library(const unsigned char* bytes, size_t size) : file_(memfd_create("emulated kernels", MFD_CLOEXEC)) {
    expect(file_ >= 0, CUDA_ERROR_UNKNOWN, "no file in memory for a library");
    size_t written = 0;
    while (written < size) {
        const ssize_t more = write(file_, bytes + written, size - written);
        if (more <= 0) break;
        written += static_cast<size_t>(more);
    }
    const std::string path = "/proc/self/fd/" + std::to_string(file_);
    handle_ = written == size ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (handle_ != nullptr) return;
    const char* why = written == size ? dlerror() : "it cannot be copied";
    close(file_);
    fail(CUDA_ERROR_INVALID_IMAGE, std::string("the library behind a cubin cannot be loaded: ") + why);
}

Library::~Library() {
    dlclose(handle_);
    close(file_);
}

void* Library::find(const std::string& name) const { return dlsym(handle_, name.c_str()); }

std::shared_ptr<Module> load_module(Context& context, const void* image) {
    Cubin cubin = read_cubin(image);
    expect_runs_here(cubin);
    auto library = library_behind(static_cast<const unsigned char*>(image) + cubin.bytes);
    return std::make_shared<Module>(Module{&context, std::move(cubin), std::move(library)});
}

size_t largest_shared_bytes() {
    const Settings& device = settings();
    switch (device.major * 10 + device.minor) {  // CUDA C++ programming guide, technical specifications
        case 75: return 64 * 1024;
        case 80:
        case 87: return 163 * 1024;
        case 90:
        case 100:
        case 103: return 227 * 1024;
        default: return 99 * 1024;
    }
}

}  // namespace simulated

using namespace simulated;

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    return in_context(__func__, [&](Context& context) { load(context, module, image, "cuModuleLoadData"); });
}

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count, CUjit_option* options, void** values) {
    return in_context(__func__, [&](Context& context) {
        empty_logs(count, options, values);
        load(context, module, image, "cuModuleLoadDataEx");
    });
}

CUresult cuModuleUnload(CUmodule handle) {
    return in_context(__func__, [&](Context& context) {
        expect_safe("cuModuleUnload");
        finish(context);
        const auto module = gpu().modules.take(handle);
        module->is_loaded = false;
        gpu().functions.remove_if([&](const Function& each) { return each.module == module; });
    });
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule handle, const char* name) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(function);
        expect_pointer(name);
        const auto module = gpu().modules.get(handle);
        const auto kernel = module->cubin.kernels.find(name);
        if (kernel == module->cubin.kernels.end())
            fail(CUDA_ERROR_NOT_FOUND, std::string("the cubin has no kernel '") + name + "'");
        const auto emulation = reinterpret_cast<Emulation>(module->library->find(std::string("repsr_emulate_") + name));
        if (emulation == nullptr)
            fail(CUDA_ERROR_NOT_FOUND,
                 std::string("kernel '") + name + "' is compiled for GPUs only: no REPSR_EMULATE of it");
        const auto message = reinterpret_cast<const char* (*)()>(module->library->find("repsr_emulate_message"));
        const size_t dynamic = kUsualSharedBytes - std::min(kUsualSharedBytes, kernel->second.shared_bytes);
        *function = gpu().functions.add(
            std::make_shared<Function>(Function{&context, module, name, kernel->second, emulation, message, dynamic}));
    });
}
