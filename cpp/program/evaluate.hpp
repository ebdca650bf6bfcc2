#pragma once

// One instruction's operation on plain numbers: the rows of ops.def, reached by what a program
// says.

#include "core/op.hpp"

namespace mgx {

// The result of an operation of one or two operands; `y` is not looked at if there is one, and
// `exponent` only by a PowConstant. Throws what the eager engine throws.
[[nodiscard]] double evaluate(Op op, double x, double y, double exponent);

// The derivatives by x and y, where `result` is the result.
struct PartialDerivatives {
    double by_x;
    double by_y;
};
[[nodiscard]] PartialDerivatives differentiate(Op op, double x, double y, double exponent,
                                               double result);

[[nodiscard]] constexpr bool is_binary(Op op) noexcept {
    switch (op) {
#define MGX_UNARY(...)
#define MGX_BINARY(Name, ...) case Op::Name:
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        return true;
        default:
            return false;
    }
}

}  // namespace mgx
