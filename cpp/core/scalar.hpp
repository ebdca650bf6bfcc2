#pragma once

// The numbers a Value holds: Python's int and float.
//
// Every number is stored as a double. A flag remembers that Python would hold an int there, so that
// `Value(2) * 3` shows 6 and not 6.0. The flag is set for whole numbers up to 2**53, and for
// results below it, as a result of just 2**53 may have been rounded; anything beyond is a float.

#include <cmath>

#include "core/errors.hpp"

namespace mgx {

struct Scalar {
    double value = 0.0;
    bool is_integer = false;

    static constexpr double largest_integer = 9007199254740992.0;  // 2**53

    [[nodiscard]] static constexpr Scalar real(double value) noexcept { return {value, false}; }

    // The int `value`.
    [[nodiscard]] static constexpr Scalar integer(double value) noexcept { return {value, true}; }

    // What a double holds of the sum, difference, product or power `value` of ints. Adding zero
    // turns -0.0, which no int can be, into 0.0.
    [[nodiscard]] static constexpr Scalar of_integers(double value) noexcept {
        return {value + 0.0, value > -largest_integer && value < largest_integer};
    }
};

[[nodiscard]] inline Scalar operator+(Scalar x, Scalar y) noexcept {
    const double sum = x.value + y.value;
    return x.is_integer && y.is_integer ? Scalar::of_integers(sum) : Scalar::real(sum);
}

[[nodiscard]] inline Scalar operator-(Scalar x, Scalar y) noexcept {
    const double difference = x.value - y.value;
    return x.is_integer && y.is_integer ? Scalar::of_integers(difference)
                                        : Scalar::real(difference);
}

[[nodiscard]] inline Scalar operator*(Scalar x, Scalar y) noexcept {
    const double product = x.value * y.value;
    return x.is_integer && y.is_integer ? Scalar::of_integers(product) : Scalar::real(product);
}

// Python's `x ** y`, errors included, except that a negative base with a fractional exponent is
// an error where Python would go over to complex numbers.
[[nodiscard]] Scalar pow(Scalar x, Scalar y);

// d(x ** y)/dx = y * x ** (y - 1), which is 0.0 for y = 0 whatever x is.
[[nodiscard]] Scalar pow_derivative_by_base(Scalar x, Scalar y);

// d(x ** y)/dy = x ** y * log(x); 0 at x = 0, where it is the limit from above; NaN for x < 0.
[[nodiscard]] Scalar pow_derivative_by_exponent(Scalar x, Scalar y);

// Comparisons, in the form in which ops.def needs them. NaN is greater than nothing, but both the
// larger and the smaller of itself and any other number, and true.
[[nodiscard]] inline Scalar larger(Scalar x, Scalar y) noexcept {
    return x.value > y.value || std::isnan(x.value) ? x : y;
}
[[nodiscard]] inline Scalar smaller(Scalar x, Scalar y) noexcept {
    return x.value < y.value || std::isnan(x.value) ? x : y;
}
[[nodiscard]] inline Scalar share_of_larger(Scalar x, Scalar y) noexcept {
    return Scalar::real(x.value > y.value ? 1.0 : (x.value == y.value ? 0.5 : 0.0));
}
[[nodiscard]] inline Scalar is_greater(Scalar x, Scalar y) noexcept {
    return Scalar::integer(x.value > y.value ? 1.0 : 0.0);
}
[[nodiscard]] inline Scalar kept_if(Scalar condition, Scalar x) noexcept {
    return condition.value != 0.0 ? x : Scalar::real(-0.0);
}
[[nodiscard]] inline Scalar kept_unless(Scalar condition, Scalar x) noexcept {
    return condition.value == 0.0 ? x : Scalar::real(-0.0);
}
[[nodiscard]] inline Scalar one_if(Scalar condition) noexcept {
    return Scalar::integer(condition.value != 0.0 ? 1.0 : 0.0);
}
[[nodiscard]] inline Scalar one_unless(Scalar condition) noexcept {
    return Scalar::integer(condition.value == 0.0 ? 1.0 : 0.0);
}

}  // namespace mgx
