// The loops over the lanes of a block, for one instruction set.
//
// This file is compiled once for each instruction set, in a translation unit that is allowed to use
// it and that names the namespace, MGX_LANES. The loops are written for one lane; the compiler puts
// as many side by side as fit into a register. That nothing depends on how many: the lanes do not
// mix, no product is contracted with a sum, and the elementary functions are our own
// (elementary.hpp), all others the C library's. Everything here is internal to the unit, so that
// the linker cannot take a function of one instruction set for that of another.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numbers>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "core/compiler.hpp"
#include "program/elementary.hpp"
#include "program/lane_kernels.hpp"

#if defined(__clang__)
#define MGX_SIDE_BY_SIDE _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define MGX_SIDE_BY_SIDE _Pragma("GCC ivdep")
#else
#define MGX_SIDE_BY_SIDE __pragma(loop(ivdep))
#endif

namespace mgx::MGX_LANES {

namespace {

#include "program/affine_kernels.inl"

// What the rows of ops.def call.
using elementary::exp;
using elementary::log;
using elementary::tanh;
using std::cos;
using std::erf;
using std::fabs;
using std::isinf;
using std::sin;
using std::sqrt;
using std::numbers::inv_sqrtpi;

struct Scalar {
    [[nodiscard]] static constexpr double integer(double value) noexcept { return value; }
};
MGX_ALWAYS_INLINE double logistic(double x) noexcept { return elementary::sigmoid(x); }
MGX_ALWAYS_INLINE double larger(double x, double y) noexcept {
    return ((x > y) | (x != x)) ? x : y;
}
MGX_ALWAYS_INLINE double smaller(double x, double y) noexcept {
    return ((x < y) | (x != x)) ? x : y;
}
MGX_ALWAYS_INLINE double share_of_larger(double x, double y) noexcept {
    return (x > y ? 0.5 : 0.0) + (x >= y ? 0.5 : 0.0);
}
MGX_ALWAYS_INLINE double is_greater(double x, double y) noexcept { return x > y ? 1.0 : 0.0; }
MGX_ALWAYS_INLINE double kept_if(double condition, double x) noexcept {
    return condition != 0.0 ? x : -0.0;
}
MGX_ALWAYS_INLINE double kept_unless(double condition, double x) noexcept {
    return condition == 0.0 ? x : -0.0;
}
MGX_ALWAYS_INLINE double one_if(double condition) noexcept { return condition != 0.0 ? 1.0 : 0.0; }
MGX_ALWAYS_INLINE double one_unless(double condition) noexcept {
    return condition == 0.0 ? 1.0 : 0.0;
}
MGX_ALWAYS_INLINE double pow(double x, double y) noexcept { return std::pow(x, y); }
MGX_ALWAYS_INLINE double pow_derivative_by_base(double x, double y) noexcept {
    return y == 0.0 ? 0.0 : y * std::pow(x, y - 1.0);
}
MGX_ALWAYS_INLINE double pow_derivative_by_exponent(double x, double y) noexcept {
    return x == 0.0 ? 0.0 : std::pow(x, y) * std::log(x);
}

// Powers with the exponents that programs are full of, and any other.
MGX_ALWAYS_INLINE double square(double x, double /*unused*/) noexcept { return x * x; }
MGX_ALWAYS_INLINE double square_derivative(double x, double /*unused*/,
                                           double /*unused*/) noexcept {
    return 2.0 * x;
}
MGX_ALWAYS_INLINE double cube(double x, double /*unused*/) noexcept { return x * x * x; }
MGX_ALWAYS_INLINE double cube_derivative(double x, double /*unused*/, double /*unused*/) noexcept {
    return 3.0 * (x * x);
}
MGX_ALWAYS_INLINE double inverse(double x, double /*unused*/) noexcept { return 1.0 / x; }
MGX_ALWAYS_INLINE double inverse_derivative(double /*unused*/, double result,
                                            double /*unused*/) noexcept {
    return -(result * result);
}
MGX_ALWAYS_INLINE double root(double x, double /*unused*/) noexcept {
    return std::sqrt(x + 0.0);  // of -0.0 it is 0.0, as that of pow
}
MGX_ALWAYS_INLINE double root_derivative(double /*unused*/, double result,
                                         double /*unused*/) noexcept {
    return 0.5 / result;
}
MGX_ALWAYS_INLINE double any_power(double x, double exponent) noexcept {
    return std::pow(x, exponent);
}
MGX_ALWAYS_INLINE double any_power_derivative(double x, double /*unused*/,
                                              double exponent) noexcept {
    return pow_derivative_by_base(x, exponent);
}

template <double power(double, double) noexcept>
bool raise(const LaneOperands& operands, std::size_t lanes) noexcept {
    const double* const x = operands.x;
    double* const result = operands.result;
    MGX_SIDE_BY_SIDE
    for (std::size_t i = 0; i < lanes; ++i) {
        result[i] = power(x[i], operands.exponent);
    }
    return all_finite(result, lanes);
}

template <double derivative(double, double, double) noexcept>
bool raise_backward(const LaneOperands& operands, std::size_t lanes) noexcept {
    double all_zero = 0.0;
    for (std::size_t i = 0; i < lanes; ++i) {
        const double factor = derivative(operands.x[i], operands.result[i], operands.exponent);
        all_zero += factor * 0.0;
        operands.x_adjoint[i] += factor * operands.result_adjoint[i];
    }
    return all_zero == 0.0;
}

bool forward_power(const LaneOperands& operands, std::size_t lanes) noexcept {
    const double exponent = operands.exponent;
    return exponent == 2.0    ? raise<square>(operands, lanes)
           : exponent == -1.0 ? raise<inverse>(operands, lanes)
           : exponent == 0.5  ? raise<root>(operands, lanes)
           : exponent == 3.0  ? raise<cube>(operands, lanes)
                              : raise<any_power>(operands, lanes);
}

bool backward_power(const LaneOperands& operands, std::size_t lanes) noexcept {
    const double exponent = operands.exponent;
    return exponent == 2.0    ? raise_backward<square_derivative>(operands, lanes)
           : exponent == -1.0 ? raise_backward<inverse_derivative>(operands, lanes)
           : exponent == 0.5  ? raise_backward<root_derivative>(operands, lanes)
           : exponent == 3.0  ? raise_backward<cube_derivative>(operands, lanes)
                              : raise_backward<any_power_derivative>(operands, lanes);
}

void add_products(const double* x, const double* y, double* sums, std::size_t lanes) noexcept {
    MGX_SIDE_BY_SIDE
    for (std::size_t i = 0; i < lanes; ++i) {
        sums[i] += x[i] * y[i];
    }
}

// The rows of ops.def.
#define MGX_UNARY(Name, method, label, value, derivative, domain, ...)               \
    bool forward_##Name(const LaneOperands& operands, std::size_t lanes) noexcept {  \
        const double* const all_x = operands.x;                                      \
        double* const result = operands.result;                                      \
        unsigned outside = 0;                                                        \
        for (std::size_t i = 0; i < lanes; ++i) {                                    \
            [[maybe_unused]] const double x = all_x[i];                              \
            outside |= (domain) ? 0U : 1U;                                           \
        }                                                                            \
        MGX_SIDE_BY_SIDE                                                             \
        for (std::size_t i = 0; i < lanes; ++i) {                                    \
            const double x = all_x[i];                                               \
            result[i] = value;                                                       \
        }                                                                            \
        return outside == 0;                                                         \
    }                                                                                \
    bool backward_##Name(const LaneOperands& operands, std::size_t lanes) noexcept { \
        const double* const all_x = operands.x;                                      \
        const double* const all_y = operands.result;                                 \
        const double* const adjoint = operands.result_adjoint;                       \
        double* const x_adjoint = operands.x_adjoint;                                \
        MGX_SIDE_BY_SIDE                                                             \
        for (std::size_t i = 0; i < lanes; ++i) {                                    \
            [[maybe_unused]] const double x = all_x[i];                              \
            [[maybe_unused]] const double y = all_y[i];                              \
            x_adjoint[i] += (derivative) * adjoint[i];                               \
        }                                                                            \
        return true;                                                                 \
    }                                                                                \
    void backward_in_place_##Name(const double* result, double* adjoint,             \
                                  std::size_t lanes) noexcept {                      \
        MGX_SIDE_BY_SIDE                                                             \
        for (std::size_t i = 0; i < lanes; ++i) {                                    \
            [[maybe_unused]] const double x = result[i];                             \
            [[maybe_unused]] const double y = result[i];                             \
            adjoint[i] *= (derivative);                                              \
        }                                                                            \
    }
#define MGX_BINARY(Name, method, label, value, left_derivative, right_derivative, ...)           \
    bool forward_##Name(const LaneOperands& operands, std::size_t lanes) noexcept {              \
        const double* const all_x = operands.x;                                                  \
        const double* const all_y = operands.y;                                                  \
        double* const result = operands.result;                                                  \
        MGX_SIDE_BY_SIDE                                                                         \
        for (std::size_t i = 0; i < lanes; ++i) {                                                \
            const double x = all_x[i];                                                           \
            const double y = all_y[i];                                                           \
            result[i] = value;                                                                   \
        }                                                                                        \
        return Op::Name != Op::Pow || all_finite(result, lanes);                                 \
    }                                                                                            \
    bool backward_##Name(const LaneOperands& operands, std::size_t lanes) noexcept {             \
        const double* const all_x = operands.x;                                                  \
        const double* const all_y = operands.y;                                                  \
        const double* const adjoint = operands.result_adjoint;                                   \
        double* const x_adjoint = operands.x_adjoint;                                            \
        double* const y_adjoint = operands.y_adjoint;                                            \
        if (x_adjoint != nullptr) {                                                              \
            MGX_SIDE_BY_SIDE                                                                     \
            for (std::size_t i = 0; i < lanes; ++i) {                                            \
                [[maybe_unused]] const double x = all_x[i];                                      \
                [[maybe_unused]] const double y = all_y[i];                                      \
                x_adjoint[i] += (left_derivative) * adjoint[i];                                  \
            }                                                                                    \
        }                                                                                        \
        if (y_adjoint != nullptr) {                                                              \
            MGX_SIDE_BY_SIDE                                                                     \
            for (std::size_t i = 0; i < lanes; ++i) {                                            \
                [[maybe_unused]] const double x = all_x[i];                                      \
                [[maybe_unused]] const double y = all_y[i];                                      \
                y_adjoint[i] += (right_derivative) * adjoint[i];                                 \
            }                                                                                    \
        }                                                                                        \
        return Op::Name != Op::Pow || ((x_adjoint == nullptr || all_finite(x_adjoint, lanes)) && \
                                       (y_adjoint == nullptr || all_finite(y_adjoint, lanes)));  \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY

constexpr LaneKernels make_kernels() noexcept {
    LaneKernels made{};
    made.instruction_set = MGX_LANES_NAME;
    made.forward[static_cast<std::size_t>(Op::PowConstant)] = forward_power;
    made.backward[static_cast<std::size_t>(Op::PowConstant)] = backward_power;
#define MGX_UNARY(Name, ...)                                             \
    made.forward[static_cast<std::size_t>(Op::Name)] = forward_##Name;   \
    made.backward[static_cast<std::size_t>(Op::Name)] = backward_##Name; \
    made.backward_in_place[static_cast<std::size_t>(Op::Name)] = backward_in_place_##Name;
#define MGX_BINARY(Name, ...)                                          \
    made.forward[static_cast<std::size_t>(Op::Name)] = forward_##Name; \
    made.backward[static_cast<std::size_t>(Op::Name)] = backward_##Name;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    made.add_products = add_products;
    made.affine = affine;
    made.add_lane_sums = add_lane_sums;
    made.add_rectified_lane_sums = add_rectified_lane_sums;
    made.affine_weight_grads = affine_weight_grads;
    made.affine_input_grads = affine_input_grads;
    made.load_samples = load_samples;
    made.store_samples = store_samples;
    return made;
}

}  // namespace

extern const LaneKernels kernels;
constexpr LaneKernels kernels = make_kernels();

}  // namespace mgx::MGX_LANES
