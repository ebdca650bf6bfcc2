// The loops over numbers that processors have wide registers for.
//
// Each kernel is written once and compiled for several instruction sets, of which the program
// chooses when it starts. The lanes are different sums, never parts of one, and a product and a sum
// are never contracted, so the results do not depend on the choice.

#include "core/kernels.hpp"

#include <cstdlib>
#include <string_view>

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define MGX_CHOOSES 1
#define MGX_BODY [[gnu::always_inline]] inline
#else
#define MGX_BODY inline
#endif

namespace mgx {

namespace {

// So many sums that they stay in registers while all inputs pass by.
template <std::size_t width>
MGX_BODY void add_products_of(const double* __restrict weights, const double* __restrict inputs,
                              std::size_t terms, double* __restrict sums, std::size_t rows) {
    double block[width];
    for (std::size_t lane = 0; lane < width; ++lane) {
        block[lane] = sums[lane];
    }
    for (std::size_t input = 0; input < terms; ++input) {
        for (std::size_t lane = 0; lane < width; ++lane) {
            block[lane] += weights[input * rows + lane] * inputs[input];
        }
    }
    for (std::size_t lane = 0; lane < width; ++lane) {
        sums[lane] = block[lane];
    }
}

MGX_BODY void add_products_body(const double* weights, const double* inputs, std::size_t terms,
                                double* sums, std::size_t rows) {
    std::size_t row = 0;
    for (; row + 16 <= rows; row += 16) {
        add_products_of<16>(weights + row, inputs, terms, sums + row, rows);
    }
    for (; row + 4 <= rows; row += 4) {
        add_products_of<4>(weights + row, inputs, terms, sums + row, rows);
    }
    for (; row < rows; ++row) {
        add_products_of<1>(weights + row, inputs, terms, sums + row, rows);
    }
}

MGX_BODY void pass_on_body(double grad, const double* __restrict inputs,
                           const double* __restrict weights, std::size_t terms,
                           double* __restrict weight_grads, double* __restrict input_grads) {
    for (std::size_t i = 0; i < terms; ++i) {
        weight_grads[i] += inputs[i] * grad;
        input_grads[i] += weights[i] * grad;
    }
}

// The kernels, compiled for an instruction set.
// NOLINTBEGIN(bugprone-macro-parentheses): an attribute stands without
#define MGX_KERNELS(name, attribute)                                                        \
    attribute void add_products_##name(const double* weights, const double* inputs,         \
                                       std::size_t terms, double* sums,                     \
                                       std::size_t rows) noexcept {                         \
        add_products_body(weights, inputs, terms, sums, rows);                              \
    }                                                                                       \
    attribute void pass_on_##name(double grad, const double* inputs, const double* weights, \
                                  std::size_t terms, double* weight_grads,                  \
                                  double* input_grads) noexcept {                           \
        pass_on_body(grad, inputs, weights, terms, weight_grads, input_grads);              \
    }                                                                                       \
    constexpr Kernels name = {#name, add_products_##name, pass_on_##name};
// NOLINTEND(bugprone-macro-parentheses)

MGX_KERNELS(baseline, )
#ifdef MGX_CHOOSES
MGX_KERNELS(avx2, [[gnu::target("avx2")]])
#endif

// Of those that this processor can run.
const Kernels& best() noexcept {
#ifdef MGX_CHOOSES
    if (__builtin_cpu_supports("avx2")) {
        return avx2;
    }
#endif
    return baseline;
}

}  // namespace

const Kernels& kernels() noexcept {
    static const Kernels& chosen = [&]() -> const Kernels& {
        const char* const wish = std::getenv("MICROGRADX_ISA");
        const bool any = wish == nullptr || std::string_view(wish) != baseline.instruction_set;
        return any ? best() : baseline;
    }();
    return chosen;
}

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> available{&baseline};
    if (&best() != &baseline) {
        available.push_back(&best());
    }
    return available;
}

}  // namespace mgx
