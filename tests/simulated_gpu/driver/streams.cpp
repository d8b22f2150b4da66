#include "call.h"

namespace simulated {
namespace {

void wait_for(Stream& stream, const char* function) {
    expect_not_captured(stream, function);
    ++gpu().statistics.synchronisations;
    finish(stream);
}

CUstream new_stream(Context& context, unsigned flags) {
    expect((flags & ~unsigned{CU_STREAM_NON_BLOCKING}) == 0, CUDA_ERROR_INVALID_VALUE, "unknown flags of a stream");
    return gpu().streams.add(std::make_shared<Stream>(&context, flags));
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(stream);
        *stream = new_stream(context, flags);
    });
}

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(stream);
        *stream = new_stream(context, flags);
    });
}

CUresult cuStreamDestroy(CUstream handle) {
    return in_context(__func__, [&](Context&) { leave_capture(*gpu().streams.take(handle)); });
}

CUresult cuStreamSynchronize(CUstream handle) {
    return in_context(__func__, [&](Context&) { wait_for(stream_of(handle), "cuStreamSynchronize"); });
}

CUresult cuStreamQuery(CUstream handle) {
    return in_context(__func__, [&](Context&) {
        Stream& stream = stream_of(handle);
        expect_not_captured(stream, "cuStreamQuery");
        if (!gpu().schedule.poll(open_work(stream))) throw Failure{CUDA_ERROR_NOT_READY};
    });
}

CUresult cuStreamWaitEvent(CUstream stream_handle, CUevent event_handle, unsigned) {
    return in_context(__func__, [&](Context&) {
        Stream& stream = stream_of(stream_handle);
        const auto event = gpu().events.get(event_handle);
        expect_no_implicit_wait(stream);
        if (wait_in_capture(stream, *event) || event->record == nullptr) return;
        enqueue(stream, {Work::Kind::MARK, "wait", nullptr}, {event->record});
    });
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
    return in_context(__func__, [&](Context&) {
        expect(function != nullptr, CUDA_ERROR_INVALID_VALUE, "no function to call");
        submit(stream_of(handle), {Work::Kind::HOST, "cuLaunchHostFunc", [=] {
                                       function(data);
                                       return CUDA_SUCCESS;
                                   }});
    });
}

CUresult cuStreamGetFlags(CUstream handle, unsigned* flags) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(flags);
        *flags = stream_of(handle).flags;
    });
}

CUresult cuStreamGetPriority(CUstream handle, int* priority) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(priority);
        stream_of(handle);
        *priority = 0;
    });
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext* context) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(context);
        *context = stream_of(handle).context->handle;
    });
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(event);
        const unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
        expect((flags & ~known) == 0, CUDA_ERROR_INVALID_VALUE, "unknown flags of an event");
        *event = gpu().events.add(std::make_shared<Event>(Event{&context, flags, nullptr, nullptr, {}}));
    });
}

CUresult cuEventDestroy(CUevent handle) {
    return in_context(__func__, [&](Context&) { gpu().events.take(handle); });
}

CUresult cuEventRecord(CUevent event_handle, CUstream stream_handle) {
    return in_context(__func__, [&](Context&) {
        const auto event = gpu().events.get(event_handle);
        Stream& stream = stream_of(stream_handle);
        expect(event->context == stream.context, CUDA_ERROR_INVALID_HANDLE, "the event belongs to another context");
        expect_no_implicit_wait(stream);
        event->capture = stream.capture;
        event->capture_after = stream.capture_after;
        event->record = stream.capture == nullptr ? enqueue(stream, {Work::Kind::MARK, "event", nullptr}) : nullptr;
    });
}

CUresult cuEventQuery(CUevent handle) {
    return in_context(__func__, [&](Context&) {
        const auto event = gpu().events.get(handle);
        expect_safe("cuEventQuery");
        expect(event->capture == nullptr, CUDA_ERROR_CAPTURED_EVENT, "an event that was recorded in a capture");
        if (event->record != nullptr && !gpu().schedule.poll({event->record})) throw Failure{CUDA_ERROR_NOT_READY};
    });
}

CUresult cuEventSynchronize(CUevent handle) {
    return in_context(__func__, [&](Context& context) {
        const auto event = gpu().events.get(handle);
        expect_safe("cuEventSynchronize");
        expect(event->capture == nullptr, CUDA_ERROR_CAPTURED_EVENT, "an event that was recorded in a capture");
        ++gpu().statistics.synchronisations;
        if (event->record != nullptr) gpu().schedule.finish({event->record});
        if (context.broken != CUDA_SUCCESS) throw Failure{context.broken};
    });
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start_handle, CUevent end_handle) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(milliseconds);
        const auto start = gpu().events.get(start_handle), end = gpu().events.get(end_handle);
        for (const auto& event : {start, end}) {
            expect(event->record != nullptr && (event->flags & CU_EVENT_DISABLE_TIMING) == 0, CUDA_ERROR_INVALID_HANDLE,
                   "an event that was not recorded, or without timing");
            if (!event->record->is_done()) throw Failure{CUDA_ERROR_NOT_READY};
        }
        *milliseconds = static_cast<float>(end->record->done_ms - start->record->done_ms);
    });
}
