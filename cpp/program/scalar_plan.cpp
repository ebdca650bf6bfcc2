// One sample at a time: a loop over the instructions, each computed as the eager engine computes
// it, and back again for the adjoints.
//
// Finding out what to do next takes longer than an addition, above all where the processor cannot
// foresee it. So a program that has much to do at any time is done in runs of steps with one
// operation. One that has not, as it computes each number from the last, is done step by step; see
// scalar_plan_steps.cpp.
//
// All values are kept in one array, adjoints in another like it. Affine instructions are computed
// by the eager engine's own kernels.

#include "program/scalar_plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ranges>
#include <string>

#include "core/compiler.hpp"
#include "core/errors.hpp"
#include "core/forward.hpp"
#include "program/evaluate.hpp"
#include "program/powers.hpp"
#include "program/schedule.hpp"

namespace mgx {

using Kind = Instruction::Kind;

Selection Selection::all(const Program& program, std::vector<char> wanted_sources) {
    Selection selection;
    selection.instructions.assign(program.instructions.size(), 1);
    selection.gradients = std::move(wanted_sources);
    spread_to_dependents(program, selection.gradients);
    return selection;
}

void spread_to_dependents(const Program& program, std::vector<char>& gradients) {
    const auto has_one = [&](const ValueRange& range) {
        return std::memchr(gradients.data() + index_of(range.first), 1, range.count) != nullptr;
    };
    for (const Instruction& instruction : program.instructions) {
        bool depends = std::ranges::any_of(program.operands_of(instruction), [&](ValueId operand) {
            return gradients[index_of(operand)] != 0;
        });
        if (!depends && instruction.kind == Kind::Affine) {
            const auto& [weights, biases] = program.parameters_of(instruction);
            depends = std::ranges::any_of(weights.ranges(), has_one) ||
                      std::ranges::any_of(biases.ranges(), has_one);
        }
        if (depends) {
            std::fill_n(
                gradients.begin() + static_cast<std::ptrdiff_t>(index_of(instruction.first_result)),
                instruction.results, 1);
        }
    }
}

std::size_t checked_index(double index, std::size_t entries) {
    const bool is_in_range = index >= 0.0 && index < static_cast<double>(entries);
    if (!is_in_range || index != std::floor(index)) {
        throw BadIndex("take() needs an index that is a whole number from 0 to " +
                       std::to_string(entries - 1) + ", not " + std::to_string(index));
    }
    return static_cast<std::size_t>(index);
}

ScalarPlan::ScalarPlan(const Program& program, const WeightTables& tables,
                       const Selection& selection)
    : program_(program), tables_(tables) {
    std::vector<std::uint32_t> chosen;
    for (std::uint32_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        if (instruction.kind == Kind::Constant) {
            constants_.emplace_back(static_cast<std::uint32_t>(instruction.first_result),
                                    instruction.number);
        } else if (selection.instructions[i] != 0) {
            chosen.push_back(i);
            uses_tables_ |= tables.number_of(i) != WeightTables::no_table;
        }
    }
    if (chosen.empty()) {
        return;
    }
    runs_in_runs_ = has_long_runs(program);
    for (const std::uint32_t number : chosen) {
        const Step step = step_of(number, selection.gradients);
        order_.steps.push_back(step);
        const auto results = std::span(selection.gradients)
                                 .subspan(step.result, program.instructions[number].results);
        if (std::ranges::find(results, 1) != results.end()) {
            other_backward_order_.steps.push_back(step);
        }
    }
    has_other_backward_order_ = other_backward_order_.steps.size() < order_.steps.size();
    if (!has_other_backward_order_) {
        other_backward_order_ = {};
    }
    const ComputedNotes<std::uint32_t> uses = program.count_uses();
    for (Order* const order : {&order_, &other_backward_order_}) {
        if (runs_in_runs_) {
            order->put_into_runs();
        } else {
            order->find_ways(uses, selection.gradients);
        }
    }
}

ScalarPlan::Step ScalarPlan::step_of(std::uint32_t number, std::span<const char> gradients) {
    const Instruction& instruction = program_.instructions[number];
    Step step{code(Op::Custom, Way::Plain), static_cast<std::uint32_t>(instruction.first_result), 0,
              number};
    if (instruction.kind == Kind::Apply) {
        const auto operands = program_.operands_of(instruction);
        step.code = code(instruction.op, Way::Plain);
        step.x = static_cast<std::uint32_t>(operands.front());
        step.y = static_cast<std::uint32_t>(operands.back());
        if (instruction.op == Op::PowConstant) {
            step.y = static_cast<std::uint32_t>(exponents_.size());
            exponents_.push_back(instruction.number);
        }
        const bool commutes = instruction.op == Op::Add || instruction.op == Op::Mul;
        if (commutes && gradients[step.x] == 0) {
            std::swap(step.x, step.y);
        }
    }
    return step;
}

void ScalarPlan::Order::put_into_runs() {
    operands.reserve(steps.size());
    for (const Step& step : steps) {
        if (runs.empty() || runs.back().op != op_of(step) ||
            runs.back().first_result + runs.back().steps != step.result) {
            runs.push_back({op_of(step), 0, step.result});
        }
        ++runs.back().steps;
        operands.push_back({step.x, step.y});
    }
    steps = {};
}

void ScalarPlan::Order::find_ways(const ComputedNotes<std::uint32_t>& uses,
                                  std::span<const char> gradients) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
        Step& step = steps[i];
        const Op op = op_of(step);
        if (op == Op::Custom) {
            continue;
        }
        const bool follows = i > 0 && op_of(steps[i - 1]) != Op::Custom;
        const bool is_x = follows && step.x == steps[i - 1].result;
        const bool is_y = follows && is_binary(op) && step.y == steps[i - 1].result;
        const bool is_fixed = is_binary(op) && gradients[step.y] == 0;
        const bool is_only =
            follows && uses[ValueId{steps[i - 1].result}] == (is_x ? 1U : 0U) + (is_y ? 1U : 0U);
        Way way = is_fixed ? Way::PlainFixed : Way::Plain;
        if (is_x && is_y) {
            way = is_only ? Way::OnlyBoth : Way::Both;
        } else if (is_x && is_fixed) {
            way = is_only ? Way::OnlyXFixed : Way::XFixed;
        } else if (is_x) {
            way = is_only ? Way::OnlyX : Way::X;
        } else if (is_y) {
            way = is_only ? Way::OnlyY : Way::Y;
        }
        step.code = code(op, way);
    }
}

void ScalarPlan::forward(double* values, Workspace& workspace) const {
    for (const auto& [result, number] : constants_) {
        values[result] = number;
    }
    if (uses_tables_) {
        tables_.gather(values, workspace.gathered);
        workspace.weights_by_input.resize(tables_.weights());
        const Weights<const double> weights{values, 0, workspace.gathered.data()};
        for (const WeightTable& table : tables_.all()) {
            const double* const by_row = weights.at(table.weights);
            double* const by_input = workspace.weights_by_input.data() + table.first_by_input;
            for (std::size_t row = 0; row < table.rows; ++row) {
                for (std::size_t term = 0; term < table.terms; ++term) {
                    by_input[term * table.rows + row] = by_row[row * table.terms + term];
                }
            }
        }
    }
    if (!runs_in_runs_) {
        forward_step_by_step(order_.steps, values, workspace);
        return;
    }
    forward_in_runs(values, workspace);
}

void ScalarPlan::forward_in_runs(double* values, Workspace& workspace) const {
    const Operands* step = order_.operands.data();
    for (const Run& run : order_.runs) {
        const Operands* const end = step + run.steps;
        double* result = values + run.first_result;
        switch (run.op) {
#define MGX_UNARY(Name, ...)                                                     \
    case Op::Name:                                                               \
        for (; step != end; ++step) {                                            \
            *result++ = evaluate<Op::Name>(Scalar::real(values[step->x])).value; \
        }                                                                        \
        break;
#define MGX_BINARY(Name, ...)                               \
    case Op::Name:                                          \
        for (; step != end; ++step) {                       \
            const Scalar x = Scalar::real(values[step->x]); \
            const Scalar y = Scalar::real(values[step->y]); \
            *result++ = evaluate<Op::Name>(x, y).value;     \
        }                                                   \
        break;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
            case Op::PowConstant:
                for (; step != end; ++step) {
                    *result++ = power(values[step->x], exponents_[step->y]);
                }
                break;
            case Op::Custom:
                for (; step != end; ++step) {
                    forward(program_.instructions[step->y], step->y, values, workspace);
                }
                break;
            default:
                MGX_UNREACHABLE();
        }
    }
}

void ScalarPlan::forward(const Instruction& instruction, std::size_t number, double* values,
                         Workspace& workspace) const {
    const auto operands = program_.operands_of(instruction);
    const auto value = [&](std::size_t i) { return values[index_of(operands[i])]; };
    double* const results = values + index_of(instruction.first_result);
    switch (instruction.kind) {
        case Kind::Sum: {
            double sum = value(0);
            for (std::size_t i = 1; i < operands.size(); ++i) {
                sum += value(i);
            }
            *results = sum;
            break;
        }
        case Kind::Dot: {
            double sum = value(0);
            for (std::size_t i = 1; i < operands.size(); i += 2) {
                sum += value(i) * value(i + 1);
            }
            *results = sum;
            break;
        }
        case Kind::Affine: {
            const WeightTable& table = tables_[tables_.number_of(number)];
            workspace.inputs.resize(table.terms);
            for (std::size_t i = 0; i < table.terms; ++i) {
                workspace.inputs[i] = value(i);
            }
            const Weights<const double> weights{values, 0, workspace.gathered.data()};
            std::copy_n(weights.at(table.biases), table.rows, results);
            kernels_.add_products(workspace.weights_by_input.data() + table.first_by_input,
                                  workspace.inputs.data(), table.terms, results, table.rows);
            if (instruction.op != Instruction::no_activation) {
                for (std::size_t row = 0; row < table.rows; ++row) {
                    results[row] = evaluate(instruction.op, Scalar::real(results[row])).value;
                }
            }
            break;
        }
        case Kind::Take:
            *results = value(1 + checked_index(value(0), operands.size() - 1));
            break;
        case Kind::Constant:
        case Kind::Apply:
            break;
    }
}

void ScalarPlan::backward(const double* values, double* adjoints, Workspace& workspace) const {
    if (uses_tables_) {
        workspace.gathered_grads.assign(tables_.gathered(), 0.0);
    }
    const Order& order = backward_order();
    if (runs_in_runs_) {
        backward_in_runs(order, values, adjoints, workspace);
    } else {
        backward_step_by_step(order.steps, values, adjoints, workspace);
    }
    if (uses_tables_) {
        tables_.scatter(workspace.gathered_grads, adjoints);
    }
}

void ScalarPlan::backward_in_runs(const Order& order, const double* values, double* adjoints,
                                  Workspace& workspace) const {
    const Operands* step = order.operands.data() + order.operands.size();
    for (const Run& run : std::views::reverse(order.runs)) {
        const Operands* const first = step - run.steps;
        std::size_t result = run.first_result + run.steps;
        switch (run.op) {
#define MGX_UNARY(Name, method, label, value_, derivative, ...)   \
    case Op::Name:                                                \
        while (step != first) {                                   \
            --step;                                               \
            --result;                                             \
            [[maybe_unused]] const double x = values[step->x];    \
            [[maybe_unused]] const double y = values[result];     \
            adjoints[step->x] += (derivative) * adjoints[result]; \
        }                                                         \
        break;
#define MGX_BINARY(Name, method, label, value_, left_derivative, right_derivative, ...) \
    case Op::Name:                                                                      \
        while (step != first) {                                                         \
            --step;                                                                     \
            --result;                                                                   \
            [[maybe_unused]] const Scalar x = Scalar::real(values[step->x]);            \
            [[maybe_unused]] const Scalar y = Scalar::real(values[step->y]);            \
            const double adjoint = adjoints[result];                                    \
            adjoints[step->x] += (left_derivative).value * adjoint;                     \
            adjoints[step->y] += (right_derivative).value * adjoint;                    \
        }                                                                               \
        break;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
            case Op::PowConstant:
                while (step != first) {
                    --step;
                    --result;
                    adjoints[step->x] +=
                        power_derivative(values[step->x], exponents_[step->y], values[result]) *
                        adjoints[result];
                }
                break;
            case Op::Custom:
                while (step != first) {
                    --step;
                    --result;
                    backward(program_.instructions[step->y], step->y, values, adjoints, workspace);
                }
                break;
            default:
                MGX_UNREACHABLE();
        }
    }
}

void ScalarPlan::backward(const Instruction& instruction, std::size_t number, const double* values,
                          double* adjoints, Workspace& workspace) const {
    const auto operands = program_.operands_of(instruction);
    const auto value = [&](std::size_t i) { return values[index_of(operands[i])]; };
    const auto adjoint_of = [&](std::size_t i) -> double& {
        return adjoints[index_of(operands[i])];
    };
    const std::size_t first_result = index_of(instruction.first_result);
    const double adjoint = adjoints[first_result];
    switch (instruction.kind) {
        case Kind::Sum:
            for (std::size_t i = 0; i < operands.size(); ++i) {
                adjoint_of(i) += adjoint;
            }
            break;
        case Kind::Dot:
            adjoint_of(0) += adjoint;
            for (std::size_t i = 1; i < operands.size(); i += 2) {
                adjoint_of(i) += value(i + 1) * adjoint;
                adjoint_of(i + 1) += value(i) * adjoint;
            }
            break;
        case Kind::Affine: {
            const WeightTable& table = tables_[tables_.number_of(number)];
            workspace.inputs.resize(table.terms);
            for (std::size_t i = 0; i < table.terms; ++i) {
                workspace.inputs[i] = value(i);
            }
            workspace.input_grads.assign(table.terms, 0.0);
            const Weights<const double> weights{values, 0, workspace.gathered.data()};
            const Weights<double> grads{adjoints, 0, workspace.gathered_grads.data()};
            for (std::size_t row = 0; row < table.rows; ++row) {
                double grad = adjoints[first_result + row];
                if (instruction.op != Instruction::no_activation) {
                    const double result = values[first_result + row];
                    grad *= differentiate(instruction.op, result, result, 0.0, result).by_x;
                }
                kernels_.pass_on(grad, workspace.inputs.data(),
                                 weights.at(table.weights) + row * table.terms, table.terms,
                                 grads.at(table.weights) + row * table.terms,
                                 workspace.input_grads.data());
                grads.at(table.biases)[row] += grad;
            }
            for (std::size_t i = 0; i < table.terms; ++i) {
                adjoint_of(i) += workspace.input_grads[i];
            }
            break;
        }
        case Kind::Take:
            adjoint_of(1 + checked_index(value(0), operands.size() - 1)) += adjoint;
            break;
        case Kind::Constant:
        case Kind::Apply:
            break;
    }
}

}  // namespace mgx
