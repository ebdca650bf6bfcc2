// The affine kernels of every instruction set give what the plain loops of their definitions give,
// to the last bit.

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "numbers.hpp"
#include "program/lane_kernels.hpp"

namespace mgx {

namespace {

constexpr double untouched = 0x1.23456789abcdep-7;

// As many zeros of either sign as behind a layer of rectifiers.
Numbers numbers_with_zeros(std::size_t count, unsigned seed) {
    Numbers list = numbers(count, seed);
    std::mt19937 generator(seed + 1);
    for (double& number : list) {
        const auto choice = generator() % 8;
        number = choice < 3 ? 0.0 : choice == 3 ? -0.0 : number;
    }
    return list;
}

// Every eighth number is added to the same sum, and these in pairs.
template <class NumberAt>
double sum_of_lanes(std::size_t samples, const NumberAt& number_at) {
    Numbers sums(lane_group);
    for (std::size_t lane = 0; lane < samples; ++lane) {
        sums[lane % lane_group] += number_at(lane);
    }
    for (std::size_t distance = 1; distance < lane_group; distance *= 2) {
        for (std::size_t i = 0; i < lane_group; i += 2 * distance) {
            sums[i] += sums[i + distance];
        }
    }
    return sums[0];
}

// An affine map with numbers to try it on. The vectors are farther apart than they are long, and
// what lies between them is NaN.
struct Case {
    std::size_t rows, terms, lanes;
    std::size_t stride = lanes + 3;
    Numbers weights = numbers(rows * terms, 1);
    Numbers biases = numbers(rows, 2);
    Numbers input_values = vectors(terms, 3);
    Numbers adjoints = vectors(rows, 4);
    std::vector<std::size_t> input_of_term;  // which vector of input_values

    Case(std::size_t row_count, std::size_t term_count, std::size_t lane_count)
        : rows(row_count), terms(term_count), lanes(lane_count) {
        for (std::size_t term = 0; term < terms; ++term) {
            input_of_term.push_back(term);
        }
    }

    [[nodiscard]] Numbers vectors(std::size_t count, unsigned seed) const {
        Numbers all = numbers_with_zeros(count * stride, seed);
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i] = i % stride < lanes ? all[i] : not_a_number;
        }
        return all;
    }

    [[nodiscard]] const double* input(std::size_t term) const {
        return input_values.data() + input_of_term[term] * stride;
    }

    [[nodiscard]] std::vector<const double*> inputs() const {
        std::vector<const double*> begins;
        for (std::size_t term = 0; term < terms; ++term) {
            begins.push_back(input(term));
        }
        return begins;
    }

    [[nodiscard]] AffineBlock block(const std::vector<const double*>& begins) const {
        return {weights.data(), biases.data(), begins.data(), rows, terms, stride, false, false};
    }

    void check_results(const LaneKernels& kernels) const {
        Numbers expected(rows * stride, untouched);
        Numbers expected_rectified = expected;
        for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                double sum = biases[row];
                for (std::size_t term = 0; term < terms; ++term) {
                    sum += weights[row * terms + term] * input(term)[lane];
                }
                expected[row * stride + lane] = sum;
                expected_rectified[row * stride + lane] = sum < 0 ? 0.0 : sum;
            }
        }
        Numbers actual(rows * stride, untouched);
        const auto begins = inputs();
        AffineBlock tried = block(begins);
        kernels.affine(tried, actual.data(), lanes);
        check_same(actual, expected);
        tried.rectifies = true;
        kernels.affine(tried, actual.data(), lanes);
        check_same(actual, expected_rectified);
    }

    void check_weight_grads(const LaneKernels& kernels, std::size_t samples,
                            const Numbers& weight_grads) const {
        CAPTURE(samples);
        Numbers expected = weight_grads;
        for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t term = 0; term < terms; ++term) {
                const auto product = [&](std::size_t lane) {
                    return adjoints[row * stride + lane] * input(term)[lane];
                };
                double& sum = expected[row * terms + term];
                if (rows <= few_rows) {
                    sum += sum_of_lanes(samples, product);
                    continue;
                }
                for (std::size_t lane = 0; lane < samples; ++lane) {
                    sum += product(lane);
                }
            }
        }
        Numbers actual = weight_grads;
        Numbers scratch(samples * (terms + lane_group) + 1, not_a_number);
        scratch.back() = untouched;
        const auto begins = inputs();
        kernels.affine_weight_grads(block(begins), adjoints.data(), samples, actual.data(),
                                    scratch.data());
        check_same(actual, expected);
        REQUIRE(scratch.back() == untouched);
    }

    void check_weight_grads(const LaneKernels& kernels, std::size_t samples) const {
        check_weight_grads(kernels, samples, numbers(rows * terms, 5));
    }

    void check_lane_sums(const LaneKernels& kernels, std::size_t samples) const {
        CAPTURE(samples);
        Numbers expected = numbers(rows, 6);
        Numbers actual = expected;
        for (std::size_t row = 0; row < rows; ++row) {
            expected[row] += sum_of_lanes(
                samples, [&](std::size_t lane) { return adjoints[row * stride + lane]; });
        }
        kernels.add_lane_sums(adjoints.data(), stride, rows, samples, actual.data());
        check_same(actual, expected);
    }

    void check_rectified_lane_sums(const LaneKernels& kernels, std::size_t samples) const {
        CAPTURE(samples);
        const Numbers results = vectors(rows, 8);
        Numbers expected = numbers(rows, 6);
        Numbers actual = expected;
        Numbers multiplied = adjoints;
        for (std::size_t row = 0; row < rows; ++row) {
            const auto product = [&](std::size_t lane) {
                const std::size_t i = row * stride + lane;
                return adjoints[i] * (results[i] > 0.0 ? 1.0 : 0.0);
            };
            expected[row] += sum_of_lanes(samples, product);
            for (std::size_t lane = 0; lane < samples; ++lane) {
                multiplied[row * stride + lane] = product(lane);
            }
        }
        Numbers in_place = adjoints;
        kernels.add_rectified_lane_sums(results.data(), in_place.data(), stride, rows, samples,
                                        actual.data());
        check_same(actual, expected);
        for (std::size_t row = 0; row < rows; ++row) {
            const auto lanes_of = [&](const Numbers& all) {
                const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * stride);
                return Numbers(begin, begin + static_cast<std::ptrdiff_t>(samples));
            };
            check_same(lanes_of(in_place), lanes_of(multiplied));
        }
    }

    // Each term's adjoint is wanted unless wanted[term] is false.
    void check_input_grads(const LaneKernels& kernels, const std::vector<bool>& wanted) const {
        const Numbers before = vectors(terms, 7);
        Numbers expected = before;
        Numbers actual = before;
        std::vector<double*> begins;
        for (std::size_t term = 0; term < terms; ++term) {
            const std::size_t begin = input_of_term[term] * stride;
            begins.push_back(wanted[term] ? actual.data() + begin : nullptr);
            for (std::size_t row = 0; wanted[term] && row < rows; ++row) {
                for (std::size_t lane = 0; lane < lanes; ++lane) {
                    expected[begin + lane] +=
                        weights[row * terms + term] * adjoints[row * stride + lane];
                }
            }
        }
        const auto inputs_begin = inputs();
        kernels.affine_input_grads(block(inputs_begin), adjoints.data(), begins.data(), lanes);
        check_same(actual, expected);
    }
};

// Calls body(kernels, case) for many sizes.
template <class Body>
void for_each_case(const Body& body) {
    for (const LaneKernels* kernels : available_lane_kernels()) {
        CAPTURE(std::string(kernels->instruction_set));
        for (std::size_t rows = 1; rows <= 9; ++rows) {
            for (std::size_t terms = 0; terms <= 20; ++terms) {
                for (std::size_t lanes = lane_group; lanes <= 5 * lane_group; lanes += lane_group) {
                    CAPTURE(rows);
                    CAPTURE(terms);
                    CAPTURE(lanes);
                    body(*kernels, Case(rows, terms, lanes));
                }
            }
        }
        body(*kernels, Case(19, 70, 72));
        body(*kernels, Case(33, 131, 128));
    }
}

}  // namespace

TEST_CASE("an affine map adds its terms in order") {
    for_each_case(
        [](const LaneKernels& kernels, const Case& tried) { tried.check_results(kernels); });
}

TEST_CASE("gradients of weights and sums of lanes add up in a fixed order") {
    for_each_case([](const LaneKernels& kernels, const Case& tried) {
        for (const std::size_t samples : {0U, 1U, 3U, 4U, 7U, 8U, 9U, 21U, 40U, 67U, 128U}) {
            if (samples <= tried.lanes) {
                tried.check_weight_grads(kernels, samples);
                tried.check_lane_sums(kernels, samples);
                tried.check_rectified_lane_sums(kernels, samples);
            }
        }
    });
}

TEST_CASE("gradients of inputs add up row after row") {
    for_each_case([](const LaneKernels& kernels, const Case& tried) {
        tried.check_input_grads(kernels, std::vector<bool>(tried.terms, true));
        std::vector<bool> wanted;
        for (std::size_t term = 0; term < tried.terms; ++term) {
            wanted.push_back(term % 3 != 1 && term != 6);
        }
        tried.check_input_grads(kernels, wanted);
        tried.check_input_grads(kernels, std::vector<bool>(tried.terms, false));
    });
}

TEST_CASE("an input may occur at several terms") {
    for_each_case([](const LaneKernels& kernels, Case tried) {
        for (const std::size_t distinct :
             {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{5}}) {
            for (std::size_t term = 0; term < tried.terms; ++term) {
                tried.input_of_term[term] = term * term % std::min(distinct, tried.terms);
            }
            tried.check_results(kernels);
            tried.check_weight_grads(kernels, tried.lanes - 1);
            tried.check_input_grads(kernels, std::vector<bool>(tried.terms, true));
        }
    });
}

TEST_CASE("infinities and NaN go where the definition says") {
    for_each_case([](const LaneKernels& kernels, const Case& tried) {
        std::mt19937 generator(8);
        for (const double number : {infinity, -infinity, not_a_number}) {
            if (tried.terms > 0) {
                Case input = tried;
                const std::size_t term = generator() % tried.terms;
                input.input_values[term * tried.stride + generator() % tried.lanes] = number;
                input.check_results(kernels);
                input.check_weight_grads(kernels, tried.lanes);
                Case weight = tried;
                weight.weights[generator() % weight.weights.size()] = number;
                weight.check_results(kernels);
                weight.check_input_grads(kernels, std::vector<bool>(tried.terms, true));
            }
            Case adjoint = tried;
            const std::size_t row = generator() % tried.rows;
            adjoint.adjoints[row * tried.stride + generator() % tried.lanes] = number;
            adjoint.check_weight_grads(kernels, tried.lanes);
            adjoint.check_lane_sums(kernels, tried.lanes);
            adjoint.check_rectified_lane_sums(kernels, tried.lanes);
            adjoint.check_input_grads(kernels, std::vector<bool>(tried.terms, true));
        }
    });
}

// A sum stays -0 only while everything added to it is -0.
TEST_CASE("zeros keep their signs") {
    for_each_case([](const LaneKernels& kernels, Case tried) {
        const Numbers before = numbers_with_zeros(tried.rows * tried.terms, 10);
        tried.check_weight_grads(kernels, tried.lanes, before);
        for (const double zero : {0.0, -0.0}) {
            std::fill(tried.adjoints.begin(), tried.adjoints.end(), zero);
            tried.check_weight_grads(kernels, tried.lanes, before);
        }
    });
}

TEST_CASE("some rows may have few adjoints that are not zero, and others many") {
    for_each_case([](const LaneKernels& kernels, Case tried) {
        for (std::size_t row = 0; row < tried.rows; ++row) {
            const std::size_t share = row * row % 7;  // of six: none in some rows, all in others
            for (std::size_t lane = 0; lane < tried.lanes; ++lane) {
                tried.adjoints[row * tried.stride + lane] =
                    lane % 6 < share ? static_cast<double>(lane) + 0.5 : 0.0;
            }
        }
        tried.check_weight_grads(kernels, tried.lanes);
        tried.check_weight_grads(kernels, tried.lanes - 3);
    });
}

TEST_CASE("lanes beyond the samples change no gradient of a weight") {
    for_each_case([](const LaneKernels& kernels, Case tried) {
        const std::size_t samples = tried.lanes - 5;
        for (std::size_t i = 0; i < tried.adjoints.size(); ++i) {
            tried.adjoints[i] = i % tried.stride < samples ? tried.adjoints[i] : not_a_number;
        }
        for (std::size_t i = 0; i < tried.input_values.size(); ++i) {
            tried.input_values[i] = i % tried.stride < samples ? tried.input_values[i] : infinity;
        }
        tried.check_weight_grads(kernels, samples);
        tried.check_lane_sums(kernels, samples);
        tried.check_rectified_lane_sums(kernels, samples);
    });
}

TEST_CASE("samples become lanes and lanes samples") {
    for (const LaneKernels* kernels : available_lane_kernels()) {
        CAPTURE(std::string(kernels->instruction_set));
        for (std::size_t columns = 0; columns <= 35; ++columns) {
            for (std::size_t samples = 1; samples <= 35; ++samples) {
                CAPTURE(columns);
                CAPTURE(samples);
                const Numbers matrix = numbers(samples * columns, 9);
                const std::size_t lanes = (samples + lane_group - 1) / lane_group * lane_group;
                const std::size_t stride = lanes + 5;
                Numbers expected(columns * stride, untouched);
                for (std::size_t column = 0; column < columns; ++column) {
                    for (std::size_t lane = 0; lane < lanes; ++lane) {
                        const std::size_t sample = std::min(lane, samples - 1);
                        expected[column * stride + lane] = matrix[sample * columns + column];
                    }
                }
                Numbers values(columns * stride, untouched);
                kernels->load_samples(matrix.data(), columns, samples, values.data(), stride,
                                      lanes);
                check_same(values, expected);
                for (std::size_t i = 0; i < values.size(); ++i) {
                    values[i] = i % stride < samples ? values[i] : not_a_number;
                }
                Numbers restored(samples * columns, untouched);
                kernels->store_samples(values.data(), stride, columns, samples, restored.data());
                check_same(restored, matrix);
            }
        }
    }
}

}  // namespace mgx
