#include "settings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "failure.h"

namespace simulated {
namespace {

template <typename... Numbers>
bool scan(const char* variable, const char* format, Numbers*... numbers) {
    const char* text = std::getenv(variable);
    if (text == nullptr || *text == 0) return false;
    int read = 0;
    const int found = std::sscanf(text, (std::string(format) + "%n").c_str(), numbers..., &read);
    if (found != int{sizeof...(numbers)} || text[read] != 0)
        fail(CUDA_ERROR_INVALID_VALUE, std::string(variable) + " is '" + text + "'; expected the form " + format);
    return true;
}

// `function:after calls:error`, separated by commas
void want_failures(const std::string& list) {
    for (size_t start = 0; start < list.size();) {
        const size_t end = std::min(list.find(',', start), list.size());
        const std::string item = list.substr(start, end - start);
        char function[64];
        int after = 0, error = 0, read = 0;
        if (std::sscanf(item.c_str(), "%63[^:]:%d:%d%n", function, &after, &error, &read) != 3 || item[read] != 0)
            fail(CUDA_ERROR_INVALID_VALUE,
                 "SIMULATED_GPU_FAIL has '" + item + "'; expected function:after_calls:error");
        want_failure(function, after, static_cast<CUresult>(error));
        start = end + 1;
    }
}

Settings read() {
    Settings read;
    read.driver_version = CUDA_VERSION;
    scan("SIMULATED_GPU_MEMORY", "%zu", &read.memory_bytes);
    scan("SIMULATED_GPU_DRIVER_VERSION", "%d", &read.driver_version);
    scan("SIMULATED_GPU_CAPABILITY", "%d.%d", &read.major, &read.minor);
    if (const char* schedule = std::getenv("SIMULATED_GPU_SCHEDULE")) read.schedule = schedule;
    if (const char* list = std::getenv("SIMULATED_GPU_FAIL")) want_failures(list);
    int report = 0;
    read.report = scan("SIMULATED_GPU_REPORT", "%d", &report) && report != 0;
    return read;
}

}  // namespace

const Settings& settings() {
    static const Settings once = read();
    return once;
}

}  // namespace simulated
