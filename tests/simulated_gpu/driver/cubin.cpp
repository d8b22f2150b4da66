#include "cubin.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "failure.h"

namespace simulated {
namespace {

constexpr size_t kReservedShared = 1024;  // of a block since sm_80, for the system

// Attributes in .nv.info sections: format, attribute, then 16 bits of value, or of the size of what follows.
enum Format : std::uint8_t { NOTHING = 1, BYTE = 2, HALF = 3, SIZED = 4 };
enum Attribute : std::uint8_t { MAX_THREADS = 0x05, PARAMETER = 0x17, PARAMETER_BYTES = 0x19, REGISTERS = 0x2f };

template <typename T>
T at(const unsigned char* bytes, size_t offset) {
    T value;
    std::memcpy(&value, bytes + offset, sizeof value);
    return value;
}

template <typename Each>
void for_each_attribute(const unsigned char* bytes, size_t size, Each each) {
    for (size_t offset = 0; offset + 4 <= size;) {
        const auto value = at<std::uint16_t>(bytes, offset + 2);
        const bool sized = bytes[offset] == SIZED;
        each(bytes[offset + 1], value, bytes + offset + 4);
        offset += 4 + (sized ? value : 0);
    }
}

struct File {
    explicit File(const void* image) : bytes(static_cast<const unsigned char*>(image)) {
        const bool elf = std::memcmp(bytes, ELFMAG, SELFMAG) == 0 && bytes[EI_CLASS] == ELFCLASS64;
        if (elf) std::memcpy(&header, bytes, sizeof header);
        if (!elf || header.e_machine != EM_CUDA)
            fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                 "the image is no cubin (PTX, a fat binary?); the simulated GPU runs what its nvcc compiles with "
                 "-cubin");
        for (unsigned index = 0; index < header.e_shnum; ++index)
            sections.push_back(at<Elf64_Shdr>(bytes, header.e_shoff + index * sizeof(Elf64_Shdr)));
    }

    std::string name(const Elf64_Shdr& section) const {
        return reinterpret_cast<const char*>(bytes + sections.at(header.e_shstrndx).sh_offset + section.sh_name);
    }

    size_t size() const {
        size_t end = std::max(header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr),
                              header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr));
        for (const auto& section : sections)
            if (section.sh_type != SHT_NOBITS) end = std::max(end, section.sh_offset + section.sh_size);
        return end;
    }

    // Of the function whose symbol has this index.
    std::string symbol(std::uint32_t index) const {
        for (const auto& section : sections) {
            if (section.sh_type != SHT_SYMTAB) continue;
            const auto symbol = at<Elf64_Sym>(bytes, section.sh_offset + index * sizeof(Elf64_Sym));
            return reinterpret_cast<const char*>(bytes + sections.at(section.sh_link).sh_offset + symbol.st_name);
        }
        return "";
    }

    const unsigned char* bytes;
    Elf64_Ehdr header{};
    std::vector<Elf64_Shdr> sections;
};

void read_attributes(Kernel& kernel, const unsigned char* bytes, size_t size) {
    std::map<int, Parameter> by_ordinal;
    for_each_attribute(bytes, size, [&](std::uint8_t attribute, std::uint16_t value, const unsigned char* payload) {
        if (attribute == PARAMETER_BYTES) kernel.parameter_bytes = value;
        if (attribute == MAX_THREADS)
            kernel.max_threads = at<int>(payload, 0) * at<int>(payload, 4) * at<int>(payload, 8);
        if (attribute == PARAMETER)
            by_ordinal[at<std::uint16_t>(payload, 4)] = {at<std::uint16_t>(payload, 6),
                                                         at<std::uint32_t>(payload, 8) >> 18};
    });
    for (const auto& [ordinal, parameter] : by_ordinal) kernel.parameters.push_back(parameter);
}

bool begins(const std::string& text, const char* with, std::string* rest) {
    const size_t length = std::strlen(with);
    if (text.compare(0, length, with) != 0) return false;
    *rest = text.substr(length);
    return true;
}

}  // namespace

Cubin read_cubin(const void* image) {
    const File file(image);
    Cubin cubin{};
    cubin.is_of_cuda_13 = file.header.e_ident[EI_ABIVERSION] >= 8;
    cubin.architecture =
        static_cast<int>(cubin.is_of_cuda_13 ? file.header.e_flags >> 8 & 0xff : file.header.e_flags & 0xff);
    cubin.bytes = file.size();
    std::string name;
    for (const auto& section : file.sections)
        if (begins(file.name(section), ".text.", &name)) cubin.kernels[name];
    for (const auto& section : file.sections) {
        const std::string full = file.name(section);
        const unsigned char* content = file.bytes + section.sh_offset;
        const size_t reserved = cubin.architecture >= 80 ? kReservedShared : 0;
        if (full == ".nv.info")
            for_each_attribute(content, section.sh_size,
                               [&](std::uint8_t attribute, std::uint16_t, const unsigned char* payload) {
                                   if (attribute != REGISTERS) return;
                                   const auto kernel = cubin.kernels.find(file.symbol(at<std::uint32_t>(payload, 0)));
                                   if (kernel != cubin.kernels.end()) kernel->second.registers = at<int>(payload, 4);
                               });
        else if (begins(full, ".nv.info.", &name) && cubin.kernels.count(name) > 0)
            read_attributes(cubin.kernels[name], content, section.sh_size);
        else if (begins(full, ".nv.shared.", &name) && cubin.kernels.count(name) > 0)
            cubin.kernels[name].shared_bytes = section.sh_size > reserved ? section.sh_size - reserved : 0;
    }
    return cubin;
}

}  // namespace simulated
