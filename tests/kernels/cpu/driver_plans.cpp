// Answers questions about plans and processors, one a line, so that a test can ask many.
//
//   plan height width first_row end_row lanes l2_bytes threads strip_rows block_columns layers (cycles input_bytes
//        weight_bytes)...    ->  threads strips blocks, then every unit: first_row end_row first_column end_column
//   features leaf1_ecx leaf7_ebx leaf7_ecx leaf7_1_eax xcr0 (hexadecimal)
//        ->  avx2 avxvnni avx512 avx512vnni avx512bf16, 0 or 1 (on x86-64)
#include <iostream>
#include <sstream>
#include <string>

#include "plan.hpp"
#if defined(__x86_64__)
#include "processor_x86.hpp"
#endif

using namespace repsr::cpu;

static void answer_plan(std::istream& asked) {
    Area area{};
    Machine machine{};
    Wishes wishes;
    size_t count = 0;
    asked >> area.height >> area.width >> area.first_row >> area.end_row >> machine.lanes >> machine.l2_bytes;
    asked >> wishes.threads >> wishes.strip_rows >> wishes.block_columns >> count;
    std::vector<LayerCost> layers(count);
    for (auto& layer : layers) asked >> layer.cycles >> layer.input_bytes >> layer.weight_bytes;
    const Plan plan = make_plan(area, layers, machine, wishes);
    std::cout << plan.threads << ' ' << plan.strips << ' ' << plan.blocks;
    for (int64_t i = 0; i < plan.units(); ++i) {
        const Unit unit = plan.unit(i);
        std::cout << ' ' << unit.first_row << ' ' << unit.end_row << ' ' << unit.first_column << ' ' << unit.end_column;
    }
}

static void answer_features([[maybe_unused]] std::istream& asked) {
#if defined(__x86_64__)
    Identity identity;
    asked >> std::hex >> identity.leaf1_ecx >> identity.leaf7_ebx >> identity.leaf7_ecx >> identity.leaf7_1_eax;
    asked >> identity.xcr0;
    const Features has = features_of(identity);
    std::cout << has.avx2 << ' ' << has.avxvnni << ' ' << has.avx512 << ' ' << has.avx512vnni << ' ' << has.avx512bf16;
#endif
}

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream asked(line);
        std::string what;
        asked >> what;
        what == "plan" ? answer_plan(asked) : answer_features(asked);
        std::cout << '\n';
    }
}
