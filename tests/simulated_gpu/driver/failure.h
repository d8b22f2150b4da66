// What goes wrong, and how it is said.
#pragma once

#include <cuda.h>

#include <string>

static_assert(CUDA_VERSION >= 13000, "the names of functions are those of CUDA 13");

namespace simulated {

// Ends a call of the driver with this error.
struct Failure {
    CUresult code;
};

// A line on standard error: the real driver gives a number only, and this is here to find mistakes.
void say(const std::string& line);

[[noreturn]] void fail(CUresult code, const std::string& why);

inline void expect(bool holds, CUresult code, const char* why) {
    if (!holds) fail(code, why);
}

// Whether a context is unusable after this error (cuda.h: "the process must be terminated and relaunched").
bool kills_context(CUresult code);

// The name in cuda.h of those errors that this driver gives, null of others.
const char* name_of(CUresult code);

// The error that a test wants this function to give now, or CUDA_SUCCESS.
CUresult wanted_failure(const char* function);

// The next call of `function` (with or without its suffix _v2), or the one after so many more, gives this error. Null
// forgets all that were wanted.
void want_failure(const char* function, int after_calls, CUresult error);

}  // namespace simulated
