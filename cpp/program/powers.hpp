#pragma once

// Powers by a constant exponent, for one sample.

#include <cmath>

#include "core/compiler.hpp"
#include "core/scalar.hpp"

namespace mgx {

// Powers with the exponents that programs are full of need no logarithm.
MGX_ALWAYS_INLINE double power(double x, double exponent) {
    if (exponent == 2.0 && std::fabs(x) < 1e150) {
        return x * x;
    }
    if (exponent == -1.0 && std::fabs(x) > 1e-300) {
        return 1.0 / x;
    }
    return pow(Scalar::real(x), Scalar::real(exponent)).value;
}

MGX_ALWAYS_INLINE double power_derivative(double x, double exponent, double result) {
    if (exponent == 2.0) {
        return 2.0 * x;
    }
    if (exponent == -1.0 && std::fabs(result) < 1e150) {
        return -(result * result);
    }
    return pow_derivative_by_base(Scalar::real(x), Scalar::real(exponent)).value;
}

}  // namespace mgx
