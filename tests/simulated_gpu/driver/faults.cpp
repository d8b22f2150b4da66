#include "faults.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "failure.h"

namespace simulated {
namespace {

// One operation runs at a time (gpu.h), so there is one of each; a signal comes in the thread that made the fault.
sigjmp_buf landing;
pthread_t running_in;
void* volatile fault_address;
struct sigaction before[2];
constexpr int kSignals[2] = {SIGSEGV, SIGBUS};

void restore() {
    for (int index = 0; index < 2; ++index) sigaction(kSignals[index], &before[index], nullptr);
}

void on_fault(int, siginfo_t* info, void*) {
    if (!pthread_equal(pthread_self(), running_in)) return restore();  // and the fault comes again, to whom it belongs
    fault_address = info->si_addr;
    siglongjmp(landing, 1);
}

}  // namespace

bool survives(const std::function<void()>& work, void** address) {
    running_in = pthread_self();
    struct sigaction ours = {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&ours.sa_mask);
    if (sigsetjmp(landing, 1) != 0) {  // not from a fiber of an emulated kernel back into it: that one is given up
        restore();
        *address = fault_address;
        return false;
    }
    for (int index = 0; index < 2; ++index) sigaction(kSignals[index], &ours, &before[index]);
    work();
    restore();
    return true;
}

}  // namespace simulated
