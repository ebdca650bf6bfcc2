#pragma once

// What is done to a block of samples at once: the loops over lanes, built for several instruction
// sets. See lane_kernels.inl.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/op.hpp"

namespace mgx {

// The number of lanes of a block is a multiple of this, so that loops over lanes leave no rest with
// any instruction set.
inline constexpr std::size_t lane_group = 8;

// The gradients of the weights of so few rows are added up in an order of their own.
inline constexpr std::size_t few_rows = 2;

// A vector of lanes of each result of an affine map: results[row] = biases[row] + the sum over all
// terms of weights[row * terms + term] * inputs[term], added in this order, and 0 instead if it is
// to be rectified and negative.
struct AffineBlock {
    const double* weights;        // of the rows, one after another
    const double* biases;         // one a row
    const double* const* inputs;  // where the lanes of each term's input begin
    std::size_t rows;
    std::size_t terms;
    std::size_t stride;  // from the lanes of one result, or of its adjoint, to those of the next
    bool rectifies;
    bool is_first;  // to give the inputs adjoints, which have no numbers yet
};

// The lanes of an operation's operands, result and adjoints. Adjoints that nobody wants are null.
struct LaneOperands {
    const double* x;
    const double* y;
    double* result;
    const double* result_adjoint;
    double* x_adjoint;
    double* y_adjoint;
    double exponent;  // of a PowConstant
};

struct LaneKernels {
    const char* instruction_set;

    // Compute the result. False if some operand may be outside of the operation's domain: the
    // caller finds out by evaluating the lanes one by one.
    using Forward = bool (*)(const LaneOperands& operands, std::size_t lanes) noexcept;
    // Add to the adjoints of the operands. False as above.
    using Backward = bool (*)(const LaneOperands& operands, std::size_t lanes) noexcept;

    std::array<Forward, op_count> forward;    // by Op; null for what is no row of ops.def
    std::array<Backward, op_count> backward;  // nor PowConstant

    // Multiply the result's adjoint by the derivative, which is told from the result alone.
    std::array<void (*)(const double* result, double* adjoint, std::size_t lanes) noexcept,
               op_count>
        backward_in_place;

    // sums[lane] += x[lane] * y[lane].
    void (*add_products)(const double* x, const double* y, double* sums,
                         std::size_t lanes) noexcept;

    // The results, `lanes` (a multiple of lane_group) of each.
    void (*affine)(const AffineBlock& block, double* results, std::size_t lanes) noexcept;

    // sums[i] += the sum over `samples` lanes, any number, of the vector at vectors + i * stride:
    // lane_group sums of every eighth lane, added in pairs of neighbours, pairs of pairs and so on.
    // The lanes behind them, up to a multiple of lane_group, are read as well.
    void (*add_lane_sums)(const double* vectors, std::size_t stride, std::size_t count,
                          std::size_t samples, double* sums) noexcept;
    // The same for adjoints, which are first multiplied in place by the derivative of rectifiers,
    // as is told from their results.
    void (*add_rectified_lane_sums)(const double* results, double* adjoints, std::size_t stride,
                                    std::size_t count, std::size_t samples, double* sums) noexcept;

    // weight_grads[row * terms + term] += adjoint[row][lane] * input[term][lane], lane after lane
    // in this order from 0, each product added by itself; `samples` lanes, any number. If there are
    // no more rows than `few_rows`, the products' sum is that of add_lane_sums. `adjoints` are
    // those of the results. `scratch` has room for samples * (terms + lane_group) doubles.
    void (*affine_weight_grads)(const AffineBlock& block, const double* adjoints,
                                std::size_t samples, double* weight_grads,
                                double* scratch) noexcept;

    // input_adjoints[term][lane] += weights[row * terms + term] * adjoint[row][lane], row after row
    // in this order; if the block is the first to give them any, what is there counts as 0, and no
    // input occurs twice. Null pointers stand for inputs whose adjoint nobody wants. An input may
    // occur several times among the terms, at which its adjoints are added one after another.
    void (*affine_input_grads)(const AffineBlock& block, const double* adjoints,
                               double* const* input_adjoints, std::size_t lanes) noexcept;

    // lanes of `columns` vectors, `stride` apart, from `samples` rows of a matrix with `columns`
    // columns. Lanes beyond `samples` up to `lanes` repeat the last sample.
    void (*load_samples)(const double* matrix, std::size_t columns, std::size_t samples,
                         double* values, std::size_t stride, std::size_t lanes) noexcept;
    // The reverse, for `samples` lanes.
    void (*store_samples)(const double* values, std::size_t stride, std::size_t columns,
                          std::size_t samples, double* matrix) noexcept;
};

// Those for the best instruction set that this processor has and that the environment variable
// MICROGRADX_ISA ("baseline", "avx2" or "avx512") allows. All give the same results to the last
// bit.
[[nodiscard]] const LaneKernels& lane_kernels() noexcept;

// All that this processor can run, the best last.
[[nodiscard]] std::vector<const LaneKernels*> available_lane_kernels();

}  // namespace mgx
