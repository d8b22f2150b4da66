// Protocol Buffers' wire format, read in place and never past its end.
// https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "errors.hpp"

namespace repsr::cpu {

// A part of the file, which outlives everything that is read from it.
struct Bytes {
    const uint8_t* data = nullptr;
    uint64_t size = 0;
    uint64_t offset = 0;  // in the file

    std::string_view text() const { return {reinterpret_cast<const char*>(data), static_cast<size_t>(size)}; }
};

// The fields of one message, one after the other: `while (fields.next()) switch (fields.number())`. What the caller
// does not ask for is skipped, of any type. Raises Error: REPSR_BAD_MODEL where the bytes are no message, or a field is not
// what it is asked for as.
class Fields {
public:
    explicit Fields(Bytes message) : message_(message) {}

    bool next() {
        if (at_ == message_.size) return false;
        const uint64_t tag = varint();
        if (tag >> 32 || tag >> 3 == 0) damaged("has no field");
        number_ = static_cast<uint32_t>(tag >> 3);
        wire_ = static_cast<uint32_t>(tag & 7);
        switch (wire_) {
            case kVarint: value_ = varint(); break;
            case kFixed64: content_ = take(8); break;
            case kFixed32: content_ = take(4); break;
            case kLength: content_ = take(varint()); break;
            default: damaged("has a field of no known type");
        }
        return true;
    }

    uint32_t number() const { return number_; }

    Bytes bytes() const {
        expect(kLength);
        return content_;
    }
    std::string_view text() const { return bytes().text(); }
    int64_t integer() const {
        expect(kVarint);
        return static_cast<int64_t>(value_);
    }
    float single() const {
        expect(kFixed32);
        return load<float>(content_.data);
    }

    // Numbers of a repeated field, packed or not: take(int64_t), take(float).
    template <class Take>
    void integers(Take take) const {
        if (wire_ != kLength) return take(integer());
        Fields packed(content_);
        while (packed.at_ < packed.message_.size) take(static_cast<int64_t>(packed.varint()));
    }
    template <class Take>
    void singles(Take take) const {
        if (wire_ != kLength) return take(single());
        if (content_.size % sizeof(float)) damaged("has a piece of a number");
        for (uint64_t i = 0; i < content_.size; i += sizeof(float)) take(load<float>(content_.data + i));
    }

private:
    enum : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

    template <class T>
    static T load(const uint8_t* from) {
        T value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }

    uint64_t varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 70; shift += 7) {
            const uint64_t byte = *take(1).data;
            if (shift == 63 && byte > 1) break;
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80) return value;
        }
        damaged("has a number of more than 64 bits");
    }

    Bytes take(uint64_t count) {
        if (count > message_.size - at_) damaged("ends within a field");
        const Bytes taken{message_.data + at_, count, message_.offset + at_};
        at_ += count;
        return taken;
    }

    void expect(uint32_t wire) const {
        if (wire_ != wire) damaged("has a field of another type than ONNX's");
    }

    [[noreturn]] void damaged(const char* what) const {
        throw Error(REPSR_BAD_MODEL, "the model is damaged, cut off or no ONNX file: at byte " +
                                         std::to_string(message_.offset + at_) + " it " + what +
                                         "; export it again with `repsr-fuse export`");
    }

    Bytes message_, content_;
    uint64_t at_ = 0, value_ = 0;
    uint32_t number_ = 0, wire_ = 0;
};

}  // namespace repsr::cpu
