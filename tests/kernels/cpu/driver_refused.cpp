// What the engine says on this processor: driver_refused LIBRARY MODEL INSTRUCTION_SET
#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "repsr_engine.h"

#define ENGINE(name) const auto name = reinterpret_cast<decltype(&repsr_##name)>(dlsym(library, "repsr_" #name))

int main(int, char** arguments) {
    void* const library = dlopen(arguments[1], RTLD_NOW);
    if (!library) return std::puts(dlerror()), 1;
    ENGINE(precisions);
    ENGINE(model_read);
    ENGINE(network_make);
    ENGINE(network_instruction_set);
    std::ifstream file(arguments[2], std::ios::binary);
    const std::vector<char> onnx{std::istreambuf_iterator<char>(file), {}};
    const char* const asked = arguments[3];
    for (const char* name : {"portable", asked}) std::printf("%s %u\n", name, precisions(name));
    repsr_model* model = nullptr;
    repsr_message message{};
    if (model_read(onnx.data(), onnx.size(), &model, &message) != REPSR_OK) return std::puts(message.text), 1;
    for (const char* name : {asked, static_cast<const char*>(nullptr)}) {
        repsr_network* network = nullptr;
        const repsr_status status = network_make(model, REPSR_FP32, name, &network, &message);
        std::printf("%d %s\n", status, status == REPSR_OK ? network_instruction_set(network) : message.text);
    }
}
