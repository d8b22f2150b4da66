// Fibers: functions with a stack of their own that hand the processor to each other, within one thread of the host.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if !defined(__x86_64__) || defined(REPSR_UCONTEXT)
#define REPSR_SWITCH_BY_UCONTEXT 1
#include <ucontext.h>
#endif

#pragma GCC visibility push(hidden)  // see meetings.h

namespace fibers {

// Where somebody is interrupted: a fiber, or the thread of the host that runs them.
struct Place {
#if defined(REPSR_SWITCH_BY_UCONTEXT)
    ucontext_t context;
#else
    void* stack_pointer;
#endif
};

#if defined(REPSR_SWITCH_BY_UCONTEXT)

inline void go(Place& from, Place& to) { swapcontext(&from.context, &to.context); }

inline void prepare(Place& place, void* stack, size_t bytes, void (*entry)()) {
    getcontext(&place.context);
    place.context.uc_stack.ss_sp = stack;
    place.context.uc_stack.ss_size = bytes;
    place.context.uc_link = nullptr;
    makecontext(&place.context, entry, 0);
}

#else

// System V ABI: a callee keeps these registers; all others are the caller's to save. Some nanoseconds, where
// swapcontext asks the operating system for the signal mask.
__attribute__((naked, noinline)) inline void go(Place& /* from: rdi */, Place& /* to: rsi */) {
    asm volatile(
        "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\t"
        "movq (%rsi), %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
        "ret");
}

inline void prepare(Place& place, void* stack, size_t bytes, void (*entry)()) {
    // six registers, the address that `ret` takes, and the return address of entry, which never returns; a function
    // begins with its stack 8 bytes below a multiple of 16
    auto* top = reinterpret_cast<uint64_t*>(static_cast<char*>(stack) + bytes);
    for (int word = 1; word <= 8; ++word) top[-word] = 0;
    top[-2] = reinterpret_cast<uint64_t>(entry);
    place.stack_pointer = top - 8;
}

#endif

// A stack with a page below it that cannot be touched: an overflow ends the program instead of spoiling another stack.
class Stack {
public:
    static constexpr size_t kBytes = 256 << 10, kGuard = 64 << 10;

    Stack() {
        mapping_ = mmap(
            nullptr, kGuard + kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping_ == MAP_FAILED || mprotect(mapping_, kGuard, PROT_NONE) != 0) throw std::bad_alloc();
    }
    ~Stack() { munmap(mapping_, kGuard + kBytes); }
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;

    void* data() const { return static_cast<char*>(mapping_) + kGuard; }

private:
    void* mapping_;
};

// A place with a stack, where `entry` begins when it is first gone to; entry must not return.
struct Fiber {
    explicit Fiber(void (*entry)()) { begin(entry); }

    // Forget where it was interrupted.
    void begin(void (*entry)()) { prepare(place, stack.data(), Stack::kBytes, entry); }

    Place place;
    Stack stack;
};

}  // namespace fibers

#pragma GCC visibility pop
