// Accesses to memory that is not there, or not theirs, while an operation runs: caught, not the end of the process.
#pragma once

#include <functional>

namespace simulated {

// Does the work, which must not throw. False: it touched memory that it must not; `address` says which. What the work
// held is lost then.
bool survives(const std::function<void()>& work, void** address);

}  // namespace simulated
