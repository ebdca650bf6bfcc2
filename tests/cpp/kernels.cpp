// Every kernel gives what the plain loop gives, to the last bit, whatever the instruction set.

#include "core/kernels.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "numbers.hpp"

namespace mgx {

TEST_CASE("sums of products are added in the order of the inputs") {
    for (const Kernels* kernels : available_kernels()) {
        CAPTURE(kernels->instruction_set);
        for (const std::size_t rows : {1U, 2U, 3U, 4U, 5U, 15U, 16U, 17U, 23U, 37U, 64U}) {
            for (const std::size_t terms : {0U, 1U, 2U, 7U, 50U}) {
                const auto weights = numbers(rows * terms, 1);
                const auto inputs = numbers(terms, 2);
                auto expected = numbers(rows, 3);
                auto actual = expected;
                for (std::size_t i = 0; i < terms; ++i) {
                    for (std::size_t row = 0; row < rows; ++row) {
                        expected[row] += weights[i * rows + row] * inputs[i];
                    }
                }
                kernels->add_products(weights.data(), inputs.data(), terms, actual.data(), rows);
                check_same(actual, expected);
            }
        }
    }
}

TEST_CASE("gradients are passed on to weights and inputs") {
    for (const Kernels* kernels : available_kernels()) {
        CAPTURE(kernels->instruction_set);
        for (const double grad : {1.5, -0.0, infinity}) {
            for (const std::size_t terms : {0U, 1U, 2U, 3U, 4U, 5U, 8U, 13U, 100U}) {
                const auto inputs = numbers(terms, 4);
                const auto weights = numbers(terms, 5);
                auto weight_grads = numbers(terms, 6);
                auto input_grads = numbers(terms, 7);
                auto expected_weight_grads = weight_grads;
                auto expected_input_grads = input_grads;
                for (std::size_t i = 0; i < terms; ++i) {
                    expected_weight_grads[i] += inputs[i] * grad;
                    expected_input_grads[i] += weights[i] * grad;
                }
                kernels->pass_on(grad, inputs.data(), weights.data(), terms, weight_grads.data(),
                                 input_grads.data());
                check_same(weight_grads, expected_weight_grads);
                check_same(input_grads, expected_input_grads);
            }
        }
    }
}

}  // namespace mgx
