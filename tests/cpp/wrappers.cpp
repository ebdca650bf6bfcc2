// A node that keeps its wrapper has it held exactly while the node has a consumer.

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/backward.hpp"
#include "fake_host.hpp"
#include "number.hpp"

namespace mgx {

namespace {

// The wrapper of a node that nothing else refers to.
FakeWrapper* wrap_alone(FakeHost& host, Number number) { return host.wrap(number); }

// From now on the wrapper, not the node, refers to the operands, as for a node with a callback.
void take_operands(Arena& arena, FakeWrapper* wrapper, const std::vector<FakeWrapper*>& operands) {
    for (FakeWrapper* operand : operands) {
        ++operand->references;
    }
    wrapper->operands = operands;
    arena.keep_wrapper(wrapper->node);
    arena.leave_operands_to_wrapper(wrapper->node);
}

}  // namespace

TEST_CASE("a plain wrapper is never held") {
    Arena arena;
    FakeHost host(arena);
    Number x(arena, 2.0);
    FakeWrapper* wrapper = host.wrap(x);
    CHECK(arena.counters().wrapped_nodes == 1);
    const Number square = x * x;
    CHECK(host.holds() == 0);
    host.forget(wrapper);
    CHECK(host.living() == 0);
    CHECK(x.node().wrapper() == nullptr);
    CHECK(arena.counters().wrapped_nodes == 0);
}

TEST_CASE("a kept wrapper is held from the first consumer to the last") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* wrapper = wrap_alone(host, Number(arena, 2.0));
    arena.keep_wrapper(wrapper->node);
    CHECK(wrapper->references == 1);
    const auto consume = [&] {
        return Number(arena, arena.unary<Op::Relu>(arena.node(wrapper->node)));
    };
    Number first = consume();
    CHECK(wrapper->references == 2);
    Number second = consume();
    CHECK(wrapper->references == 2);
    first.forget();
    CHECK(wrapper->references == 2);
    second.forget();
    CHECK(wrapper->references == 1);
    const Number third = consume();
    CHECK(wrapper->references == 2);
    host.forget(wrapper);
    CHECK(host.living() == 1);
    CHECK(host.holds() == host.drops() + 1);
}

TEST_CASE("a wrapper is held at once if the node has a consumer already") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* wrapper = wrap_alone(host, Number(arena, 2.0));
    const Number consumer(arena, arena.unary<Op::Relu>(arena.node(wrapper->node)));
    CHECK(wrapper->references == 1);
    arena.keep_wrapper(wrapper->node);
    CHECK(wrapper->references == 2);
    arena.keep_wrapper(wrapper->node);
    CHECK(wrapper->references == 2);
    host.forget(wrapper);
}

TEST_CASE("a node that is both operands counts as a consumer until it has released both") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* wrapper = wrap_alone(host, Number(arena, 2.0));
    arena.keep_wrapper(wrapper->node);
    Number square(arena,
                  arena.binary<Op::Mul>(arena.node(wrapper->node), arena.node(wrapper->node)));
    host.forget(wrapper);
    CHECK(host.living() == 1);
    square.forget();
    CHECK(host.living() == 0);
    CHECK(host.holds() == 1);
    CHECK(host.drops() == 1);
    CHECK(arena.counters().leaves == 0);
}

TEST_CASE("kept wrappers die with the graph that holds them, and not inside one another") {
    constexpr std::size_t length = 100'000;
    Arena arena;
    FakeHost host(arena);
    Number x(arena, 2.0);
    Number y = x + x;
    for (std::size_t i = 0; i < length; ++i) {
        FakeWrapper* wrapper = host.wrap(y);
        arena.keep_wrapper(y.id());
        host.forget(wrapper);
        y = relu(y);
    }
    CHECK(host.living() == length);
    backward(arena, y.id());
    CHECK(x.grad() == 2);
    y.forget();
    CHECK(host.living() == 0);
    CHECK(host.drops() == length);
    CHECK(host.deepest_drop() == 1);
    CHECK(arena.counters().interior_nodes == 0);
}

TEST_CASE("a node that leaves its operands to the wrapper refers to them no longer") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* x = wrap_alone(host, Number(arena, 2.0));
    FakeWrapper* y = wrap_alone(host, Number(arena, 3.0));
    std::vector<NodeId> both{x->node, y->node};
    FakeWrapper* result = nullptr;
    SUBCASE("of an operation") {
        result = wrap_alone(
            host, Number(arena, arena.binary<Op::Mul>(arena.node(both[0]), arena.node(both[1]))));
    }
    SUBCASE("of the user's") {
        result = wrap_alone(host, Number(arena, arena.custom(Scalar::real(6), both)));
    }
    take_operands(arena, result, {x, y});
    CHECK(arena.node(both[0]).count() == 1);
    arena.leave_operands_to_wrapper(result->node);
    CHECK(arena.node(both[0]).count() == 1);
    const auto shown = arena.operands(result->node);
    CHECK(std::vector<NodeId>(shown.begin(), shown.end()) == both);
    Number consumer(arena, arena.unary<Op::Relu>(arena.node(result->node)));
    for (FakeWrapper* wrapper : {x, y, result}) {
        host.forget(wrapper);
    }
    CHECK(host.living() == 3);
    backward(arena, consumer.id());
    CHECK(arena.node(both[0]).grad().value == (arena.node(result->node).op() == Op::Mul ? 3 : 0));
    consumer.forget();
    CHECK(host.living() == 0);
    CHECK(arena.counters().leaves == 0);
    CHECK(arena.counters().interior_nodes == 0);
}

TEST_CASE("a constant power that leaves its base to the wrapper still owns its exponent") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* base = wrap_alone(host, Number(arena, 2.0));
    FakeWrapper* cube =
        wrap_alone(host, Number(arena, arena.power(arena.node(base->node), Scalar::real(3))));
    take_operands(arena, cube, {base});
    host.forget(base);
    CHECK(arena.counters().leaves == 2);
    backward(arena, cube->node);
    CHECK(arena.node(base->node).grad().value == 12);
    host.forget(cube);
    CHECK(host.living() == 0);
    CHECK(arena.counters().leaves == 0);
}

TEST_CASE("an idle row of a layer does not refer to a weight whose wrapper is about to go") {
    Arena arena;
    const Number weight(arena, 2.0);
    const Number bias(arena, 3.0);
    const std::uint32_t map =
        arena.make_map(std::array{weight.node(), bias.node()}, std::array{Op::Relu}, true);
    std::vector<Node> results;
    arena.apply(map, std::array{Input{{}, Scalar::real(5)}}, results);
    Number result(arena, results.front());
    SUBCASE("though one that is in use does") {
        CHECK(arena.is_referred_to(weight.node()));
        result.forget();
    }
    SUBCASE("though it counts the weight") {
        result.forget();
        REQUIRE(weight.node().count() == 2);
    }
    CHECK_FALSE(arena.is_referred_to(weight.node()));
    CHECK(weight.node().count() == 1);
    arena.release_map(map);
}

TEST_CASE(
    "an idle row of a layer lets go of a weight that keeps its wrapper, and no other row does") {
    Arena arena;
    FakeHost host(arena);
    FakeWrapper* kept = wrap_alone(host, Number(arena, 2.0));
    arena.keep_wrapper(kept->node);
    const Number other(arena, 3.0);
    const Number bias(arena, 4.0);
    const std::uint32_t map =
        arena.make_map(std::array{arena.node(kept->node), other.node(), bias.node(), bias.node()},
                       std::array{Op::Relu, Op::Relu}, true);
    std::vector<Node> results;
    arena.apply(map, std::array{Input{{}, Scalar::real(5)}}, results);
    CHECK(arena.node(kept->node).count() == 2);
    for (const Node result : results) {
        arena.release(result);
    }
    CHECK(arena.node(kept->node).count() == 1);
    CHECK(other.node().count() == 2);
    CHECK(bias.node().count() == 2);
    arena.release_map(map);
    CHECK(other.node().count() == 1);
    host.forget(kept);
    CHECK(host.living() == 0);
}

TEST_CASE("dropping a wrapper may create nodes and drop others") {
    Arena arena;
    FakeHost host(arena);
    Number first(arena, 2.0);
    FakeWrapper* kept = wrap_alone(host, Number(arena, 3.0));
    arena.keep_wrapper(kept->node);
    Number second(arena, arena.unary<Op::Relu>(arena.node(kept->node)));
    host.forget(kept);
    bool ran = false;
    host.assign_backward(first, [] {});
    auto* doomed = static_cast<FakeWrapper*>(first.node().wrapper());
    // A destructor that runs when the callback goes, in the middle of `drop`.
    doomed->callback = [guard = std::shared_ptr<int>(new int, [&](int* number) {
                            delete number;
                            second.forget();
                            const Number created(arena, 1.0);
                            ran = relu(created).data() == 1;
                        })] {};
    first.forget();
    CHECK(ran);
    CHECK(host.living() == 0);
    CHECK(host.deepest_drop() == 1);
    CHECK(arena.counters().leaves == 0);
}

}  // namespace mgx
