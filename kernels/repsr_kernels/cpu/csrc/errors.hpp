// What goes wrong, as one exception, which becomes a status and a message where C begins.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "repsr_engine.h"

namespace repsr::cpu {

class Error : public std::exception {
public:
    Error(repsr_status status, std::string text) : status_(status), text_(std::move(text)) {}
    repsr_status status() const noexcept { return status_; }
    const char* what() const noexcept override { return text_.c_str(); }

private:
    repsr_status status_;
    std::string text_;
};

}  // namespace repsr::cpu
