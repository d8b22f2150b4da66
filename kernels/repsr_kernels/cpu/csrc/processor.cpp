#include "processor.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include "processor_x86.hpp"
#elif defined(__aarch64__)
#include "processor_arm.hpp"
#endif

namespace repsr::cpu {
namespace {

constexpr int64_t kUsualL2 = 512 * 1024;  // bytes; where nothing is known
constexpr int64_t kCoreThreads = 2;       // of one core, which share its L2 in any case

const char* const kNames[] = {"portable",   "avx2", "avxvnni",      "avx512",   "avx512vnni",
                              "avx512bf16", "neon", "neon_dotprod", "neon_bf16"};

InstructionSets find_instruction_sets() noexcept {
    InstructionSets result;
#if defined(__x86_64__)
    [[maybe_unused]] const Features has = features_of(read_identity());
#elif defined(__aarch64__)
    [[maybe_unused]] const Features has = read_features();
#endif
    // Not even asked for its kernels where the processor has it not: its text may use the instructions anywhere.
#define REPSR_INSTRUCTION_SET(name, there) result.sets[result.count++] = {#name, (there) ? kernels_##name() : nullptr}
#ifdef REPSR_HAVE_PORTABLE
    REPSR_INSTRUCTION_SET(portable, true);
#endif
#ifdef REPSR_HAVE_AVX2
    REPSR_INSTRUCTION_SET(avx2, has.avx2);
#endif
#ifdef REPSR_HAVE_AVXVNNI
    REPSR_INSTRUCTION_SET(avxvnni, has.avxvnni);
#endif
#ifdef REPSR_HAVE_AVX512
    REPSR_INSTRUCTION_SET(avx512, has.avx512);
#endif
#ifdef REPSR_HAVE_AVX512VNNI
    REPSR_INSTRUCTION_SET(avx512vnni, has.avx512vnni);
#endif
#ifdef REPSR_HAVE_AVX512BF16
    REPSR_INSTRUCTION_SET(avx512bf16, has.avx512bf16);
#endif
#ifdef REPSR_HAVE_NEON
    REPSR_INSTRUCTION_SET(neon, has.neon);
#endif
#ifdef REPSR_HAVE_NEON_DOTPROD
    REPSR_INSTRUCTION_SET(neon_dotprod, has.neon_dotprod);
#endif
#ifdef REPSR_HAVE_NEON_BF16
    REPSR_INSTRUCTION_SET(neon_bf16, has.neon_bf16);
#endif
#undef REPSR_INSTRUCTION_SET
    return result;
}

// First line of a file of Linux's about the caches of processor 0; empty where there is none.
std::string cache_fact(int index, const char* name) {
    char path[96], line[128] = "";
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    if (std::FILE* file = std::fopen(path, "r")) {
        if (!std::fgets(line, sizeof line, file)) line[0] = 0;
        std::fclose(file);
    }
    return line;
}

// How many processors a list such as "0-3,8" names.
int64_t count_processors(const std::string& list) {
    int64_t count = 0;
    for (const char* at = list.c_str(); *at;) {
        int first = 0, last = 0, length = 0;
        if (std::sscanf(at, "%d-%d%n", &first, &last, &length) != 2) {
            if (std::sscanf(at, "%d%n", &first, &length) != 1) break;
            last = first;
        }
        count += last - first + 1;
        at += length;
        if (*at == ',') ++at;
    }
    return count;
}

int64_t find_l2_cache_bytes() {
    for (int index = 0;; ++index) {
        const std::string level = cache_fact(index, "level");
        if (level.empty()) break;
        long long kilobytes = 0;
        if (level[0] != '2' || std::sscanf(cache_fact(index, "size").c_str(), "%lldK", &kilobytes) != 1) continue;
        const int64_t threads = count_processors(cache_fact(index, "shared_cpu_list"));
        const int64_t cores = (threads + kCoreThreads - 1) / kCoreThreads;
        if (kilobytes > 0) return kilobytes * 1024 / std::max<int64_t>(cores, 1);
    }
#if defined(__x86_64__)
    if (const int64_t bytes = read_l2_cache_bytes(kCoreThreads)) return bytes;
#endif
    return kUsualL2;
}

}  // namespace

const InstructionSets& instruction_sets() noexcept {
    static const InstructionSets sets = find_instruction_sets();
    return sets;
}

bool is_instruction_set(const char* name) {
    const auto same = [&](const char* other) { return std::strcmp(name, other) == 0; };
    return std::any_of(std::begin(kNames), std::end(kNames), same);
}

int64_t l2_cache_bytes() {
    static const int64_t bytes = find_l2_cache_bytes();
    return bytes;
}

}  // namespace repsr::cpu
