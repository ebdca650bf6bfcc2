// The rows of ops.def on plain numbers. Constant folding calls this, and the executors when an
// operand may be outside of an operation's domain, to find out which and to raise what the eager
// engine raises.

#include "program/evaluate.hpp"

#include "core/forward.hpp"

namespace mgx {

double evaluate(Op op, double x_number, double y_number, double exponent) {
    const Scalar x = Scalar::real(x_number);
    const Scalar y = Scalar::real(y_number);
    switch (op) {
#define MGX_UNARY(Name, ...) \
    case Op::Name:           \
        return evaluate<Op::Name>(x).value;
#define MGX_BINARY(Name, ...) \
    case Op::Name:            \
        return evaluate<Op::Name>(x, y).value;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        case Op::PowConstant:
            return pow(x, Scalar::real(exponent)).value;
        default:
            return x_number;
    }
}

PartialDerivatives differentiate(Op op, double x_number, double y_number, double exponent,
                                 double result) {
    switch (op) {
#define MGX_UNARY(Name, method, label, value_, derivative, ...) \
    case Op::Name: {                                            \
        [[maybe_unused]] const double x = x_number;             \
        [[maybe_unused]] const double y = result;               \
        return {derivative, 0.0};                               \
    }
#define MGX_BINARY(Name, method, label, value_, left_derivative, right_derivative, ...) \
    case Op::Name: {                                                                    \
        [[maybe_unused]] const Scalar x = Scalar::real(x_number);                       \
        [[maybe_unused]] const Scalar y = Scalar::real(y_number);                       \
        return {(left_derivative).value, (right_derivative).value};                     \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        case Op::PowConstant:
            return {pow_derivative_by_base(Scalar::real(x_number), Scalar::real(exponent)).value,
                    0.0};
        default:
            return {1.0, 0.0};
    }
}

}  // namespace mgx
