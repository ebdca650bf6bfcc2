// Numbers behave as Python's int and float do. What is expected is what Python 3 prints.

#include "core/scalar.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "numbers.hpp"

namespace mgx {

namespace {

void check_integer(Scalar number, double expected) {
    CHECK(number.is_integer);
    CHECK(number.value == expected);
}

void check_real(Scalar number, double expected) {
    CHECK_FALSE(number.is_integer);
    CHECK(number.value == expected);
}

Scalar integer(double value) { return Scalar::integer(value); }
Scalar real(double value) { return Scalar::real(value); }

}  // namespace

TEST_CASE("sums and products of ints are ints, all others floats") {
    check_integer(integer(2) + integer(3), 5);
    check_integer(integer(2) * integer(-3), -6);
    check_real(integer(2) + real(3), 5);
    check_real(real(2) + integer(3), 5);
    check_real(integer(2) * real(3), 6);
    check_real(real(2) * integer(3), 6);
    check_real(real(2) * real(3), 6);
}

TEST_CASE("a result of ints is one below 2**53 and a float beyond, since it may be rounded") {
    const double limit = std::ldexp(1.0, 53);
    check_integer(integer(limit - 2) + integer(1), limit - 1);
    check_integer(integer(1 - limit), 1 - limit);
    check_real(integer(limit - 1) + integer(1), limit);
    check_real(integer(limit) + integer(1), limit);  // not the int 2**53 + 1
    check_real(integer(limit - 1) * integer(-2), -2 * (limit - 1));
    check_integer(pow(integer(2), integer(52)), limit / 2);
    check_real(pow(integer(2), integer(53)), limit);
    check_real(pow(integer(2), integer(54)), 2 * limit);
}

TEST_CASE("no int is a negative zero") {
    check_integer(integer(0) * integer(-1), 0);
    CHECK_FALSE(std::signbit((integer(0) * integer(-1)).value));
    CHECK(std::signbit((real(0) * integer(-1)).value));
}

TEST_CASE("a power of ints is an int unless the exponent is negative") {
    check_integer(pow(integer(3), integer(4)), 81);
    check_integer(pow(integer(-3), integer(3)), -27);
    check_integer(pow(integer(0), integer(0)), 1);
    check_real(pow(integer(2), integer(-2)), 0.25);
    check_real(pow(integer(2), real(3)), 8);
    check_real(pow(real(2), integer(3)), 8);
}

TEST_CASE("a power of special floats is what Python's is") {
    check_real(pow(real(not_a_number), real(0)), 1);
    check_real(pow(real(1), real(not_a_number)), 1);
    check_real(pow(real(0), real(infinity)), 0);
    check_real(pow(real(infinity), real(-1)), 0);
    check_real(pow(real(-infinity), real(0.5)), infinity);
    check_real(pow(real(0.5), real(-infinity)), infinity);
    check_real(pow(real(0), real(-infinity)), infinity);
    CHECK(std::isnan(pow(real(not_a_number), real(0.5)).value));
}

TEST_CASE("a power that is no number has its own error") {
    CHECK_THROWS_AS(static_cast<void>(pow(real(0), real(-1))), DivisionByZero);
    CHECK_THROWS_AS(static_cast<void>(pow(real(-0.0), real(-0.5))), DivisionByZero);
    CHECK_THROWS_AS(static_cast<void>(pow(integer(0), integer(-2))), DivisionByZero);
    CHECK_THROWS_AS(static_cast<void>(pow(real(-8), real(1.0 / 3))), DomainError);
    CHECK_THROWS_AS(static_cast<void>(pow(integer(-1), real(0.5))), DomainError);
    CHECK_THROWS_AS(static_cast<void>(pow(real(10), real(400))), Overflow);
    CHECK_THROWS_AS(static_cast<void>(pow(real(-10), real(401))), Overflow);
}

TEST_CASE("the derivative of a power by its base") {
    check_integer(pow_derivative_by_base(integer(3), integer(2)), 6);
    check_real(pow_derivative_by_base(real(4), real(0.5)), 0.25);
    check_real(pow_derivative_by_base(real(2), real(-1)), -0.25);
    check_integer(pow_derivative_by_base(integer(0), integer(1)), 1);
    SUBCASE("of any number to the 0 is 0, where x ** (0 - 1) may be none") {
        check_real(pow_derivative_by_base(real(0), integer(0)), 0);
        check_real(pow_derivative_by_base(real(-2), real(0)), 0);
    }
    SUBCASE("has the error of x ** (y - 1)") {
        CHECK_THROWS_AS(static_cast<void>(pow_derivative_by_base(real(0), real(0.5))),
                        DivisionByZero);
    }
}

TEST_CASE("the derivative of a power by its exponent") {
    check_real(pow_derivative_by_exponent(real(1), real(5)), 0);
    CHECK(pow_derivative_by_exponent(real(2), real(3)).value == doctest::Approx(8 * std::log(2)));
    SUBCASE("of a base of 0 is the limit from above") {
        check_real(pow_derivative_by_exponent(real(0), real(2)), 0);
    }
    SUBCASE("of a negative base is no number") {
        CHECK(std::isnan(pow_derivative_by_exponent(real(-2), real(2)).value));
    }
}

}  // namespace mgx
