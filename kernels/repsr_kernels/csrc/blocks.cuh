// Blocks of a row: N elements beside each other in memory, or N pixels of some channels, to and from floats.
//
// A GPU wants them moved by vectors of up to 16 bytes where addresses allow that, and held in registers; a host
// compiler wants plain loops over many of them, which it turns into vectors itself. REPSR_VECTORS 1 chooses the former.
#pragma once

#include "numbers.cuh"

#ifndef REPSR_VECTORS
#if defined(__CUDACC__)
#define REPSR_VECTORS 1
#else
#define REPSR_VECTORS 0
#endif
#endif

namespace repsr {

HOST_DEVICE int32_t least(int32_t first, int32_t second) { return first < second ? first : second; }
HOST_DEVICE int32_t most(int32_t first, int32_t second) { return first > second ? first : second; }

// Bytes at an address that is a multiple of their number.
template <int BYTES>
struct __attribute__((may_alias, aligned(BYTES))) Words {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "what one instruction moves");
    uint32_t words[BYTES / 4];
};

// Nobody writes what is read while a kernel runs: the GPU's read-only way.
template <int BYTES>
HOST_DEVICE Words<BYTES> read_words(const void* from) {
#if defined(__CUDA_ARCH__)
    if constexpr (BYTES == 16) {
        const uint4 read = __ldg(static_cast<const uint4*>(from));
        return {{read.x, read.y, read.z, read.w}};
    } else if constexpr (BYTES == 8) {
        const uint2 read = __ldg(static_cast<const uint2*>(from));
        return {{read.x, read.y}};
    } else {
        return {{__ldg(static_cast<const unsigned int*>(from))}};
    }
#else
    return *static_cast<const Words<BYTES>*>(from);
#endif
}

template <int BYTES>
HOST_DEVICE void write_words(void* to, const Words<BYTES>& words) {
#if defined(__CUDA_ARCH__)
    if constexpr (BYTES == 16) {
        *static_cast<uint4*>(to) = make_uint4(words.words[0], words.words[1], words.words[2], words.words[3]);
        return;
    } else if constexpr (BYTES == 8) {
        *static_cast<uint2*>(to) = make_uint2(words.words[0], words.words[1]);
        return;
    }
#endif
    *static_cast<Words<BYTES>*>(to) = words;
}

template <class Item>
HOST_DEVICE Item read_item(const Item* from) {
#if defined(__CUDA_ARCH__)
    return __ldg(from);
#else
    return *from;
#endif
}

// An item between memory and arithmetic: in a register of its own, or as narrow as in memory. Bits above are undefined.
#if REPSR_VECTORS
template <class Item>
using Held = uint32_t;
#else
template <class Item>
using Held = Item;
#endif

// The word of 4 / SIZE items, the first one lowest.
template <int SIZE>
HOST_DEVICE uint32_t packed(const uint32_t* items) {
#if defined(__CUDA_ARCH__)
    if constexpr (SIZE == 1) {
        return __byte_perm(__byte_perm(items[0], items[1], 0x0040), __byte_perm(items[2], items[3], 0x0040), 0x5410);
    } else if constexpr (SIZE == 2) {
        return __byte_perm(items[0], items[1], 0x5410);
    }
#endif
    if constexpr (SIZE == 1) {
        return (items[0] & 0xffu) | (items[1] & 0xffu) << 8 | (items[2] & 0xffu) << 16 | items[3] << 24;
    } else if constexpr (SIZE == 2) {
        return (items[0] & 0xffffu) | items[1] << 16;
    } else {
        return items[0];
    }
}

// How many bytes a vector has; 1: items one by one.
template <int BYTES>
struct Vector {
    static constexpr int bytes = BYTES;
};

// Call `body` with the widest vector for runs of BYTES bytes. `places`: their addresses and the distances between them,
// in bytes, OR-ed.
template <int BYTES, class Body>
HOST_DEVICE void with_vector([[maybe_unused]] uint64_t places, Body body) {
    if constexpr (REPSR_VECTORS && BYTES % 16 == 0) {
        if (places % 16 == 0) return body(Vector<16>{});
    }
    if constexpr (REPSR_VECTORS && BYTES % 8 == 0) {
        if (places % 8 == 0) return body(Vector<8>{});
    }
    if constexpr (REPSR_VECTORS && BYTES % 4 == 0) {
        if (places % 4 == 0) return body(Vector<4>{});
    }
    body(Vector<1>{});
}

template <class Item>
HOST_DEVICE uint64_t place_of(const Item* item) {
    return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(item));
}

template <int BYTES, class Item, int N>
HOST_DEVICE void read_run(Vector<BYTES>, const Item* from, Held<Item> (&items)[N]) {
    if constexpr (BYTES >= 4) {
        constexpr int per_word = 4 / sizeof(Item), per_vector = BYTES / sizeof(Item);
        for (int v = 0; v < N / per_vector; ++v) {
            const Words<BYTES> read = read_words<BYTES>(from + v * per_vector);
            for (int i = 0; i < per_vector; ++i) {
                const uint32_t word = read.words[i / per_word] >> i % per_word * 8 * static_cast<int>(sizeof(Item));
                items[v * per_vector + i] = static_cast<Item>(word);
            }
        }
    } else {
        for (int i = 0; i < N; ++i) items[i] = read_item(from + i);
    }
}

template <int BYTES, class Item, int N>
HOST_DEVICE void write_run(Vector<BYTES>, Item* to, const Held<Item> (&items)[N]) {
    if constexpr (BYTES >= 4) {
        constexpr int per_word = 4 / sizeof(Item), per_vector = BYTES / sizeof(Item);
        for (int v = 0; v < N / per_vector; ++v) {
            Words<BYTES> words;
            for (int w = 0; w < BYTES / 4; ++w) {
                words.words[w] = packed<sizeof(Item)>(items + v * per_vector + w * per_word);
            }
            write_words<BYTES>(to + v * per_vector, words);
        }
    } else {
        for (int i = 0; i < N; ++i) to[i] = static_cast<Item>(items[i]);
    }
}

// Where element (n, c, y, x) of a tensor lies.
template <class Item>
HOST_DEVICE Item* item_at(const View& view, int64_t n, int64_t c, int64_t y, int64_t x) {
    return static_cast<Item*>(view.data) + (n * view.image + c * view.channel + y * view.row + x * view.pixel);
}

// What has to be a multiple of a vector's bytes for planes to be read or written by it, beside `first`.
template <class Item, int CHANNELS>
HOST_DEVICE uint64_t between_planes(const View& view) {
    return CHANNELS == 1 ? 0 : static_cast<uint64_t>(view.channel) * sizeof(Item);
}

// Pixels whose samples, and nothing else, lie beside each other, in either order.
template <int CHANNELS>
HOST_DEVICE bool interleaved(const View& view) {
    return view.pixel == CHANNELS && (view.channel == 1 || view.channel == -1);
}

// Values of N elements beside each other.
template <class Number, int BYTES, int N>
HOST_DEVICE void load_run(
    [[maybe_unused]] Vector<BYTES> vector, const typename Number::Item* from, float (&values)[N]) {
#if REPSR_VECTORS
    Held<typename Number::Item> items[N];
    read_run(vector, from, items);
    for (int i = 0; i < N; ++i) values[i] = Number::value(items[i]);
#else  // a processor follows the many channels of features too late by itself
    constexpr int line = 64 / sizeof(*from), ahead = 1024 / sizeof(*from);
    for (int i = 0; i < N; i += line) __builtin_prefetch(from + ahead + i);
    for (int i = 0; i < N; ++i) values[i] = Number::value(from[i]);
#endif
}

// Values of pixels (n, y, x..x + N - 1). From `valid` on (1..N) that of the last valid one: beyond it may be no memory.
template <class Number, int CHANNELS, int N>
HOST_DEVICE void load_pixels(
    Number, const View& view, int64_t n, int64_t y, int64_t x, int32_t valid, float (&values)[CHANNELS][N]) {
    using Item = typename Number::Item;
    const Item* const first = item_at<const Item>(view, n, 0, y, x);
    if (valid >= N && view.pixel == 1) {
        with_vector<N * sizeof(Item)>(place_of(first) | between_planes<Item, CHANNELS>(view), [&](auto vector) {
            for (int c = 0; c < CHANNELS; ++c) load_run<Number>(vector, first + c * view.channel, values[c]);
        });
    } else if (valid >= N && interleaved<CHANNELS>(view)) {
        Held<Item> items[N * CHANNELS];
        const Item* const lowest = view.channel < 0 ? first - (CHANNELS - 1) : first;
        with_vector<N * CHANNELS * sizeof(Item)>(
            place_of(lowest), [&](auto vector) { read_run(vector, lowest, items); });
        if (view.channel < 0) {
            for (int k = 0; k < N; ++k) {
                for (int c = 0; c < CHANNELS; ++c) values[c][k] = Number::value(items[k * CHANNELS + CHANNELS - 1 - c]);
            }
        } else {
            for (int k = 0; k < N; ++k) {
                for (int c = 0; c < CHANNELS; ++c) values[c][k] = Number::value(items[k * CHANNELS + c]);
            }
        }
    } else {
        for (int c = 0; c < CHANNELS; ++c) {
            for (int k = 0; k < N; ++k) {
                const int64_t at = least(k, valid - 1);
                values[c][k] = Number::value(read_item(first + (c * view.channel + at * view.pixel)));
            }
        }
    }
}

// Write pixels (n, y, x..x + valid - 1), at most K SCALE of them; pixel k SCALE + j has values[..][j][k].
template <class Number, int CHANNELS, int SCALE, int K>
HOST_DEVICE void store_pixels(
    Number, const View& view, int64_t n, int64_t y, int64_t x, int32_t valid,
    const float (&values)[CHANNELS][SCALE][K]) {
    using Item = typename Number::Item;
    constexpr int N = K * SCALE;
    Held<Item> items[CHANNELS][N];
    for (int c = 0; c < CHANNELS; ++c) {
        for (int k = 0; k < K; ++k) {
            for (int j = 0; j < SCALE; ++j) {
                items[c][k * SCALE + j] = static_cast<Held<Item>>(Number::item(values[c][j][k]));
            }
        }
    }
    Item* const first = item_at<Item>(view, n, 0, y, x);
    if (valid >= N && view.pixel == 1) {
        with_vector<N * sizeof(Item)>(place_of(first) | between_planes<Item, CHANNELS>(view), [&](auto vector) {
            for (int c = 0; c < CHANNELS; ++c) write_run(vector, first + c * view.channel, items[c]);
        });
    } else if (valid >= N && interleaved<CHANNELS>(view)) {
        const bool reversed = view.channel < 0;
        Held<Item> mixed[N * CHANNELS];
        if (reversed) {
            for (int k = 0; k < N; ++k) {
                for (int c = 0; c < CHANNELS; ++c) mixed[k * CHANNELS + CHANNELS - 1 - c] = items[c][k];
            }
        } else {
            for (int k = 0; k < N; ++k) {
                for (int c = 0; c < CHANNELS; ++c) mixed[k * CHANNELS + c] = items[c][k];
            }
        }
        Item* const lowest = reversed ? first - (CHANNELS - 1) : first;
        with_vector<N * CHANNELS * sizeof(Item)>(
            place_of(lowest), [&](auto vector) { write_run(vector, lowest, mixed); });
    } else {
        for (int c = 0; c < CHANNELS; ++c) {
            for (int k = 0; k < N; ++k) {
                if (k < valid) first[c * view.channel + k * view.pixel] = static_cast<Item>(items[c][k]);
            }
        }
    }
}

}  // namespace repsr
