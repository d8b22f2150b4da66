// The engine when memory runs out: every allocation fails in turn, in each function, and nothing is lost.
//
//   driver_memory LIBRARY MODEL      prints how many allocations failed, or what is wrong (exit code 1)
//
// The C library's functions are replaced by those below: the library's `new` calls them too.
#include <dlfcn.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "repsr_engine.h"

extern "C" {
void* __libc_malloc(size_t);
void* __libc_memalign(size_t, size_t);
void* __libc_calloc(size_t, size_t);
void __libc_free(void*);
}

namespace {

constexpr long kNever = -1;
std::atomic<long> left{kNever};   // allocations until one fails
std::atomic<bool> for_ever{false};  // then all others fail too
std::atomic<long> live{0}, failed{0};

bool fails() {
    if (left.load() == kNever) return false;
    const long before = left.fetch_sub(1);
    const bool now = before == 0 || (before < 0 && for_ever);
    if (before <= 0) left = for_ever ? 0 : kNever;
    failed += now;
    return now;
}

[[noreturn]] void wrong(const char* what, long at, const char* text) {
    left = kNever;
    std::printf("%s, when allocation %ld fails: %s\n", what, at, text);
    std::exit(1);
}

}  // namespace

extern "C" void* malloc(size_t size) {
    if (fails()) return errno = ENOMEM, nullptr;
    ++live;
    return __libc_malloc(size);
}

extern "C" void* calloc(size_t count, size_t size) {
    if (fails()) return errno = ENOMEM, nullptr;
    ++live;
    return __libc_calloc(count, size);
}

extern "C" void* aligned_alloc(size_t alignment, size_t size) {
    if (fails()) return errno = ENOMEM, nullptr;
    ++live;
    return __libc_memalign(alignment, size);
}

extern "C" void free(void* memory) {
    if (memory) --live;
    __libc_free(memory);
}

template <class Function>
static Function* symbol(void* library, const char* name, Function*) {
    return reinterpret_cast<Function*>(dlsym(library, name));
}
#define ENGINE(name) const auto name = symbol(library, "repsr_" #name, &repsr_##name)

// Calls function(message) with the first, second, ... allocation failing, until none does. `undo` is called whenever it
// gave REPSR_OK.
template <class Function, class Undo>
static void exhaust(const char* what, const Function& function, const Undo& undo) {
    for (const bool ever : {false, true}) {
        for (long at = 0;; at += 1 + at / 8) {
            const long live_before = live, failed_before = failed;
            repsr_message message{};
            for_ever = ever;
            left = at;
            const repsr_status status = function(&message);
            left = kNever;
            const bool met = failed != failed_before;
            if (status == REPSR_OK) undo();
            if (live != live_before) wrong(what, at, "memory is lost");
            if (status != REPSR_OK && status != REPSR_OUT_OF_MEMORY) wrong(what, at, message.text);
            if (status != REPSR_OK && !message.text[0]) wrong(what, at, "it does not say so");
            if (!met && status != REPSR_OK) wrong(what, at, "nothing failed, but it did");
            if (!met) break;
        }
    }
}

int main(int, char** arguments) {
    void* const library = dlopen(arguments[1], RTLD_NOW);
    if (!library) return std::puts(dlerror()), 1;
    ENGINE(model_read);
    ENGINE(model_free);
    ENGINE(network_make);
    ENGINE(network_free);
    ENGINE(run);
    std::ifstream file(arguments[2], std::ios::binary);
    const std::vector<char> onnx{std::istreambuf_iterator<char>(file), {}};

    repsr_model* model = nullptr;
    const auto read = [&](repsr_message* message) { return model_read(onnx.data(), onnx.size(), &model, message); };
    // What is made once, for the first model and the first exception, is not lost.
    if (model_read("", 0, &model, nullptr) == REPSR_OK) wrong("repsr_model_read", kNever, "nothing is a model");
    if (read(nullptr) != REPSR_OK) wrong("repsr_model_read", kNever, "it fails at once");
    model_free(model);
    exhaust("repsr_model_read", read, [&] { model_free(model); });
    if (read(nullptr) != REPSR_OK) wrong("repsr_model_read", kNever, "it fails for good");

    repsr_network* network = nullptr;
    const auto make = [&](repsr_message* message) {
        return network_make(model, REPSR_FP32, nullptr, &network, message);
    };
    exhaust("repsr_network_make", make, [&] { network_free(network); });
    if (make(nullptr) != REPSR_OK) wrong("repsr_network_make", kNever, "it fails for good");

    constexpr int kHeight = 40, kWidth = 50;
    std::vector<unsigned char> image(kHeight * kWidth * 3), out(image.size() * 4), expected(out.size());
    for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<unsigned char>(i * 7919 >> 3);
    repsr_job job{};
    job.height = job.end_row = kHeight, job.width = kWidth;
    job.image = image.data(), job.image_bytes = image.size(), job.image_pitch = kWidth * 3;
    job.out = expected.data(), job.out_bytes = out.size(), job.out_pitch = kWidth * 6;
    job.threads = 1;
    if (run(network, &job, nullptr) != REPSR_OK) wrong("repsr_run", kNever, "it fails at once");
    job.out = out.data();
    for_ever = false;  // the C library itself gives up where a new thread has not even memory for an exception
    for (const int threads : {1, 3}) {
        job.threads = threads, job.strip_rows = threads == 1 ? 0 : 3;
        long fewer = 0;
        for (long at = 0; at < 60; ++at) {
            repsr_network* fresh = nullptr;  // one that keeps no memory of earlier runs
            if (network_make(model, REPSR_FP32, nullptr, &fresh, nullptr) != REPSR_OK) wrong("a network", at, "none");
            std::memset(out.data(), 0, out.size());
            left = at;
            const repsr_status status = run(fresh, &job, nullptr);
            left = kNever;
            fewer += status == REPSR_OUT_OF_MEMORY;
            if (status != REPSR_OK && status != REPSR_OUT_OF_MEMORY) wrong("repsr_run", at, "another status");
            if (status == REPSR_OK && out != expected) wrong("repsr_run", at, "other pixels");
            if (run(fresh, &job, nullptr) != REPSR_OK || out != expected) wrong("repsr_run", at, "no good afterwards");
            network_free(fresh);
        }
        if (fewer == 0) wrong("repsr_run", threads, "it never met one");
    }
    network_free(network);
    model_free(model);
    std::printf("%ld\n", failed.load());
}
