#pragma once

// The kinds of node, and what is known of each: the table of ops.def as C++ types.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mgx {

enum class Op : std::uint8_t {
    Custom,          // a node whose operands and derivative its user defines
    Differentiated,  // a result whose derivatives were computed together with it
    Dot,             // a weighted sum, fused into one node; see fusion.cpp
    Leaf,            // a number, with no operands
    PowConstant,     // x ** number; the exponent is a hidden leaf, as micrograd shows x alone
    Negative,        // x * -1, fused, as are the next two; see fusion.cpp
    Difference,      // x + y * -1
    Quotient,        // x * y ** -1
#define MGX_UNARY(Name, ...) Name,
#define MGX_BINARY(Name, ...) Name,
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
};

inline constexpr std::size_t op_count = 8 + [] {
    std::size_t rows = 0;
#define MGX_UNARY(...) ++rows;
#define MGX_BINARY(...) ++rows;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    return rows;
}();

// Whether the operands are not in the node itself but elsewhere.
[[nodiscard]] constexpr bool has_operands_elsewhere(Op op) noexcept { return op <= Op::Dot; }

// Whether the slot before the node's tells what it hides.
[[nodiscard]] constexpr bool is_pair(Op op) noexcept {
    return op >= Op::Negative && op <= Op::Quotient;
}

// A row of ops.def as tests and documentation see it.
struct OpInfo {
    std::string_view name;   // the Python method's, without underscores
    std::string_view label;  // what `_op` shows
    int arity;
    double low, high;  // an interval on which the operation is smooth
    std::string_view doc;
    std::string_view example;  // a line for the interpreter and what it prints
};

// Every row of ops.def, in its order.
[[nodiscard]] std::span<const OpInfo> operations() noexcept;

// What `_op` shows for a node of this kind: micrograd's label, empty for Leaf and Custom. A
// PowConstant's label holds its exponent, which the caller adds; a Dot has several, see
// Arena::label.
[[nodiscard]] std::string_view label(Op op) noexcept;

}  // namespace mgx
