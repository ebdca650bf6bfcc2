// The passes, each alone, on programs written by hand; and all of them on pseudo-random programs,
// which must go on computing the same to the last bit. Expected programs are worked out by hand and
// compared as listings.

#include "program/passes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "core/errors.hpp"
#include "numbers.hpp"
#include "programs.hpp"

namespace mgx {

namespace {

struct Pass {
    std::string_view name;
    Program (*run)(Program);
};

const std::vector<Pass> all_passes{{"fold constants", fold_constants},
                                   {"merge common subexpressions", merge_common_subexpressions},
                                   {"remove dead code", remove_dead_code},
                                   {"form dots", form_dots},
                                   {"group affine", group_affine},
                                   {"fold activations", fold_activations}};

void check_unchanged(const Program& before, Program (*pass)(Program)) {
    CHECK(pass(before).listing() == before.listing());
}

// Whether operands precede results, and each value is a result once.
void check_order(const Program& program) {
    std::size_t known = std::size_t{program.inputs} + program.captured;
    for (const Instruction& instruction : program.instructions) {
        REQUIRE(program.is_well_formed(instruction));
        REQUIRE(index_of(instruction.first_result) == known);
        const auto precedes = [&](ValueId value) { REQUIRE(index_of(value) < known); };
        std::ranges::for_each(program.operands_of(instruction), precedes);
        if (instruction.kind == Kind::Affine) {
            program.parameters_of(instruction).weights.for_each(precedes);
            program.parameters_of(instruction).biases.for_each(precedes);
        }
        known += instruction.results;
    }
    REQUIRE(program.values == known);
    for (const ValueId output : program.outputs) {
        REQUIRE(index_of(output) < known);
    }
}

// So many terms weight * input, added up one by one, factors and sides in turn this way and that.
ValueId write_chain(Writer& writer, ValueId start, const Values& weights, const Values& inputs) {
    ValueId sum = start;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const ValueId product =
            i % 2 == 0 ? writer.mul(weights[i], inputs[i]) : writer.mul(inputs[i], weights[i]);
        sum = i % 3 == 0 ? writer.add(product, sum) : writer.add(sum, product);
    }
    return sum;
}

}  // namespace

TEST_CASE("fold_constants: an operation of constants is a constant, in the front") {
    Writer writer(1, 1);
    const ValueId x = writer.apply(Op::Relu, writer.input(0));
    const ValueId three = writer.constant(3.0);
    const ValueId seven = writer.add(three, writer.constant(4.0));
    const ValueId root = writer.power(writer.mul(seven, seven), 0.5);
    const ValueId product = writer.mul(x, root);
    const Program folded = fold_constants(writer.returning({product, seven, writer.captured(0)}));
    CHECK(folded.listing() ==
          "inputs %0\n"
          "captured %1\n"
          "  %2 = 3\n"
          "  %3 = 4\n"
          "  %4 = 7\n"
          "  %5 = 49\n"
          "  %6 = relu %0\n"
          "  %7 = mul %6 %4\n"
          "return %7 %4 %1\n");
}

TEST_CASE("fold_constants: equal constants are one, but -0.0 is not 0.0") {
    Writer writer(1, 0);
    const ValueId zero = writer.constant(0.0);
    const ValueId negative = writer.constant(-0.0);
    const ValueId again = writer.constant(0.0);
    const ValueId computed = writer.mul(zero, writer.constant(-1.0));
    const Program folded = fold_constants(
        writer.returning({zero, negative, again, computed, writer.add(writer.input(0), again)}));
    CHECK(folded.listing() ==
          "inputs %0\n"
          "captured none\n"
          "  %1 = 0\n"
          "  %2 = -0\n"
          "  %3 = -1\n"
          "  %4 = add %0 %1\n"
          "return %1..%2 %1..%2 %4\n");
}

TEST_CASE("fold_constants: NaN is folded like any other number") {
    Writer writer(0, 0);
    const ValueId infinite = writer.constant(infinity);
    const ValueId nan = writer.add(infinite, writer.constant(-infinity));
    const Program folded = fold_constants(writer.returning({writer.apply(Op::Exp, nan)}));
    CHECK(count(folded, Kind::Apply) == 0);
    CHECK(std::isnan(run_scalar_plan(folded, {}).outputs.front()));
}

TEST_CASE("fold_constants: what raises an error stays, to raise it when the program runs") {
    Writer writer(1, 0);
    const ValueId minus = writer.constant(-2.0);
    const auto check = [&](ValueId result, auto error) {
        const ValueId sum = writer.add(result, writer.input(0));
        const Program folded = fold_constants(writer.returning({sum}));
        CHECK(count(folded, Kind::Apply) == 2);
        CHECK_THROWS_AS(static_cast<void>(run_scalar_plan(folded, {1.0})), decltype(error));
    };
    SUBCASE("a logarithm") { check(writer.apply(Op::Log, minus), DomainError("")); }
    SUBCASE("a root") { check(writer.apply(Op::Sqrt, minus), DomainError("")); }
    SUBCASE("a division by zero") {
        check(writer.power(writer.constant(0.0), -1.0), DivisionByZero(""));
    }
    SUBCASE("an overflow") { check(writer.power(writer.constant(1e200), 2.0), Overflow("")); }
    SUBCASE("a power of two operands") {
        check(writer.apply(Op::Pow, minus, writer.constant(0.5)), DomainError(""));
    }
}

TEST_CASE("fold_constants: what depends on an input or a captured node stays") {
    Writer writer(1, 1);
    const ValueId two = writer.constant(2.0);
    const ValueId zero = writer.constant(0.0);
    const ValueId shared = writer.mul(zero, writer.captured(0));  // may be NaN
    const ValueId varying = writer.mul(writer.input(0), two);
    check_unchanged(writer.returning({shared, varying}), fold_constants);
}

TEST_CASE("fold_constants: constants move to the front though nothing is folded") {
    Writer writer(1, 0);
    const ValueId x = writer.apply(Op::Relu, writer.input(0));
    const Program folded = fold_constants(writer.returning({writer.mul(x, writer.constant(2.0))}));
    CHECK(folded.instructions.front().kind == Kind::Constant);
    check_order(folded);
}

TEST_CASE("merge_common_subexpressions: the same of the same operands is computed once") {
    Writer writer(2, 0);
    const ValueId x = writer.input(0);
    const ValueId y = writer.input(1);
    const ValueId one = writer.mul(x, y);
    const ValueId other = writer.mul(x, y);
    const ValueId left = writer.apply(Op::Exp, one);
    const ValueId right = writer.apply(Op::Exp, other);  // the same because its operand is
    const Program merged =
        merge_common_subexpressions(writer.returning({writer.add(left, right), right}));
    CHECK(merged.listing() ==
          "inputs %0..%1\n"
          "captured none\n"
          "  %2 = mul %0 %1\n"
          "  %3 = exp %2\n"
          "  %4 = add %3 %3\n"
          "return %4 %3\n");
}

TEST_CASE("merge_common_subexpressions: all results of an affine map are those of the other") {
    Writer writer(2, 6);
    const Values inputs{writer.input(0), writer.input(1)};
    const ValueId one = writer.affine(inputs, writer.captured(0, 4), writer.captured(4, 2));
    const ValueId other = writer.affine(inputs, writer.captured(0, 4), writer.captured(4, 2));
    const Program merged =
        merge_common_subexpressions(writer.returning({writer.mul(next(one), next(other)), other}));
    CHECK(count(merged, Kind::Affine) == 1);
    CHECK(merged.outputs[1] == ValueId{8});
    CHECK(std::ranges::equal(merged.operands_of(merged.instructions.back()),
                             Values{ValueId{9}, ValueId{9}}));
}

TEST_CASE("merge_common_subexpressions: what differs in anything stays apart") {
    Writer writer(2, 4);
    const ValueId x = writer.input(0);
    const ValueId y = writer.input(1);
    const Values weights = writer.captured(0, 2);
    const Values inputs{x, y};
    Values all;
    SUBCASE("numbers that are equal but not the same") {
        all = {writer.constant(0.0), writer.constant(-0.0)};
    }
    SUBCASE("operations") { all = {writer.apply(Op::Exp, x), writer.apply(Op::Tanh, x)}; }
    SUBCASE("operands") { all = {writer.apply(Op::Exp, x), writer.apply(Op::Exp, y)}; }
    SUBCASE("the order of operands") {
        all = {writer.apply(Op::Greater, x, y), writer.apply(Op::Greater, y, x)};
    }
    SUBCASE("exponents") { all = {writer.power(x, 2.0), writer.power(x, 3.0)}; }
    SUBCASE("kinds") { all = {writer.sum({x, y}), writer.add(x, y), writer.take({x, y})}; }
    SUBCASE("numbers of operands") { all = {writer.sum({x, y}), writer.sum({x, y, y})}; }
    SUBCASE("activation functions") {
        all = {writer.affine(inputs, weights, writer.captured(2, 1), Op::Relu),
               writer.affine(inputs, weights, writer.captured(2, 1), Op::Tanh),
               writer.affine(inputs, weights, writer.captured(2, 1))};
    }
    SUBCASE("weights") {
        all = {writer.affine(inputs, weights, writer.captured(2, 1)),
               writer.affine(inputs, {weights[0], weights[0]}, writer.captured(2, 1))};
    }
    SUBCASE("biases") {
        all = {writer.affine(inputs, weights, writer.captured(2, 1)),
               writer.affine(inputs, weights, writer.captured(3, 1))};
    }
    SUBCASE("how many rows the same inputs make") {
        all = {writer.affine({x}, weights, writer.captured(2, 2)),
               writer.affine({x}, writer.captured(0, 1), writer.captured(2, 1))};
    }
    check_unchanged(writer.returning(all), merge_common_subexpressions);
}

TEST_CASE("remove_dead_code: what no output depends on goes") {
    Writer writer(2, 3);
    const ValueId x = writer.input(0);
    const ValueId dead = writer.apply(Op::Exp, x);
    const ValueId alive = writer.apply(Op::Tanh, x);
    static_cast<void>(writer.mul(dead, alive));
    const ValueId row = writer.affine({alive}, writer.captured(0, 1), writer.captured(1, 1));
    static_cast<void>(writer.constant(3.0));
    const Program program = remove_dead_code(writer.returning({row, x}));
    CHECK(program.listing() ==
          "inputs %0..%1\n"
          "captured %2..%4\n"
          "  %5 = tanh %0\n"
          "  %6 = affine(1 x 1) weights %2 biases %3 inputs %5\n"
          "return %6 %0\n");
    check_unchanged(program, remove_dead_code);
}

TEST_CASE("remove_dead_code: an affine map stays while any of its rows is used") {
    Writer writer(1, 6);
    const ValueId used =
        writer.affine({writer.input(0)}, writer.captured(0, 3), writer.captured(3, 3));
    check_unchanged(writer.returning({next(used, 1)}), remove_dead_code);
    static_cast<void>(
        writer.affine({used}, writer.captured(0, 2), writer.captured(3, 2), Op::Relu));
    CHECK(count(remove_dead_code(writer.returning({next(used, 2)})), Kind::Affine) == 1);
}

TEST_CASE("form_dots: a chain becomes a Dot that adds in the same order") {
    Writer writer(4, 5);
    const Values weights = writer.captured(0, 4);
    const Values inputs{writer.input(0), writer.input(1), writer.input(2), writer.input(3)};
    const ValueId chain = write_chain(writer, writer.captured(4), weights, inputs);
    const Program formed = form_dots(writer.returning({chain}));
    REQUIRE(count(formed, Kind::Dot) == 1);
    CHECK(count(formed, Kind::Apply) == 0);
    const auto operands = formed.operands_of(formed.instructions.back());
    REQUIRE(operands.size() == 9);
    CHECK(operands[0] == writer.captured(4));
    for (std::size_t i = 0; i < 4; ++i) {
        const Values factors{operands[1 + 2 * i], operands[2 + 2 * i]};
        CHECK(
            (factors == Values{weights[i], inputs[i]} || factors == Values{inputs[i], weights[i]}));
    }
    // Any other order would lose the last of these.
    const Numbers sources{1e16, 1.0, -1e16, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25};
    CHECK(run_scalar_plan(formed, sources).outputs.front() == ((0.25 + 1e16) + 1.0 - 1e16) + 1.0);
}

TEST_CASE("form_dots: a chain that starts with a product starts from -0.0") {
    Writer writer(2, 2);
    const ValueId chain = writer.add(writer.mul(writer.captured(0), writer.input(0)),
                                     writer.mul(writer.captured(1), writer.input(1)));
    const Program formed = form_dots(writer.returning({chain}));
    REQUIRE(count(formed, Kind::Dot) == 1);
    CHECK(same_bits(run_scalar_plan(formed, {-0.0, 0.0, 1.0, -1.0}).outputs.front(), -0.0));
    CHECK(same_bits(run_scalar_plan(formed, {0.0, 0.0, 1.0, -1.0}).outputs.front(), 0.0));
}

TEST_CASE("form_dots: a product that something else uses stays, and is where the Dot starts") {
    Writer writer(5, 5);
    const ValueId shared = writer.mul(writer.captured(0), writer.input(0));
    ValueId sum = writer.add(shared, writer.mul(writer.captured(1), writer.input(1)));
    sum = writer.add(sum, writer.mul(writer.captured(2), writer.input(2)));
    const Program formed = form_dots(writer.returning({sum, shared}));
    REQUIRE(count(formed, Kind::Dot) == 1);
    CHECK(count(formed, Op::Mul) == 1);
    CHECK(formed.operands_of(formed.instructions.back()).size() == 5);
}

TEST_CASE("form_dots: a sum that something else uses is the end of one Dot and starts another") {
    Writer writer(4, 5);
    const ValueId half = write_chain(writer, writer.captured(4), writer.captured(0, 2),
                                     {writer.input(0), writer.input(1)});
    const ValueId whole =
        write_chain(writer, half, writer.captured(2, 2), {writer.input(2), writer.input(3)});
    const Program formed = form_dots(writer.returning({half, whole}));
    REQUIRE(count(formed, Kind::Dot) == 2);
    CHECK(count(formed, Kind::Apply) == 0);
    CHECK(formed.operands_of(formed.instructions.back()).front() == formed.outputs[0]);
}

TEST_CASE("form_dots: what is added besides products divides the chain") {
    Writer writer(4, 4);
    const auto product = [&](std::size_t i) {
        return writer.mul(writer.captured(i), writer.input(i));
    };
    ValueId sum = writer.add(product(0), product(1));
    sum = writer.add(sum, writer.apply(Op::Tanh, writer.input(0)));
    sum = writer.add(writer.add(sum, product(2)), product(3));
    const Program formed = form_dots(writer.returning({sum}));
    CHECK(count(formed, Kind::Dot) == 2);
    CHECK(count(formed, Op::Add) == 1);
    const Numbers sources{1.0, 2.0, 3.0, 4.0, 1e16, 0.5, -0.5e16, -0.125e16};
    CHECK(run_scalar_plan(formed, sources).outputs ==
          run_eagerly(writer.returning({sum}), sources).outputs);
}

TEST_CASE("form_dots: few terms stay as they are, unless each has a captured factor") {
    for (std::size_t terms = 1; terms <= 6; ++terms) {
        for (const bool are_weighted : {false, true}) {
            CAPTURE(terms);
            CAPTURE(are_weighted);
            Writer writer(13, 6);
            Values left;
            Values right;
            for (std::size_t i = 0; i < terms; ++i) {
                left.push_back(are_weighted ? writer.captured(i) : writer.input(2 * i));
                right.push_back(writer.input(2 * i + 1));
            }
            const ValueId chain = write_chain(writer, writer.input(12), left, right);
            const Program formed = form_dots(writer.returning({chain}));
            CHECK(count(formed, Kind::Dot) == (terms >= (are_weighted ? 2U : 4U) ? 1 : 0));
        }
    }
}

TEST_CASE("form_dots: a sum of nothing but products becomes a Dot") {
    Writer writer(2, 3);
    const ValueId left = writer.mul(writer.input(0), writer.captured(0));
    const ValueId right = writer.mul(writer.input(1), writer.captured(1));
    SUBCASE("of its start and theirs") {
        const Program formed =
            form_dots(writer.returning({writer.sum({writer.captured(2), left, right})}));
        REQUIRE(count(formed, Kind::Dot) == 1);
        CHECK(std::ranges::equal(formed.operands_of(formed.instructions.back()),
                                 Values{writer.captured(2), writer.input(0), writer.captured(0),
                                        writer.input(1), writer.captured(1)}));
    }
    SUBCASE("but stays if one of them is none") {
        check_unchanged(writer.returning({writer.sum({writer.captured(2), left, writer.input(0)})}),
                        form_dots);
    }
    SUBCASE("but stays if something else uses one of them") {
        check_unchanged(writer.returning({writer.sum({writer.captured(2), left, right}), left}),
                        form_dots);
    }
    SUBCASE("but stays if it is of one number") {
        check_unchanged(writer.returning({writer.sum({left})}), form_dots);
    }
}

TEST_CASE("form_dots: a product that is added to itself is no term") {
    Writer writer(1, 1);
    const ValueId product = writer.mul(writer.captured(0), writer.input(0));
    check_unchanged(writer.returning({writer.add(product, product)}), form_dots);
}

TEST_CASE(
    "group_affine: Dots of the same inputs become one map, whatever side the weights are on") {
    Writer writer(2, 8);
    const ValueId x = writer.input(0);
    const ValueId y = writer.input(1);
    const auto w = [&](std::size_t i) { return writer.captured(i); };
    const ValueId first = writer.dot({w(6), w(0), x, y, w(1)});
    const ValueId between = writer.apply(Op::Exp, first);
    const ValueId second = writer.dot({w(7), x, w(2), w(3), y});
    const ValueId other = writer.dot({w(7), w(4), y, w(5), x});  // the inputs in another order
    const Program grouped = group_affine(writer.returning({second, between, other}));
    CHECK(grouped.listing() ==
          "inputs %0..%1\n"
          "captured %2..%9\n"
          "  %10..%11 = affine(2 x 2) weights %2..%5 biases %8..%9 inputs %0..%1\n"
          "  %12 = exp %10\n"
          "  %13 = affine(1 x 2) weights %6..%7 biases %9 inputs %1 %0\n"
          "return %11..%13\n");
}

TEST_CASE("group_affine: rows that depend on others are in a map of their own") {
    Writer writer(2, 9);
    const Values w = writer.captured(0, 9);
    const ValueId x = writer.input(0);
    const ValueId y = writer.input(1);
    const ValueId first = writer.dot({w[0], w[1], x, w[2], y});
    const ValueId second = writer.dot({w[3], w[4], x, w[5], first});
    const ValueId third = writer.dot({w[6], w[7], x, w[8], y});
    const Program grouped = group_affine(writer.returning({second, third}));
    CHECK(grouped.listing() ==
          "inputs %0..%1\n"
          "captured %2..%10\n"
          "  %11..%12 = affine(2 x 2) weights %3..%4 %9..%10 biases %2 %8 inputs %0..%1\n"
          "  %13 = affine(1 x 2) weights %6..%7 biases %5 inputs %0 %11\n"
          "return %13 %12\n");
}

TEST_CASE("group_affine: constants serve as weights and are moved before the map") {
    Writer writer(1, 1);
    const ValueId x = writer.input(0);
    const ValueId first = writer.dot({writer.captured(0), writer.captured(0), x});
    const ValueId three = writer.constant(3.0);
    const ValueId second = writer.dot({three, x, three});
    const Program grouped = group_affine(writer.returning({first, second}));
    CHECK(grouped.listing() ==
          "inputs %0\n"
          "captured %1\n"
          "  %2 = 3\n"
          "  %3..%4 = affine(2 x 1) weights %1..%2 biases %1..%2 inputs %0\n"
          "return %3..%4\n");
}

TEST_CASE("group_affine: maps of the same inputs become one, and one alone stays") {
    Writer writer(2, 9);
    const auto w = [&](std::size_t i) { return writer.captured(i); };
    const Values inputs{writer.input(0), writer.input(1)};
    const ValueId layer = writer.affine(inputs, writer.captured(0, 4), writer.captured(4, 2));
    const ValueId neuron = writer.dot({w(8), w(6), inputs[0], w(7), inputs[1]});
    const ValueId rectifier = writer.affine(inputs, writer.captured(0, 2), {w(4)}, Op::Relu);
    const Program program = writer.returning({next(layer), neuron, rectifier});
    const Program grouped = group_affine(program);
    CHECK(grouped.listing() ==
          "inputs %0..%1\n"
          "captured %2..%10\n"
          "  %11..%13 = affine(3 x 2) weights %2..%5 %8..%9 biases %6..%7 %10 inputs %0..%1\n"
          "  %14 = affine(1 x 2) weights %2..%3 biases %6 inputs %0..%1 then relu\n"
          "return %12..%14\n");
    check_unchanged(grouped, group_affine);
}

TEST_CASE("group_affine: captured nodes may be the inputs, and a weight its own input") {
    Writer writer(0, 3);
    const Values w = writer.captured(0, 3);
    const ValueId square = writer.dot({w[0], w[1], w[1], w[2], w[0]});
    const Program grouped = group_affine(writer.returning({square}));
    REQUIRE(count(grouped, Kind::Affine) == 1);
    const Outcome outcome = run_scalar_plan(grouped, {2.0, 3.0, 5.0});
    CHECK(outcome.outputs.front() == 2.0 + 9.0 + 10.0);
    CHECK(outcome.gradients == Numbers{1.0 + 5.0, 6.0, 2.0});
}

TEST_CASE("group_affine: Dots of computed factors or with a computed start stay") {
    Writer writer(3, 3);
    const ValueId x = writer.input(0);
    const ValueId computed = writer.apply(Op::Tanh, writer.captured(0));
    const Program program = writer.returning({writer.dot({writer.captured(0), x, writer.input(1)}),
                                              writer.dot({writer.captured(0), computed, x}),
                                              writer.dot({x, writer.captured(1), x})});
    check_unchanged(program, group_affine);
}

TEST_CASE("fold_activations: an operation that all rows go through becomes part of the map") {
    for (const Op op : {Op::Relu, Op::Tanh, Op::Sigmoid, Op::Exp}) {
        CAPTURE(static_cast<int>(op));
        Writer writer(1, 4);
        const ValueId rows =
            writer.affine({writer.input(0)}, writer.captured(0, 2), writer.captured(2, 2));
        const ValueId second = writer.apply(op, next(rows));
        const ValueId between = writer.apply(Op::Sin, writer.input(0));
        const ValueId first = writer.apply(op, rows);
        const Program folded =
            fold_activations(writer.returning({writer.add(first, between), second}));
        REQUIRE(folded.instructions.size() == 3);
        CHECK(folded.instructions[0].op == op);
        CHECK(folded.outputs[1] == ValueId{6});
        CHECK(folded.operands_of(folded.instructions[2]).front() == ValueId{5});
    }
}

TEST_CASE("fold_activations: the map stays as it is") {
    Writer writer(1, 4);
    const ValueId x = writer.input(0);
    Values outputs;
    const auto rows = [&](Op op = Instruction::no_activation) {
        return writer.affine({x}, writer.captured(0, 2), writer.captured(2, 2), op);
    };
    SUBCASE("if its derivative cannot be told from the result") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Sin, first), writer.apply(Op::Sin, next(first))};
    }
    SUBCASE("if the operations differ") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Relu, first), writer.apply(Op::Tanh, next(first))};
    }
    SUBCASE("if there is one for some rows only") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Relu, first), next(first)};
    }
    SUBCASE("if a row is used besides") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Relu, first), writer.apply(Op::Relu, next(first)),
                   writer.mul(first, x)};
    }
    SUBCASE("if a row is an output besides") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Relu, first), writer.apply(Op::Relu, next(first)), next(first)};
    }
    SUBCASE("if a row goes through the operation twice") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Relu, first), writer.apply(Op::Relu, next(first)),
                   writer.apply(Op::Relu, first)};
    }
    SUBCASE("if the operation has two operands") {
        const ValueId first = rows();
        outputs = {writer.apply(Op::Maximum, first, x), writer.apply(Op::Maximum, next(first), x)};
    }
    SUBCASE("if it has an activation function already") {
        const ValueId first = rows(Op::Tanh);
        outputs = {writer.apply(Op::Relu, first), writer.apply(Op::Relu, next(first))};
    }
    SUBCASE("if a row is not used at all") { outputs = {writer.apply(Op::Relu, rows())}; }
    check_unchanged(writer.returning(outputs), fold_activations);
}

TEST_CASE("order_captured: weights stand in the order of the kernels, the others behind them") {
    Writer writer(1, 8);
    const auto w = [&](std::size_t i) { return writer.captured(i); };
    const ValueId x = writer.input(0);
    const ValueId scaled = writer.mul(x, w(0));
    const ValueId first = writer.affine({scaled}, {w(6), w(2)}, {w(1), w(5)});
    const ValueId second = writer.affine({w(4)}, {w(2), w(7)}, {w(5), w(1)});
    Program program = writer.returning({first, next(second), w(3)});
    const Numbers sources{2.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0};
    const Outcome before = run_scalar_plan(program, sources);

    const std::vector<std::uint32_t> order = order_captured(program).value();
    CHECK(order == std::vector<std::uint32_t>{6, 2, 1, 5, 7, 0, 3, 4});
    check_order(program);
    const auto& [weights, biases] = program.parameters_of(program.instructions[1]);
    CHECK(std::ranges::equal(weights.ranges(), std::vector<ValueRange>{{ValueId{1}, 2}}));
    CHECK(std::ranges::equal(biases.ranges(), std::vector<ValueRange>{{ValueId{3}, 2}}));
    CHECK(WeightTables(program).gathered() == 4);  // of the second map, which shares some

    Numbers reordered{sources[0]};
    for (const std::uint32_t number : order) {
        reordered.push_back(sources[1 + number]);
    }
    const Outcome after = run_scalar_plan(program, reordered);
    CHECK(after.outputs == before.outputs);
    for (std::size_t i = 0; i < order.size(); ++i) {
        CHECK(after.gradients[1 + i] == before.gradients[1 + order[i]]);
    }
}

TEST_CASE("order_captured: without maps nothing changes") {
    Writer writer(2, 3);
    Program program = writer.returning({writer.mul(writer.captured(2), writer.captured(0))});
    const std::string before = program.listing();
    CHECK_FALSE(order_captured(program).has_value());
    CHECK(program.listing() == before);
}

TEST_CASE("optimise: the neurons of a user's loops become one layer") {
    Writer writer(3, 8);
    const Values inputs{writer.input(0), writer.input(1), writer.input(2)};
    Values outputs;
    for (std::size_t row = 0; row < 2; ++row) {
        const ValueId chain =
            write_chain(writer, writer.captured(3 * row), writer.captured(2 + 3 * row, 3), inputs);
        outputs.push_back(writer.apply(Op::Relu, chain));
    }
    std::vector<PassStatistics> statistics;
    const Program program = optimise(writer.returning(outputs), statistics);
    REQUIRE(count(program, Kind::Affine) == 1);
    CHECK(count(program, Kind::Apply) == 0);
    const auto layer = std::ranges::find(program.instructions, Kind::Affine, &Instruction::kind);
    CHECK(layer->results == 2);
    CHECK(layer->op == Op::Relu);

    REQUIRE(statistics.size() == 8);
    CHECK(statistics.front().instructions == 2 * (3 + 3 + 1));
    CHECK(statistics.front().nodes == 2 * (3 + 3 + 1));
    CHECK(statistics.back().instructions == program.instructions.size());
    CHECK(statistics.back().nodes == program.nodes);
    CHECK(program.nodes == statistics.front().nodes);
}

TEST_CASE("optimise: a program without instructions") {
    Writer writer(1, 1);
    std::vector<PassStatistics> statistics;
    const Program program =
        optimise(writer.returning({writer.captured(0), writer.input(0)}), statistics);
    CHECK(program.instructions.empty());
    CHECK(run_scalar_plan(program, {1.0, 2.0}).outputs == Numbers{2.0, 1.0});
}

TEST_CASE("every pass leaves pseudo-random programs computing the same, to the last bit") {
    std::vector<std::size_t> changed(all_passes.size());
    for (unsigned seed = 0; seed < 300; ++seed) {
        CAPTURE(seed);
        for (const Style style : {Style::Mixed, Style::Whole}) {
            RandomAuthor author(seed, style);
            Program program = author.write();
            check_order(program);
            const Numbers sources = author.sources(random_inputs + random_captured);
            const Outcome expected = run_scalar_plan(program, sources);
            const auto check = [&](const Program& passed) {
                check_order(passed);
                const Outcome actual = run_scalar_plan(passed, sources);
                require_all(actual.outputs, expected.outputs, same_bits);
                if (style == Style::Whole) {  // gradients may be added up in another order
                    require_all(actual.gradients, expected.gradients, are_equal);
                } else {
                    require_all(actual.gradients, expected.gradients, are_close);
                }
            };
            for (std::size_t i = 0; i < all_passes.size(); ++i) {
                CAPTURE(all_passes[i].name);
                check(all_passes[i].run(program));  // alone, and then after those before
                const std::string before = program.listing();
                program = all_passes[i].run(program);
                changed[i] += program.listing() != before;
                check(program);
            }
            std::vector<PassStatistics> statistics;
            check(optimise(program, statistics));
        }
    }
    INFO("a pass that seldom changes anything has not been tested here");
    for (std::size_t i = 0; i < all_passes.size(); ++i) {
        CAPTURE(all_passes[i].name);
        CHECK(changed[i] > 30);
    }
}

}  // namespace mgx
