#include "gpu.h"

#include <algorithm>

#include "module.h"

namespace simulated {
namespace {

void expect_usable(const Context& context) {
    if (context.broken != CUDA_SUCCESS) throw Failure{context.broken};
}

template <typename Handles>
void forget(Handles& handles, const Context& context) {
    handles.remove_if([&](const auto& each) { return each.context == &context; });
}

}  // namespace

thread_local bool in_host_function = false;

Gpu& gpu() {
    static Gpu& only = *new Gpu;
    return only;
}

std::vector<CUcontext>& context_stack() {
    thread_local std::vector<CUcontext> stack;
    return stack;
}

Context& current_context() {
    const auto& stack = context_stack();
    expect(!stack.empty() && stack.back() != nullptr, CUDA_ERROR_INVALID_CONTEXT,
           "no context is current in this thread");
    return *gpu().contexts.get(stack.back(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

Stream& stream_of(CUstream handle) {
    if (handle == nullptr || handle == CU_STREAM_LEGACY) return current_context().default_stream;
    if (handle == CU_STREAM_PER_THREAD) fail(CUDA_ERROR_NOT_SUPPORTED, "default streams per thread are not simulated");
    Stream& stream = *gpu().streams.get(handle);
    expect_usable(*stream.context);
    return stream;
}

void finish(Context& context) {
    gpu().schedule.finish(gpu().schedule.waiting([&](const Operation& each) { return each.context == &context; }));
    expect_usable(context);
}

void finish(Stream& stream) {
    gpu().schedule.finish(open_work(stream));
    expect_usable(*stream.context);
}

Operations open_work(Stream& stream) {
    if (stream.is_default)
        return gpu().schedule.waiting(
            [&](const Operation& each) { return each.context == stream.context && each.blocking; });
    if (stream.last == nullptr || stream.last->is_done()) return {};
    return {stream.last};
}

void submit(Stream& stream, Work work) {
    expect_no_implicit_wait(stream);
    if (stream.capture != nullptr)
        record(stream, std::move(work));
    else
        enqueue(stream, std::move(work));
}

std::shared_ptr<Operation> enqueue(Stream& stream, Work work, Operations after) {
    for (const auto& each : open_work(stream)) after.push_back(each);
    const auto& of_default = stream.context->default_stream.last;
    if (!stream.is_default && stream.is_blocking() && of_default != nullptr) after.push_back(of_default);
    auto operation = std::make_shared<Operation>();
    operation->context = stream.context;
    operation->blocking = stream.is_blocking();
    operation->work = std::move(work);
    operation->after = std::move(after);
    stream.last = operation;
    gpu().schedule.add(operation);
    return operation;
}

void destroy(Context& context) {
    Gpu& all = gpu();
    all.schedule.finish(all.schedule.waiting([&](const Operation& each) { return each.context == &context; }));
    auto& captures = all.captures;
    const auto is_ours = [&](const auto& capture) { return capture->graph->context == &context; };
    captures.erase(std::remove_if(captures.begin(), captures.end(), is_ours), captures.end());
    forget(all.functions, context);
    forget(all.modules, context);
    forget(all.events, context);
    forget(all.streams, context);
    const auto before = all.memory.count(Place::DEVICE) + all.memory.count(Place::PINNED);
    all.memory.release_all(&context);
    const auto left = all.memory.count(Place::DEVICE) + all.memory.count(Place::PINNED);
    all.statistics.lost += static_cast<long long>(before - left);
    if (all.primary == &context) all.primary = nullptr;
    all.contexts.take(context.handle);  // the last thing: it may be the last reference
}

}  // namespace simulated
