// Results that come with their derivatives: what the sweep makes of them, and that all they hold is
// given up in the end.

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/arena.hpp"
#include "core/backward.hpp"
#include "fake_host.hpp"
#include "number.hpp"

namespace mgx {

namespace {

// Owns a group as its maker does.
class Group {
public:
    template <typename... Operands>
    explicit Group(const Number& first, const Operands&... others) : arena_(first.arena()) {
        number_ = arena_.make_group({first.id(), others.id()...});
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    ~Group() { arena_.release_group(number_); }

    [[nodiscard]] Number result(double data, std::vector<double> derivatives,
                                std::size_t first = 0) const {
        return {arena_, arena_.differentiated(data, number_, derivatives, first)};
    }

private:
    Arena& arena_;
    std::uint32_t number_;
};

void check_empty(const Arena& arena) {
    CHECK(arena.counters().leaves == 0);
    CHECK(arena.counters().interior_nodes == 0);
    CHECK(arena.counters().wrapped_nodes == 0);
}

}  // namespace

TEST_CASE("the sweep multiplies by the derivatives") {
    Arena arena;
    const Number x(arena, 2.0);
    const Number y(arena, 3);
    const Number z(arena, 5.0);
    const Group group(x, y);
    const Number result = group.result(7.0, {10.0, -4.0});
    CHECK(result.data() == 7.0);
    const Number root = result * z;
    backward(root);
    CHECK(result.grad() == 5.0);
    CHECK(x.grad() == 50.0);
    CHECK(y.grad() == -20.0);
    CHECK(z.grad() == 7.0);
    CHECK_FALSE(y.node().grad().is_integer);
    SUBCASE("and again what it has got since") {
        backward(root);
        CHECK(result.grad() == 10.0);
        CHECK(x.grad() == 50.0 + 100.0);
        CHECK(y.grad() == -20.0 - 40.0);
    }
    SUBCASE("in one step, too") {
        backward_step(arena, result.id());
        CHECK(x.grad() == 100.0);
        CHECK(y.grad() == -40.0);
    }
    SUBCASE("whatever the operands' numbers are now") {
        x.node().set_data(Scalar::real(1e9));
        backward(result);
        CHECK(result.grad() == 1.0);
        CHECK(x.grad() == 50.0 + 10.0);
    }
}

TEST_CASE("the derivatives may lie anywhere among the numbers, which are exchanged") {
    Arena arena;
    const Number x(arena, 2.0);
    const Number y(arena, 3.0);
    const std::uint32_t group = arena.make_group({x.id(), y.id()});
    std::vector<double> numbers{-1.0, -2.0, 10.0, 20.0, -3.0};
    const double* const memory = numbers.data();
    Number first(arena, arena.differentiated(1.0, group, numbers, 2));
    CHECK(numbers.data() != memory);
    backward(first);
    CHECK(x.grad() == 10.0);
    CHECK(y.grad() == 20.0);
    INFO("those of a dead result serve the next");
    first.forget();
    numbers = {100.0, 200.0};
    const Number second(arena, arena.differentiated(1.0, group, numbers, 0));
    CHECK(numbers.data() == memory);
    backward(second);
    CHECK(x.grad() == 110.0);
    CHECK(y.grad() == 220.0);
    arena.release_group(group);
}

TEST_CASE("operands are visited after the result, however they were computed") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number power = pow(x, 3);
    Number first = Group(square, x).result(1.0, {2.0, 5.0});
    Number second = Group(first, power, square).result(1.0, {10.0, 1.0, 0.0});
    backward(second);
    CHECK(first.grad() == 10.0);
    CHECK(square.grad() == 20.0);
    CHECK(power.grad() == 1.0);
    CHECK(x.grad() == 20.0 * 6.0 + 50.0 + 27.0);
    INFO("what the root does not depend on is left alone");
    const Number stranger = Group(x).result(1.0, {1e6});
    stranger.node().set_grad(Scalar::real(1.0));
    x.node().set_grad(Scalar::real(0.0));
    backward(first);
    CHECK(x.grad() == 5.0 + 2.0 * 6.0 + 20.0 * 6.0);
}

TEST_CASE("infinite derivatives and NaN are passed on as they are") {
    Arena arena;
    const Number x(arena, 1.0);
    const Number y = relu(x);
    const Number result = Group(x, y).result(
        0.0, {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()});
    backward(result);
    CHECK(y.grad() != y.grad());
    CHECK(x.grad() != x.grad());
}

TEST_CASE("a result without operands is a root and no more") {
    Arena arena;
    const std::uint32_t group = arena.make_group({});
    std::vector<double> none;
    Number result(arena, arena.differentiated(4.0, group, none, 0));
    arena.release_group(group);
    backward(result);
    CHECK(result.grad() == 1.0);
    CHECK(arena.operands(result.id()).empty());
    result.forget();
    check_empty(arena);
}

TEST_CASE("the operands are those of the group, in its order") {
    Arena arena;
    const Number x(arena, 1.0);
    const Number y(arena, 2.0);
    const Number result = Group(y, x).result(0.0, {1.0, 1.0});
    const auto shown = arena.operands(result.id());
    CHECK(std::vector<NodeId>(shown.begin(), shown.end()) == std::vector<NodeId>{y.id(), x.id()});
    const Number above = relu(result);
    const std::array sources{x.id()};
    CHECK(arena.dependents(sources) == std::vector<NodeId>{result.id(), above.id()});
}

TEST_CASE("a group holds one count of each operand for all of its results") {
    Arena arena;
    Number x(arena, 1.0);
    Number inner = relu(x);
    Number first(arena, 0.0);
    Number second(arena, 0.0);
    {
        const Group group(inner);
        CHECK(inner.node().count() == 2);
        first = group.result(1.0, {2.0});
        second = group.result(1.0, {3.0});
        CHECK(inner.node().count() == 2);
    }
    const Node kept = inner.node();
    inner.forget();
    x.forget();
    CHECK(kept.count() == 1);
    first.forget();
    CHECK(kept.count() == 1);
    backward(second);
    CHECK(kept.grad().value == 3.0);
    second.forget();
    check_empty(arena);
}

TEST_CASE("a group that nobody used gives its operands up with its maker") {
    Arena arena;
    {
        const Number x(arena, 1.0);
        const Number y = relu(x);
        const Group group(y, x);
        CHECK(x.node().count() == 3);
    }
    check_empty(arena);
}

TEST_CASE("a group of operands on several pages, in and out of order") {
    Arena arena;
    std::vector<Number> leaves;
    for (std::uint32_t i = 0; i < 3 * Page::slots; ++i) {
        leaves.emplace_back(arena, 1.0);
    }
    std::vector<NodeId> operands;
    for (const Number& leaf : leaves) {
        operands.push_back(leaf.id());
    }
    std::swap(operands[Page::slots + 20], operands[Page::slots + 21]);
    std::swap(operands[5], operands[2 * Page::slots + 5]);
    std::vector<double> derivatives(operands.size());
    for (std::size_t i = 0; i < derivatives.size(); ++i) {
        derivatives[i] = static_cast<double>(i);
    }
    const std::uint32_t group = arena.make_group(operands);
    {
        const Number result(arena, arena.differentiated(1.0, group, derivatives, 0));
        backward(result);
    }
    for (std::size_t i = 0; i < operands.size(); ++i) {
        REQUIRE(arena.node(operands[i]).grad().value == static_cast<double>(i));
        REQUIRE(arena.node(operands[i]).count() == 2);
    }
    leaves[40].forget();  // the group alone holds it now
    CHECK(arena.counters().leaves == operands.size());
    arena.release_group(group);
    CHECK(arena.counters().leaves == operands.size() - 1);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
        if (i != 40) {
            REQUIRE(leaves[i].node().count() == 1);
        }
    }
}

TEST_CASE("a group outlives its results while its maker wants it") {
    Arena arena;
    const Number x(arena, 1.0);
    {
        const Group group(x);
        group.result(1.0, {2.0}).forget();
        CHECK(x.node().count() == 2);
        backward(group.result(1.0, {3.0}));
        CHECK(x.grad() == 3.0);
    }
    CHECK(x.node().count() == 1);
}

TEST_CASE("memory of dead results and groups is used again") {
    Arena arena;
    const Number x(arena, 1.0);
    const auto go_round = [&] {
        for (int i = 0; i < 100; ++i) {
            backward(Group(x).result(1.0, {1.0, 2.0, 3.0}));
        }
    };
    go_round();
    const std::size_t bytes = arena.counters().bytes;
    go_round();
    CHECK(arena.counters().bytes == bytes);
    CHECK(x.grad() == 200.0);
}

TEST_CASE("a long chain of results is swept and reclaimed without recursion") {
    constexpr int length = 100'000;
    Arena arena;
    Number x(arena, 1.0);
    Number y = relu(x);
    for (int i = 0; i < length; ++i) {
        y = Group(y).result(1.0, {1.0});
    }
    backward(y);
    CHECK(x.grad() == 1.0);
    x.forget();
    CHECK(arena.counters().interior_nodes == length + 1);
    y.forget();
    check_empty(arena);
}

TEST_CASE("operands may have callbacks") {
    Arena arena;
    FakeHost host(arena);
    {
        const Number x(arena, 1.0);
        const Number leaf(arena, 2.0);
        const Number inner = relu(x);
        const Number result = Group(leaf, inner).result(0.0, {10.0, 20.0});
        std::vector<double> seen;
        host.assign_backward(inner, [&] { seen.push_back(inner.grad()); });
        host.assign_backward(leaf, [&] { seen.push_back(leaf.grad()); });
        backward(result);
        CHECK(seen == std::vector<double>{20.0, 10.0});
        CHECK(x.grad() == 0.0);  // the callback took the place of the step
    }
    CHECK(host.living() == 0);
    check_empty(arena);
}

TEST_CASE("the result may have a callback, which takes the place of its step") {
    Arena arena;
    FakeHost host(arena);
    {
        const Number x(arena, 1.0);
        const Number square = x * x;
        Number result = Group(square).result(0.0, {10.0});
        host.assign_backward(result, [&] { square.node().set_grad(Scalar::real(100.0)); });
        backward(result + x);
        CHECK(square.grad() == 100.0);
        CHECK(x.grad() == 201.0);
        backward_step(arena, result.id());
        CHECK(square.grad() == 110.0);
    }
    CHECK(host.living() == 0);
    check_empty(arena);
}

TEST_CASE("a callback may drop the results that are still to be visited") {
    Arena arena;
    FakeHost host(arena);
    {
        const Number x(arena, 1.0);
        Number result = Group(x).result(0.0, {10.0});
        Number root = result + x;
        host.assign_backward(root, [&] {
            result.node().set_grad(Scalar::real(2.0));
            result.forget();
            root.forget();
        });
        backward(root);
        CHECK(x.grad() == 20.0);
    }
    check_empty(arena);
}

TEST_CASE("what a group holds is not one result's to leave to its wrapper") {
    Arena arena;
    FakeHost host(arena);
    {
        const Number x(arena, 1.0);
        const Group group(x);
        const Number result = group.result(0.0, {10.0});
        const Number other = group.result(0.0, {20.0});
        FakeWrapper* const wrapper = host.wrap(result);
        arena.keep_wrapper(result.id());
        arena.leave_operands_to_wrapper(result.id());
        CHECK(x.node().count() == 2);
        backward(result);
        CHECK(x.grad() == 10.0);
        host.forget(wrapper);
    }
    CHECK(host.living() == 0);
    check_empty(arena);
}

}  // namespace mgx
