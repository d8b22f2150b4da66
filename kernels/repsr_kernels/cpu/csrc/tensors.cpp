// Tensors and their numbers.
#include <cmath>
#include <limits>

#include "onnx.hpp"

namespace repsr::cpu {
namespace {

int size_of(Type type) {
    switch (type) {
        case Type::uint8:
        case Type::int8:
        case Type::boolean: return 1;
        case Type::float16:
        case Type::bfloat16: return 2;
        case Type::float32:
        case Type::int32: return 4;
        case Type::int64: return 8;
        default: return 0;
    }
}

float from_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

float from_half(uint32_t half) {
    const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * static_cast<float>(fraction) * 0x1p-24f;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | fraction << 13);
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

float widened(Type type, uint32_t bits) {
    return type == Type::float16    ? from_half(bits & 0xffff)
           : type == Type::bfloat16 ? from_bits(bits << 16)
                                    : from_bits(bits);
}

template <class... Parts>
[[noreturn]] void bad_tensor(const Tensor& tensor, const Parts&... parts) {
    bad_model("has a tensor '", shown(tensor.name), "' ", parts...);
}

// Little-endian unsigned number.
uint64_t load(const uint8_t* from, int size) {
    uint64_t value = 0;
    for (int k = 0; k < size; ++k) value |= static_cast<uint64_t>(from[k]) << 8 * k;
    return value;
}

int64_t sign_extended(Type type, uint64_t value) {
    switch (type) {
        case Type::int8: return static_cast<int8_t>(value);
        case Type::int32: return static_cast<int32_t>(value);
        default: return static_cast<int64_t>(value);
    }
}

// The elements as unsigned numbers of their size: take(uint64_t).
template <class Take>
void each_element(const Tensor& tensor, Take take) {
    const int size = size_of(tensor.type);
    if (tensor.external) bad_tensor(tensor, "whose numbers are in another file; expected all in one");
    if (size == 0) bad_tensor(tensor, "of ", name_of(tensor.type), ", which plain networks have not");
    uint64_t count = 0;
    if (tensor.raw) {
        const Bytes raw = *tensor.raw;
        if (raw.size % size || raw.size / size != tensor.elements) {
            bad_tensor(tensor, "of shape ", shown(tensor.dims), " with ", raw.size, " bytes");
        }
        for (uint64_t i = 0; i < raw.size; i += size) take(load(raw.data + i, size));
        return;
    }
    const auto counted = [&](uint64_t bits) {
        if (++count <= tensor.elements) take(bits);
    };
    const uint32_t field = tensor.type == Type::float32 ? 4 : tensor.type == Type::int64 ? 7 : 5;
    for (Fields fields(tensor.message); fields.next();) {
        if (fields.number() != field) continue;
        if (field == 4) {
            fields.singles([&](float value) {
                uint32_t bits;
                std::memcpy(&bits, &value, sizeof bits);
                counted(bits);
            });
        } else {
            fields.integers([&](int64_t value) { counted(static_cast<uint64_t>(value)); });
        }
    }
    if (count != tensor.elements) {
        bad_tensor(tensor, "of shape ", shown(tensor.dims), " with ", count, " numbers");
    }
}

}  // namespace

bool is_float(Type type) { return type == Type::float32 || type == Type::float16 || type == Type::bfloat16; }

std::string name_of(Type type) {
    switch (type) {
        case Type::float32: return "float32";
        case Type::uint8: return "uint8";
        case Type::int8: return "int8";
        case Type::int32: return "int32";
        case Type::int64: return "int64";
        case Type::boolean: return "bool";
        case Type::float16: return "float16";
        case Type::float64: return "float64";
        case Type::bfloat16: return "bfloat16";
        default: return "type " + std::to_string(static_cast<int32_t>(type));
    }
}

Tensor read_tensor(Bytes message) {
    Tensor tensor;
    tensor.message = message;
    for (Fields fields(message); fields.next();) {
        switch (fields.number()) {
            case 1:
                fields.integers([&](int64_t dim) { append(tensor.dims, dim, kMostDims, "dimensions in a tensor"); });
                break;
            case 2: tensor.type = static_cast<Type>(fields.integer()); break;
            case 8: tensor.name = fields.text(); break;
            case 9: tensor.raw = fields.bytes(); break;
            case 13: tensor.external = true; break;
            case 14: tensor.external = tensor.external || fields.integer() == 1; break;
            default: break;
        }
    }
    for (const int64_t dim : tensor.dims) {
        constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
        if (dim < 0 || (dim > 0 && tensor.elements > kMost / static_cast<uint64_t>(dim))) {
            bad_tensor(tensor, "of shape ", shown(tensor.dims));
        }
        tensor.elements *= static_cast<uint64_t>(dim);
    }
    return tensor;
}

std::vector<float> floats_of(const Tensor& tensor) {
    if (!is_float(tensor.type)) bad_tensor(tensor, "of ", name_of(tensor.type), " where floats were expected");
    std::vector<float> numbers;
    each_element(tensor, [&](uint64_t bits) { numbers.push_back(widened(tensor.type, static_cast<uint32_t>(bits))); });
    for (const float number : numbers) {
        if (!std::isfinite(number)) bad_tensor(tensor, "with NaN or infinity in it");
    }
    return numbers;
}

std::vector<int64_t> integers_of(const Tensor& tensor) {
    if (is_float(tensor.type)) bad_tensor(tensor, "of ", name_of(tensor.type), " where integers were expected");
    std::vector<int64_t> numbers;
    each_element(tensor, [&](uint64_t bits) { numbers.push_back(sign_extended(tensor.type, bits)); });
    return numbers;
}

}  // namespace repsr::cpu
