#include "call.h"

using namespace simulated;

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
    return in_context(__func__, [&](Context&) {
        expect(mode >= CU_STREAM_CAPTURE_MODE_GLOBAL && mode <= CU_STREAM_CAPTURE_MODE_RELAXED,
               CUDA_ERROR_INVALID_VALUE, "an unknown mode of capture");
        begin_capture(stream_of(handle), mode);
    });
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(graph);
        *graph = nullptr;
        *graph = gpu().graphs.add(end_capture(stream_of(handle)));
    });
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(status);
        const Stream& stream = stream_of(handle);
        *status = stream.capture == nullptr  ? CU_STREAM_CAPTURE_STATUS_NONE
                  : stream.capture->is_valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                             : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    });
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph handle, unsigned long long) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(executable);
        *executable =
            gpu().executables.add(std::make_shared<Executable>(Executable{*gpu().graphs.get(handle), nullptr}));
    });
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    return in_context(__func__, [&](Context&) {
        const auto executable = gpu().executables.get(handle);
        Stream& stream = stream_of(stream_handle);
        expect_not_captured(stream, "cuGraphLaunch");
        expect(executable->graph.context == stream.context, CUDA_ERROR_INVALID_HANDLE, "a graph of another context");
        launch(*executable, stream);
    });
}

CUresult cuGraphDestroy(CUgraph handle) {
    return in_context(__func__, [&](Context&) { gpu().graphs.take(handle); });
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
    return in_context(__func__, [&](Context&) { gpu().executables.take(handle); });
}
