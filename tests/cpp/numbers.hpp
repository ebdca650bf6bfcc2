#pragma once

// Plain numbers for tests: those that are hard to compute with, and how equal is told.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

namespace mgx {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

using Numbers = std::vector<double>;

// Of very different sizes, so that any other order of adding shows.
[[nodiscard]] inline Numbers numbers(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    Numbers list(count);
    for (double& number : list) {
        number = normal(generator) * std::exp2(8 * normal(generator));
    }
    return list;
}

// The same to the last bit, the sign of zero included; any NaN is as good as another.
[[nodiscard]] inline bool same(double x, double y) {
    return (std::isnan(x) && std::isnan(y)) || (x == y && std::signbit(x) == std::signbit(y));
}

inline void check_same(const Numbers& actual, const Numbers& expected) {
    REQUIRE(actual.size() == expected.size());
    const auto [difference, wanted] =
        std::mismatch(actual.begin(), actual.end(), expected.begin(), same);
    CAPTURE(difference - actual.begin());
    REQUIRE(difference == actual.end());
}

}  // namespace mgx
