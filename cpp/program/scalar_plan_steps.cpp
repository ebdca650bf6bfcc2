// One sample, step by step: for programs that compute each number from the last.
//
// A step passes its result on to the next in a register, and the adjoint on the way back. And each
// step itself jumps to the next, where the compiler knows how: a processor foresees where a jump
// goes by where it stands, and where the one jump of a switch in a loop goes, it does not.
//
// Either function is made of pieces, one for each code that a step may have. A piece begins with
// MGX_STEP and ends with MGX_JUMP, which goes on with the piece of `step`.

#include <iterator>

#include "core/compiler.hpp"
#include "core/forward.hpp"
#include "program/powers.hpp"
#include "program/scalar_plan.hpp"

#if MGX_HAS_COMPUTED_GOTO
#pragma GCC diagnostic ignored "-Wpedantic"
#define MGX_BEGIN_STEPS MGX_JUMP
#define MGX_STEP(Name, way) Name##_##way:
#define MGX_JUMP goto* targets[step->code];
#define MGX_END_STEPS \
    none:             \
    MGX_UNREACHABLE();
#else
#define MGX_BEGIN_STEPS \
    for (;;) {          \
        switch (step->code) {
#define MGX_STEP(Name, way) case code(Op::Name, Way::way):
#define MGX_JUMP continue;
#define MGX_END_STEPS      \
    default:               \
        MGX_UNREACHABLE(); \
        }                  \
        }
#endif

namespace mgx {

void ScalarPlan::forward_step_by_step(std::span<const Step> steps, double* values,
                                      Workspace& workspace) const {
    if (steps.empty()) {
        return;
    }
    const Step* step = steps.data();
    const Step* const end = step + steps.size();
    double last = 0.0;  // result
#if MGX_HAS_COMPUTED_GOTO
#include "program/step_targets.inl"
#endif
#define MGX_NEXT         \
    if (++step == end) { \
        return;          \
    }                    \
    MGX_JUMP
#define MGX_RESULT(number)       \
    last = (number);             \
    values[step->result] = last; \
    MGX_NEXT
#define MGX_UNARY_RESULT(Name, x) MGX_RESULT(evaluate<Op::Name>(Scalar::real(x)).value)
#define MGX_BINARY_RESULT(Name, x, y) \
    MGX_RESULT(evaluate<Op::Name>(Scalar::real(x), Scalar::real(y)).value)
#define MGX_UNARY(Name, ...)                \
    MGX_STEP(Name, Plain)                   \
    MGX_UNARY_RESULT(Name, values[step->x]) \
    MGX_STEP(Name, X)                       \
    MGX_STEP(Name, OnlyX)                   \
    MGX_UNARY_RESULT(Name, last)
#define MGX_BINARY(Name, ...)                                 \
    MGX_STEP(Name, Plain)                                     \
    MGX_STEP(Name, PlainFixed)                                \
    MGX_BINARY_RESULT(Name, values[step->x], values[step->y]) \
    MGX_STEP(Name, X)                                         \
    MGX_STEP(Name, OnlyX)                                     \
    MGX_STEP(Name, XFixed)                                    \
    MGX_STEP(Name, OnlyXFixed)                                \
    MGX_BINARY_RESULT(Name, last, values[step->y])            \
    MGX_STEP(Name, Y)                                         \
    MGX_STEP(Name, OnlyY)                                     \
    MGX_BINARY_RESULT(Name, values[step->x], last)            \
    MGX_STEP(Name, Both)                                      \
    MGX_STEP(Name, OnlyBoth)                                  \
    MGX_BINARY_RESULT(Name, last, last)

    MGX_BEGIN_STEPS
#include "core/ops.def"
    MGX_STEP(PowConstant, Plain)
    MGX_RESULT(power(values[step->x], exponents_[step->y]))
    MGX_STEP(PowConstant, X)
    MGX_STEP(PowConstant, OnlyX)
    MGX_RESULT(power(last, exponents_[step->y]))
    MGX_STEP(Custom, Plain)
    forward(program_.instructions[step->y], step->y, values, workspace);
    MGX_NEXT
    MGX_END_STEPS
#undef MGX_NEXT
#undef MGX_RESULT
#undef MGX_UNARY_RESULT
#undef MGX_BINARY_RESULT
#undef MGX_UNARY
#undef MGX_BINARY
}

void ScalarPlan::backward_step_by_step(std::span<const Step> steps, const double* values,
                                       double* adjoints, Workspace& workspace) const {
    if (steps.empty()) {
        return;
    }
    const Step* const first = steps.data();
    const Step* step = first + (steps.size() - 1);
    double adjoint = adjoints[step->result];
#if MGX_HAS_COMPUTED_GOTO
#include "program/step_targets.inl"
#endif
// On to the step before: it has its adjoint in memory; or a share of it is still to be added there;
// or that share is all of it, and memory need not know. Only the former can be the first step.
#define MGX_PASS_NOTHING              \
    if (step == first) {              \
        return;                       \
    }                                 \
    --step;                           \
    adjoint = adjoints[step->result]; \
    MGX_JUMP
#define MGX_PASS_SHARE(share)                   \
    --step;                                     \
    adjoint = adjoints[step->result] + (share); \
    adjoints[step->result] = adjoint;           \
    MGX_JUMP
#define MGX_PASS_ALL(share) \
    --step;                 \
    adjoint = share;        \
    MGX_JUMP
#define MGX_UNARY_STEP(Name, way, derivative, ...)              \
    MGX_STEP(Name, way) {                                       \
        [[maybe_unused]] const double x = values[step->x];      \
        [[maybe_unused]] const double y = values[step->result]; \
        const double by_x = (derivative) * adjoint;             \
        __VA_ARGS__                                             \
    }
#define MGX_UNARY(Name, method, label, value_, derivative, ...)                          \
    MGX_UNARY_STEP(Name, Plain, derivative, adjoints[step->x] += by_x; MGX_PASS_NOTHING) \
    MGX_UNARY_STEP(Name, X, derivative, MGX_PASS_SHARE(by_x))                            \
    MGX_UNARY_STEP(Name, OnlyX, derivative, MGX_PASS_ALL(by_x))
#define MGX_BINARY_STEP(Name, way, left, right, ...)                     \
    MGX_STEP(Name, way) {                                                \
        [[maybe_unused]] const Scalar x = Scalar::real(values[step->x]); \
        [[maybe_unused]] const Scalar y = Scalar::real(values[step->y]); \
        const double by_x = (left).value * adjoint;                      \
        [[maybe_unused]] const double by_y = (right).value * adjoint;    \
        __VA_ARGS__                                                      \
    }
#define MGX_BINARY(Name, method, label, value_, left, right, ...)                               \
    MGX_BINARY_STEP(Name, Plain, left, right, adjoints[step->x] += by_x;                        \
                    adjoints[step->y] += by_y; MGX_PASS_NOTHING)                                \
    MGX_BINARY_STEP(Name, PlainFixed, left, right, adjoints[step->x] += by_x; MGX_PASS_NOTHING) \
    MGX_BINARY_STEP(Name, X, left, right, adjoints[step->y] += by_y; MGX_PASS_SHARE(by_x))      \
    MGX_BINARY_STEP(Name, XFixed, left, right, MGX_PASS_SHARE(by_x))                            \
    MGX_BINARY_STEP(Name, Y, left, right, adjoints[step->x] += by_x; MGX_PASS_SHARE(by_y))      \
    MGX_BINARY_STEP(Name, Both, left, right, MGX_PASS_SHARE(by_x + by_y))                       \
    MGX_BINARY_STEP(Name, OnlyX, left, right, adjoints[step->y] += by_y; MGX_PASS_ALL(by_x))    \
    MGX_BINARY_STEP(Name, OnlyXFixed, left, right, MGX_PASS_ALL(by_x))                          \
    MGX_BINARY_STEP(Name, OnlyY, left, right, adjoints[step->x] += by_x; MGX_PASS_ALL(by_y))    \
    MGX_BINARY_STEP(Name, OnlyBoth, left, right, MGX_PASS_ALL(by_x + by_y))

    MGX_BEGIN_STEPS
#include "core/ops.def"
#define MGX_POW_STEP(way, ...)                                                             \
    MGX_STEP(PowConstant, way) {                                                           \
        const double by_x =                                                                \
            power_derivative(values[step->x], exponents_[step->y], values[step->result]) * \
            adjoint;                                                                       \
        __VA_ARGS__                                                                        \
    }
    MGX_POW_STEP(Plain, adjoints[step->x] += by_x; MGX_PASS_NOTHING)
    MGX_POW_STEP(X, MGX_PASS_SHARE(by_x))
    MGX_POW_STEP(OnlyX, MGX_PASS_ALL(by_x))
    MGX_STEP(Custom, Plain)
    backward(program_.instructions[step->y], step->y, values, adjoints, workspace);
    MGX_PASS_NOTHING
    MGX_END_STEPS
#undef MGX_PASS_NOTHING
#undef MGX_PASS_SHARE
#undef MGX_PASS_ALL
#undef MGX_UNARY_STEP
#undef MGX_UNARY
#undef MGX_BINARY_STEP
#undef MGX_BINARY
#undef MGX_POW_STEP
}

}  // namespace mgx
