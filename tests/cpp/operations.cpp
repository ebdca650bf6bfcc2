// The table of operations: every row's derivatives agree with finite differences of its values, and
// what its values are at the edges of its domain.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "core/backward.hpp"
#include "core/errors.hpp"
#include "core/op.hpp"
#include "number.hpp"
#include "numbers.hpp"

namespace mgx {

namespace {

// Puts a row's operation on the arena; a unary one ignores `y`.
using Apply = Node (*)(Arena& arena, Node x, Node y);

// In the order of `operations()`.
constexpr auto applications = std::to_array<Apply>({
#define MGX_UNARY(Name, ...) [](Arena& arena, Node x, Node) { return arena.unary<Op::Name>(x); },
#define MGX_BINARY(Name, ...) \
    [](Arena& arena, Node x, Node y) { return arena.binary<Op::Name>(x, y); },
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
});

double value(Apply apply, double x, double y) {
    Arena arena;
    const Number left(arena, x);
    const Number right(arena, y);
    return Number(arena, apply(arena, left.node(), right.node())).data();
}

template <typename Function>
double slope(Function function, double x) {
    constexpr double step = 1e-5;
    return (function(x + step) - function(x - step)) / (2 * step);
}

// Numbers inside the row's interval, its ends left out; `shift` is a part of the step between them.
std::vector<double> samples(const OpInfo& row, double shift = 0.0) {
    constexpr int count = 20;
    std::vector<double> numbers;
    for (int i = 1; i < count; ++i) {
        numbers.push_back(row.low + (row.high - row.low) * (i + shift) / count);
    }
    return numbers;
}

// Samples of the right operand: never those of the left one, where a comparison jumps, and never 0,
// where a choice does.
std::vector<double> right_samples(const OpInfo& row) {
    return row.arity == 2 ? samples(row, 0.5) : std::vector{0.0};
}

template <Op op>
double evaluate_at(double x) {
    Arena arena;
    const Number operand(arena, x);
    return Number(arena, arena.unary<op>(operand.node())).data();
}

// An int operand of the operation gives an int, and so does the sweep from there.
template <Op op>
void check_keeps_integers(int x, double expected, double expected_grad) {
    Arena arena;
    const Number operand(arena, x);
    const Number result(arena, arena.unary<op>(operand.node()));
    backward(arena, result.id());
    CHECK(result.node().data().is_integer);
    CHECK(result.data() == expected);
    CHECK(operand.node().grad().is_integer);
    CHECK(operand.grad() == expected_grad);
}

}  // namespace

TEST_CASE("every derivative agrees with finite differences") {
    const auto rows = operations();
    REQUIRE(rows.size() == applications.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const OpInfo& row = rows[i];
        const Apply apply = applications[i];
        for (const double x : samples(row)) {
            for (const double y : right_samples(row)) {
                CAPTURE(row.name);
                CAPTURE(x);
                CAPTURE(y);
                Arena arena;
                const Number left(arena, x);
                const Number right(arena, y);
                const Number result(arena, apply(arena, left.node(), right.node()));
                backward(arena, result.id());
                const double by_left = slope([&](double at) { return value(apply, at, y); }, x);
                CHECK(left.grad() == doctest::Approx(by_left).epsilon(1e-8));
                const double by_right = slope([&](double at) { return value(apply, x, at); }, y);
                CHECK(right.grad() == doctest::Approx(by_right).epsilon(1e-8));
            }
        }
    }
}

TEST_CASE("a node that is both operands gets both derivatives") {
    const auto rows = operations();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const Apply apply = applications[i];
        if (rows[i].arity != 2) {
            continue;
        }
        for (const double x : right_samples(rows[i])) {
            CAPTURE(rows[i].name);
            CAPTURE(x);
            Arena arena;
            const Number operand(arena, x);
            const Number result(arena, apply(arena, operand.node(), operand.node()));
            backward(arena, result.id());
            const double expected = slope([&](double at) { return value(apply, at, at); }, x);
            CHECK(operand.grad() == doctest::Approx(expected).epsilon(1e-8));
        }
    }
}

TEST_CASE("a constant power's derivative agrees with finite differences") {
    for (const double exponent : {-2.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0}) {
        for (const double x : {0.3, 1.0, 1.7}) {
            CAPTURE(exponent);
            CAPTURE(x);
            Arena arena;
            const Number base(arena, x);
            const Number result = pow(base, exponent);
            backward(arena, result.id());
            const double expected = slope([&](double at) { return std::pow(at, exponent); }, x);
            CHECK(base.grad() == doctest::Approx(expected).epsilon(1e-8));
        }
    }
}

TEST_CASE("names and labels tell the operations apart") {
    std::set<std::string> names;
    std::set<std::string> labels;
    for (const OpInfo& row : operations()) {
        CAPTURE(row.name);
        CHECK(names.emplace(row.name).second);
        CHECK(labels.emplace(row.label).second);
        CHECK_FALSE(row.doc.empty());
    }
}

TEST_CASE("micrograd's operations have micrograd's labels") {
    CHECK(label(Op::Leaf).empty());
    CHECK(label(Op::Custom).empty());
    CHECK(label(Op::Add) == "+");
    CHECK(label(Op::Mul) == "*");
    CHECK(label(Op::Relu) == "ReLU");
}

TEST_CASE("results do not overflow on the way") {
    CHECK(evaluate_at<Op::Tanh>(1000) == 1.0);
    CHECK(evaluate_at<Op::Tanh>(-1000) == -1.0);
    CHECK(evaluate_at<Op::Sigmoid>(1000) == 1.0);
    CHECK(evaluate_at<Op::Sigmoid>(-1000) == 0.0);
    CHECK(evaluate_at<Op::Sigmoid>(-40) == doctest::Approx(std::exp(-40.0)).epsilon(1e-15));
    CHECK(evaluate_at<Op::Exp>(1000) == infinity);
}

TEST_CASE("what is not a number stays none") {
    CHECK(std::isnan(evaluate_at<Op::Relu>(not_a_number)));
    CHECK(std::isnan(evaluate_at<Op::Log>(not_a_number)));
    CHECK(std::isnan(evaluate_at<Op::Sqrt>(not_a_number)));
    CHECK(std::isnan(evaluate_at<Op::Sigmoid>(not_a_number)));
    CHECK(std::isnan(evaluate_at<Op::Sin>(not_a_number)));
}

TEST_CASE("relu and abs keep ints ints") {
    check_keeps_integers<Op::Relu>(3, 3, 1);
    check_keeps_integers<Op::Relu>(0, 0, 0);
    check_keeps_integers<Op::Relu>(-3, 0, 0);
    check_keeps_integers<Op::Abs>(3, 3, 1);
    check_keeps_integers<Op::Abs>(0, 0, 0);
    check_keeps_integers<Op::Abs>(-3, 3, -1);
}

TEST_CASE("an operand outside the domain is an error that leaves no node") {
    Arena arena;
    const Number zero(arena, 0.0);
    const Number negative(arena, -1.0);
    const Number infinite(arena, infinity);
    CHECK_THROWS_WITH_AS(static_cast<void>(arena.unary<Op::Log>(zero.node())),
                         "log() is not defined for data = 0", DomainError);
    CHECK_THROWS_AS(static_cast<void>(arena.unary<Op::Log>(negative.node())), DomainError);
    CHECK_THROWS_AS(static_cast<void>(arena.unary<Op::Sqrt>(negative.node())), DomainError);
    CHECK_THROWS_AS(static_cast<void>(arena.unary<Op::Sin>(infinite.node())), DomainError);
    CHECK_THROWS_AS(static_cast<void>(arena.unary<Op::Cos>(infinite.node())), DomainError);
    CHECK_THROWS_AS(static_cast<void>(arena.power(zero.node(), Scalar::real(-1))), DivisionByZero);
    CHECK_THROWS_AS(static_cast<void>(arena.binary<Op::Pow>(zero.node(), negative.node())),
                    DivisionByZero);
    CHECK(arena.counters().interior_nodes == 0);
    CHECK(arena.counters().leaves == 3);
    for (const Number* operand : {&zero, &negative, &infinite}) {
        CHECK(operand->node().count() == 1);
    }
}

}  // namespace mgx
