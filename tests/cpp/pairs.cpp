// -x, x - y and x / y cannot be told from the nodes they stand for: whatever is asked of them gives
// what it gives on an arena that does not fuse.

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "core/arena.hpp"
#include "core/backward.hpp"
#include "fake_host.hpp"
#include "graphs.hpp"
#include "number.hpp"

namespace mgx {

namespace {

struct Graph {
    explicit Graph(bool is_fusing) { arena.set_fusing(is_fusing); }

    Arena arena;
    FakeHost host{arena};
};

// The operations, of two operands each.
using Pair = Number (*)(const Number& x, const Number& y);
constexpr auto pairs = std::to_array<Pair>({
    [](const Number& x, const Number&) { return -x; },
    [](const Number& x, const Number& y) { return x - y; },
    [](const Number& x, const Number& y) { return x / y; },
    [](const Number& x, const Number&) { return x - x; },
    [](const Number&, const Number& y) { return y / y; },
});

void show(const Number& number) { static_cast<void>(number.arena().operands(number.id())); }

std::size_t interior_nodes(const Arena& arena) { return arena.counters().interior_nodes; }

// Runs `program(x, y, pair)` on either kind of arena, for each of the operations and for floats and
// ints, and compares what it returns.
template <typename Program>
void compare(Program program) {
    for (const Pair& pair : pairs) {
        for (const bool are_integers : {false, true}) {
            CAPTURE(&pair - pairs.data());
            CAPTURE(are_integers);
            Graph ours(true);
            Graph theirs(false);
            const auto run = [&](Arena& arena) {
                const Number x = are_integers ? Number(arena, 3) : Number(arena, 1.5);
                const Number y = are_integers ? Number(arena, 2) : Number(arena, -0.25);
                return program(x, y, pair(x, y));
            };
            const Number result = run(ours.arena);
            check_same(result, run(theirs.arena));
        }
    }
}

}  // namespace

TEST_CASE("a pair shows the nodes that it stands for") {
    compare([](const Number&, const Number&, Number pair) { return pair; });
}

TEST_CASE("a pair may be the root") {
    compare([](const Number&, const Number&, Number pair) {
        backward(pair);
        return pair;
    });
}

TEST_CASE("a pair passes on what the composed one does, sweep after sweep") {
    compare([](const Number& x, const Number& y, const Number& pair) {
        Number root = pair * x + pair * y;
        for (int sweeps = 0; sweeps < 3; ++sweeps) {
            backward(root);
        }
        return root;
    });
}

TEST_CASE("a pair may be looked at before, between and after sweeps") {
    for (int look = 0; look < 3; ++look) {
        compare([look](const Number& x, const Number&, const Number& pair) {
            Number root = pair * x;
            for (int sweeps = 0; sweeps < 2; ++sweeps) {
                if (look == sweeps) {
                    show(pair);
                }
                backward(root);
            }
            return root;
        });
    }
}

TEST_CASE("operands of a pair are read when the sweep runs, and its hidden data are not") {
    compare([](const Number& x, const Number& y, const Number& pair) {
        Number root = pair * pair;
        x.node().set_data(Scalar::real(0.5));
        y.node().set_data(Scalar::integer(4));
        pair.node().set_data(Scalar::real(-7.0));
        backward(root);
        return root;
    });
}

TEST_CASE("gradients of a pair may be reset between sweeps, not those that it hides") {
    compare([](const Number& x, const Number&, const Number& pair) {
        Number root = pair * x;
        backward(root);
        pair.node().set_grad(Scalar::integer(0));
        x.node().set_grad(Scalar::integer(0));
        backward(root);
        return root;
    });
}

TEST_CASE("one backward step of a pair by hand passes on to the visible operands alone") {
    compare([](const Number&, const Number&, Number pair) {
        pair.node().set_grad(Scalar::real(3.0));
        backward_step(pair.arena(), pair.id());
        return pair;
    });
}

TEST_CASE("hidden nodes of a pair may be used, and outlive it") {
    compare([](const Number& x, const Number& y, Number pair) {
        Number hidden = reference(pair.arena(), pair.arena().operands(pair.id()).back());
        pair.forget();
        Number root = hidden * x + y;
        backward(root);
        return root;
    });
}

TEST_CASE("pairs on either side of the end of a page") {
    for (std::size_t singles = 0; singles < 4; ++singles) {
        Graph ours(true);
        Graph theirs(false);
        const auto run = [singles](Arena& arena) {
            const Number x(arena, 1.5);
            const Number y(arena, -0.25);
            std::vector<Number> results;
            for (std::size_t i = 0; i < singles; ++i) {
                results.push_back(x + y);
            }
            for (std::size_t i = 0; i < Page::slots; ++i) {
                results.push_back(pairs[i % pairs.size()](x, y));
            }
            Number sum = x + y;
            for (const Number& result : results) {
                sum = sum + result;
            }
            backward(sum);
            for (std::size_t i = 0; i < results.size(); i += 3) {
                show(results[i]);
            }
            backward(sum);
            return sum;
        };
        check_same(run(ours.arena), run(theirs.arena));
    }
}

TEST_CASE("a pair is one node, unless somebody looks") {
    Graph graph(true);
    const Number x(graph.arena, 1.5);
    const Number y(graph.arena, 2.5);
    const Number difference = x - y;
    const Number quotient = x / y;
    const Number negative = -x;
    backward(difference * quotient + negative);
    CHECK(interior_nodes(graph.arena) == 3);
    CHECK(graph.arena.counters().leaves == 2);
    show(difference);
    show(quotient);
    show(negative);
    CHECK(interior_nodes(graph.arena) == 5);
    CHECK(graph.arena.counters().leaves == 5);
}

TEST_CASE("nothing is left of pairs, shown or not") {
    Graph graph(true);
    {
        const Number x(graph.arena, 1.5);
        const Number y(graph.arena, 2.5);
        for (std::size_t i = 0; i < 3 * Page::slots; ++i) {
            const Number result = pairs[i % pairs.size()](x, y);
            const Number root = result * result;
            backward(root);
            if (i % 2 == 0) {
                show(result);
            }
        }
    }
    CHECK(interior_nodes(graph.arena) == 0);
    CHECK(graph.arena.counters().leaves == 0);
}

TEST_CASE("a pair keeps its operands alive") {
    Graph graph(true);
    const Number x(graph.arena, 1.5);
    Number y = x * x;
    Number difference = x - y;
    y.forget();
    CHECK(interior_nodes(graph.arena) == 2);
    show(difference);
    CHECK(interior_nodes(graph.arena) == 3);
    backward(difference);
    CHECK(x.grad() == 1.0 - 2 * 1.5);
    difference.forget();
    CHECK(interior_nodes(graph.arena) == 0);
}

TEST_CASE("what depends on an operand of a pair, hidden nodes included") {
    Graph graph(true);
    const Number x(graph.arena, 1.5);
    const Number y(graph.arena, 2.5);
    const Number before = x - x;
    const Number difference = x - y;
    const Number after = -difference;
    const std::vector<NodeId> found = graph.arena.dependents(std::vector{y.id()});
    CHECK(found ==
          std::vector{graph.arena.operands(difference.id())[1], difference.id(), after.id()});
    CHECK(graph.arena.node(before.id()).op() == Op::Difference);
}

TEST_CASE("a deep chain of pairs is swept and freed without recursion") {
    Graph graph(true);
    const Number x(graph.arena, 1.5);
    Number last = x - x;
    double expected = 0.0;
    for (int i = 0; i < 300'000; ++i) {
        last = i % 2 == 0 ? -last : last - x;
        expected = i % 2 == 0 ? -expected : expected - 1.5;
    }
    backward(last);
    CHECK(last.data() == expected);
    last.forget();
    CHECK(interior_nodes(graph.arena) == 0);
}

TEST_CASE("what divides by zero leaves nothing behind") {
    Graph graph(true);
    const Number x(graph.arena, 1.5);
    const Number zero(graph.arena, 0);
    CHECK_THROWS_AS(static_cast<void>(x / zero), std::domain_error);
    CHECK(interior_nodes(graph.arena) == 0);
    CHECK(zero.node().count() == 1);
}

TEST_CASE("a divisor that has become zero stops the sweep where the composed one stops") {
    compare([](const Number& x, const Number& y, const Number& pair) {
        Number root = x / y + pair;
        y.node().set_data(Scalar::integer(0));
        CHECK_THROWS_AS(backward(root), std::domain_error);
        y.node().set_data(Scalar::integer(1));
        backward(root);
        return root;
    });
}

TEST_CASE("a callback may look at pairs that the sweep has visited and that it has not") {
    compare([](const Number& x, const Number& y, const Number& pair) {
        Number middle = pair * y;
        const Number other = middle - pair;
        Number root = other * x;
        dynamic_cast<FakeHost&>(root.arena().host()).assign_backward(middle, [&] {
            show(pair);
            show(other);
            backward_step(middle.arena(), middle.id());
        });
        backward(root);
        return root;
    });
}

}  // namespace mgx
