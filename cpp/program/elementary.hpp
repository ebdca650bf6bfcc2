#pragma once

// exp, log, tanh and the logistic function of one double, for loops over lanes.
//
// Each is a straight line of operations that every SIMD instruction set has: no calls, no branches,
// no conversions between integers and doubles, and selects between numbers that are computed in any
// case. So compilers turn a loop over them into vector instructions, and as nothing is fused
// either, all instruction sets give the same results to the last bit. GCC does so with -O3 and
// -fno-trapping-math, which changes no result: without it, GCC believes that somebody may look at
// the floating-point exceptions, and keeps branches.
//
// All functions are static and always inlined: code for a processor's newest instructions must not
// be linked to a translation unit that can do without them.
//
// The coefficients of exp and log are those of the polynomials with the least relative error of the
// function, found by the Remez algorithm in 40 digits and rounded to doubles. Polynomials are
// evaluated in halves that do not wait for one another (Estrin's scheme).

#include <bit>
#include <cstdint>
#include <limits>
#include <numbers>

#include "core/compiler.hpp"

namespace mgx::elementary {

namespace detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63;

// ln 2 in two parts. The head times an integer below 2048 is exact.
inline constexpr double ln2_head = 0x1.62e42fefa38p-1;  // NOLINT(modernize-use-std-numbers)
inline constexpr double ln2_tail = 5.497923018708371e-14;

[[nodiscard]] MGX_ALWAYS_INLINE static std::uint64_t to_bits(double x) noexcept {
    return std::bit_cast<std::uint64_t>(x);
}

[[nodiscard]] MGX_ALWAYS_INLINE static double from_bits(std::uint64_t bits) noexcept {
    return std::bit_cast<double>(bits);
}

// x = k ln 2 + remainder, with k an integer and |remainder| at most about ln 2 / 2.
struct Reduction {
    double remainder;
    std::uint64_t biased_exponent;  // k + bias in the lowest 12 bits
};

// For |x| below 1400; of other numbers nonsense.
template <int bias>
[[nodiscard]] MGX_ALWAYS_INLINE static Reduction reduce(double x) noexcept {
    // Doubles of this size are integers, which stand in their lowest bits: to add it is to round.
    constexpr double shift = 0x1.8p52 + bias;
    constexpr double one_over_ln2 = std::numbers::log2e;
    const double shifted = x * one_over_ln2 + shift;
    const double k = shifted - shift;
    return {(x - k * ln2_head) - k * ln2_tail, to_bits(shifted)};
}

// exp(r) - 1 of a remainder r.
[[nodiscard]] MGX_ALWAYS_INLINE static double exp_minus_one(double r) noexcept {
    const double r2 = r * r;
    const double r4 = r2 * r2;
    const double low = (0.16666666666666438 + 0.04166666666660398 * r) +
                       r2 * (0.00833333333349784 + 0.0013888888926784546 * r);
    const double high = (0.00019841269470581812 + 2.4801508701231714e-05 * r) +
                        r2 * (2.755763724879577e-06 + 2.762517827250799e-07 * r);
    const double series = low + r4 * (high + r4 * 2.4979451904588227e-08);
    return r + (0.5 * r2 + (r * r2) * series);
}

}  // namespace detail

[[nodiscard]] MGX_ALWAYS_INLINE static double exp(double x) noexcept {
    const auto [remainder, biased_exponent] = detail::reduce<2 * 1023>(x);
    // 2^k is the product of two powers, since the result may be finite or not 0 where 2^k is. Only
    // the second product rounds, if the result is subnormal.
    const std::uint64_t half = biased_exponent >> 1;
    const double scale = detail::from_bits(half << 52);
    const double other_scale = detail::from_bits((biased_exponent - half) << 52);
    const double result = (1.0 + detail::exp_minus_one(remainder)) * scale * other_scale;

    const double not_huge = x > 710.0 ? detail::infinity : result;
    return x < -746.0 ? 0.0 : not_huge;
}

[[nodiscard]] MGX_ALWAYS_INLINE static double log(double x) noexcept {
    constexpr std::uint64_t one = 0x3ff0000000000000;
    constexpr std::uint64_t root_half = 0x3fe6a09e667f3bcd;  // the square root of 1/2
    constexpr std::uint64_t mantissa = 0x000fffffffffffff;
    // An integer below 2^52 becomes a double by standing in the lowest bits of this one.
    constexpr std::uint64_t integer = 0x4330000000000000;

    const bool subnormal = x < 0x1p-1022;
    const double normal = subnormal ? x * 0x1p54 : x;
    const double bias = subnormal ? 0x1p52 + 1023 + 54 : 0x1p52 + 1023;

    // x = 2^k (1 + f), with 1 + f between the square roots of 1/2 and 2.
    const std::uint64_t shifted = detail::to_bits(normal) + (one - root_half);
    const double k = detail::from_bits((shifted >> 52) | integer) - bias;
    const double f = detail::from_bits((shifted & mantissa) + root_half) - 1.0;

    // log(1 + f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + z series(z)): what is added to f is
    // small, and so is its error.
    const double s = f / (2.0 + f);
    const double z = s * s;
    const double z2 = z * z;
    const double low = 0.6666666666666734 + 0.39999999999414676 * z;
    const double middle = 0.2857142874238778 + 0.22222198573177263 * z;
    const double high = (0.18183564326067939 + 0.1531405056332274 * z) + 0.14795949502386863 * z2;
    const double series = low + z2 * (middle + z2 * high);
    const double half_square = 0.5 * f * f;
    const double tail = s * (half_square + z * series) + k * detail::ln2_tail;
    const double result = k * detail::ln2_head + (f - (half_square - tail));

    const double of_positive = x < detail::infinity ? result : x;
    const double of_others = x == 0.0 ? -detail::infinity : detail::not_a_number;
    return x > 0.0 ? of_positive : of_others;
}

[[nodiscard]] MGX_ALWAYS_INLINE static double tanh(double x) noexcept {
    const std::uint64_t sign = detail::to_bits(x) & detail::sign_bit;
    const double magnitude = detail::from_bits(detail::to_bits(x) ^ sign);
    // From 20 on, the result is 1. NaN stays.
    const double a = magnitude > 20.0 ? 20.0 : magnitude;

    // Small numbers: a + numerator / denominator, the ninth convergent of Lambert's continued
    // fraction a / (1 + a^2 / (3 + a^2 / (5 + ...))).
    const double z = a * a;
    const double z2 = z * z;
    const double small_numerator =
        (a * z) * ((-11486475.0 - 810810.0 * z) + z2 * (-12870.0 - 44.0 * z));
    const double small_denominator =
        (34459425.0 + 16216200.0 * z) + z2 * ((945945.0 + 13860.0 * z) + 45.0 * z2);

    // Others: 1 - 2 / (exp(2 a) + 1), which rounds the better the closer to 1 it is.
    const auto [remainder, biased_exponent] = detail::reduce<1023>(2.0 * a);
    const double scale = detail::from_bits(biased_exponent << 52);
    const double denominator = (scale + 1.0) + scale * detail::exp_minus_one(remainder);

    const bool small = a < 0.8;
    const double quotient =
        (small ? small_numerator : -2.0) / (small ? small_denominator : denominator);
    return detail::from_bits(detail::to_bits((small ? a : 1.0) + quotient) | sign);
}

// The formula of mgx::logistic.
[[nodiscard]] MGX_ALWAYS_INLINE static double sigmoid(double x) noexcept {
    const double decay = exp(detail::from_bits(detail::to_bits(x) | detail::sign_bit));
    return (x < 0.0 ? decay : 1.0) / (1.0 + decay);
}

}  // namespace mgx::elementary
