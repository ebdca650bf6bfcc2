// A fused node cannot be told from the nodes it stands for: whatever is asked of a Dot gives what
// the same sum gives that is composed of products and sums. The numbers are small and whole, so
// that gradients are exact in whatever order they are added.

#include <doctest/doctest.h>

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

// Terms on either side of what a page has room for: each has a product and a sum that are hidden.
constexpr std::size_t page_of_terms = Page::slots / 2;
const std::vector<std::size_t> term_counts{
    1, 2, 3, page_of_terms - 1, page_of_terms, page_of_terms + 1, 5 * page_of_terms};

// What a neuron computes with, on an arena of its own.
struct Parameters {
    explicit Parameters(std::size_t terms) {
        for (std::size_t i = 0; i < terms; ++i) {
            const auto number = static_cast<double>(i);
            weights.emplace_back(arena, i % 3 == 0 ? -number - 1 : number + 1);
            inputs.emplace_back(arena, i % 5 == 0 ? 2.0 : number);
        }
    }

    Arena arena;
    FakeHost host{arena};
    Number bias{arena, 3.0};
    std::vector<Number> weights;
    std::vector<Number> inputs;
};

std::vector<Input> inputs_of(const Parameters& parameters) {
    std::vector<Input> inputs;
    for (const Number& input : parameters.inputs) {
        inputs.push_back({input.node(), input.node().data()});
    }
    return inputs;
}

// A map with as many rows, all the same.
std::uint32_t make_map(Parameters& parameters, std::size_t rows, Op activation,
                       bool watched = false) {
    std::vector<Node> nodes;
    for (std::size_t row = 0; row < rows; ++row) {
        for (const Number& weight : parameters.weights) {
            nodes.push_back(weight.node());
        }
    }
    nodes.insert(nodes.end(), rows, parameters.bias.node());
    return parameters.arena.make_map(nodes, std::vector(rows, activation), watched);
}

std::vector<Number> apply(Parameters& parameters, std::uint32_t map) {
    std::vector<Node> results;
    parameters.arena.apply(map, inputs_of(parameters), results);
    std::vector<Number> numbers;
    for (const Node result : results) {
        numbers.emplace_back(parameters.arena, result);
    }
    return numbers;
}

Number fused(Parameters& parameters, Op activation = AffineMap::no_activation) {
    const std::uint32_t map = make_map(parameters, 1, activation);
    Number sum = std::move(apply(parameters, map).front());
    parameters.arena.release_map(map);
    return sum;
}

Number composed(Parameters& parameters, Op activation = AffineMap::no_activation) {
    Number sum = parameters.bias + parameters.weights[0] * parameters.inputs[0];
    for (std::size_t i = 1; i < parameters.weights.size(); ++i) {
        sum = sum + parameters.weights[i] * parameters.inputs[i];
    }
    return activation == Op::Relu ? relu(sum) : std::move(sum);
}

// Runs `program` on a fused and on a composed sum of each size, and compares what they show then.
template <typename Program>
void compare(Program program) {
    for (const std::size_t terms : term_counts) {
        for (const Op activation : {AffineMap::no_activation, Op::Relu}) {
            CAPTURE(terms);
            CAPTURE(label(activation));
            Parameters ours(terms);
            Parameters theirs(terms);
            Number our_sum = fused(ours, activation);
            Number their_sum = composed(theirs, activation);
            const Number our_result = program(ours, our_sum);
            const Number their_result = program(theirs, their_sum);
            check_same(our_sum, their_sum);
            check_same(our_result, their_result);
        }
    }
}

std::size_t interior_nodes(const Parameters& parameters) {
    return parameters.arena.counters().interior_nodes;
}

}  // namespace

TEST_CASE("a fused sum shows the nodes that it stands for") {
    compare([](Parameters&, const Number& sum) { return relu(sum); });
}

TEST_CASE("a fused sum passes on what the composed one does") {
    compare([](Parameters&, const Number& sum) {
        Number root = sum * sum;
        backward(root);
        return root;
    });
}

TEST_CASE("a fused sum may be the root") {
    compare([](Parameters&, const Number& sum) {
        backward(sum);
        return relu(sum);
    });
}

TEST_CASE("sweeps may be repeated") {
    compare([](Parameters&, const Number& sum) {
        Number root = sum * sum;
        backward(root);
        backward(root);
        backward(root);
        return root;
    });
}

TEST_CASE("a fused sum may be looked at between sweeps") {
    compare([](Parameters& parameters, const Number& sum) {
        Number root = sum * sum;
        backward(root);
        static_cast<void>(parameters.arena.operands(sum.id()));
        backward(root);
        return root;
    });
}

TEST_CASE("a fused sum may be looked at before the sweep") {
    compare([](Parameters& parameters, const Number& sum) {
        static_cast<void>(parameters.arena.operands(sum.id()));
        Number root = sum * sum;
        backward(root);
        return root;
    });
}

TEST_CASE("gradients may be reset by hand between sweeps") {
    compare([](Parameters& parameters, const Number& sum) {
        Number root = sum * sum;
        backward(root);
        for (const Number& weight : parameters.weights) {
            weight.node().set_grad(Scalar::integer(0));
        }
        sum.node().set_grad(Scalar::integer(0));
        backward(root);
        return root;
    });
}

TEST_CASE("operands of a fused sum are read when the sweep runs") {
    compare([](Parameters& parameters, const Number& sum) {
        parameters.weights.back().node().set_data(Scalar::real(17));
        parameters.inputs.front().node().set_data(Scalar::real(-13));
        parameters.bias.node().set_data(Scalar::real(11));
        Number root = sum * sum;
        backward(root);
        return root;
    });
}

TEST_CASE("one backward step by hand passes on to the visible operands alone") {
    compare([](Parameters& parameters, const Number& sum) {
        sum.node().set_grad(Scalar::real(5));
        parameters.arena.show_hidden_nodes(sum.id());
        backward_step(parameters.arena, sum.id());
        return relu(sum);
    });
}

TEST_CASE("hidden nodes may be used, before and after their Dot is gone") {
    compare([](Parameters& parameters, Number& sum) {
        Arena& arena = parameters.arena;
        NodeId deep = sum.id();
        while (arena.label(deep) != "*") {
            deep = arena.operands(deep).back();
        }
        const Number product = reference(arena, deep);
        Number root = product * parameters.bias + sum;
        backward(root);
        root = product * product;
        sum = relu(product);
        for (const Number& weight : parameters.weights) {
            weight.node().set_grad(Scalar::real(0));
        }
        backward(root);
        return root;
    });
}

TEST_CASE("nothing hidden is made unless somebody looks") {
    Parameters parameters(100);
    {
        const Number sum = fused(parameters);
        const Number root = sum * sum;
        backward(root);
        CHECK(interior_nodes(parameters) == 2);
        CHECK(parameters.arena.operands(sum.id()).size() == 2);
        CHECK(interior_nodes(parameters) == 1 + 2 * 100);
        CHECK(parameters.arena.counters().leaves == 201);
    }
    CHECK(interior_nodes(parameters) == 0);
    for (const Number& weight : parameters.weights) {
        REQUIRE(weight.node().count() == 1);
    }
    for (const Number& input : parameters.inputs) {
        REQUIRE(input.node().count() == 1);
    }
    CHECK(parameters.bias.node().count() == 1);
}

TEST_CASE("a Dot keeps what it needs alive") {
    Parameters parameters(40);
    bool look = false;
    SUBCASE("hidden") {}
    SUBCASE("shown") { look = true; }
    Number sum = fused(parameters);
    if (look) {
        static_cast<void>(parameters.arena.operands(sum.id()));
    }
    parameters.weights.clear();
    parameters.inputs.clear();
    CHECK(parameters.arena.counters().leaves == 81);
    backward(sum);
    CHECK(parameters.bias.grad() == 1);
    sum.forget();
    CHECK(parameters.arena.counters().leaves == 1);
    CHECK(interior_nodes(parameters) == 0);
}

TEST_CASE("a hidden node alone keeps no more than its own operands alive") {
    Parameters parameters(100);
    Number sum = fused(parameters);
    const NodeId id = parameters.arena.operands(sum.id()).back();
    Number product = reference(parameters.arena, id);
    sum.forget();
    parameters.weights.clear();
    parameters.inputs.clear();
    CHECK(parameters.arena.counters().leaves == 3);
    product.forget();
    CHECK(interior_nodes(parameters) == 0);
    CHECK(parameters.arena.counters().leaves == 1);
}

TEST_CASE("neurons that share their inputs") {
    Parameters ours(10);
    Parameters theirs(10);
    const std::uint32_t map = make_map(ours, 20, AffineMap::no_activation);
    std::vector<Number> our_sums = apply(ours, map);
    ours.arena.release_map(map);
    Number our_total = our_sums[0] + our_sums[1];
    Number their_total = composed(theirs) + composed(theirs);
    for (std::size_t i = 2; i < our_sums.size(); ++i) {
        our_total = our_total + our_sums[i];
        their_total = their_total + composed(theirs);
    }
    our_sums.clear();
    backward(our_total);
    backward(their_total);
    CHECK(interior_nodes(ours) == 39);
    check_same(our_total, their_total);
}

TEST_CASE("terms are added one by one to the gradients of before") {
    constexpr double before = 1.5 * 0x1p57;  // terms up to 16 are lost in it, but not their sums
    Parameters ours(10);
    Parameters theirs(10);
    const auto preset = [](Parameters& parameters) {
        for (const Number& weight : parameters.weights) {
            weight.node().set_grad(Scalar::real(before));
        }
        for (const Number& input : parameters.inputs) {
            input.node().set_grad(Scalar::real(-before));
        }
        parameters.bias.node().set_grad(Scalar::real(before));
    };
    preset(ours);
    preset(theirs);
    const std::uint32_t map = make_map(ours, 20, AffineMap::no_activation);
    const std::vector<Number> our_sums = apply(ours, map);
    ours.arena.release_map(map);
    Number our_total = our_sums[0] * Number(ours.arena, 1.0);
    Number their_total = composed(theirs) * Number(theirs.arena, 1.0);
    for (std::size_t i = 1; i < our_sums.size(); ++i) {
        our_total = our_total + our_sums[i] * Number(ours.arena, 1.0);
        their_total = their_total + composed(theirs) * Number(theirs.arena, 1.0);
    }
    backward(our_total);
    backward(their_total);
    check_same(our_total, their_total);
    CHECK(ours.weights.back().grad() == before);
    CHECK(ours.inputs.back().grad() == -before);
    CHECK(ours.bias.grad() == before);
}

TEST_CASE("a deep chain of Dots is freed without recursion") {
    Parameters parameters(1);
    for (int i = 0; i < 100'000; ++i) {
        parameters.inputs[0] = fused(parameters);
    }
    CHECK(interior_nodes(parameters) == 100'000);
    parameters.inputs.clear();
    CHECK(interior_nodes(parameters) == 0);
    CHECK(parameters.weights[0].node().count() == 1);
}

TEST_CASE("callbacks beside hidden nodes that have been shown") {
    Parameters parameters(100);
    Arena& arena = parameters.arena;
    const Number sum = fused(parameters);
    static_cast<void>(arena.operands(sum.id()));
    const Number y(arena, 1.0);
    const Number square = y * y;
    const NodeId last_sum = arena.operands(sum.id()).front();
    const Number hidden = reference(arena, last_sum);
    int calls = 0;
    SUBCASE("may throw, which leaves no marks") {
        parameters.host.assign_backward(hidden, [&] {
            if (++calls == 1) {
                throw std::runtime_error("stop");
            }
        });
        CHECK_THROWS_AS(backward(sum), std::runtime_error);
        const double reached = parameters.weights[0].grad();
        backward(relu(square * relu(y)));
        CHECK(parameters.weights[0].grad() == reached);
        backward(sum);
        CHECK(calls == 2);
    }
    SUBCASE("may sweep the same nodes") {
        parameters.host.assign_backward(hidden, [&] {
            if (++calls == 1) {
                backward(hidden);
            }
        });
        backward(sum);
        CHECK(calls == 2);
        CHECK(parameters.weights.back().grad() == parameters.inputs.back().data());
    }
}

}  // namespace mgx
