#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "call.h"
#include "module.h"
#include "settings.h"

namespace simulated {
namespace {

constexpr char kName[] = "Simulated GPU";
constexpr char kBus[] = "0000:01:00.0";

void report() {
    const Gpu& all = gpu();
    const auto place = [&](Place where) { return all.memory.count(where); };
    char line[256];
    std::snprintf(line, sizeof line,
                  "%lld launches, %lld copies, %lld memsets, %lld synchronisations, at most %zu bytes",
                  all.statistics.launches, all.statistics.copies, all.statistics.memsets,
                  all.statistics.synchronisations, all.memory.peak_bytes());
    say(line);
    std::snprintf(line, sizeof line,
                  "never freed: %zu allocations of the GPU, %zu of the host, %lld that went with a context; "
                  "%zu operations never waited for",
                  place(Place::DEVICE), place(Place::PINNED), all.statistics.lost, all.schedule.waiting_count());
    say(line);
}

int attribute_of(CUdevice_attribute attribute) {
    const Settings& device = settings();
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return device.major;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return device.minor;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return kUsualSharedBytes;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return static_cast<int>(largest_shared_bytes());
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
            return static_cast<int>(largest_shared_bytes() + 1024);
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 4;
        case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 65536;
        case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: return 512;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
        case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 1000000;  // kHz; nothing here has a clock
        case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 64;
        case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
        case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
        case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return 1;
        case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 2;
        case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
        case CU_DEVICE_ATTRIBUTE_INTEGRATED:
        case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
        case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
        case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
        case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
        case CU_DEVICE_ATTRIBUTE_TCC_DRIVER:
        case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
        case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
        case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: return 0;
        default:
            fail(CUDA_ERROR_INVALID_VALUE, "attribute " + std::to_string(attribute) + " of devices is not simulated");
    }
}

// Of the only device.
template <typename Body>
CUresult of_device(const char* function, CUdevice device, Body body) {
    return call(function, [&] {
        expect(device == 0, CUDA_ERROR_INVALID_DEVICE, "there is one GPU, with the number 0");
        body();
    });
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuInit(unsigned flags) {
    std::lock_guard<std::mutex> held(gpu().lock);
    try {
        expect(flags == 0, CUDA_ERROR_INVALID_VALUE, "flags of cuInit");
        const Settings& device = settings();
        if (const CUresult wanted = wanted_failure(__func__); wanted != CUDA_SUCCESS) return wanted;
        if (gpu().is_initialised) return CUDA_SUCCESS;
        gpu().schedule.choose(device.schedule);
        if (device.report) std::atexit(report);
        gpu().is_initialised = true;
        return CUDA_SUCCESS;
    } catch (const Failure& failure) {
        return failure.code;
    }
}

CUresult cuDriverGetVersion(int* version) {
    if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *version = settings().driver_version;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char** name) {
    *name = name_of(error);
    return *name != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char** text) { return cuGetErrorName(error, text); }

CUresult cuDeviceGetCount(int* count) {
    return call(__func__, [&] {
        expect_pointer(count);
        *count = 1;
    });
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    return of_device(__func__, ordinal, [&] {
        expect_pointer(device);
        *device = 0;
    });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    return of_device(__func__, device, [&] {
        expect(name != nullptr && length > 0, CUDA_ERROR_INVALID_VALUE, "no room for a name");
        std::snprintf(name, static_cast<size_t>(length), "%s", kName);
    });
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
    return of_device(__func__, device, [&] {
        expect_pointer(uuid);
        std::memset(uuid->bytes, 0x51, sizeof uuid->bytes);
    });
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    return of_device(__func__, device, [&] {
        expect_pointer(value);
        *value = attribute_of(attribute);
    });
}

CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
    return of_device(__func__, device, [&] {
        *major = settings().major;
        *minor = settings().minor;
    });
}

CUresult cuDeviceTotalMem(size_t* bytes, CUdevice device) {
    return of_device(__func__, device, [&] {
        expect_pointer(bytes);
        *bytes = settings().memory_bytes;
    });
}

CUresult cuDeviceGetPCIBusId(char* bus, int length, CUdevice device) {
    return of_device(__func__, device, [&] {
        expect(bus != nullptr && length > int{sizeof kBus}, CUDA_ERROR_INVALID_VALUE, "no room for a bus id");
        std::snprintf(bus, static_cast<size_t>(length), "%s", kBus);
    });
}

CUresult cuDeviceGetByPCIBusId(CUdevice* device, const char* bus) {
    return call(__func__, [&] {
        expect_pointer(device);
        expect(std::strcmp(bus, kBus) == 0, CUDA_ERROR_INVALID_DEVICE, "no device on this bus");
        *device = 0;
    });
}
