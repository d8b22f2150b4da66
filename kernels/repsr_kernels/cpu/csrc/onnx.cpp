#include "onnx.hpp"

#include <utility>

namespace repsr::cpu {
namespace {

constexpr size_t kLongestShown = 48;

bool is_utf8(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        const auto at = [&](size_t index) { return index < text.size() ? static_cast<uint8_t>(text[index]) : 0u; };
        const unsigned first = at(i);
        const int more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : -1;
        if (more < 0 || first == 0) return false;
        uint32_t code = more == 0 ? first : first & (0x3fu >> more);
        for (int k = 1; k <= more; ++k) {
            if (at(i + k) >> 6 != 2) return false;
            code = code << 6 | (at(i + k) & 0x3f);
        }
        constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
        if (code < kSmallest[more] || code > 0x10ffff || code >> 11 == 0x1b) return false;
        i += static_cast<size_t>(more) + 1;
    }
    return true;
}

std::pair<std::string, std::string> read_property(Bytes message) {
    std::string_view key, value;
    for (Fields fields(message); fields.next();) {
        if (fields.number() == 1) key = fields.text();
        if (fields.number() == 2) value = fields.text();
    }
    if (!is_utf8(key) || !is_utf8(value)) {
        bad_model("has an entry '", shown(key), "' in metadata_props that is no text");
    }
    return {std::string(key), std::string(value)};
}

Dims read_shape(Bytes message) {
    Dims dims;
    for (Fields fields(message); fields.next();) {
        if (fields.number() != 1) continue;
        int64_t dim = kUnknown;
        for (Fields inner(fields.bytes()); inner.next();) {
            if (inner.number() == 1) dim = inner.integer();
        }
        append(dims, dim, kMostDims, "dimensions in an input or output");
    }
    return dims;
}

Port read_port(Bytes message) {
    Port port;
    for (Fields fields(message); fields.next();) {
        if (fields.number() == 1) port.name = fields.text();
        if (fields.number() != 2) continue;
        for (Fields kind(fields.bytes()); kind.next();) {
            if (kind.number() != 1) continue;
            for (Fields tensor(kind.bytes()); tensor.next();) {
                if (tensor.number() == 1) port.type = static_cast<Type>(tensor.integer());
                if (tensor.number() == 2) port.dims = read_shape(tensor.bytes());
            }
        }
    }
    return port;
}

Node read_node(Bytes message, int& names) {
    Node node;
    node.message = message;
    for (Fields fields(message); fields.next();) {
        switch (fields.number()) {
            case 1: node.inputs.push_back(fields.text()); break;
            case 2: node.outputs.push_back(fields.text()); break;
            case 3: node.name = fields.text(); continue;
            case 4: node.op = fields.text(); continue;
            case 7: node.domain = fields.text(); continue;
            default: continue;
        }
        if (++names > kMostNames) bad_model("has more than ", kMostNames, " inputs and outputs of nodes");
    }
    return node;
}

void read_graph_message(Bytes message, Graph& graph) {
    int names = 0;
    for (Fields fields(message); fields.next();) {
        switch (fields.number()) {
            case 1: append(graph.nodes, read_node(fields.bytes(), names), kMostNodes, "nodes"); break;
            case 5: append(graph.initializers, read_tensor(fields.bytes()), kMostNodes, "initializers"); break;
            case 11: append(graph.inputs, read_port(fields.bytes()), kMostNodes, "inputs"); break;
            case 12: append(graph.outputs, read_port(fields.bytes()), kMostNodes, "outputs"); break;
            default: break;
        }
    }
}

int64_t read_opset(Bytes message, int64_t before) {
    std::string_view domain;
    int64_t version = 0;
    for (Fields fields(message); fields.next();) {
        if (fields.number() == 1) domain = fields.text();
        if (fields.number() == 2) version = fields.integer();
    }
    return domain.empty() || domain == "ai.onnx" ? version : before;
}

}  // namespace

void not_plain(const Node& node, const std::string& is, const std::string& expected) {
    throw Error(REPSR_NOT_PLAIN, said(shown(node), " ", is, "; expected ", expected,
                                      " (`repsr-fuse export` may make a plain network of it)"));
}

std::string shown(std::string_view text) {
    std::string printable;
    for (const char letter : text.substr(0, kLongestShown)) printable += letter >= ' ' && letter <= '~' ? letter : '?';
    return text.size() > kLongestShown ? printable + "..." : printable;
}

std::string shown(const Dims& dims) {
    std::string text;
    for (const int64_t dim : dims) text += (text.empty() ? "" : "x") + (dim == kUnknown ? "?" : std::to_string(dim));
    return dims.empty() ? "1 (scalar)" : shown(text);
}

std::string shown(const Node& node) {
    const std::string_view name = !node.name.empty() ? node.name : node.outputs.empty() ? "" : node.outputs[0];
    const std::string domain = node.domain.empty() || node.domain == "ai.onnx" ? "" : shown(node.domain) + ".";
    return domain + shown(node.op) + " '" + shown(name) + "'";
}

std::optional<Attribute> Node::attribute(std::string_view wanted) const {
    for (Fields fields(message); fields.next();) {
        if (fields.number() != 5) continue;
        std::string_view name_found;
        for (Fields inner(fields.bytes()); inner.next();) {
            if (inner.number() == 1) name_found = inner.text();
        }
        if (name_found != wanted) continue;
        Attribute found;
        for (Fields inner(fields.bytes()); inner.next();) {
            switch (inner.number()) {
                case 2: found.single = inner.single(); break;
                case 3: found.integer = inner.integer(); break;
                case 4: found.text = inner.text(); break;
                case 5: found.tensor = inner.bytes(); break;
                case 7:
                    inner.singles([&](float value) { append(found.singles, value, 64, "numbers in an attribute"); });
                    break;
                case 8:
                    inner.integers(
                        [&](int64_t value) { append(found.integers, value, 64, "numbers in an attribute"); });
                    break;
                default: break;
            }
        }
        return found;
    }
    return std::nullopt;
}

int64_t Node::integer(std::string_view wanted, int64_t otherwise) const {
    const auto found = attribute(wanted);
    return found ? found->integer : otherwise;
}

std::string_view Node::text(std::string_view wanted, std::string_view otherwise) const {
    const auto found = attribute(wanted);
    return found ? found->text : otherwise;
}

std::vector<int64_t> Node::integers(std::string_view wanted, std::vector<int64_t> otherwise) const {
    auto found = attribute(wanted);
    return found ? std::move(found->integers) : std::move(otherwise);
}

Graph read_graph(Bytes file) {
    Graph graph;
    bool there = false;
    for (Fields fields(file); fields.next();) {
        switch (fields.number()) {
            case 7:
                if (there) bad_model("has two graphs");
                there = true;
                read_graph_message(fields.bytes(), graph);
                break;
            case 8: graph.opset = read_opset(fields.bytes(), graph.opset); break;
            case 14:
                append(graph.properties, read_property(fields.bytes()), kMostProperties, "entries in metadata_props");
                break;
            default: break;
        }
    }
    if (!there) bad_model("has no graph: it is empty, cut off, or no ONNX file");
    return graph;
}

}  // namespace repsr::cpu
