// Matrix products of a warp on tensor cores, and the same products by the same fragments on a processor.
//
// Fragments are those of the PTX ISA, sections "Matrix Fragments for mma.m16n8k16 with floating point type" and
// "ldmatrix". Of lane l, g = l / 4 and t = l % 4; a word holds two halves, the lower one first:
//     A 16 x 16   a0: (g, 2t..)   a1: (g + 8, 2t..)   a2: (g, 2t + 8..)   a3: (g + 8, 2t + 8..)    (row, column)
//     B 16 x 8    b0: (2t.., g)   b1: (2t + 8.., g)
//     D 16 x 8    d0, d1: (g, 2t..)   d2, d3: (g + 8, 2t..)
#pragma once

#include "numbers.cuh"

namespace repsr {

#if defined(__CUDACC__)

// D += A B, halves multiplied, floats summed. Compute capability 8.0 or later.
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four matrices of 8 x 8 halves from shared memory, lane l giving the 16 bytes of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&words)[4], const void* row) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
        : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
        : "memory");
}

// Two floats as halves, rounded to nearest, ties to even.
__device__ __forceinline__ uint32_t to_fp16_pair(float lower, float upper) {
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upper), "f"(lower));
    return pair;
}

#elif defined(REPSR_CUDA_ON_HOST)

struct MultiplyAdd {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
};

// D += A B. Products of halves are exact as floats; they are added to D one after the other, from column 0 of A to 15.
inline void multiply_add(
    float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], emulation::Site site = REPSR_HERE) {
    MultiplyAdd mine{d, a, b};
    emulation::meet_whole_warp(site, [](void* const lanes[32], unsigned) {
        const auto half = [](uint32_t word, int index) { return from_fp16(static_cast<uint16_t>(word >> 16 * index)); };
        float rows[16][16], columns[16][8], sums[16][8];  // A, B, D
        for (int lane = 0; lane < 32; ++lane) {
            const auto& of = *static_cast<const MultiplyAdd*>(lanes[lane]);
            const int g = lane / 4, t = lane % 4;
            for (int i = 0; i < 2; ++i) {
                for (int k = 0; k < 4; ++k) rows[g + k % 2 * 8][2 * t + k / 2 * 8 + i] = half(of.a[k], i);
                for (int k = 0; k < 2; ++k) columns[2 * t + k * 8 + i][g] = half(of.b[k], i);
                for (int k = 0; k < 2; ++k) sums[g + k * 8][2 * t + i] = of.d[2 * k + i];
            }
        }
        for (int row = 0; row < 16; ++row)
            for (int k = 0; k < 16; ++k)
                for (int column = 0; column < 8; ++column) sums[row][column] += rows[row][k] * columns[k][column];
        for (int lane = 0; lane < 32; ++lane) {
            float* of = static_cast<const MultiplyAdd*>(lanes[lane])->d;
            for (int k = 0; k < 4; ++k) of[k] = sums[lane / 4 + k / 2 * 8][lane % 4 * 2 + k % 2];
        }
    }, &mine);
}

struct LoadMatrices {
    uint32_t* words;
    const void* row;
};

inline void load_matrices(uint32_t (&words)[4], const void* row, emulation::Site site = REPSR_HERE) {
    LoadMatrices mine{words, row};
    emulation::meet_whole_warp(site, [](void* const lanes[32], unsigned) {
        const auto of = [&](int lane) { return *static_cast<const LoadMatrices*>(lanes[lane]); };
        for (int lane = 0; lane < 32; ++lane) {
            if (reinterpret_cast<uintptr_t>(of(lane).row) % 16 != 0) {
                emulation::fail(emulation::kBarrier, "ldmatrix: lane %d has no multiple of 16 bytes", lane);
                return;
            }
            for (int matrix = 0; matrix < 4; ++matrix) {
                const auto* row = static_cast<const unsigned char*>(of(8 * matrix + lane / 4).row);
                std::memcpy(of(lane).words + matrix, row + lane % 4 * 4, 4);
            }
        }
    }, &mine);
}

inline uint32_t to_fp16_pair(float lower, float upper) { return to_fp16(lower) | uint32_t{to_fp16(upper)} << 16; }

#endif

}  // namespace repsr
