// Nodes are created, counted and reclaimed; their memory is reused.

#include "core/arena.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "core/backward.hpp"
#include "number.hpp"

namespace mgx {

namespace {

std::size_t living_nodes(const Arena& arena) {
    const ArenaCounters counters = arena.counters();
    return counters.interior_nodes + counters.leaves;
}

// x + one + one + ...
Number chain(const Number& x, const Number& one, std::size_t length) {
    Number sum = x + one;
    for (std::size_t i = 1; i < length; ++i) {
        sum = sum + one;
    }
    return sum;
}

std::vector<NodeId> operands(const Number& number) {
    const auto ids = number.arena().operands(number.id());
    return {ids.begin(), ids.end()};
}

}  // namespace

TEST_CASE("a leaf holds its number and a gradient of the int 0") {
    Arena arena;
    const Number real(arena, 2.5);
    CHECK(real.data() == 2.5);
    CHECK_FALSE(real.node().data().is_integer);
    CHECK(real.grad() == 0);
    CHECK(real.node().grad().is_integer);
    CHECK(real.node().count() == 1);
    CHECK(operands(real).empty());
    const Number integer(arena, 2);
    CHECK(integer.node().data().is_integer);
}

TEST_CASE("a node holds its result and shows its operands in order") {
    Arena arena;
    const Number x(arena, 2.0);
    const Number y(arena, 3);
    const Number product = x * y;
    CHECK(product.data() == 6);
    CHECK(product.node().op() == Op::Mul);
    CHECK(operands(product) == std::vector{x.id(), y.id()});
    CHECK(operands(x * x) == std::vector{x.id(), x.id()});
    CHECK(operands(relu(x)) == std::vector{x.id()});
    const Number several = custom(y, x, product);
    CHECK(operands(several) == std::vector{y.id(), x.id(), product.id()});
}

TEST_CASE("a constant power shows its base alone, and its exponent dies with it") {
    Arena arena;
    const Number base(arena, 3.0);
    {
        const Number square = pow(base, 2);
        CHECK(square.data() == 9);
        CHECK(operands(square) == std::vector{base.id()});
        CHECK(arena.counters().leaves == 2);
    }
    CHECK(arena.counters().leaves == 1);
    CHECK(base.node().count() == 1);
}

TEST_CASE("a node counts its consumers") {
    Arena arena;
    const Number x(arena, 2.0);
    {
        const Number square = x * x;
        CHECK(x.node().count() == 3);
        const Number several = custom(x, square);
        CHECK(x.node().count() == 4);
    }
    CHECK(x.node().count() == 1);
    CHECK(living_nodes(arena) == 1);
}

TEST_CASE("a node lives while a consumer does") {
    Arena arena;
    Number x(arena, 2.0);
    Number square = x * x;
    Number cube = square * x;
    x.forget();
    square.forget();
    CHECK(living_nodes(arena) == 3);
    const Number other = relu(cube);
    cube.forget();
    CHECK(living_nodes(arena) == 4);
    CHECK(other.data() == 8);
}

TEST_CASE("a custom node holds any number of operands") {
    Arena arena;
    std::vector<Number> numbers;
    std::vector<NodeId> ids;
    for (int i = 0; i < 10'000; ++i) {
        ids.push_back(numbers.emplace_back(arena, i).id());
    }
    Number many(arena, arena.custom(Scalar::real(1), ids));
    Number none(arena, arena.custom(Scalar::real(1), {}));
    CHECK(operands(many) == ids);
    CHECK(operands(none).empty());
    numbers.clear();
    CHECK(arena.counters().leaves == 10'000);
    many.forget();
    none.forget();
    CHECK(living_nodes(arena) == 0);
}

TEST_CASE("an operand list's memory is counted and given back") {
    Arena arena;
    const std::vector<Number> numbers = [&] {
        std::vector<Number> made;
        for (int i = 0; i < 1000; ++i) {
            made.emplace_back(arena, i);
        }
        return made;
    }();
    std::vector<NodeId> ids;
    for (const Number& number : numbers) {
        ids.push_back(number.id());
    }
    Number first(arena, arena.custom(Scalar::real(1), {}));  // so that its page is there
    const std::size_t before = arena.counters().bytes;
    {
        const Number many(arena, arena.custom(Scalar::real(1), ids));
        CHECK(arena.counters().bytes >= before + 1000 * sizeof(NodeId));
    }
    CHECK(arena.counters().bytes == before);
}

TEST_CASE("counters count what lives") {
    Arena arena;
    CHECK(arena.counters().pages == 0);
    CHECK(arena.counters().bytes == 0);
    const Number x(arena, 1.0);
    const Number one(arena, 1);
    const Number sum = chain(x, one, 1000);
    const ArenaCounters counters = arena.counters();
    CHECK(counters.interior_nodes == 1000);
    CHECK(counters.leaves == 2);
    CHECK(counters.wrapped_nodes == 0);
    CHECK(counters.pages == 1 + (1000 + Page::slots - 1) / Page::slots);
    CHECK(counters.free_pages == 0);
    CHECK(counters.bytes == counters.pages * sizeof(Page));
}

TEST_CASE("a node takes at most 48 bytes") {
    Arena arena;
    const Number x(arena, 1.0);
    const Number sum = chain(x, x, 100'000);
    CHECK(arena.counters().bytes <= 48 * 100'000);
}

TEST_CASE("a training loop runs in constant memory") {
    Arena arena;
    const Number weight(arena, 1.0);
    const Number one(arena, 1);
    const auto step = [&] { backward(arena, chain(weight, one, 1000).id()); };
    step();
    const ArenaCounters first = arena.counters();
    for (int i = 0; i < 1000; ++i) {
        step();
    }
    CHECK(living_nodes(arena) == 2);
    CHECK(arena.counters().bytes == first.bytes);
    CHECK(arena.counters().pages == first.pages);
    CHECK(weight.grad() == 1001);
}

TEST_CASE("the pages of steps that overlap are reused") {
    Arena arena;
    const Number weight(arena, 1.0);
    Number previous = chain(weight, weight, 1000);
    std::size_t most_bytes = 0;
    for (int i = 0; i < 100; ++i) {
        previous = chain(weight, weight, 1000);
        most_bytes = std::max(most_bytes, arena.counters().bytes);
    }
    CHECK(arena.counters().interior_nodes == 1000);
    CHECK(most_bytes <= 4 * 1000 * (sizeof(Page) / Page::slots));
}

TEST_CASE("leaves' slots are reused one by one") {
    Arena arena;
    std::vector<Number> numbers;
    for (int i = 0; i < 1000; ++i) {
        numbers.emplace_back(arena, i);
    }
    const std::size_t pages = arena.counters().pages;
    for (std::size_t i = 0; i < numbers.size(); i += 3) {
        numbers[i].forget();
    }
    CHECK(arena.counters().leaves == 666);
    for (std::size_t i = 0; i < numbers.size(); i += 3) {
        numbers[i] = Number(arena, -static_cast<int>(i));
    }
    CHECK(arena.counters().pages == pages);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const double number = static_cast<double>(i);
        REQUIRE(numbers[i].data() == (i % 3 == 0 ? -number : number));
    }
}

TEST_CASE("leaves created together lie together") {
    Arena arena;
    const Number first(arena, 1.0);
    const Number sum = chain(first, first, 100);
    const Number second(arena, 2.0);
    CHECK(second.node().page == first.node().page);
    CHECK(second.node().slot == first.node().slot + 1);
}

TEST_CASE("pages of leaves are given back") {
    Arena arena;
    std::vector<Number> numbers;
    for (int i = 0; i < 100'000; ++i) {
        numbers.emplace_back(arena, i);
    }
    SUBCASE("oldest first") {}
    SUBCASE("newest first") { std::reverse(numbers.begin(), numbers.end()); }
    for (Number& number : numbers) {
        number.forget();
    }
    CHECK(arena.counters().leaves == 0);
    CHECK(arena.counters().pages <= 1);
}

TEST_CASE("a dead node between living ones keeps no others") {
    Arena arena;
    const Number x(arena, 1.0);
    std::vector<Number> nodes;
    for (int i = 0; i < 1000; ++i) {
        nodes.push_back(x + x);
    }
    for (std::size_t i = 0; i < nodes.size(); i += 2) {
        nodes[i].forget();
    }
    CHECK(arena.counters().interior_nodes == 500);
    CHECK(x.node().count() == 1 + 2 * 500);
    nodes.clear();
    CHECK(arena.counters().interior_nodes == 0);
    CHECK(arena.counters().pages <= 2);
}

TEST_CASE("a chain of ten million nodes is differentiated and freed without recursion") {
    constexpr std::size_t length = 10'000'000;
    Arena arena;
    const Number x(arena, 1.0);
    const Number one(arena, 1);
    Number sum = chain(x, one, length);
    CHECK(sum.data() == 1.0 + static_cast<double>(length));
    backward(arena, sum.id());
    CHECK(x.grad() == 1);
    CHECK(one.grad() == static_cast<double>(length));
    const std::size_t most_bytes = arena.counters().bytes;
    sum.forget();
    CHECK(living_nodes(arena) == 2);
    INFO("memory that a huge graph has taken is not kept for ever");
    CHECK(arena.counters().bytes < most_bytes / 4);
}

TEST_CASE("a wide node is freed without recursion") {
    Arena arena;
    const Number x(arena, 1.0);
    std::vector<Number> chains;
    std::vector<NodeId> ids;
    for (int i = 0; i < 300; ++i) {
        ids.push_back(chains.emplace_back(chain(x, x, 1000)).id());
    }
    Number all(arena, arena.custom(Scalar::real(0), ids));
    chains.clear();
    CHECK(arena.counters().interior_nodes == 300'001);
    all.forget();
    CHECK(living_nodes(arena) == 1);
    CHECK(x.node().count() == 1);
}

}  // namespace mgx
