// What the environment says about the GPU (README.md has the list).
#pragma once

#include <cstddef>
#include <string>

namespace simulated {

struct Settings {
    size_t memory_bytes = size_t{1} << 30;
    int driver_version = 0;    // as cuDriverGetVersion: 13000 is 13.0
    int major = 9, minor = 0;  // compute capability
    std::string schedule = "lazy";
    bool report = false;  // statistics on standard error when the process ends
};

// Raises:
//     Failure: a variable makes no sense.
const Settings& settings();

}  // namespace simulated
