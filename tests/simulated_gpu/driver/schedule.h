// Work that was asked for and is not done yet, and in which order it gets done.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "failure.h"

namespace simulated {

struct Context;

// What a stream is told to do. The function returns an error, and says the reason.
struct Work {
    enum class Kind { MARK, COPY, MEMSET, LAUNCH, HOST } kind = Kind::MARK;
    std::string name;
    std::function<CUresult()> run;
};

struct Operation {
    enum class State { WAITING, RUNNING, DONE };

    Context* context;
    bool blocking;  // of a stream that the legacy default stream waits for, or of that stream
    Work work;
    std::vector<std::shared_ptr<Operation>> after;
    State state = State::WAITING;
    double done_ms = 0;

    bool is_done() const { return state == State::DONE; }
};

using Operations = std::vector<std::shared_ptr<Operation>>;

class Schedule {
public:
    // `eager`: at once, in the order of the calls. `lazy`: only what somebody waits for, as late as possible, and what
    // was asked for last before the rest. `random:SEED`: something that is ready, at any time.
    //
    // Raises:
    //     Failure: another name.
    void choose(const std::string& name);

    void add(std::shared_ptr<Operation> operation);

    // Does what these need, and these. Waits for host functions that other threads are in.
    void finish(const Operations& operations);

    // Whether all are done; if not, one step is done on the way there, so that whoever asks again and again gets on.
    bool poll(const Operations& operations);

    // What is not done yet, in the order of the calls.
    Operations waiting(const std::function<bool(const Operation&)>& condition) const;

    size_t waiting_count() const { return waiting_.size(); }

private:
    enum class Order { EAGER, LAZY, RANDOM };

    bool step_towards(const std::shared_ptr<Operation>& operation);
    bool step_at_random();
    void execute(const std::shared_ptr<Operation>& operation);
    void wait_for_other_threads();
    size_t draw(size_t below) { return static_cast<size_t>(generator_() % below); }

    Order order_ = Order::LAZY;
    std::mt19937_64 generator_;
    Operations waiting_;
};

}  // namespace simulated
