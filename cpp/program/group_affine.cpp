// Layers from the neurons that users write one by one, and from layers of the same inputs.
//
// A Dot whose terms each have a factor that is captured or constant, and whose start is too, is a
// row of an affine map: these factors are its weights, the others its inputs. Rows with the same
// inputs are computed together where the first of them stands, which needs no more than the inputs:
// captured nodes precede all instructions, and so do constants (see fold_constants.cpp).

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

struct Group {
    std::vector<ValueId> inputs;
    std::vector<std::uint32_t> parts;  // Dots and Affines
};

class AffineGrouper {
public:
    explicit AffineGrouper(const Program& program)
        : program_(program), is_weight_(program.find_weights()) {}

    // Whether there is anything to group.
    [[nodiscard]] bool find() {
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            const Instruction& instruction = program_.instructions[i];
            if (instruction.kind == Kind::Dot && is_row(instruction)) {
                const auto operands = program_.operands_of(instruction);
                inputs_.clear();
                for (std::size_t term = 1; term < operands.size(); term += 2) {
                    inputs_.push_back(factors(operands, term).second);
                }
                enter(i);
            } else if (instruction.kind == Kind::Affine &&
                       instruction.op == Instruction::no_activation) {
                const auto operands = program_.operands_of(instruction);
                inputs_.assign(operands.begin(), operands.end());
                enter(i);
            }
        }
        return std::ranges::any_of(groups_, [this](const Group& group) { return changes(group); });
    }

    [[nodiscard]] Program rewrite() const {
        Rewriter rewriter(program_);
        std::vector<const Group*> group_of(program_.instructions.size());
        for (const Group& group : groups_) {
            for (const std::uint32_t part : group.parts) {
                group_of[part] = changes(group) ? &group : nullptr;
            }
        }
        for (const Instruction& instruction : program_.instructions) {
            if (instruction.kind == Kind::Constant) {
                rewriter.copy(instruction);
            }
        }
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            const Group* const group = group_of[i];
            if (group != nullptr && group->parts.front() == i) {
                append(*group, rewriter);
            } else if (group == nullptr && program_.instructions[i].kind != Kind::Constant) {
                rewriter.copy(program_.instructions[i]);
            }
        }
        return rewriter.finish();
    }

private:
    // Whether it is anything but an Affine already.
    [[nodiscard]] bool changes(const Group& group) const noexcept {
        return group.parts.size() > 1 ||
               program_.instructions[group.parts.front()].kind == Kind::Dot;
    }

    [[nodiscard]] bool is_weight(ValueId value) const noexcept {
        return is_weight_[index_of(value)] != 0;
    }

    [[nodiscard]] bool is_row(const Instruction& dot) const noexcept {
        const auto operands = program_.operands_of(dot);
        if (!is_weight(operands.front())) {
            return false;
        }
        for (std::size_t i = 1; i < operands.size(); i += 2) {
            if (!is_weight(operands[i]) && !is_weight(operands[i + 1])) {
                return false;
            }
        }
        return true;
    }

    // A term's factors in the order weight, input.
    [[nodiscard]] std::pair<ValueId, ValueId> factors(std::span<const ValueId> operands,
                                                      std::size_t i) const noexcept {
        return is_weight(operands[i]) ? std::pair{operands[i], operands[i + 1]}
                                      : std::pair{operands[i + 1], operands[i]};
    }

    // Put the instruction, whose inputs are in `inputs_`, into the group of these.
    void enter(std::uint32_t instruction) {
        std::size_t hash = inputs_.size();
        for (const ValueId input : inputs_) {
            hash = (hash ^ index_of(input)) * 0x9E3779B97F4A7C15U;
        }
        const auto [first, last] = by_inputs_.equal_range(hash);
        const auto found = std::find_if(first, last, [this](const auto& entry) {
            return groups_[entry.second].inputs == inputs_;
        });
        if (found == last) {
            by_inputs_.emplace(hash, groups_.size());
            groups_.push_back({inputs_, {instruction}});
        } else {
            groups_[found->second].parts.push_back(instruction);
        }
    }

    void append(const Group& group, Rewriter& rewriter) const {
        std::vector<ValueId> inputs;
        inputs.reserve(group.inputs.size());
        for (const ValueId input : group.inputs) {
            inputs.push_back(rewriter(input));
        }
        AffineParameters parameters;
        for (const std::uint32_t part : group.parts) {
            const Instruction& instruction = program_.instructions[part];
            const auto operands = program_.operands_of(instruction);
            if (instruction.kind == Kind::Affine) {
                const auto& [weights, biases] = program_.parameters_of(instruction);
                parameters.weights.append(rewriter(weights));
                parameters.biases.append(rewriter(biases));
                continue;
            }
            for (std::size_t i = 1; i < operands.size(); i += 2) {
                parameters.weights.append(rewriter(factors(operands, i).first));
            }
            parameters.biases.append(rewriter(operands.front()));
        }
        auto result = static_cast<std::uint32_t>(
            rewriter.program().append_affine({}, inputs, std::move(parameters)));
        for (const std::uint32_t part : group.parts) {
            const Instruction& instruction = program_.instructions[part];
            for (std::uint32_t row = 0; row < instruction.results; ++row) {
                rewriter.rename(ValueId{static_cast<std::uint32_t>(instruction.first_result) + row},
                                ValueId{result++});
            }
        }
    }

    const Program& program_;
    std::vector<char> is_weight_;
    std::vector<Group> groups_;
    std::unordered_multimap<std::size_t, std::size_t> by_inputs_;  // hash to group
    std::vector<ValueId> inputs_;
};

}  // namespace

Program group_affine(Program program) {
    AffineGrouper grouper(program);
    if (grouper.find()) {
        return grouper.rewrite();
    }
    return program;
}

}  // namespace mgx
