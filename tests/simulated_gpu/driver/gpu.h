// The whole state: one GPU, its contexts, and what was made in them. One lock guards everything: calls of the driver
// come from several threads, and operations are executed one at a time in whichever thread waits for them.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "capture.h"
#include "handles.h"
#include "memory.h"
#include "schedule.h"

namespace simulated {

struct Module;
struct Function;

struct Stream {
    Stream(Context* of, unsigned with_flags) : context(of), flags(with_flags) {}

    Context* context;
    unsigned flags;
    bool is_default = false;
    std::shared_ptr<Operation> last;
    std::shared_ptr<Capture> capture;   // null where nothing is being captured
    std::vector<size_t> capture_after;  // nodes that the next one comes after

    bool is_blocking() const { return is_default || (flags & CU_STREAM_NON_BLOCKING) == 0; }
};

struct Event {
    Context* context;
    unsigned flags;
    std::shared_ptr<Operation> record;  // the last one; null before
    std::shared_ptr<Capture> capture;   // that it was recorded in, if it was
    std::vector<size_t> capture_after;
};

struct Context {
    CUcontext handle = nullptr;
    unsigned flags = 0;
    int users = 0;
    CUresult broken = CUDA_SUCCESS;  // the error that made it unusable
    Stream default_stream{this, 0};
};

struct Statistics {
    long long launches = 0, copies = 0, memsets = 0, host_functions = 0, synchronisations = 0, lost = 0;
};

struct Gpu {
    std::mutex lock;
    std::condition_variable changed;
    bool is_initialised = false;
    Memory memory;
    Schedule schedule;
    Statistics statistics;
    Context* primary = nullptr;
    Handles<Context, CUcontext> contexts{"context"};
    Handles<Stream, CUstream> streams{"stream"};
    Handles<Event, CUevent> events{"event"};
    Handles<Module, CUmodule> modules{"module"};
    Handles<Function, CUfunction> functions{"function of a module"};
    Handles<Graph, CUgraph> graphs{"graph"};
    Handles<Executable, CUgraphExec> executables{"executable graph"};
    std::vector<std::shared_ptr<Capture>> captures;  // under way
};

// Never destroyed: threads may call until the process is gone.
Gpu& gpu();

// Whether this thread is in a function that a stream called, from which the driver must not be called.
extern thread_local bool in_host_function;

// The contexts that this thread pushed; the last one is current.
std::vector<CUcontext>& context_stack();

// Raises:
//     Failure: none is current, or it was destroyed.
Context& current_context();

// The stream with this handle, 0 being the legacy default stream of the current context.
Stream& stream_of(CUstream handle);

// Does everything that a context, a stream was asked for.
//
// Raises:
//     Failure: what was done made the context unusable.
void finish(Context& context);
void finish(Stream& stream);

// What `finish(stream)` has to do.
Operations open_work(Stream& stream);

// Asks a stream for something, or records it while the stream is being captured.
void submit(Stream& stream, Work work);

// Asks a stream for something that comes after what it was asked for before, and after these.
std::shared_ptr<Operation> enqueue(Stream& stream, Work work, Operations after = {});

void destroy(Context& context);

}  // namespace simulated
