// The table of ops.def as data: one constant array, in the order of the rows.

#include "core/op.hpp"

#include <array>

namespace mgx {

namespace {

constexpr auto table = std::to_array<OpInfo>({
#define MGX_UNARY(Name, method, label, value, derivative, domain, integer_value, \
                  integer_derivative, low, high, doc, example)                   \
    OpInfo{#method, label, 1, low, high, doc, example},
#define MGX_BINARY(Name, method, label, value, left, right, low, high, doc, example) \
    OpInfo{#method, label, 2, low, high, doc, example},
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
});

}  // namespace

std::span<const OpInfo> operations() noexcept { return table; }

std::string_view label(Op op) noexcept {
    switch (op) {
        case Op::Leaf:
        case Op::Custom:
        case Op::Dot:
            return "";
        case Op::Differentiated:
            return "compiled";
        case Op::PowConstant:
            return "**";
        case Op::Difference:
            return label(Op::Add);
        case Op::Negative:
        case Op::Quotient:
            return label(Op::Mul);
#define MGX_UNARY(Name, method, label, ...) \
    case Op::Name:                          \
        return label;
#define MGX_BINARY(Name, method, label, ...) \
    case Op::Name:                           \
        return label;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    }
    return "";
}

}  // namespace mgx
