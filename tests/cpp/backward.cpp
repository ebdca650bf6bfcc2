// The backward sweep. Expected gradients are worked out by hand, or are those of micrograd's
// README.

#include "core/backward.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "fake_host.hpp"
#include "number.hpp"

namespace mgx {

namespace {

void zero_grad(const Number& number) { number.node().set_grad(Scalar::real(0)); }

class Interruption : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("the expression of micrograd's README") {
    Arena arena;
    const Number a(arena, -4.0);
    const Number b(arena, 2.0);
    const Number one(arena, 1);
    const Number two(arena, 2);
    const Number three(arena, 3);
    const Number half(arena, 0.5);
    const Number five(arena, 5.0);
    const Number minus(arena, -1);
    Number c = a + b;
    Number d = a * b + pow(b, 3);
    c = c + (c + one);
    c = c + (one + c + minus * a);
    d = d + (d * two + relu(b + a));
    d = d + (three * d + relu(b + minus * a));
    const Number e = c + minus * d;
    const Number f = pow(e, 2);
    Number g = f * half;
    g = g + five * two * pow(f, -1);
    CHECK(g.data() == doctest::Approx(24.7041).epsilon(1e-6));
    backward(g);
    CHECK(a.grad() == doctest::Approx(138.8338).epsilon(1e-6));
    CHECK(b.grad() == doctest::Approx(645.5773).epsilon(1e-6));
}

TEST_CASE("a shared node passes on the sum of what its consumers give") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number root = square * x + square;
    backward(root);
    CHECK(root.grad() == 1);
    CHECK(square.grad() == 3 + 1);
    CHECK(x.grad() == 3 * 9 + 2 * 3);
}

TEST_CASE("the root's gradient is the int 1, and ints' gradients are ints") {
    Arena arena;
    const Number x(arena, 3);
    const Number y(arena, 0.5);
    const Number root = x * x;
    backward(root);
    CHECK(root.node().grad().is_integer);
    CHECK(x.grad() == 6);
    CHECK(x.node().grad().is_integer);
    backward(x * y);
    CHECK(x.grad() == 6.5);
    CHECK_FALSE(x.node().grad().is_integer);
}

TEST_CASE("a leaf is a root as well") {
    Arena arena;
    const Number x(arena, 3.0);
    backward(x);
    CHECK(x.grad() == 1);
}

TEST_CASE("a chain of doublings has the gradient 2**n") {
    Arena arena;
    const Number x(arena, 1.0);
    Number y = x + x;
    for (int i = 1; i < 1000; ++i) {
        y = y + y;
    }
    backward(y);
    CHECK(x.grad() == std::ldexp(1.0, 1000));
}

TEST_CASE("nodes that the root does not depend on are left alone") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    std::vector<Number> strangers;
    for (int i = 0; i < 10'000; ++i) {
        strangers.push_back((i == 0 ? x : strangers.back()) + x);
        strangers.back().node().set_grad(Scalar::real(7));
    }
    const Number root = square + square;
    strangers.push_back(root * x);
    strangers.back().node().set_grad(Scalar::real(7));
    backward(root);
    CHECK(x.grad() == 12);
    for (const Number& stranger : strangers) {
        REQUIRE(stranger.grad() == 7);
    }
}

TEST_CASE("a sweep may start anywhere in a graph") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number root = square * square;
    backward(square);
    CHECK(square.grad() == 1);
    CHECK(x.grad() == 6);
    CHECK(root.grad() == 0);
}

TEST_CASE("gradients add up over sweeps, those of interior nodes included") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number three(arena, 3);
    const Number square = x * x;
    const Number root = square * three;
    backward(root);
    CHECK(square.grad() == 3);
    CHECK(x.grad() == 3 * 6);
    backward(root);
    CHECK(root.grad() == 1);
    CHECK(square.grad() == 6);
    CHECK(x.grad() == 3 * 6 + 6 * 6);
}

TEST_CASE("operands are read when the sweep runs") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number y(arena, 5.0);
    const Number product = x * y;
    const Number positive = relu(product);
    x.node().set_data(Scalar::real(-2));
    y.node().set_data(Scalar::real(7));
    backward(positive);
    CHECK(product.data() == 15);
    CHECK(x.grad() == 7);
    CHECK(y.grad() == -2);
}

TEST_CASE("the order is that of creation also where pages are reused") {
    Arena arena;
    const Number x(arena, 1.0);
    std::vector<Number> filler;
    const auto fill_pages = [&] {
        for (std::uint32_t i = 0; i < 20 * Page::slots; ++i) {
            filler.push_back(x + x);
        }
    };
    fill_pages();
    Number y = x + x;
    for (std::uint32_t i = 1; i < 3 * Page::slots; ++i) {
        y = y + y;
    }
    const NodeId early = y.id();
    filler.clear();
    Number z = y + x;
    std::size_t out_of_order = 0;
    for (std::uint32_t i = 1; i < 3 * Page::slots; ++i) {
        z = z + y;
        out_of_order += z.id() < early;
    }
    REQUIRE(out_of_order > Page::slots);
    backward(z);
    CHECK(y.grad() == 3 * Page::slots);
    CHECK(x.grad() == 1 + std::ldexp(3.0 * Page::slots, 3 * Page::slots));
}

TEST_CASE("one step passes on what one node has") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number root = relu(square);
    root.node().set_grad(Scalar::real(10));
    backward_step(arena, root.id());
    CHECK(square.grad() == 10);
    CHECK(x.grad() == 0);
    backward_step(arena, square.id());
    CHECK(x.grad() == 60);
    backward_step(arena, x.id());
    CHECK(x.grad() == 60);
}

TEST_CASE("a custom node without a callback passes nothing on, but the sweep goes on below it") {
    Arena arena;
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number root = custom(square);
    square.node().set_grad(Scalar::real(5));
    backward(root);
    CHECK(square.grad() == 5);
    CHECK(x.grad() == 30);
}

TEST_CASE("a callback takes the place of the node's own step") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    const Number square = x * x;
    const Number root = square + x;
    host.assign_backward(square, [&] { x.node().set_grad(Scalar::real(square.grad() * 100)); });
    backward(root);
    CHECK(x.grad() == 100);
    SUBCASE("but is not called for one step of the node's own") {
        backward_step(arena, square.id());
        CHECK(x.grad() == 106);
    }
}

TEST_CASE("a callback runs once, after those of all consumers, and those of leaves at the end") {
    Arena arena;
    FakeHost host(arena);
    std::string order;
    const Number x(arena, 3.0);
    const Number y(arena, 4.0);
    const Number product = x * y;
    const Number left = product + x;
    const Number right = relu(product);
    const Number root = custom(left, right, product, y);
    const auto record = [&](const Number& number, char name) {
        host.assign_backward(number, [&order, name] { order += name; });
    };
    record(x, 'x');
    record(product, 'p');
    record(left, 'l');
    record(right, 'r');
    record(root, 'R');
    backward(root);
    CHECK(order == "Rrlpx");
    order.clear();
    backward(root);
    CHECK(order == "Rrlpx");
    order.clear();
    backward(x);
    CHECK(order == "x");
}

TEST_CASE("a callback that throws ends the sweep and leaves no marks") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    const Number old_square = x * x;
    std::vector<Number> filler;
    for (int i = 0; i < 1000; ++i) {
        filler.push_back(x + x);
    }
    const Number square = x * x;
    const Number root = custom(square, old_square, x);
    bool interrupt = true;
    host.assign_backward(root, [&] {
        if (interrupt) {
            throw Interruption("stop");
        }
    });
    int leaf_calls = 0;
    host.assign_backward(x, [&] { ++leaf_calls; });
    CHECK_THROWS_AS(backward(root), Interruption);
    CHECK(leaf_calls == 0);

    INFO("a mark left behind would have a later sweep visit what it must not");
    for (const Number* number : {&old_square, &square}) {
        number->node().set_grad(Scalar::real(1));
    }
    const Number y(arena, 2.0);
    const Number beneath = filler.front() * y;
    backward(beneath * y);
    CHECK(x.grad() == 2 * 2 * 2);
    CHECK(leaf_calls == 1);

    interrupt = false;
    zero_grad(x);
    backward(root);
    CHECK(x.grad() == 6 + 6);
    CHECK(leaf_calls == 2);
}

TEST_CASE("a leaf's callback that throws leaves the others to the next sweep") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    const Number y(arena, 4.0);
    const Number root = x * y;
    int calls = 0;
    for (const Number* leaf : {&x, &y}) {
        host.assign_backward(*leaf, [&] {
            if (++calls == 1) {
                throw Interruption("stop");
            }
        });
    }
    CHECK_THROWS_AS(backward(root), Interruption);
    CHECK(calls == 1);
    backward(root);
    CHECK(calls == 3);
}

TEST_CASE("a callback may create and drop nodes") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    Number square = x * x;
    Number root = square + square;
    std::vector<Number> created;
    host.assign_backward(root, [&] {
        for (int i = 0; i < 1000; ++i) {
            created.push_back((i == 0 ? x : created.back()) + x);
        }
        square.node().set_grad(Scalar::real(1));
        square.forget();
        root.forget();
    });
    backward(root);
    CHECK(root.id() == no_node);
    CHECK(x.grad() == 6);
    CHECK(created.back().data() == 3.0 * 1001);
    CHECK(arena.counters().interior_nodes == 1000);
    CHECK(host.living() == 0);
    backward(created.back());
    CHECK(x.grad() == 6 + 1001);
}

TEST_CASE("a callback may empty pages around those still to be visited") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    std::vector<Number> filler;
    const auto fill_pages = [&] {
        for (int i = 0; i < 1000; ++i) {
            filler.push_back(x + x);
        }
    };
    fill_pages();
    const Number square = x * x;
    fill_pages();
    const Number root = relu(square);
    host.assign_backward(root, [&] {
        square.node().set_grad(Scalar::real(1));
        filler.clear();
        fill_pages();
    });
    backward(root);
    CHECK(x.grad() == 6);
}

namespace {

// More pages than the arena keeps for reuse become free.
void flood_with_free_pages(Arena& arena) {
    std::vector<Number> leaves;
    for (int i = 0; i < 64 * 16'500; ++i) {
        leaves.emplace_back(arena, 1.0);
    }
}

}  // namespace

TEST_CASE("a leaf's callback may drop nodes older than all that are due") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 0.5);
    std::vector<Number> older;
    for (int i = 0; i < 64; ++i) {
        older.push_back(relu(x));
    }
    const Number root = relu(x);
    host.assign_backward(x, [&] {
        flood_with_free_pages(arena);
        older.clear();
    });
    backward(root);
    CHECK(x.grad() == 1);
}

TEST_CASE("a sweep that starts from a leaf stays there") {
    Arena arena;
    const auto make_page = [&arena] {
        std::vector<Number> leaves;
        for (int i = 0; i < 64; ++i) {
            leaves.emplace_back(arena, 1.0);
        }
        return leaves;
    };
    std::vector<Number> gone = make_page();
    std::vector<Number> leaves = make_page();
    std::vector<Number> others = make_page();
    gone.pop_back();
    leaves.pop_back();                // both pages have a vacant slot now, one after the other,
    leaves.emplace_back(arena, 1.0);  // and the second is full again
    others.pop_back();
    flood_with_free_pages(arena);
    gone.clear();
    backward(leaves.front());
    CHECK(leaves.front().grad() == 1);
}

TEST_CASE("a callback may start another sweep") {
    Arena arena;
    FakeHost host(arena);
    const Number x(arena, 3.0);
    const Number square = x * x;
    std::vector<Number> filler;
    for (int i = 0; i < 1000; ++i) {
        filler.push_back(x + x);
    }
    const Number middle = custom(square);
    const Number root = middle + square;
    const Number y(arena, 5.0);
    SUBCASE("of another graph") {
        host.assign_backward(middle, [&] { backward(y * y * y); });
        backward(root);
        CHECK(y.grad() == 75);
        CHECK(square.grad() == 1);
        CHECK(x.grad() == 6);
    }
    SUBCASE("of its own operands, which the outer sweep visits again") {
        host.assign_backward(middle, [&] { backward(square); });
        backward(root);
        CHECK(square.grad() == 1);
        CHECK(x.grad() == 6 + 6);
    }
    SUBCASE("that starts yet another one") {
        const Number inner = custom(y);
        host.assign_backward(inner, [&] { backward(y * y); });
        host.assign_backward(middle, [&] { backward(inner * square); });
        backward(root);
        CHECK(y.grad() == 10);
        CHECK(square.grad() == 1 + 5);
        CHECK(x.grad() == 6 * 6 + 6 * 6);
    }
    SUBCASE("that throws") {
        const Number inner = custom(square, filler.front());
        host.assign_backward(inner, [] { throw Interruption("stop"); });
        host.assign_backward(middle, [&] { CHECK_THROWS_AS(backward(inner), Interruption); });
        backward(root);
        CHECK(square.grad() == 1);
        CHECK(x.grad() == 6);
    }
    SUBCASE("while the callbacks of leaves run") {
        int x_calls = 0;
        int y_calls = 0;
        host.assign_backward(x, [&] { ++x_calls; });
        host.assign_backward(y, [&] {
            if (++y_calls == 1) {
                backward(y * x);
            }
        });
        backward(root * y);
        CHECK(x_calls == 2);
        CHECK(y_calls == 2);
    }
}

}  // namespace mgx
