// What tests ask the simulation itself (simulated.py).
#include <cstring>

#include "call.h"

using namespace simulated;

#pragma GCC visibility push(default)
extern "C" {
// The next call of this function, or the one after so many more, gives this error. Null forgets what was wanted so.
void simulated_fail(const char* function, int after_calls, int error);
// Which work is done next, from now on; 0, or an error for an unknown name.
int simulated_schedule(const char* name);
// A number by its name; -1 for an unknown one.
long long simulated_statistic(const char* name);
}
#pragma GCC visibility pop

void simulated_fail(const char* function, int after_calls, int error) {
    std::lock_guard<std::mutex> held(gpu().lock);
    want_failure(function, after_calls, static_cast<CUresult>(error));
}

int simulated_schedule(const char* name) {
    std::lock_guard<std::mutex> held(gpu().lock);
    try {
        gpu().schedule.choose(name);
        return CUDA_SUCCESS;
    } catch (const Failure& failure) {
        return failure.code;
    }
}

long long simulated_statistic(const char* name) {
    std::lock_guard<std::mutex> held(gpu().lock);
    const Gpu& all = gpu();
    const struct {
        const char* name;
        long long value;
    } numbers[] = {
        {"launches", all.statistics.launches},
        {"copies", all.statistics.copies},
        {"memsets", all.statistics.memsets},
        {"host_functions", all.statistics.host_functions},
        {"synchronisations", all.statistics.synchronisations},
        {"waiting", static_cast<long long>(all.schedule.waiting_count())},
        {"device_allocations", static_cast<long long>(all.memory.count(Place::DEVICE))},
        {"pinned_allocations", static_cast<long long>(all.memory.count(Place::PINNED))},
        {"device_bytes", static_cast<long long>(all.memory.used_bytes())},
        {"peak_bytes", static_cast<long long>(all.memory.peak_bytes())},
        {"streams", static_cast<long long>(all.streams.count())},
        {"events", static_cast<long long>(all.events.count())},
        {"modules", static_cast<long long>(all.modules.count())},
        {"graphs", static_cast<long long>(all.graphs.count() + all.executables.count())},
        {"contexts", static_cast<long long>(all.contexts.count())},
        {"lost", all.statistics.lost},
    };
    for (const auto& number : numbers)
        if (std::strcmp(number.name, name) == 0) return number.value;
    return -1;
}
