#include <cstring>

#include "box.h"
#include "call.h"

namespace simulated {
namespace {

// One side of a copy by its fields in CUDA_MEMCPY2D and CUDA_MEMCPY3D.
struct Named {
    CUmemorytype type;
    const void* host;
    CUdeviceptr device;
    size_t x, y, z, pitch, height;  // height: rows between slices

    Side side(const Extent& extent) const {
        const size_t row = pitch == 0 ? extent.width_bytes : pitch,
                     slice = row * (height == 0 ? extent.height : height);
        const size_t offset = z * slice + y * row + x;
        switch (type) {
            case CU_MEMORYTYPE_HOST: return host_side(static_cast<const char*>(host) + offset, extent, row, slice);
            case CU_MEMORYTYPE_DEVICE: return device_side(device + offset, extent, row, slice);
            case CU_MEMORYTYPE_UNIFIED: return any_side(device + offset, extent, row, slice);
            default: fail(CUDA_ERROR_NOT_SUPPORTED, "arrays are not simulated");
        }
    }
};

struct Box {
    Extent extent;
    Side to, from;

    explicit Box(const CUDA_MEMCPY2D& c)
        : extent{c.WidthInBytes, c.Height},
          to(Named{c.dstMemoryType, c.dstHost, c.dstDevice, c.dstXInBytes, c.dstY, 0, c.dstPitch, 0}.side(extent)),
          from(Named{c.srcMemoryType, c.srcHost, c.srcDevice, c.srcXInBytes, c.srcY, 0, c.srcPitch, 0}.side(extent)) {}

    explicit Box(const CUDA_MEMCPY3D& c)
        : extent{c.WidthInBytes, c.Height, c.Depth},
          to(Named{c.dstMemoryType, c.dstHost, c.dstDevice, c.dstXInBytes, c.dstY, c.dstZ, c.dstPitch, c.dstHeight}
                 .side(extent)),
          from(Named{c.srcMemoryType, c.srcHost, c.srcDevice, c.srcXInBytes, c.srcY, c.srcZ, c.srcPitch, c.srcHeight}
                   .side(extent)) {}
};

template <typename Description>
CUresult copy_box(const char* function, const Description* copy) {
    return in_context(function, [&](Context& context) {
        expect_pointer(copy);
        const Box box(*copy);
        copy_and_wait(box.to, box.from, box.extent, context.default_stream, function);
    });
}

template <typename Description>
CUresult copy_box_async(const char* function, const Description* copy, CUstream stream) {
    return in_context(function, [&](Context&) {
        expect_pointer(copy);
        const Box box(*copy);
        copy_async(box.to, box.from, box.extent, stream_of(stream), function);
    });
}

CUresult set(const char* function, CUdeviceptr to, size_t pitch, size_t width, size_t height, unsigned value,
             size_t element) {
    return in_context(function, [&](Context& context) {
        fill(to, pitch, {width * element, height}, value, element, context.default_stream, function);
    });
}

CUresult set_async(const char* function, CUdeviceptr to, size_t pitch, size_t width, size_t height, unsigned value,
                   size_t element, CUstream stream) {
    return in_context(function, [&](Context&) {
        fill(to, pitch, {width * element, height}, value, element, stream_of(stream), function);
    });
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        const Extent extent{bytes};
        copy_and_wait(any_side(to, extent), any_side(from, extent), extent, context.default_stream, "cuMemcpy");
    });
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context&) {
        const Extent extent{bytes};
        copy_async(any_side(to, extent), any_side(from, extent), extent, stream_of(stream), "cuMemcpyAsync");
    });
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        const Extent extent{bytes};
        copy_and_wait(device_side(to, extent), host_side(from, extent), extent, context.default_stream, "cuMemcpyHtoD");
    });
}

CUresult cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        const Extent extent{bytes};
        copy_and_wait(host_side(to, extent), device_side(from, extent), extent, context.default_stream, "cuMemcpyDtoH");
    });
}

CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        const Extent extent{bytes};
        copy_and_wait(device_side(to, extent), device_side(from, extent), extent, context.default_stream,
                      "cuMemcpyDtoD");
    });
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context&) {
        const Extent extent{bytes};
        copy_async(device_side(to, extent), host_side(from, extent), extent, stream_of(stream), "cuMemcpyHtoDAsync");
    });
}

CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context&) {
        const Extent extent{bytes};
        copy_async(host_side(to, extent), device_side(from, extent), extent, stream_of(stream), "cuMemcpyDtoHAsync");
    });
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context&) {
        const Extent extent{bytes};
        copy_async(device_side(to, extent), device_side(from, extent), extent, stream_of(stream), "cuMemcpyDtoDAsync");
    });
}

CUresult cuMemcpy2D(const CUDA_MEMCPY2D* copy) { return copy_box("cuMemcpy2D", copy); }
CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D* copy) { return copy_box("cuMemcpy2DUnaligned", copy); }
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D* copy, CUstream stream) {
    return copy_box_async("cuMemcpy2DAsync", copy, stream);
}
CUresult cuMemcpy3D(const CUDA_MEMCPY3D* copy) { return copy_box("cuMemcpy3D", copy); }
CUresult cuMemcpy3DAsync(const CUDA_MEMCPY3D* copy, CUstream stream) {
    return copy_box_async("cuMemcpy3DAsync", copy, stream);
}

CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
    return set("cuMemsetD8", to, count, count, 1, value, 1);
}
CUresult cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
    return set("cuMemsetD16", to, count * 2, count, 1, value, 2);
}
CUresult cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
    return set("cuMemsetD32", to, count * 4, count, 1, value, 4);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    return set_async("cuMemsetD8Async", to, count, count, 1, value, 1, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    return set_async("cuMemsetD16Async", to, count * 2, count, 1, value, 2, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    return set_async("cuMemsetD32Async", to, count * 4, count, 1, value, 4, stream);
}
CUresult cuMemsetD2D8(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
    return set("cuMemsetD2D8", to, pitch, width, height, value, 1);
}
CUresult cuMemsetD2D16(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height) {
    return set("cuMemsetD2D16", to, pitch, width, height, value, 2);
}
CUresult cuMemsetD2D32(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height) {
    return set("cuMemsetD2D32", to, pitch, width, height, value, 4);
}
CUresult cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height,
                           CUstream stream) {
    return set_async("cuMemsetD2D8Async", to, pitch, width, height, value, 1, stream);
}
CUresult cuMemsetD2D16Async(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height,
                            CUstream stream) {
    return set_async("cuMemsetD2D16Async", to, pitch, width, height, value, 2, stream);
}
CUresult cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height,
                            CUstream stream) {
    return set_async("cuMemsetD2D32Async", to, pitch, width, height, value, 4, stream);
}
