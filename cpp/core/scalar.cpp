// Powers of Python numbers: the one arithmetic operation of a Value that can fail.
//
// The same libm `pow` that CPython calls computes the result, so that it agrees with micrograd's
// to the last bit; the checks around it reproduce the exceptions of Python's `**`.

#include "core/scalar.hpp"

#include <limits>

namespace mgx {

Scalar pow(Scalar x, Scalar y) {
    if (x.value == 0.0 && y.value < 0.0 && std::isfinite(y.value) && !numbers_are_unknown) {
        throw DivisionByZero("0.0 cannot be raised to a negative power");
    }
    const bool finite = std::isfinite(x.value) && std::isfinite(y.value);
    if (finite && x.value < 0.0 && y.value != std::floor(y.value) && !numbers_are_unknown) {
        throw DomainError(
            "a negative number cannot be raised to a fractional power: the result is not real");
    }
    const double power = std::pow(x.value, y.value);
    if (x.is_integer && y.is_integer && y.value >= 0.0 &&
        std::abs(power) < Scalar::largest_integer) {
        return Scalar::of_integers(std::nearbyint(power));
    }
    if (finite && std::isinf(power) && !numbers_are_unknown) {
        throw Overflow("the result of ** is too large for a float");
    }
    return Scalar::real(power);
}

Scalar pow_derivative_by_base(Scalar x, Scalar y) {
    if (y.value == 0.0) {
        return Scalar::real(0.0);
    }
    return y * pow(x, y + Scalar::integer(-1.0));
}

Scalar pow_derivative_by_exponent(Scalar x, Scalar y) {
    if (x.value == 0.0) {
        return Scalar::real(0.0);
    }
    if (x.value < 0.0) {
        return Scalar::real(std::numeric_limits<double>::quiet_NaN());
    }
    return Scalar::real(pow(x, y).value * std::log(x.value));
}

}  // namespace mgx
