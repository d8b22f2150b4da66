// What a caller asks for, checked: nothing behind it reads or writes beyond the buffers.
#pragma once

#include "network.hpp"
#include "picture.hpp"
#include "plan.hpp"
#include "repsr_engine.h"

namespace repsr::cpu {

struct CheckedJob {
    Picture picture;
    Result result;
    Wishes wishes;
};

// Raises Error (REPSR_BAD_ARGUMENT).
CheckedJob check_job(const repsr_job& job, const Network& network);

}  // namespace repsr::cpu
