// The table of the labels Operation_Way in the order of ScalarPlan::code, for a function that has
// them all. A code that no step has leads to `none`.

#define MGX_UNARY(Name, ...)                                                                    \
    &&Name##_Plain, &&Name##_X, &&Name##_OnlyX, &&none, &&none, &&none, &&none, &&none, &&none, \
        &&none,
#define MGX_BINARY(Name, ...)                                                              \
    &&Name##_Plain, &&Name##_X, &&Name##_OnlyX, &&Name##_Y, &&Name##_OnlyY, &&Name##_Both, \
        &&Name##_OnlyBoth, &&Name##_PlainFixed, &&Name##_XFixed, &&Name##_OnlyXFixed,
#define MGX_NOT_A_STEP \
    &&none, &&none, &&none, &&none, &&none, &&none, &&none, &&none, &&none, &&none,

// clang-format off
static const void* const targets[] = {
    &&Custom_Plain, &&none, &&none, &&none, &&none, &&none, &&none, &&none, &&none, &&none,
    MGX_NOT_A_STEP  // Differentiated
    MGX_NOT_A_STEP  // Dot
    MGX_NOT_A_STEP  // Leaf
    MGX_UNARY(PowConstant)
    MGX_NOT_A_STEP  // Negative
    MGX_NOT_A_STEP  // Difference
    MGX_NOT_A_STEP  // Quotient
#include "core/ops.def"
};
// clang-format on
static_assert(std::size(targets) == op_count * ways);

#undef MGX_UNARY
#undef MGX_BINARY
#undef MGX_NOT_A_STEP
