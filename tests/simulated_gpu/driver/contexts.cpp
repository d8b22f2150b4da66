#include <algorithm>

#include "call.h"

namespace simulated {
namespace {

Context& context_of(CUcontext handle) { return *gpu().contexts.get(handle, CUDA_ERROR_INVALID_CONTEXT); }

Context& new_context(unsigned flags) {
    auto context = std::make_shared<Context>();
    context->flags = flags;
    context->users = 1;
    context->default_stream.is_default = true;
    context->handle = gpu().contexts.add(context);
    return *context;
}

void expect_device(CUdevice device) {
    expect(device == 0, CUDA_ERROR_INVALID_DEVICE, "there is one GPU, with the number 0");
}

void give_up(Context& context) {
    if (--context.users > 0) return;
    auto& stack = context_stack();
    if (!stack.empty() && stack.back() == context.handle && gpu().primary != &context) stack.pop_back();
    destroy(context);
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    return call(__func__, [&] {
        expect_pointer(context);
        expect_device(device);
        if (gpu().primary == nullptr)
            gpu().primary = &new_context(0);
        else
            ++gpu().primary->users;
        *context = gpu().primary->handle;
    });
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return call(__func__, [&] {
        expect_device(device);
        expect(gpu().primary != nullptr, CUDA_ERROR_INVALID_CONTEXT, "the primary context is not retained");
        give_up(*gpu().primary);
    });
}

CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return call(__func__, [&] {
        expect_device(device);
        if (gpu().primary != nullptr) destroy(*gpu().primary);
    });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    return call(__func__, [&] {
        expect_device(device);
        if (flags != nullptr) *flags = gpu().primary != nullptr ? gpu().primary->flags : 0;
        if (active != nullptr) *active = gpu().primary != nullptr;
    });
}

CUresult cuCtxCreate(CUcontext* context, CUctxCreateParams*, unsigned flags, CUdevice device) {
    return call(__func__, [&] {
        expect_pointer(context);
        expect_device(device);
        *context = new_context(flags).handle;
        context_stack().push_back(*context);
    });
}

CUresult cuCtxDestroy(CUcontext handle) {
    return call(__func__, [&] {
        Context& context = context_of(handle);
        expect(&context != gpu().primary, CUDA_ERROR_INVALID_CONTEXT, "the primary context is released, not destroyed");
        context.users = 1;
        give_up(context);
    });
}

CUresult cuCtxAttach(CUcontext* context, unsigned) {
    return in_context(__func__, [&](Context& current) {
        expect_pointer(context);
        ++current.users;
        *context = current.handle;
    });
}

CUresult cuCtxDetach(CUcontext handle) {
    return call(__func__, [&] { give_up(context_of(handle)); });
}

CUresult cuCtxPushCurrent(CUcontext handle) {
    return call(__func__, [&] {
        context_of(handle);
        context_stack().push_back(handle);
    });
}

CUresult cuCtxPopCurrent(CUcontext* popped) {
    return call(__func__, [&] {
        auto& stack = context_stack();
        expect(!stack.empty(), CUDA_ERROR_INVALID_CONTEXT, "no context is current in this thread");
        if (popped != nullptr) *popped = stack.back();
        stack.pop_back();
    });
}

CUresult cuCtxSetCurrent(CUcontext handle) {
    return call(__func__, [&] {
        auto& stack = context_stack();
        if (handle != nullptr) context_of(handle);
        if (!stack.empty()) stack.pop_back();
        if (handle != nullptr) stack.push_back(handle);
    });
}

CUresult cuCtxGetCurrent(CUcontext* context) {
    return call(__func__, [&] {
        expect_pointer(context);
        *context = context_stack().empty() ? nullptr : context_stack().back();
    });
}

CUresult cuCtxGetDevice(CUdevice* device) {
    return call(__func__, [&] {
        expect_pointer(device);
        current_context();
        *device = 0;
    });
}

CUresult cuCtxSynchronize() {
    return in_context(__func__, [&](Context& context) {
        for (const auto& capture : gpu().captures)
            if (capture->graph->context == &context)
                invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                           "cuCtxSynchronize while a stream is captured");
        ++gpu().statistics.synchronisations;
        finish(context);
    });
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned* version) {
    return call(__func__, [&] {
        expect_pointer(version);
        if (handle != nullptr) context_of(handle);
        *version = 3020;  // what drivers have given since CUDA 3.2
    });
}

CUresult cuCtxGetFlags(unsigned* flags) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(flags);
        *flags = context.flags;
    });
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return in_context(__func__, [&](Context&) {
        if (least != nullptr) *least = 0;
        if (greatest != nullptr) *greatest = 0;
    });
}
