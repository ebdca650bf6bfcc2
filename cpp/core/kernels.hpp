#pragma once

// The loops over numbers that processors have wide registers for. See kernels.cpp.

#include <cstddef>
#include <vector>

namespace mgx {

struct Kernels {
    const char* instruction_set;

    // sums[row] += weights[input * rows + row] * inputs[input], one input after another.
    void (*add_products)(const double* weights, const double* inputs, std::size_t terms,
                         double* sums, std::size_t rows) noexcept;

    // weight_grads += grad * inputs and input_grads += grad * weights. Nothing overlaps.
    void (*pass_on)(double grad, const double* inputs, const double* weights, std::size_t terms,
                    double* weight_grads, double* input_grads) noexcept;
};

// Those for the best instruction set that this processor has; for the one that every processor of
// its kind has if the environment variable MICROGRADX_ISA is "baseline". All give the same results
// to the last bit.
[[nodiscard]] const Kernels& kernels() noexcept;

// All that this processor can run, the best last.
[[nodiscard]] std::vector<const Kernels*> available_kernels();

}  // namespace mgx
