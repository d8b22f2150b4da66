#include "failure.h"

#include <cstdio>
#include <cstring>
#include <list>

namespace simulated {
namespace {

struct Named {
    CUresult code;
    const char* name;
    bool kills;
};

#define NAMED(name) {name, #name, false}
#define KILLING(name) {name, #name, true}
const Named ERRORS[] = {
    NAMED(CUDA_SUCCESS), NAMED(CUDA_ERROR_INVALID_VALUE), NAMED(CUDA_ERROR_OUT_OF_MEMORY),
    NAMED(CUDA_ERROR_NOT_INITIALIZED), NAMED(CUDA_ERROR_DEINITIALIZED), NAMED(CUDA_ERROR_NO_DEVICE),
    NAMED(CUDA_ERROR_INVALID_DEVICE), NAMED(CUDA_ERROR_INVALID_IMAGE), NAMED(CUDA_ERROR_INVALID_CONTEXT),
    NAMED(CUDA_ERROR_NO_BINARY_FOR_GPU), NAMED(CUDA_ERROR_UNSUPPORTED_LIMIT), NAMED(CUDA_ERROR_CONTEXT_ALREADY_IN_USE),
    NAMED(CUDA_ERROR_INVALID_SOURCE), NAMED(CUDA_ERROR_INVALID_HANDLE), NAMED(CUDA_ERROR_ILLEGAL_STATE),
    NAMED(CUDA_ERROR_NOT_FOUND), NAMED(CUDA_ERROR_NOT_READY), NAMED(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
    NAMED(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE), NAMED(CUDA_ERROR_CONTEXT_IS_DESTROYED),
    NAMED(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED), NAMED(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED),
    NAMED(CUDA_ERROR_NOT_PERMITTED), NAMED(CUDA_ERROR_NOT_SUPPORTED), NAMED(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH),
    NAMED(CUDA_ERROR_UNSUPPORTED_PTX_VERSION), NAMED(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
    NAMED(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED), NAMED(CUDA_ERROR_STREAM_CAPTURE_MERGE),
    NAMED(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED), NAMED(CUDA_ERROR_STREAM_CAPTURE_UNJOINED),
    NAMED(CUDA_ERROR_STREAM_CAPTURE_ISOLATION), NAMED(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT),
    NAMED(CUDA_ERROR_CAPTURED_EVENT), NAMED(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD), NAMED(CUDA_ERROR_UNKNOWN),
    KILLING(CUDA_ERROR_ECC_UNCORRECTABLE), KILLING(CUDA_ERROR_ILLEGAL_ADDRESS), KILLING(CUDA_ERROR_LAUNCH_TIMEOUT),
    KILLING(CUDA_ERROR_ASSERT), KILLING(CUDA_ERROR_HARDWARE_STACK_ERROR), KILLING(CUDA_ERROR_ILLEGAL_INSTRUCTION),
    KILLING(CUDA_ERROR_MISALIGNED_ADDRESS), KILLING(CUDA_ERROR_INVALID_ADDRESS_SPACE),
    KILLING(CUDA_ERROR_INVALID_PC), KILLING(CUDA_ERROR_LAUNCH_FAILED),
};
#undef NAMED
#undef KILLING

const Named* find(CUresult code) {
    for (const Named& error : ERRORS)
        if (error.code == code) return &error;
    return nullptr;
}

struct Wanted {
    std::string function;
    int after_calls;
    CUresult error;
};

std::list<Wanted>& all_wanted() {
    static auto& wanted = *new std::list<Wanted>;
    return wanted;
}

bool names(const std::string& wanted, const char* function) {
    const size_t length = wanted.size();
    return std::strncmp(wanted.c_str(), function, length) == 0 && (function[length] == 0 || function[length] == '_');
}

}  // namespace

void say(const std::string& line) { std::fprintf(stderr, "simulated GPU: %s\n", line.c_str()); }

void fail(CUresult code, const std::string& why) {
    say(why);
    throw Failure{code};
}

bool kills_context(CUresult code) {
    const Named* error = find(code);
    return error != nullptr && error->kills;
}

const char* name_of(CUresult code) {
    const Named* error = find(code);
    return error == nullptr ? nullptr : error->name;
}

CUresult wanted_failure(const char* function) {
    auto& wanted = all_wanted();
    for (auto each = wanted.begin(); each != wanted.end(); ++each) {
        if (!names(each->function, function) || each->after_calls-- > 0) continue;
        const CUresult error = each->error;
        wanted.erase(each);
        return error;
    }
    return CUDA_SUCCESS;
}

void want_failure(const char* function, int after_calls, CUresult error) {
    if (function == nullptr) return all_wanted().clear();
    all_wanted().push_back({function, after_calls, error});
}

}  // namespace simulated
