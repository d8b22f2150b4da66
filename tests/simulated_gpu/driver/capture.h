// Recording what streams are asked for as a graph.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "schedule.h"

namespace simulated {

struct Stream;
struct Event;

struct Node {
    Work work;
    std::vector<size_t> after;
};

struct Graph {
    Context* context;
    std::vector<Node> nodes;  // each after those that it comes after
};

struct Executable {
    Graph graph;
    std::shared_ptr<Operation> last;  // of its last launch, which the next one comes after
};

struct Capture {
    std::shared_ptr<Graph> graph;
    const Stream* origin;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    std::vector<Stream*> streams;  // in the recording
    bool is_valid = true;
};

// Makes a recording useless: its streams give errors until it is ended.
//
// Raises:
//     Failure: always, with this error.
[[noreturn]] void invalidate(Capture& capture, CUresult code, const std::string& why);

// Raises:
//     Failure: the stream is being captured; the recording is useless then.
void expect_not_captured(Stream& stream, const char* function);

// Raises:
//     Failure: a recording is under way that does not permit calls such as cuMemAlloc in this thread; useless then.
void expect_safe(const char* function);

// Raises:
//     Failure: somebody records a blocking stream, which this use of the default stream would have to wait for.
void expect_no_implicit_wait(Stream& stream);

// Adds work to the recording that a stream is in.
void record(Stream& stream, Work work);

// What cuStreamWaitEvent means when the stream or the event belongs to a recording; false when neither does.
bool wait_in_capture(Stream& stream, const Event& event);

void begin_capture(Stream& stream, CUstreamCaptureMode mode);
std::shared_ptr<Graph> end_capture(Stream& stream);

// Takes a stream that is going to be destroyed out of its recording, which becomes useless.
void leave_capture(Stream& stream);

void launch(Executable& executable, Stream& stream);

}  // namespace simulated
