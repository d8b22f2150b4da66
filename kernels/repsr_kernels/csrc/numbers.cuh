// Numbers as they lie in memory, to and from float: the same bits from nvcc and from g++.
#pragma once

#include "params.cuh"

namespace repsr {

HOST_DEVICE uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(value);
#else
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

HOST_DEVICE float float_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

// Neither NaN nor infinite. (A comparison with NaN is false.)
HOST_DEVICE bool finite(float value) {
#if defined(__CUDA_ARCH__)
    return fabsf(value) <= 0x1.fffffep127f;
#else
    return __builtin_fabsf(value) <= 0x1.fffffep127f;
#endif
}

// Within 0..1, NaN as it is, and 0 without a sign.
HOST_DEVICE float clamped(float value) { return value <= 0 ? 0.0f : value >= 1 ? 1.0f : value; }

// Within 0..1, and 0 for NaN.
HOST_DEVICE float clamped_or_0(float value) {
#if defined(__CUDA_ARCH__)
    return __saturatef(value);  // costs nothing after a multiplication
#else
    return value > 0 ? value < 1 ? value : 1.0f : 0.0f;
#endif
}

// Within 0..highest, and 0 for NaN.
HOST_DEVICE float clamped_to(float value, float highest) {
    return value > 0 ? value < highest ? value : highest : 0.0f;
}

// Rounded half to even, in the lower 22 bits; others lie above. For 0 <= value < 2^22: at 1.5 2^23 floats are whole.
HOST_DEVICE uint32_t whole_bits(float value) { return bits_of(value + 12582912.0f); }

HOST_DEVICE uint32_t whole(float value) { return whole_bits(value) & 0x3fffffu; }

// code / 255 as IEEE divides, for 0..255: 1 / 255 in two parts, of which the first has so few digits that its product
// is exact. A test tries all 256.
HOST_DEVICE float over_255(float code) { return code * 0x1.01p-8f + code * 0x1.010102p-24f; }

HOST_DEVICE float from_fp16(uint16_t half) {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
#else  // arithmetic on bits, which compilers vectorise
    const uint32_t magnitude = (half & 0x7fffu) << 13;
    const uint32_t scaled = bits_of(float_of(magnitude) * 0x1p112f);  // exponents count from 15, not from 127
    return float_of((magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : scaled) | (half & 0x8000u) << 16);
#endif
}

// To nearest, ties to even; too large becomes infinite.
HOST_DEVICE uint16_t to_fp16(float value) {
#if defined(__CUDA_ARCH__)
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
#else
    const uint32_t magnitude = bits_of(value) & 0x7fffffffu;
    const uint32_t normal = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
    const uint32_t denormal = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;  // half's least digit is that of 0.5
    const uint32_t beyond = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t half = magnitude < 0x38800000u ? denormal : magnitude < 0x477ff000u ? normal : beyond;
    return static_cast<uint16_t>(half | (bits_of(value) >> 16 & 0x8000u));
#endif
}

HOST_DEVICE float from_bf16(uint16_t upper) { return float_of(static_cast<uint32_t>(upper) << 16); }

// To nearest, ties to even. By bit arithmetic on GPUs too: compute capability 7.5 has no instruction for it.
HOST_DEVICE uint16_t to_bf16(float value) {
    const uint32_t bits = bits_of(value);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return static_cast<uint16_t>(nan ? bits >> 16 | 0x40u : rounded);
}

// One type of `Type`: its items in memory, their values, and values as items. Codes of integer types are rounded half
// to even and must lie in their range; UINT16 is that of P010, whose upper ten bits count: codes 0..1023.
template <int32_t TYPE>
struct Number;

template <>
struct Number<FP32> {
    static constexpr int32_t type = FP32;
    using Item = uint32_t;
    static HOST_DEVICE float value(uint32_t item) { return float_of(item); }
    static HOST_DEVICE uint32_t item(float value) { return bits_of(value); }
};

template <>
struct Number<FP16> {
    static constexpr int32_t type = FP16;
    using Item = uint16_t;
    static HOST_DEVICE float value(uint32_t item) { return from_fp16(static_cast<uint16_t>(item)); }
    static HOST_DEVICE uint32_t item(float value) { return to_fp16(value); }
};

template <>
struct Number<BF16> {
    static constexpr int32_t type = BF16;
    using Item = uint16_t;
    static HOST_DEVICE float value(uint32_t item) { return from_bf16(static_cast<uint16_t>(item)); }
    static HOST_DEVICE uint32_t item(float value) { return to_bf16(value); }
};

template <>
struct Number<UINT8> {
    static constexpr int32_t type = UINT8;
    using Item = uint8_t;
    static HOST_DEVICE float value(uint32_t item) { return static_cast<float>(item & 0xffu); }
    static HOST_DEVICE uint32_t item(float code) { return whole_bits(code); }  // its lowest byte
};

template <>
struct Number<UINT16> {
    static constexpr int32_t type = UINT16;
    using Item = uint16_t;
    static HOST_DEVICE float value(uint32_t item) { return static_cast<float>((item & 0xffffu) >> 6); }
    static HOST_DEVICE uint32_t item(float code) { return whole_bits(code) << 6; }  // its lower half
};

// Call `body` with the Number of a type that is known when it runs (or, in a GPU's kernels, when it is compiled).
template <class Body>
HOST_DEVICE void with_float(int32_t type, Body body) {
    if (type == FP32) body(Number<FP32>{});
    else if (type == FP16) body(Number<FP16>{});
    else body(Number<BF16>{});
}

template <class Body>
HOST_DEVICE void with_float_or_uint8(int32_t type, Body body) {
    if (type == UINT8) body(Number<UINT8>{});
    else with_float(type, body);
}

// Samples of video frames.
template <class Body>
HOST_DEVICE void with_code(int32_t type, Body body) {
    if (type == UINT8) body(Number<UINT8>{});
    else body(Number<UINT16>{});
}

}  // namespace repsr
