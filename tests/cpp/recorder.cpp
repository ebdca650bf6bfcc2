// Recording: programs, told by their listings, of graphs that are made in an arena by hand.

#include "program/recorder.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "fake_host.hpp"
#include "number.hpp"
#include "programs.hpp"

namespace mgx {

namespace {

const double unknown = std::numeric_limits<double>::quiet_NaN();

// What a function of two inputs is recorded with. `old` numbers are there before.
struct Trace {
    Arena arena;
    FakeHost host{arena};
    Number old_leaf{arena, 0.5};
    Number old_sum = old_leaf + old_leaf;
    Recorder recorder{arena};
    Number x{arena, unknown};
    Number y{arena, unknown};

    template <typename... Outputs>
    [[nodiscard]] Recording record(const Outputs&... outputs) const {
        const std::vector<Node> inputs{x.node(), y.node()};
        const std::vector<Node> results{outputs.node()...};
        Recording recording = recorder.record(inputs, results);
        for (const Instruction& instruction : recording.program.instructions) {
            REQUIRE(recording.program.is_well_formed(instruction));
        }
        return recording;
    }

    template <Op op>
    [[nodiscard]] Number unary(const Number& operand) {
        return {arena, arena.unary<op>(operand.node())};
    }
    [[nodiscard]] Number take(const Number& index, const std::vector<const Number*>& entries) {
        TakeOperands operands{index.id(), {}};
        std::vector<NodeId> distinct{index.id()};
        for (const Number* entry : entries) {
            operands.entries.push_back(entry->id());
            if (std::ranges::find(distinct, entry->id()) == distinct.end()) {
                distinct.push_back(entry->id());
            }
        }
        Number taken(arena, arena.custom(Scalar::real(unknown), distinct));
        recorder.add_take(taken.id(), operands);
        return taken;
    }

    // activation(bias + weights * inputs), or bias + inputs without weights.
    [[nodiscard]] Number fused(const std::vector<const Number*>& weights, const Number& bias,
                               const std::vector<Input>& inputs, Op activation,
                               double scale = 1.0) {
        return std::move(layer(weights, {&bias}, inputs, {activation}, scale).front());
    }

    // The same with a bias and an activation function a row.
    [[nodiscard]] std::vector<Number> layer(const std::vector<const Number*>& weights,
                                            const std::vector<const Number*>& biases,
                                            const std::vector<Input>& inputs,
                                            const std::vector<Op>& activations,
                                            double scale = 1.0) {
        std::vector<Node> nodes;
        for (const auto* const parameters : {&weights, &biases}) {
            for (const Number* parameter : *parameters) {
                nodes.push_back(parameter->node());
            }
        }
        const std::uint32_t map = arena.make_map(nodes, activations, false, scale);
        std::vector<Node> results;
        arena.apply(map, inputs, results);
        arena.release_map(map);
        std::vector<Number> rows;
        for (const Node result : results) {
            rows.emplace_back(arena, result);
        }
        return rows;
    }
};

Input input(const Number& number) { return {number.node(), number.node().data()}; }
Input input(double number) { return {{}, Scalar::real(number)}; }

}  // namespace

TEST_CASE("operations become instructions in the order of their creation") {
    Trace trace;
    const Number sum = trace.x + trace.y;
    const Number positive = relu(trace.y);
    const Number product = positive * sum;
    const Number cube = pow(product, 3);
    const Number larger(trace.arena, trace.arena.binary<Op::Maximum>(cube.node(), trace.x.node()));
    const Recording recording = trace.record(larger);
    CHECK(recording.captured.empty());
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured none\n"
          "  %2 = add %0 %1\n"
          "  %3 = relu %1\n"
          "  %4 = mul %3 %2\n"
          "  %5 = pow %4 3\n"
          "  %6 = maximum %5 %0\n"
          "return %6\n");
}

TEST_CASE("pairs are recorded as what they compute, and what they hide stays hidden") {
    Trace trace;
    const Number difference = trace.x - trace.y;
    const Number quotient = difference / trace.y;
    const Number negative = -quotient;
    const std::size_t nodes = trace.arena.counters().interior_nodes;
    const Recording recording = trace.record(negative);
    CHECK(trace.arena.counters().interior_nodes == nodes);
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured none\n"
          "  %2 = -1\n"
          "  %3 = subtract %0 %1\n"
          "  %4 = pow %1 -1\n"
          "  %5 = mul %3 %4\n"
          "  %6 = mul %5 %2\n"
          "return %6\n");
    CHECK(recording.program.nodes == 5);  // of micrograd: a difference is a product and a sum
}

TEST_CASE("what no output depends on is not recorded") {
    Trace trace;
    const Number used = relu(trace.x);
    const Number unused = relu(trace.old_sum) + trace.x;
    const Recording recording = trace.record(used);
    CHECK(recording.captured.empty());
    CHECK(recording.program.instructions.size() == 1);
}

TEST_CASE("new leaves are constants, equal ones the same, and stand in front") {
    Trace trace;
    const Number half(trace.arena, 0.5);
    const Number again(trace.arena, 0.5);
    const Number zero(trace.arena, 0.0);
    const Number negative(trace.arena, -0.0);
    const Number nan(trace.arena, unknown);
    const Number one(trace.arena, 1);
    const Number sum = trace.x * half + trace.y * again + zero + negative + nan + one;
    const Recording recording = trace.record(sum);
    CHECK(recording.captured.empty());
    const Program& program = recording.program;
    REQUIRE(count(program, Kind::Constant) == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(program.instructions[i].kind == Kind::Constant);
    }
    CHECK(count(program, Kind::Apply) == 7);
    const double result = run_scalar_plan(program, {2.0, 4.0}).outputs.front();
    CHECK(std::isnan(result));
}

TEST_CASE("nodes that were there before are captured, whatever they are") {
    Trace trace;
    const Number product = trace.x * trace.old_leaf;
    const Number root = product + trace.old_sum * trace.old_leaf;
    const Recording recording = trace.record(root);
    CHECK(recording.captured == std::vector<NodeId>{trace.old_sum.id(), trace.old_leaf.id()});
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured %2..%3\n"
          "  %4 = mul %0 %3\n"
          "  %5 = mul %2 %3\n"
          "  %6 = add %4 %5\n"
          "return %6\n");
}

TEST_CASE("outputs may be inputs, captured, constants and repeated") {
    Trace trace;
    const Number constant(trace.arena, 4.0);
    const Number positive = relu(trace.y);
    const Recording recording =
        trace.record(trace.y, trace.old_sum, positive, constant, trace.y, positive, trace.old_sum);
    CHECK(recording.captured == std::vector<NodeId>{trace.old_sum.id()});
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured %2\n"
          "  %3 = 4\n"
          "  %4 = relu %1\n"
          "return %1..%2 %4 %3 %1 %4 %2\n");
}

TEST_CASE("no inputs and no outputs") {
    Trace trace;
    const Recording recording = trace.recorder.record({}, {});
    CHECK(recording.program.listing() == "inputs none\ncaptured none\nreturn\n");
}

TEST_CASE("nodes may die during the trace, and others take their places") {
    Trace trace;
    const Number quarter(trace.arena, 0.25);
    Number chain = trace.x + trace.y;
    for (int i = 0; i < 1000; ++i) {
        static_cast<void>(relu(Number(trace.arena, i) * trace.y));
        const Number kept = relu(chain * quarter);
        static_cast<void>(kept + kept);
        chain = trace.unary<Op::Tanh>(kept);
    }
    Writer writer(2, 0);
    const ValueId constant = writer.constant(0.25);
    ValueId sum = writer.add(writer.input(0), writer.input(1));
    for (int i = 0; i < 1000; ++i) {
        sum = writer.apply(Op::Tanh, writer.apply(Op::Relu, writer.mul(sum, constant)));
    }
    CHECK((trace.record(chain).program.listing() == writer.returning({sum}).listing()));
}

TEST_CASE("a node takes the place of an old one that died during the trace") {
    Arena arena;
    std::vector<Number> old;
    for (int i = 0; i < 200; ++i) {
        old.emplace_back(arena, 1.0);
        old.push_back(relu(old[0]));
    }
    const Recorder recorder(arena);
    const Number x(arena, unknown);
    old.erase(old.begin() + 1, old.end());
    INFO("a leaf in the place of an old one may be captured, but it must have its number");
    Number sum = x + old[0];
    std::vector<Number> leaves;
    for (int i = 0; i < 300; ++i) {
        leaves.emplace_back(arena, i);
        sum = relu(sum) + leaves.back();
    }
    const std::vector inputs{x.node()};
    const std::vector outputs{sum.node()};
    const Recording recording = recorder.record(inputs, outputs);
    Numbers sources{2.0};
    for (const NodeId captured : recording.captured) {
        sources.push_back(arena.node(captured).data_value());
    }
    CHECK(run_scalar_plan(recording.program, sources).outputs.front() == 2 + 1 + 299 * 300 / 2);
    CHECK(recording.program.nodes == 601);
}

TEST_CASE("a new leaf that has a wrapper is captured: it may be a parameter") {
    Trace trace;
    const Number parameter(trace.arena, 3.0);
    FakeWrapper* const wrapper = trace.host.wrap(parameter);
    const Number product = trace.x * parameter;
    CHECK(trace.record(product).captured == std::vector<NodeId>{parameter.id()});
    trace.host.forget(wrapper);
    CHECK(trace.record(product).captured.empty());
}

TEST_CASE("a weighted sum is recorded as it is, without the nodes that it hides") {
    Trace trace;
    const Number& w = trace.old_leaf;
    const Number inner = relu(trace.y);
    const Number sum =
        trace.fused({&w, &trace.x, &w}, trace.old_sum, {input(trace.x), input(inner), input(2.0)},
                    AffineMap::no_activation);
    const std::size_t nodes = trace.arena.counters().interior_nodes;
    const Recording recording = trace.record(sum);
    CHECK(trace.arena.counters().interior_nodes == nodes);
    CHECK(recording.captured == std::vector<NodeId>{trace.old_sum.id(), w.id()});
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured %2..%3\n"
          "  %4 = relu %1\n"
          "  %5 = 2\n"
          "  %6 = dot %2 + %3*%0 + %0*%4 + %3*%5\n"
          "return %6\n");
}

TEST_CASE("the activation function of a weighted sum is an instruction of its own") {
    Trace trace;
    const Number sum = trace.fused({&trace.old_leaf}, trace.old_leaf, {input(trace.x)}, Op::Tanh);
    CHECK(trace.record(sum).program.listing() ==
          "inputs %0..%1\n"
          "captured %2\n"
          "  %3 = affine(1 x 1) weights %2 biases %2 inputs %0\n"
          "  %4 = tanh %3\n"
          "return %4\n");
}

TEST_CASE("a layer of old weights is recorded as one map of the rows that are used") {
    Trace trace;
    const Number& w = trace.old_leaf;
    const Number& v = trace.old_sum;
    const auto rows = trace.layer({&w, &v, &v, &w, &v, &v}, {&w, &v, &w},
                                  {input(trace.x), input(2.0)}, {Op::Relu, Op::Relu, Op::Tanh});
    const Number product = rows[2] * rows[0];
    const Recording recording = trace.record(product);
    CHECK(recording.captured == std::vector<NodeId>{w.id(), v.id()});
    CHECK(recording.program.listing() ==
          "inputs %0..%1\n"
          "captured %2..%3\n"
          "  %4 = 2\n"
          "  %5..%6 = affine(2 x 2) weights %2..%3 %3 %3 biases %2 %2 inputs %0 %4\n"
          "  %7 = relu %5\n"
          "  %8 = tanh %6\n"
          "  %9 = mul %8 %7\n"
          "return %9\n");
}

TEST_CASE("weights of a row that are captured already are not captured again") {
    Arena arena;
    const Number first(arena, 1.0);
    const Number second(arena, 2.0);
    const Number third(arena, 3.0);
    const Number bias(arena, 4.0);
    const std::uint32_t map =
        arena.make_map(std::array{first.node(), second.node(), third.node(), bias.node()},
                       std::array{AffineMap::no_activation}, false);
    const Recorder recorder(arena);
    const Number x(arena, unknown);
    const auto check = [&](const Number& captured, const std::vector<NodeId>& expected,
                           const std::string& weights) {
        const Number product = x * captured;
        std::vector<Node> results;
        arena.apply(map, std::vector<Input>(3, input(x)), results);
        arena.release_map(map);
        const Number row(arena, results.front());
        const std::vector inputs{x.node()};
        const std::vector outputs{product.node(), row.node()};
        const Recording recording = recorder.record(inputs, outputs);
        CHECK(recording.captured == expected);
        CHECK(recording.program.listing() ==
              "inputs %0\n"
              "captured %1..%4\n"
              "  %5 = mul %0 %1\n"
              "  %6 = affine(1 x 3) weights" +
                  weights +
                  " biases %4 inputs %0 %0 %0\n"
                  "return %5..%6\n");
    };
    SUBCASE("in the middle") {
        check(second, {second.id(), first.id(), third.id(), bias.id()}, " %2 %1 %3");
    }
    SUBCASE("at the end") {
        check(third, {third.id(), first.id(), second.id(), bias.id()}, " %2..%3 %1");
    }
}

TEST_CASE("a row with a new weight or bias is a weighted sum, and the others are a map") {
    Trace trace;
    const Number& w = trace.old_leaf;
    const Number computed = relu(trace.y);
    const auto rows = trace.layer({&w, &computed, &w}, {&w, &w, &trace.y}, {input(trace.x)},
                                  std::vector<Op>(3, AffineMap::no_activation));
    CHECK(trace.record(rows[0], rows[1], rows[2]).program.listing() ==
          "inputs %0..%1\n"
          "captured %2\n"
          "  %3 = relu %1\n"
          "  %4 = affine(1 x 1) weights %2 biases %2 inputs %0\n"
          "  %5 = dot %2 + %3*%0\n"
          "  %6 = dot %1 + %2*%0\n"
          "return %4..%6\n");
}

TEST_CASE("an input in the place of an old leaf is no weight") {
    Arena arena;
    std::vector<Number> old;
    for (int i = 0; i < 200; ++i) {
        old.emplace_back(arena, 1.0);
    }
    const Recorder recorder(arena);
    const NodeId place = old[1].id();
    old[1].forget();
    const Number x(arena, unknown);
    REQUIRE(x.id() == place);
    REQUIRE_FALSE(recorder.is_new(x.node()));
    const std::vector nodes{x.node(), old[0].node()};
    const Op activation = AffineMap::no_activation;
    const std::uint32_t map = arena.make_map(nodes, {&activation, 1}, false);
    std::vector<Node> results;
    arena.apply(map, std::vector{input(old[2])}, results);
    arena.release_map(map);
    const Number sum(arena, results.front());
    const std::vector inputs{x.node()};
    CHECK(recorder.record(inputs, results).program.listing() ==
          "inputs %0\n"
          "captured %1..%2\n"
          "  %3 = dot %1 + %0*%2\n"
          "return %3\n");
}

TEST_CASE("sums and means are recorded as they are") {
    Trace trace;
    const Number zero(trace.arena, 0);
    const std::vector<Input> inputs{input(trace.x), input(trace.old_leaf), input(trace.x),
                                    input(3.0)};
    SUBCASE("a sum") {
        const Number sum = trace.fused({}, zero, inputs, AffineMap::no_activation);
        CHECK(trace.record(sum).program.listing() ==
              "inputs %0..%1\n"
              "captured %2\n"
              "  %3 = 0\n"
              "  %4 = 3\n"
              "  %5 = sum %3 %0 %2 %0 %4\n"
              "return %5\n");
    }
    SUBCASE("a mean") {
        const Number mean = trace.fused({}, zero, inputs, Op::Mul, 0.25);
        CHECK(trace.record(mean).program.listing() ==
              "inputs %0..%1\n"
              "captured %2\n"
              "  %3 = 0\n"
              "  %4 = 3\n"
              "  %5 = sum %3 %0 %2 %0 %4\n"
              "  %6 = 0.25\n"
              "  %7 = mul %5 %6\n"
              "return %7\n");
    }
}

TEST_CASE("nodes that came to be seen during the trace are recorded as such") {
    Trace trace;
    const Number& w = trace.old_leaf;
    const Number sum =
        trace.fused({&w, &w}, trace.old_sum, {input(trace.x), input(trace.y)}, Op::Relu);
    const Number above = trace.unary<Op::Tanh>(sum);
    const NodeId last_sum = trace.arena.operands(sum.id()).front();
    const Number shown = reference(trace.arena, last_sum);
    const auto check = [&](const Recording& recording, const std::string& rest) {
        CHECK(recording.captured == std::vector<NodeId>{w.id(), trace.old_sum.id()});
        CHECK(recording.program.listing() ==
              "inputs %0..%1\n"
              "captured %2..%3\n"
              "  %4 = mul %2 %0\n"
              "  %5 = add %3 %4\n"
              "  %6 = mul %2 %1\n"
              "  %7 = add %5 %6\n" +
                  rest);
    };
    SUBCASE("behind the activation function") {
        check(trace.record(above), "  %8 = relu %7\n  %9 = tanh %8\nreturn %9\n");
    }
    SUBCASE("as operands of other nodes") {
        const Number other = trace.unary<Op::Exp>(shown);
        check(trace.record(other), "  %8 = exp %7\nreturn %8\n");
    }
    SUBCASE("though their owner is dead") {
        Number doomed =
            trace.fused({&w, &w}, trace.old_sum, {input(trace.x), input(trace.y)}, Op::Relu);
        const Number survivor = reference(trace.arena, trace.arena.operands(doomed.id()).front());
        doomed.forget();
        check(trace.record(survivor), "return %7\n");
    }
}

TEST_CASE("what an old weighted sum hides is captured when it comes to be seen") {
    Arena arena;
    const Number w(arena, 2.0);
    const Number old_input(arena, 3.0);
    const std::vector<Node> nodes{w.node(), w.node(), w.node()};
    const Op activation = Op::Relu;
    const std::uint32_t map = arena.make_map(nodes, {&activation, 1}, false);
    const std::vector<Input> inputs{input(old_input), input(old_input)};
    std::vector<Node> results;
    arena.apply(map, inputs, results);
    arena.release_map(map);
    const Number old_neuron(arena, results.front());

    const Recorder recorder(arena);
    const Number x(arena, unknown);
    const Number hidden = reference(arena, arena.operands(old_neuron.id()).front());
    const Number product = x * hidden;
    const Number root = product + old_neuron;
    const std::vector program_inputs{x.node()};
    const std::vector outputs{root.node()};
    const Recording recording = recorder.record(program_inputs, outputs);
    CHECK(recording.captured == std::vector<NodeId>{old_neuron.id(), hidden.id()});
    CHECK(recording.program.listing() ==
          "inputs %0\n"
          "captured %1..%2\n"
          "  %3 = mul %0 %2\n"
          "  %4 = add %3 %1\n"
          "return %4\n");
}

TEST_CASE("takes are of an index and the entries, repetitions included") {
    Trace trace;
    const Number inner = relu(trace.y);
    const Number taken = trace.take(trace.x, {&trace.old_leaf, &inner, &trace.old_leaf, &trace.x});
    CHECK(trace.record(taken).program.listing() ==
          "inputs %0..%1\n"
          "captured %2\n"
          "  %3 = relu %1\n"
          "  %4 = take %0 of %2..%3 %2 %0\n"
          "return %4\n");
}

TEST_CASE("a node with a callback cannot be recorded") {
    Trace trace;
    const Number sum = trace.x + trace.y;
    const Number above = relu(sum);
    trace.host.assign_backward(sum, [] {});
    CHECK_THROWS_AS(static_cast<void>(trace.record(above)), CannotRecord);
    SUBCASE("but is of no matter if no output depends on it") {
        CHECK(trace.record(trace.x).program.instructions.empty());
    }
}

TEST_CASE("a weighted sum with a callback cannot be recorded") {
    Trace trace;
    const Number sum = trace.fused({&trace.old_leaf}, trace.old_leaf, {input(trace.x)}, Op::Tanh);
    trace.host.assign_backward(sum, [] {});
    CHECK_THROWS_AS(static_cast<void>(trace.record(sum)), CannotRecord);
}

TEST_CASE("captured nodes may have callbacks") {
    Trace trace;
    trace.host.assign_backward(trace.old_sum, [] {});
    const Number product = trace.x * trace.old_sum;
    CHECK(trace.record(product).captured == std::vector<NodeId>{trace.old_sum.id()});
}

TEST_CASE("a node that its user defines cannot be recorded, unless it was there before") {
    Arena arena;
    const Number old(arena, 1.0);
    const Number old_custom = custom(old);
    const Recorder recorder(arena);
    const Number x(arena, unknown);
    const std::vector inputs{x.node()};
    const auto record = [&](const Number& output) {
        const std::vector outputs{output.node()};
        return recorder.record(inputs, outputs);
    };
    CHECK(record(x * old_custom).captured == std::vector<NodeId>{old_custom.id()});
    CHECK_THROWS_AS(static_cast<void>(record(relu(custom(x)))), CannotRecord);
}

TEST_CASE(
    "a take lives as long as the recorder, so no node that its user defines is where it was") {
    Trace trace;
    Number taken = trace.take(trace.x, {&trace.old_leaf, &trace.old_sum});
    const NodeId place = taken.id();
    taken.forget();
    const Number made = custom(trace.y);
    CHECK(made.id() != place);
    CHECK_THROWS_AS(static_cast<void>(trace.record(made)), CannotRecord);
}

TEST_CASE("a new result that comes with its derivatives cannot be recorded") {
    Trace trace;
    const std::uint32_t group = trace.arena.make_group({trace.x.id()});
    std::vector<double> derivatives{1.0};
    const Number made(trace.arena, trace.arena.differentiated(2.0, group, derivatives, 0));
    trace.arena.release_group(group);
    const std::vector inputs{trace.x.node()};
    const std::vector outputs{made.node()};
    CHECK_THROWS_AS(static_cast<void>(trace.recorder.record(inputs, outputs)), CannotRecord);
}

TEST_CASE("what is new can be told from what was there before") {
    Trace trace;
    const Number made = relu(trace.x);
    CHECK(trace.recorder.is_new(trace.x.node()));
    CHECK(trace.recorder.is_new(made.node()));
    CHECK_FALSE(trace.recorder.is_new(trace.old_leaf.node()));
    CHECK_FALSE(trace.recorder.is_new(trace.old_sum.node()));
}

TEST_CASE("recording changes no count") {
    Trace trace;
    {
        const Number inner = trace.x * trace.old_leaf;
        const Number root = inner + trace.old_sum;
        const std::uint32_t count = trace.old_leaf.node().count();
        static_cast<void>(trace.record(root));
        CHECK(trace.old_leaf.node().count() == count);
        CHECK(inner.node().count() == 2);
    }
    CHECK(trace.arena.counters().interior_nodes == 1);
    CHECK(trace.arena.counters().leaves == 3);
}

}  // namespace mgx
