#include "schedule.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "faults.h"
#include "gpu.h"

namespace simulated {
namespace {

double now_ms() {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(since).count();
}

bool is_ready(const Operation& operation) {
    return operation.state == Operation::State::WAITING &&
           std::all_of(operation.after.begin(), operation.after.end(),
                       [](const auto& each) { return each->is_done(); });
}

void count(Work::Kind kind) {
    Statistics& statistics = gpu().statistics;
    if (kind == Work::Kind::COPY) ++statistics.copies;
    if (kind == Work::Kind::MEMSET) ++statistics.memsets;
    if (kind == Work::Kind::LAUNCH) ++statistics.launches;
    if (kind == Work::Kind::HOST) ++statistics.host_functions;
}

// Copies and kernels, with the memory of their context at hand and its guard bands looked at afterwards.
CUresult run_on_device(Context& context, const Work& work) {
    CUresult result = CUDA_SUCCESS;
    void* address = nullptr;
    gpu().memory.open(&context);
    if (!survives([&] { result = work.run(); }, &address)) {
        char line[32];
        std::snprintf(line, sizeof line, "%p", address);
        say(work.name + " touched address " + line + ", which is no memory that it may use");
        result = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    if (!gpu().memory.bands_are_whole(&context, work.name) && result == CUDA_SUCCESS)
        result = CUDA_ERROR_ILLEGAL_ADDRESS;
    gpu().memory.close(&context);
    return result;
}

// Host functions may need what another thread holds while that thread waits for us: Python's interpreter lock.
void run_on_host(const Work& work) {
    in_host_function = true;
    gpu().lock.unlock();
    work.run();
    gpu().lock.lock();
    in_host_function = false;
}

}  // namespace

void Schedule::choose(const std::string& name) {
    unsigned long long seed = 0;
    int read = 0;
    if (name == "eager") {
        order_ = Order::EAGER;
    } else if (name == "lazy") {
        order_ = Order::LAZY;
    } else if (std::sscanf(name.c_str(), "random:%llu%n", &seed, &read) == 1 && name[static_cast<size_t>(read)] == 0) {
        order_ = Order::RANDOM;
        generator_.seed(seed);
    } else {
        fail(CUDA_ERROR_INVALID_VALUE, "schedule is '" + name + "'; expected eager, lazy or random:SEED");
    }
}

void Schedule::add(std::shared_ptr<Operation> operation) {
    waiting_.push_back(operation);
    if (order_ == Order::EAGER) finish({operation});
    if (order_ == Order::RANDOM)
        for (size_t steps = draw(3); steps > 0 && step_at_random(); --steps) {}
}

void Schedule::finish(const Operations& operations) {
    for (auto each = operations.rbegin(); each != operations.rend(); ++each)
        while (!(*each)->is_done())
            if (!(order_ == Order::RANDOM ? step_at_random() : step_towards(*each))) wait_for_other_threads();
}

bool Schedule::poll(const Operations& operations) {
    const auto open =
        std::find_if(operations.begin(), operations.end(), [](const auto& each) { return !each->is_done(); });
    if (open == operations.end()) return true;
    if (order_ == Order::RANDOM)
        step_at_random();
    else
        step_towards(*open);
    return false;
}

Operations Schedule::waiting(const std::function<bool(const Operation&)>& condition) const {
    Operations found;
    for (const auto& each : waiting_)
        if (condition(*each)) found.push_back(each);
    return found;
}

bool Schedule::step_towards(const std::shared_ptr<Operation>& operation) {
    std::shared_ptr<Operation> next = operation;
    while (next->state == Operation::State::WAITING) {
        const auto& after = next->after;
        const auto open = std::find_if(after.rbegin(), after.rend(), [](const auto& each) { return !each->is_done(); });
        if (open == after.rend()) {
            execute(next);
            return true;
        }
        next = *open;
    }
    return false;
}

bool Schedule::step_at_random() {
    const Operations ready = waiting(is_ready);
    if (ready.empty()) return false;
    execute(ready[draw(ready.size())]);
    return true;
}

void Schedule::execute(const std::shared_ptr<Operation>& operation) {
    operation->state = Operation::State::RUNNING;
    Context& context = *operation->context;
    if (context.broken == CUDA_SUCCESS && operation->work.kind != Work::Kind::MARK) {
        count(operation->work.kind);
        if (operation->work.kind == Work::Kind::HOST)
            run_on_host(operation->work);
        else
            context.broken = run_on_device(context, operation->work);
    }
    operation->state = Operation::State::DONE;
    operation->done_ms = now_ms();
    operation->work.run = nullptr;
    operation->after.clear();
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), operation));
    gpu().changed.notify_all();
}

void Schedule::wait_for_other_threads() {
    std::unique_lock<std::mutex> held(gpu().lock, std::adopt_lock);
    gpu().changed.wait(held);
    held.release();
}

}  // namespace simulated
