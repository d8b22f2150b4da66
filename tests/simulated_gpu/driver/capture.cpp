#include "capture.h"

#include <algorithm>

#include "gpu.h"

namespace simulated {
namespace {

bool is_with(const Capture& capture, const Stream& stream) { return capture.graph->context == stream.context; }

void expect_valid(const Capture& capture) {
    expect(capture.is_valid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an error before made this recording useless");
}

void join(Stream& stream, const std::shared_ptr<Capture>& capture) {
    if (stream.capture != nullptr) return;
    stream.capture = capture;
    stream.capture_after.clear();
    capture->streams.push_back(&stream);
}

void add_to(std::vector<size_t>& nodes, const std::vector<size_t>& more) {
    for (const size_t node : more)
        if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
}

// Whether these nodes come after all others, directly or not.
bool close_the_graph(const Graph& graph, const std::vector<size_t>& last) {
    std::vector<bool> reached(graph.nodes.size());
    for (const size_t node : last) reached[node] = true;
    for (size_t node = graph.nodes.size(); node-- > 0;)
        if (reached[node])
            for (const size_t before : graph.nodes[node].after) reached[before] = true;
    return std::all_of(reached.begin(), reached.end(), [](bool each) { return each; });
}

}  // namespace

void invalidate(Capture& capture, CUresult code, const std::string& why) {
    capture.is_valid = false;
    fail(code, why);
}

void expect_not_captured(Stream& stream, const char* function) {
    if (stream.capture != nullptr)
        invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                   std::string(function) + " cannot be recorded");
    expect_no_implicit_wait(stream);
}

void expect_safe(const char* function) {
    for (const auto& capture : gpu().captures) {
        const bool forbids =
            capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
            (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread == std::this_thread::get_id());
        if (forbids)
            invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                       std::string(function) + " is not permitted while a stream is being captured");
    }
}

void expect_no_implicit_wait(Stream& stream) {
    if (!stream.is_default) return;
    for (const auto& capture : gpu().captures) {
        const auto& streams = capture->streams;
        const bool waits =
            std::any_of(streams.begin(), streams.end(), [](const Stream* each) { return each->is_blocking(); });
        if (is_with(*capture, stream) && waits)
            invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                       "the default stream would have to wait for a stream that is being captured");
    }
}

void record(Stream& stream, Work work) {
    Capture& capture = *stream.capture;
    expect_valid(capture);
    capture.graph->nodes.push_back({std::move(work), stream.capture_after});
    stream.capture_after = {capture.graph->nodes.size() - 1};
}

bool wait_in_capture(Stream& stream, const Event& event) {
    if (stream.capture == nullptr && event.capture == nullptr) return false;
    if (event.capture == nullptr)
        invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                   "a stream that is being captured waits for an event that was not recorded in the capture");
    if (std::find(gpu().captures.begin(), gpu().captures.end(), event.capture) == gpu().captures.end())
        fail(CUDA_ERROR_CAPTURED_EVENT, "an event that was recorded in a capture which has ended");
    if (stream.capture != nullptr && stream.capture != event.capture) {
        stream.capture->is_valid = false;
        invalidate(*event.capture, CUDA_ERROR_STREAM_CAPTURE_MERGE, "a wait would merge two captures");
    }
    expect_valid(*event.capture);
    expect(!stream.is_default, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
    join(stream, event.capture);
    add_to(stream.capture_after, event.capture_after);
    return true;
}

void begin_capture(Stream& stream, CUstreamCaptureMode mode) {
    expect(!stream.is_default, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
    expect(stream.capture == nullptr, CUDA_ERROR_ILLEGAL_STATE, "the stream is being captured already");
    auto capture = std::make_shared<Capture>();
    capture->graph = std::make_shared<Graph>();
    capture->graph->context = stream.context;
    capture->origin = &stream;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    join(stream, capture);
    gpu().captures.push_back(capture);
}

std::shared_ptr<Graph> end_capture(Stream& stream) {
    const std::shared_ptr<Capture> capture = stream.capture;
    expect(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE, "the stream is not being captured");
    if (capture->origin != &stream)
        invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture began on another stream");
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id())
        fail(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "the capture began in another thread");
    const bool closed = close_the_graph(*capture->graph, stream.capture_after);
    for (Stream* each : capture->streams) {
        each->capture = nullptr;
        each->capture_after.clear();
    }
    gpu().captures.erase(std::find(gpu().captures.begin(), gpu().captures.end(), capture));
    expect_valid(*capture);
    expect(closed, CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
           "work of another stream was captured that this one does not wait for");
    return capture->graph;
}

void leave_capture(Stream& stream) {
    if (stream.capture == nullptr) return;
    const std::shared_ptr<Capture> capture = stream.capture;
    capture->is_valid = false;
    auto& streams = capture->streams;
    streams.erase(std::find(streams.begin(), streams.end(), &stream));
    stream.capture = nullptr;
    if (capture->origin != &stream) return;
    for (Stream* each : streams) each->capture = nullptr;
    gpu().captures.erase(std::find(gpu().captures.begin(), gpu().captures.end(), capture));
}

void launch(Executable& executable, Stream& stream) {
    Operations before = open_work(stream);
    if (executable.last != nullptr) before.push_back(executable.last);
    Stream on = stream;  // the same rules for waiting, without waiting for its own nodes
    const auto start = enqueue(on, {Work::Kind::MARK, "beginning of a graph", nullptr}, std::move(before));
    Operations nodes;
    Stream beside(stream.context, CU_STREAM_NON_BLOCKING);
    for (const Node& node : executable.graph.nodes) {
        Operations after;
        for (const size_t index : node.after) after.push_back(nodes[index]);
        if (after.empty()) after.push_back(start);
        beside.last = nullptr;
        nodes.push_back(enqueue(beside, node.work, std::move(after)));
    }
    nodes.push_back(start);
    executable.last = enqueue(stream, {Work::Kind::MARK, "end of a graph", nullptr}, std::move(nodes));
}

}  // namespace simulated
