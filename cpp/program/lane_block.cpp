// The steps of a LanePlan for one block of samples: forwards, and at once backwards if somebody
// wants gradients.
//
// The kernels tell if something may have failed for some lane. Only then are the lanes gone through
// one by one, to raise what the eager engine would, with the number of the sample.

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/errors.hpp"
#include "program/evaluate.hpp"
#include "program/lane_memory.hpp"
#include "program/lane_plan.hpp"

namespace mgx {

using Kind = Instruction::Kind;

// A block of samples in a workspace.
class LanePlan::Block {
public:
    Block(const LanePlan& plan, const Batch& batch, const Weights<const double>& weights,
          Workspace& workspace, std::size_t first_sample, std::size_t samples)
        : plan_(plan),
          program_(plan.program_),
          batch_(batch),
          weights_(weights),
          workspace_(workspace),
          first_sample_(first_sample),
          samples_(samples),
          lanes_((samples + lane_group - 1) / lane_group * lane_group) {}

    void forward(Chunk& chunk) {
        load();
        for (const Step& step : plan_.steps_) {
            forward(step);
        }
        for (std::size_t i = 0; i < plan_.outputs_.size(); ++i) {
            const double* const output = at(plan_.outputs_[i].value);
            if (batch_.sums != nullptr) {
                kernels_.add_lane_sums(output, 0, 1, samples_, &chunk.sums[i]);
            }
            if (batch_.outputs != nullptr) {
                std::copy_n(output, samples_, batch_.outputs + i * batch_.samples + first_sample_);
            }
        }
    }

    void backward(Chunk& chunk) {
        for (const Range& range : plan_.zeroed_at_first_) {
            zero(range);
        }
        for (const Place& output : plan_.outputs_) {
            if (output.adjoint != no_slot) {
                double* const adjoint = at(output.adjoint);
                for (std::size_t lane = 0; lane < samples_; ++lane) {
                    adjoint[lane] += batch_.seed;
                }
            }
        }
        for (const Step& step : plan_.backward_steps_) {
            for (std::uint32_t i = step.first_zeroed; i < step.last_zeroed; ++i) {
                zero(plan_.zeroed_[i]);
            }
            backward(step, chunk);
        }
        for (std::size_t i = 0; i < plan_.splats_.size(); ++i) {
            const Place& splat = plan_.splats_[i].second;
            if (splat.adjoint != no_slot) {
                kernels_.add_lane_sums(at(splat.adjoint), 0, 1, samples_, &chunk.splat_grads[i]);
            }
        }
        for (const SampleMatrix& matrix : batch_.matrices) {
            if (matrix.grads != nullptr) {
                kernels_.store_samples(at(plan_.inputs_[matrix.first_input].adjoint), stride(),
                                       matrix.columns, samples_,
                                       matrix.grads + first_sample_ * matrix.columns);
            }
        }
    }

private:
    // Call `body` for a sample; what it throws tells which one.
    template <typename Body>
    void for_sample(std::size_t lane, Body body) {
        try {
            body();
            return;
        } catch (const DivisionByZero& error) {
            fail(lane, error);
        } catch (const DomainError& error) {
            fail(lane, error);
        } catch (const Overflow& error) {
            fail(lane, error);
        } catch (const BadIndex& error) {
            fail(lane, error);
        }
    }
    template <typename Error>
    [[noreturn]] void fail(std::size_t lane, const Error& error) {
        workspace_.failed_sample = lane;
        throw Error(error.what() + (" (sample " + std::to_string(first_sample_ + lane) + ")"));
    }

    [[nodiscard]] std::size_t stride() const noexcept { return workspace_.stride; }
    [[nodiscard]] double* at(std::uint32_t slot) noexcept {
        return slot == no_slot ? nullptr : workspace_.lanes.data() + slot * stride();
    }

    void zero(const Range& range) noexcept {
        std::fill_n(at(range.first), range.count * stride(), 0.0);
    }

    void load() {
        for (const SampleMatrix& matrix : batch_.matrices) {
            double* const lanes =
                matrix.columns > 0 ? at(plan_.inputs_[matrix.first_input].value) : nullptr;
            if (!matrix.is_shared) {
                kernels_.load_samples(matrix.numbers + first_sample_ * matrix.columns,
                                      matrix.columns, samples_, lanes, stride(), lanes_);
                continue;
            }
            for (std::size_t column = 0; column < matrix.columns; ++column) {
                std::fill_n(lanes + column * stride(), lanes_, matrix.numbers[column]);
            }
        }
    }

    [[nodiscard]] const Place& result(const Step& step) const noexcept {
        return plan_.places_[step.first_place];
    }
    [[nodiscard]] const Place& operand(const Step& step, std::size_t i) const noexcept {
        return plan_.places_[step.first_place + 1 + i];
    }
    [[nodiscard]] const WeightTable& table(const Step& step) const noexcept {
        return plan_.tables_[plan_.tables_.number_of(step.instruction)];
    }

    [[nodiscard]] LaneOperands operands(const Step& step, const Instruction& instruction) noexcept {
        const Place& x = operand(step, 0);
        const Place y = instruction.operand_count > 1 ? operand(step, 1) : Place{};
        return {at(x.value),   at(y.value),   at(result(step).value), at(result(step).adjoint),
                at(x.adjoint), at(y.adjoint), instruction.number};
    }

    [[nodiscard]] AffineBlock affine(const Step& step,
                                     const Instruction& instruction) const noexcept {
        const WeightTable& its = table(step);
        return {weights_.at(its.weights),
                weights_.at(its.biases),
                workspace_.inputs.data() + step.first_pointer,
                its.rows,
                its.terms,
                workspace_.stride,
                instruction.op == Op::Relu,
                step.is_first};
    }

    void forward(const Step& step) {
        const Instruction& instruction = program_.instructions[step.instruction];
        double* const sums = at(result(step).value);
        switch (instruction.kind) {
            case Kind::Apply: {
                const LaneOperands of = operands(step, instruction);
                if (!kernels_.forward[static_cast<std::size_t>(instruction.op)](of, lanes_))
                    [[unlikely]] {
                    for (std::size_t lane = 0; lane < samples_; ++lane) {
                        for_sample(lane, [&] {
                            of.result[lane] =
                                evaluate(instruction.op, of.x[lane],
                                         of.y != nullptr ? of.y[lane] : 0.0, instruction.number);
                        });
                    }
                }
                break;
            }
            case Kind::Sum:
                std::copy_n(at(operand(step, 0).value), lanes_, sums);
                for (std::size_t i = 1; i < instruction.operand_count; ++i) {
                    kernels_.forward[static_cast<std::size_t>(Op::Add)](
                        {sums, at(operand(step, i).value), sums, nullptr, nullptr, nullptr, 0.0},
                        lanes_);
                }
                break;
            case Kind::Dot:
                std::copy_n(at(operand(step, 0).value), lanes_, sums);
                for (std::size_t i = 1; i < instruction.operand_count; i += 2) {
                    kernels_.add_products(at(operand(step, i).value),
                                          at(operand(step, i + 1).value), sums, lanes_);
                }
                break;
            case Kind::Affine:
                kernels_.affine(affine(step, instruction), sums, lanes_);
                if (instruction.op != Instruction::no_activation && instruction.op != Op::Relu) {
                    for_each_row(instruction, [&](std::size_t first, std::size_t count) {
                        kernels_.forward[static_cast<std::size_t>(instruction.op)](
                            {sums + first, nullptr, sums + first, nullptr, nullptr, nullptr, 0.0},
                            count);
                    });
                }
                break;
            case Kind::Take:
                take(step, instruction, [&](std::size_t lane, const double* entry, std::size_t) {
                    sums[lane] = *entry;
                });
                std::fill(sums + samples_, sums + lanes_, samples_ > 0 ? sums[samples_ - 1] : 0.0);
                break;
            case Kind::Constant:
                break;
        }
    }

    // The lanes of all rows of an affine instruction: at once where nothing lies between them.
    template <typename Visitor>
    void for_each_row(const Instruction& instruction, Visitor visit) const {
        if (lanes_ == stride()) {
            visit(std::size_t{0}, instruction.results * lanes_);
            return;
        }
        for (std::size_t row = 0; row < instruction.results; ++row) {
            visit(row * stride(), lanes_);
        }
    }

    // Visit the entry that each sample takes.
    template <typename Visitor>
    void take(const Step& step, const Instruction& instruction, Visitor visit) {
        const double* const index = at(operand(step, 0).value);
        const std::size_t entries = instruction.operand_count - 1;
        const bool has_table = plan_.tables_.number_of(step.instruction) != WeightTables::no_table;
        for (std::size_t lane = 0; lane < samples_; ++lane) {
            std::size_t chosen = 0;
            if (index[lane] >= 0.0 && index[lane] < static_cast<double>(entries)) [[likely]] {
                chosen = static_cast<std::size_t>(index[lane]);
            }
            if (static_cast<double>(chosen) != index[lane]) [[unlikely]] {
                for_sample(lane, [&] { static_cast<void>(checked_index(index[lane], entries)); });
            }
            visit(lane,
                  has_table ? weights_.at(table(step).weights) + chosen
                            : at(operand(step, 1 + chosen).value) + lane,
                  chosen);
        }
    }

    void backward(const Step& step, Chunk& chunk) {
        const Instruction& instruction = program_.instructions[step.instruction];
        double* const adjoint = at(result(step).adjoint);
        switch (instruction.kind) {
            case Kind::Apply: {
                const LaneOperands of = operands(step, instruction);
                if (of.x_adjoint == nullptr && of.y_adjoint == nullptr) {
                    break;
                }
                if (!kernels_.backward[static_cast<std::size_t>(instruction.op)](of, lanes_))
                    [[unlikely]] {
                    for (std::size_t lane = 0; lane < samples_; ++lane) {
                        for_sample(lane, [&] {
                            static_cast<void>(differentiate(
                                instruction.op, of.x[lane], of.y != nullptr ? of.y[lane] : 0.0,
                                instruction.number, of.result != nullptr ? of.result[lane] : 0.0));
                        });
                    }
                }
                break;
            }
            case Kind::Sum:
                for (std::size_t i = 0; i < instruction.operand_count; ++i) {
                    pass_on(adjoint, at(operand(step, i).adjoint));
                }
                break;
            case Kind::Dot:
                pass_on(adjoint, at(operand(step, 0).adjoint));
                for (std::size_t i = 1; i < instruction.operand_count; i += 2) {
                    const Place& x = operand(step, i);
                    const Place& y = operand(step, i + 1);
                    kernels_.backward[static_cast<std::size_t>(Op::Mul)](
                        {at(x.value), at(y.value), nullptr, adjoint, at(x.adjoint), at(y.adjoint),
                         0.0},
                        lanes_);
                }
                break;
            case Kind::Affine:
                backward_affine(step, instruction, adjoint, chunk);
                break;
            case Kind::Take: {
                const bool has_table =
                    plan_.tables_.number_of(step.instruction) != WeightTables::no_table;
                if (has_table && batch_.adjoints == nullptr) {
                    break;
                }
                take(step, instruction, [&](std::size_t lane, const double*, std::size_t chosen) {
                    if (has_table) {
                        chunk.weight_grads.at(table(step).weights)[chosen] += adjoint[lane];
                    } else if (double* const entry = at(operand(step, 1 + chosen).adjoint);
                               entry != nullptr) {
                        entry[lane] += adjoint[lane];
                    }
                });
                break;
            }
            case Kind::Constant:
                break;
        }
    }

    void pass_on(const double* adjoint, double* operand_adjoint) noexcept {
        if (operand_adjoint != nullptr) {
            kernels_.forward[static_cast<std::size_t>(Op::Add)](
                {operand_adjoint, adjoint, operand_adjoint, nullptr, nullptr, nullptr, 0.0},
                lanes_);
        }
    }

    void backward_affine(const Step& step, const Instruction& instruction, double* adjoint,
                         Chunk& chunk) {
        const AffineBlock block = affine(step, instruction);
        const WeightTable& its = table(step);
        const double* const results = at(result(step).value);
        const bool wants_weight_grads = batch_.adjoints != nullptr;
        if (block.rectifies && wants_weight_grads) {
            kernels_.add_rectified_lane_sums(results, adjoint, stride(), its.rows, samples_,
                                             chunk.weight_grads.at(its.biases));
        } else if (instruction.op != Instruction::no_activation) {
            for_each_row(instruction, [&](std::size_t first, std::size_t count) {
                kernels_.backward_in_place[static_cast<std::size_t>(instruction.op)](
                    results + first, adjoint + first, count);
            });
        }
        if (wants_weight_grads) {
            if (!block.rectifies) {
                kernels_.add_lane_sums(adjoint, stride(), its.rows, samples_,
                                       chunk.weight_grads.at(its.biases));
            }
            kernels_.affine_weight_grads(block, adjoint, samples_,
                                         chunk.weight_grads.at(its.weights),
                                         workspace_.scratch.data());
        }
        double* const* const inputs = workspace_.input_adjoints.data() + step.first_pointer;
        if (std::any_of(inputs, inputs + its.terms,
                        [](const double* it) { return it != nullptr; })) {
            kernels_.affine_input_grads(block, adjoint, inputs, lanes_);
        }
    }

    const LanePlan& plan_;
    const Program& program_;
    const Batch& batch_;
    Weights<const double> weights_;
    Workspace& workspace_;
    std::size_t first_sample_;
    std::size_t samples_;
    std::size_t lanes_;
    const LaneKernels& kernels_ = lane_kernels();
};

void LanePlan::run_block(const Batch& batch, const Weights<const double>& weights,
                         Workspace& workspace, Chunk& chunk, std::size_t first_sample,
                         std::size_t samples) const {
    Block block(*this, batch, weights, workspace, first_sample, samples);
    block.forward(chunk);
    if (has_gradients_) {
        block.backward(chunk);
    }
}

}  // namespace mgx
