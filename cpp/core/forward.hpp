#pragma once

// Evaluating one operation: the `value` column of ops.def.

#include <cmath>
#include <numbers>
#include <string_view>

#include "core/op.hpp"
#include "core/scalar.hpp"

namespace mgx {

// By which ops.def calls them.
using std::cos;
using std::erf;
using std::exp;
using std::fabs;
using std::isinf;
using std::log;
using std::sin;
using std::sqrt;
using std::tanh;
using std::numbers::inv_sqrtpi;

// 1 / (1 + exp(-x)), written so that exp is only taken of numbers that are not positive.
[[nodiscard]] inline double logistic(double x) noexcept {
    const double decay = std::exp(-std::fabs(x));
    return (x < 0 ? decay : 1.0) / (1.0 + decay);
}

// Throws DomainError, if the numbers are known.
void throw_outside_domain(std::string_view method, double x);

// The result of a unary operation.
template <Op op>
[[nodiscard]] inline Scalar evaluate(Scalar operand) {
    const double x = operand.value;
    [[maybe_unused]] const bool integer = operand.is_integer;
#define MGX_UNARY(Name, method, label, value_, derivative, domain, integer_value, ...) \
    if constexpr (op == Op::Name) {                                                    \
        if (!(domain)) {                                                               \
            throw_outside_domain(#method, x);                                          \
        }                                                                              \
        return {value_, integer_value};                                                \
    }
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
}

// The result of a unary operation that is only known when the program runs; that of any other is
// the operand itself.
[[nodiscard]] inline Scalar evaluate(Op op, Scalar operand) {
    switch (op) {
#define MGX_UNARY(Name, ...) \
    case Op::Name:           \
        return evaluate<Op::Name>(operand);
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        default:
            return operand;
    }
}

// The result of a binary operation.
template <Op op>
[[nodiscard]] inline Scalar evaluate(Scalar x, Scalar y) {
#define MGX_UNARY(...)
#define MGX_BINARY(Name, method, label, value_, ...) \
    if constexpr (op == Op::Name) {                  \
        return value_;                               \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
}

}  // namespace mgx
