#pragma once

// Programs under test: written by hand or by a pseudo-random author, and what the eager engine and
// a ScalarPlan make of one sample.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/backward.hpp"
#include "number.hpp"
#include "program/evaluate.hpp"
#include "program/passes.hpp"
#include "program/program.hpp"
#include "program/scalar_plan.hpp"
#include "program/weight_tables.hpp"

namespace mgx {

using Kind = Instruction::Kind;
using Numbers = std::vector<double>;
using Values = std::vector<ValueId>;

// Writes a program, instruction by instruction.
class Writer {
public:
    Writer(std::uint32_t inputs, std::uint32_t captured) {
        program_.inputs = inputs;
        program_.captured = captured;
        program_.values = inputs + captured;
    }

    [[nodiscard]] ValueId input(std::size_t i) const { return program_.input(i); }
    [[nodiscard]] ValueId captured(std::size_t i) const { return program_.captured_value(i); }
    [[nodiscard]] Values captured(std::size_t first, std::size_t count) const {
        Values values;
        for (std::size_t i = 0; i < count; ++i) {
            values.push_back(captured(first + i));
        }
        return values;
    }

    ValueId constant(double number) { return program_.append_constant(number); }
    ValueId apply(Op op, ValueId x) { return append(Kind::Apply, op, 0.0, {x}); }
    ValueId apply(Op op, ValueId x, ValueId y) { return append(Kind::Apply, op, 0.0, {x, y}); }
    ValueId add(ValueId x, ValueId y) { return apply(Op::Add, x, y); }
    ValueId mul(ValueId x, ValueId y) { return apply(Op::Mul, x, y); }
    ValueId power(ValueId x, double exponent) {
        return append(Kind::Apply, Op::PowConstant, exponent, {x});
    }
    ValueId sum(const Values& addends) {
        return append(Kind::Sum, Instruction::no_activation, 0.0, addends);
    }
    // The start, then the factors of each term.
    ValueId dot(const Values& operands) {
        return append(Kind::Dot, Instruction::no_activation, 0.0, operands);
    }
    // The index, then the entries.
    ValueId take(const Values& operands) {
        return append(Kind::Take, Instruction::no_activation, 0.0, operands);
    }
    // The first result.
    ValueId affine(const Values& inputs, const Values& weights, const Values& biases,
                   Op activation = Instruction::no_activation) {
        Instruction affine;
        affine.op = activation;
        AffineParameters parameters;
        for (const ValueId weight : weights) {
            parameters.weights.append(weight);
        }
        for (const ValueId bias : biases) {
            parameters.biases.append(bias);
        }
        return program_.append_affine(affine, inputs, std::move(parameters));
    }

    [[nodiscard]] Program returning(Values outputs) {
        program_.outputs = std::move(outputs);
        for (const Instruction& instruction : program_.instructions) {
            REQUIRE(program_.is_well_formed(instruction));
        }
        return program_;
    }

private:
    ValueId append(Kind kind, Op op, double number, const Values& operands) {
        Instruction instruction;
        instruction.kind = kind;
        instruction.op = op;
        instruction.number = number;
        return program_.append(instruction, operands);
    }

    Program program_;
};

[[nodiscard]] inline ValueId next(ValueId value, std::uint32_t rows = 1) {
    return ValueId{static_cast<std::uint32_t>(value) + rows};
}

[[nodiscard]] inline std::size_t count(const Program& program, Kind kind) {
    return static_cast<std::size_t>(
        std::ranges::count(program.instructions, kind, &Instruction::kind));
}
[[nodiscard]] inline std::size_t count(const Program& program, Op op) {
    return static_cast<std::size_t>(
        std::ranges::count_if(program.instructions, [op](const Instruction& instruction) {
            return instruction.kind == Kind::Apply && instruction.op == op;
        }));
}

// What one sample gives: the outputs, and the derivatives of their sum by inputs and captured.
struct Outcome {
    Numbers outputs;
    Numbers gradients;
};

// A program with its plan for one sample.
class ScalarRun {
public:
    explicit ScalarRun(const Program& program)
        : program_(program),
          tables_(program),
          plan_(program, tables_, Selection::all(program, wanted(program))) {}

    [[nodiscard]] Outcome operator()(const Numbers& sources) {
        Numbers values = sources;
        values.resize(program_.values);
        plan_.forward(values.data(), workspace_);
        Numbers adjoints(program_.values);
        Outcome outcome;
        for (const ValueId output : program_.outputs) {
            outcome.outputs.push_back(values[index_of(output)]);
            adjoints[index_of(output)] += 1.0;
        }
        plan_.backward(values.data(), adjoints.data(), workspace_);
        adjoints.resize(sources.size());
        outcome.gradients = std::move(adjoints);
        return outcome;
    }

private:
    [[nodiscard]] static std::vector<char> wanted(const Program& program) {
        std::vector<char> sources(program.values);
        std::fill_n(sources.begin(), program.inputs + program.captured, 1);
        return sources;
    }

    const Program& program_;
    WeightTables tables_;
    ScalarPlan plan_;
    ScalarPlan::Workspace workspace_;
};

[[nodiscard]] inline Outcome run_scalar_plan(const Program& program, const Numbers& sources) {
    return ScalarRun(program)(sources);
}

// The same by the eager engine, one node after another.
class EagerRun {
public:
    EagerRun(const Program& program, const Numbers& sources) : program_(program) {
        for (const double source : sources) {
            values_.emplace_back(arena_, source);
        }
        for (const Instruction& instruction : program.instructions) {
            run(instruction);
        }
    }

    [[nodiscard]] Outcome outcome(std::size_t sources) {
        Outcome outcome;
        Number total(arena_, 0.0);
        for (const ValueId output : program_.outputs) {
            outcome.outputs.push_back(at(output).data());
            total = total + at(output);
        }
        backward(arena_, total.id());
        for (std::size_t i = 0; i < sources; ++i) {
            outcome.gradients.push_back(values_[i].grad());
        }
        return outcome;
    }

private:
    [[nodiscard]] const Number& at(ValueId value) const { return values_[index_of(value)]; }

    void run(const Instruction& instruction) {
        const auto operands = program_.operands_of(instruction);
        switch (instruction.kind) {
            case Kind::Constant:
                values_.emplace_back(arena_, instruction.number);
                break;
            case Kind::Apply:
                values_.push_back(apply(instruction, operands));
                break;
            case Kind::Sum: {
                Number sum = reference(arena_, at(operands[0]).id());
                for (const ValueId addend : operands.subspan(1)) {
                    sum = sum + at(addend);
                }
                values_.push_back(std::move(sum));
                break;
            }
            case Kind::Dot: {
                Number sum = reference(arena_, at(operands[0]).id());
                for (std::size_t i = 1; i < operands.size(); i += 2) {
                    sum = sum + at(operands[i]) * at(operands[i + 1]);
                }
                values_.push_back(std::move(sum));
                break;
            }
            case Kind::Affine: {
                const auto& [weights, biases] = program_.parameters_of(instruction);
                Values weight_list;
                weights.for_each([&](ValueId weight) { weight_list.push_back(weight); });
                auto weight = weight_list.begin();
                biases.for_each([&](ValueId bias) {
                    Number sum = reference(arena_, at(bias).id());
                    for (const ValueId input : operands) {
                        sum = sum + at(*weight++) * at(input);
                    }
                    if (instruction.op != Instruction::no_activation) {
                        sum = unary(instruction.op, sum);
                    }
                    values_.push_back(std::move(sum));
                });
                break;
            }
            case Kind::Take: {
                const auto index = static_cast<std::size_t>(at(operands[0]).data());
                values_.push_back(reference(arena_, at(operands[1 + index]).id()));
                break;
            }
        }
    }

    [[nodiscard]] Number apply(const Instruction& instruction, std::span<const ValueId> operands) {
        const Number& x = at(operands.front());
        const Number& y = at(operands.back());
        switch (instruction.op) {
#define MGX_UNARY(...)
#define MGX_BINARY(Name, ...) \
    case Op::Name:            \
        return {arena_, arena_.binary<Op::Name>(x.node(), y.node())};
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
            case Op::PowConstant:
                return pow(x, instruction.number);
            default:
                return unary(instruction.op, x);
        }
    }

    [[nodiscard]] Number unary(Op op, const Number& x) {
        switch (op) {
#define MGX_UNARY(Name, ...) \
    case Op::Name:           \
        return {arena_, arena_.unary<Op::Name>(x.node())};
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
            default:
                FAIL("no unary operation");
                return reference(arena_, x.id());
        }
    }

    const Program& program_;
    Arena arena_;
    std::vector<Number> values_;
};

[[nodiscard]] inline Outcome run_eagerly(const Program& program, const Numbers& sources) {
    return EagerRun(program, sources).outcome(sources.size());
}

[[nodiscard]] inline bool same_bits(double x, double y) {
    return (std::isnan(x) && std::isnan(y)) || (x == y && std::signbit(x) == std::signbit(y));
}
[[nodiscard]] inline bool are_close(double x, double y) {
    return x == y || (std::isnan(x) && std::isnan(y)) ||
           std::fabs(x - y) <= 1e-9 * (1.0 + std::fabs(y));
}
[[nodiscard]] inline bool are_equal(double x, double y) { return x == y; }

template <typename Compare>
void require_all(const Numbers& actual, const Numbers& expected, Compare compare) {
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(i);
        CAPTURE(actual[i]);
        CAPTURE(expected[i]);
        REQUIRE(compare(actual[i], expected[i]));
    }
}

// What a pseudo-random program is made of.
enum class Style {
    Whole,   // whole numbers so small that all sums are exact, in whatever order
    Smooth,  // functions that can be differentiated
    Mixed    // all of it
};

constexpr std::uint32_t random_inputs = 5;
constexpr std::uint32_t random_captured = 14;

// Writes a program of all that the passes look for: repetitions, constants, chains of products,
// layers, activation functions, dead code. It knows how large each value and its derivatives can
// become, and leaves out what would make them too large.
class RandomAuthor {
public:
    RandomAuthor(unsigned seed, Style style)
        : generator_(seed), style_(style), writer_(random_inputs, random_captured) {
        for (std::uint32_t i = 0; i < random_inputs; ++i) {
            enter(writer_.input(i), {largest_source, 1.0});
        }
        for (std::uint32_t i = 0; i < random_captured; ++i) {
            enter(writer_.captured(i), {largest_source, 1.0});
        }
    }

    [[nodiscard]] Program write() {
        const std::size_t parts = 6 + choose(10);
        for (std::size_t i = 0; i < parts; ++i) {
            write_part();
        }
        Values outputs;
        for (std::size_t i = 1 + choose(3); i-- > 0;) {
            outputs.push_back(choose(4) == 0 ? any() : known_.back());
            known_.pop_back();
        }
        return writer_.returning(outputs);
    }

    // Numbers for the sources of such a program.
    [[nodiscard]] Numbers sources(std::size_t count) {
        Numbers numbers(count);
        for (double& number : numbers) {
            number = style_ == Style::Smooth ? std::uniform_real_distribution(
                                                   -largest_source, largest_source)(generator_)
                                             : static_cast<double>(choose(7)) - 3.0;
            if (style_ == Style::Mixed) {
                number *= 0.7;
            }
        }
        return numbers;
    }

private:
    static constexpr double largest_source = 3.0;

    struct Bound {
        double magnitude;
        double slope;  // the sum of all derivatives' magnitudes, that by itself included
    };

    [[nodiscard]] std::size_t choose(std::size_t choices) { return generator_() % choices; }
    template <typename Item>
    [[nodiscard]] Item one_of(std::initializer_list<Item> items) {
        return items.begin()[choose(items.size())];
    }
    [[nodiscard]] ValueId any() { return known_[choose(known_.size())]; }
    [[nodiscard]] ValueId recent() {
        return choose(3) == 0
                   ? any()
                   : known_[known_.size() - 1 - choose(std::min<std::size_t>(known_.size(), 6))];
    }
    [[nodiscard]] ValueId captured() { return writer_.captured(choose(random_captured)); }

    [[nodiscard]] const Bound& bound(ValueId value) const { return bounds_[index_of(value)]; }
    void enter(ValueId value, Bound its) {
        known_.push_back(value);
        bounds_.push_back(its);
    }
    [[nodiscard]] bool is_small(Bound its) const {
        return style_ == Style::Whole ? its.magnitude < 0x1p20 && its.slope < 0x1p30
                                      : its.magnitude < 1e2 && its.slope < 1e4;
    }
    ValueId entered(ValueId value, Bound its) {
        enter(value, its);
        return value;
    }

    ValueId constant() {
        const double number = style_ == Style::Whole
                                  ? one_of({0.0, -0.0, 1.0, -1.0, 2.0, 2.0})
                                  : one_of({0.0, -0.0, 1.0, -1.0, 0.5, 0.5, 1.75});
        return entered(writer_.constant(number), {std::fabs(number), 1.0});
    }

    [[nodiscard]] Bound bound_of(Op op, Bound x, Bound y) const {
        switch (op) {
            case Op::Add:
                return {x.magnitude + y.magnitude, 1.0 + x.slope + y.slope};
            case Op::Mul:
                return {x.magnitude * y.magnitude,
                        1.0 + x.magnitude * y.slope + y.magnitude * x.slope};
            case Op::Exp:
                return {std::exp(x.magnitude), 1.0 + std::exp(x.magnitude) * x.slope};
            case Op::Tanh:
            case Op::Sigmoid:
            case Op::Sin:
            case Op::Cos:
                return {1.0, 1.0 + x.slope};
            default:  // no steeper than a sum
                return {std::max({1.0, x.magnitude, y.magnitude}), 1.0 + x.slope + y.slope};
        }
    }

    // The result; x if that would become too large.
    ValueId apply(Op op, ValueId x) {
        const Bound its = bound_of(op, bound(x), {0.0, 0.0});
        return is_small(its) ? entered(writer_.apply(op, x), its) : x;
    }
    ValueId apply(Op op, ValueId x, ValueId y) {
        const Bound its = bound_of(op, bound(x), bound(y));
        return is_small(its) ? entered(writer_.apply(op, x, y), its) : x;
    }
    // Not a square, for which a ScalarPlan needs no pow.
    ValueId cube(ValueId x) {
        const Bound its = bound_of(Op::Mul, bound(x), bound_of(Op::Mul, bound(x), bound(x)));
        return is_small(its) ? entered(writer_.power(x, 3.0), its) : x;
    }

    [[nodiscard]] Op unary() {
        switch (style_) {
            case Style::Whole:
                return one_of({Op::Relu, Op::Abs});
            case Style::Smooth:
                return one_of({Op::Tanh, Op::Sigmoid, Op::Sin, Op::Cos, Op::Exp, Op::Tanh});
            default:
                return one_of({Op::Relu, Op::Abs, Op::Tanh, Op::Sigmoid, Op::Exp, Op::Sin});
        }
    }
    [[nodiscard]] Op binary() {
        const Op other =
            style_ == Style::Smooth
                ? Op::Add
                : one_of({Op::Maximum, Op::Minimum, Op::Greater, Op::Less, Op::If, Op::Else});
        return one_of({Op::Add, Op::Mul, Op::Add, other});
    }

    // A chain of additions of products, as a loop of a user's makes it.
    ValueId write_chain(const Values& inputs, bool is_layer) {
        ValueId sum{};
        bool is_empty = choose(2) == 0;
        if (!is_empty) {
            sum = is_layer ? (choose(3) == 0 ? constant() : captured()) : recent();
        }
        for (const ValueId input : inputs) {
            const ValueId weight = is_layer ? captured() : any();
            const ValueId product =
                choose(2) == 0 ? apply(Op::Mul, weight, input) : apply(Op::Mul, input, weight);
            sum = is_empty         ? product
                  : choose(2) == 0 ? apply(Op::Add, sum, product)
                                   : apply(Op::Add, product, sum);
            is_empty = false;
        }
        return sum;
    }

    [[nodiscard]] Values some(std::size_t count) {
        Values values;
        for (std::size_t i = 0; i < count; ++i) {
            values.push_back(recent());
        }
        return values;
    }

    void write_part() {
        switch (choose(9)) {
            case 0:
                constant();
                apply(binary(), known_.back(), choose(2) == 0 ? constant() : recent());
                break;
            case 1:
                apply(unary(), recent());
                break;
            case 2:
            case 3:
                apply(binary(), recent(), recent());
                break;
            case 4:
                write_chain(some(2 + choose(5)), false);
                break;
            case 5: {  // a layer
                const Values inputs = some(2 + choose(4));
                const Op op = unary();
                const bool has_activation = choose(3) > 0;
                Values rows;
                for (std::size_t row = 1 + choose(4); row-- > 0;) {
                    rows.push_back(write_chain(inputs, true));
                }
                for (const ValueId row : rows) {
                    if (has_activation) {
                        apply(op, row);
                    }
                }
                break;
            }
            case 6: {
                Values addends = some(2 + choose(4));
                Bound its{0.0, 1.0};
                for (const ValueId addend : addends) {
                    its = bound_of(Op::Add, its, bound(addend));
                }
                if (is_small(its)) {
                    entered(writer_.sum(addends), its);
                }
                break;
            }
            case 7: {  // a fused neuron
                Values operands = some(5);
                Bound its = bound(operands[0]);
                for (std::size_t i = 1; i < operands.size(); i += 2) {
                    its = bound_of(Op::Add, its,
                                   bound_of(Op::Mul, bound(operands[i]), bound(operands[i + 1])));
                }
                if (is_small(its)) {
                    entered(writer_.dot(operands), its);
                }
                break;
            }
            default:
                if (style_ == Style::Smooth) {
                    cube(recent());
                } else {
                    write_take();
                }
                break;
        }
    }

    void write_take() {
        const ValueId index = writer_.apply(Op::Greater, recent(), recent());
        enter(index, {1.0, 1.0});
        const bool is_table = choose(2) == 0;
        Values operands{index};
        Bound its{0.0, 1.0};
        for (int i = 0; i < 3; ++i) {
            operands.push_back(is_table ? captured() : recent());
            its.magnitude = std::max(its.magnitude, bound(operands.back()).magnitude);
            its.slope += bound(operands.back()).slope;
        }
        if (is_small(its)) {
            entered(writer_.take(operands), its);
        }
    }

    std::mt19937 generator_;
    Style style_;
    Writer writer_;
    Values known_;
    std::vector<Bound> bounds_;  // of all values
};

}  // namespace mgx
