// The functions for lanes differ from those of the C library by two units in the last place at
// most, and in special cases not at all.

#include "program/elementary.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "core/forward.hpp"
#include "numbers.hpp"

namespace mgx {

namespace {

using Function = double (*)(double);

constexpr double smallest = std::numeric_limits<double>::denorm_min();
constexpr double largest = std::numeric_limits<double>::max();

double library_exp(double x) { return std::exp(x); }
double library_log(double x) { return std::log(x); }
double library_tanh(double x) { return std::tanh(x); }

// How many doubles lie between the two, and one more; an enormous number if just one is NaN.
std::uint64_t distance(double x, double y) {
    if (std::isnan(x) || std::isnan(y)) {
        return std::isnan(x) && std::isnan(y) ? 0 : std::numeric_limits<std::uint64_t>::max();
    }
    // Consecutive integers for consecutive doubles.
    const auto rank = [](double number) {
        const auto bits = std::bit_cast<std::uint64_t>(number);
        const std::uint64_t zero = std::uint64_t{1} << 63;
        return (bits & zero) != 0 ? zero - (bits & ~zero) : zero + bits;
    };
    return rank(x) < rank(y) ? rank(y) - rank(x) : rank(x) - rank(y);
}

void check_close(Function function, Function expected, const std::vector<double>& arguments) {
    std::uint64_t worst = 0;
    double worst_argument = 0;
    for (const double x : arguments) {
        const std::uint64_t units = distance(function(x), expected(x));
        if (units > worst) {
            worst = units;
            worst_argument = x;
        }
    }
    CAPTURE(worst_argument);
    CHECK(worst <= 2);
}

void check_same(double actual, double expected) {
    CAPTURE(actual);
    CAPTURE(expected);
    CHECK(distance(actual, expected) == 0);
    CHECK((std::isnan(expected) || std::signbit(actual) == std::signbit(expected)));
}

std::vector<double> evenly_spaced(double low, double high) {
    constexpr int count = 20'000;
    std::vector<double> numbers;
    for (int i = 0; i <= count; ++i) {
        numbers.push_back(low + (high - low) * i / count);
    }
    return numbers;
}

// Doubles of all sizes, of both signs, infinities and NaN among them, and subnormal ones.
std::vector<double> of_any_bits() {
    std::mt19937_64 generator(1);
    std::vector<double> numbers;
    for (int i = 0; i < 20'000; ++i) {
        numbers.push_back(std::bit_cast<double>(generator()));
        numbers.push_back(std::bit_cast<double>(generator() >> 12));
    }
    return numbers;
}

// The number and some on both sides of it: functions in pieces err where the pieces meet.
std::vector<double> around(double number) {
    std::vector<double> numbers{number};
    double below = number;
    double above = number;
    for (int i = 0; i < 20; ++i) {
        numbers.push_back(below = std::nextafter(below, -infinity));
        numbers.push_back(above = std::nextafter(above, infinity));
    }
    return numbers;
}

}  // namespace

TEST_CASE("exp for lanes is that of the library") {
    check_close(elementary::exp, library_exp, of_any_bits());
    check_close(elementary::exp, library_exp, evenly_spaced(-1, 1));
    check_close(elementary::exp, library_exp, evenly_spaced(-708, 710));
    for (int k = -1077; k <= 1025; ++k) {
        check_close(elementary::exp, library_exp, around((k + 0.5) * std::numbers::ln2));
    }
}

TEST_CASE("exp for lanes underflows gradually and overflows where the library does") {
    check_close(elementary::exp, library_exp, evenly_spaced(-747, -708));
    // The largest double whose exp is finite, and the least whose exp is not 0.
    for (const double limit : {0x1.62e42fefa39efp9, -0x1.74910d52d3051p9}) {
        for (const double x : around(limit)) {
            const double expected = std::exp(x);
            CAPTURE(x);
            CHECK(std::isinf(elementary::exp(x)) == std::isinf(expected));
            CHECK((elementary::exp(x) == 0) == (expected == 0));
        }
    }
    check_same(elementary::exp(0.0), 1.0);
    check_same(elementary::exp(-0.0), 1.0);
    check_same(elementary::exp(smallest), 1.0);
    for (const double large : {711.0, 1e4, 1e9, 1e18, 1e300, largest, infinity}) {
        CAPTURE(large);
        check_same(elementary::exp(large), infinity);
        check_same(elementary::exp(-large - 36), 0.0);
    }
    check_same(elementary::exp(not_a_number), not_a_number);
    check_same(elementary::exp(-not_a_number), not_a_number);
}

TEST_CASE("log for lanes is that of the library") {
    check_close(elementary::log, library_log, of_any_bits());
    check_close(elementary::log, library_log, evenly_spaced(0.5, 2));
    check_close(elementary::log, library_log, evenly_spaced(0, 1000));
    check_close(elementary::log, library_log, evenly_spaced(0, 1e-307));
    check_close(elementary::log, library_log, around(1));
    for (int k = -1074; k <= 1023; ++k) {
        check_close(elementary::log, library_log, around(std::ldexp(1.0, k)));
        check_close(elementary::log, library_log, around(std::ldexp(std::numbers::sqrt2, k)));
    }
}

TEST_CASE("log for lanes of special numbers") {
    check_same(elementary::log(1.0), 0.0);
    check_same(elementary::log(0.0), -infinity);
    check_same(elementary::log(-0.0), -infinity);
    check_same(elementary::log(infinity), infinity);
    for (const double outside :
         {-smallest, -1e-310, -1.0, -largest, -infinity, not_a_number, -not_a_number}) {
        CAPTURE(outside);
        check_same(elementary::log(outside), not_a_number);
    }
}

TEST_CASE("tanh for lanes is that of the library") {
    check_close(elementary::tanh, library_tanh, of_any_bits());
    check_close(elementary::tanh, library_tanh, evenly_spaced(-1, 1));
    check_close(elementary::tanh, library_tanh, evenly_spaced(-25, 25));
    check_close(elementary::tanh, library_tanh, around(0));
    check_close(elementary::tanh, library_tanh, around(0.8));
    check_close(elementary::tanh, library_tanh, around(20));
    for (int k = 0; k <= 58; ++k) {
        check_close(elementary::tanh, library_tanh, around((k + 0.5) * std::numbers::ln2 / 2));
    }
}

TEST_CASE("tanh for lanes is odd, never beyond 1 and keeps tiny numbers") {
    for (const double x : evenly_spaced(0, 25)) {
        CAPTURE(x);
        REQUIRE(elementary::tanh(x) <= 1);
        REQUIRE(elementary::tanh(-x) == -elementary::tanh(x));
    }
    for (const double tiny : {0.0, smallest, 1e-310, 1e-200, 1e-160, 1e-100, 1e-9}) {
        CAPTURE(tiny);
        check_same(elementary::tanh(tiny), tiny);
        check_same(elementary::tanh(-tiny), -tiny);
    }
    for (const double large : {19.5, 20.0, 1e9, largest, infinity}) {
        CAPTURE(large);
        check_same(elementary::tanh(large), 1.0);
        check_same(elementary::tanh(-large), -1.0);
    }
    check_same(elementary::tanh(not_a_number), not_a_number);
}

TEST_CASE("sigmoid for lanes is that of single numbers") {
    check_close(elementary::sigmoid, logistic, of_any_bits());
    check_close(elementary::sigmoid, logistic, evenly_spaced(-2, 2));
    check_close(elementary::sigmoid, logistic, evenly_spaced(-50, 50));
    check_close(elementary::sigmoid, logistic, evenly_spaced(-750, 750));
    check_close(elementary::sigmoid, logistic, around(0));
}

TEST_CASE("sigmoid for lanes stays between 0 and 1") {
    for (const double x : evenly_spaced(-50, 50)) {
        CAPTURE(x);
        REQUIRE(elementary::sigmoid(x) > 0);
        REQUIRE(elementary::sigmoid(x) <= 1);
    }
    check_same(elementary::sigmoid(0.0), 0.5);
    check_same(elementary::sigmoid(-0.0), 0.5);
    check_same(elementary::sigmoid(-745.0), smallest);
    check_same(elementary::sigmoid(-746.5), 0.0);
    check_same(elementary::sigmoid(-infinity), 0.0);
    check_same(elementary::sigmoid(40.0), 1.0);
    check_same(elementary::sigmoid(infinity), 1.0);
    check_same(elementary::sigmoid(not_a_number), not_a_number);
}

}  // namespace mgx
