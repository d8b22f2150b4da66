// The numbers of numbers.cuh, in bulk.
#include "numbers.cuh"

extern "C" void quotients(float* quotients) {  // [256]
    for (int code = 0; code < 256; ++code) quotients[code] = repsr::over_255(static_cast<float>(code));
}

extern "C" void values_of(int type, const uint16_t* items, int count, float* values) {  // [count]
    repsr::with_float(type, [&](auto number) {
        for (int i = 0; i < count; ++i) values[i] = number.value(items[i]);
    });
}

extern "C" void items_of(int type, const float* values, int count, uint16_t* items) {  // [count]
    repsr::with_float(type, [&](auto number) {
        for (int i = 0; i < count; ++i) items[i] = static_cast<uint16_t>(number.item(values[i]));
    });
}

extern "C" void rounded(const float* values, int count, uint32_t* whole) {  // [count]
    for (int i = 0; i < count; ++i) whole[i] = repsr::whole(values[i]);
}
