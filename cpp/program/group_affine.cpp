// Layers from the neurons that users write one by one.
//
// A Dot whose terms each have a factor that is captured or constant, and whose start is too, is a
// row of an affine map: these factors are its weights, the others its inputs. Rows with the same
// inputs are computed together where the first of them stands, which needs no more than the inputs:
// captured nodes precede all instructions, and so do constants (see fold_constants.cpp).

#include <algorithm>
#include <unordered_map>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

struct Group {
    std::vector<ValueId> inputs;
    std::vector<std::uint32_t> dots;
};

class AffineGrouper {
public:
    explicit AffineGrouper(const Program& program) : program_(program), is_weight_(program.values) {
        for (std::size_t i = 0; i < program.captured; ++i) {
            is_weight_[index_of(program.captured_value(i))] = 1;
        }
        for (const Instruction& instruction : program.instructions) {
            if (instruction.kind == Kind::Constant) {
                is_weight_[index_of(instruction.first_result)] = 1;
            }
        }
    }

    // Whether there are any rows.
    [[nodiscard]] bool find() {
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            if (program_.instructions[i].kind == Kind::Dot && is_row(program_.instructions[i])) {
                enter(i);
            }
        }
        return !groups_.empty();
    }

    [[nodiscard]] Program rewrite() const {
        Rewriter rewriter(program_);
        std::vector<const Group*> group_of(program_.instructions.size());
        for (const Group& group : groups_) {
            for (const std::uint32_t dot : group.dots) {
                group_of[dot] = &group;
            }
        }
        for (const Instruction& instruction : program_.instructions) {
            if (instruction.kind == Kind::Constant) {
                rewriter.copy(instruction);
            }
        }
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            const Group* const group = group_of[i];
            if (group != nullptr && group->dots.front() == i) {
                append(*group, rewriter);
            } else if (group == nullptr && program_.instructions[i].kind != Kind::Constant) {
                rewriter.copy(program_.instructions[i]);
            }
        }
        return rewriter.finish();
    }

private:
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

    void enter(std::uint32_t dot) {
        const auto operands = program_.operands_of(program_.instructions[dot]);
        inputs_.clear();
        std::size_t hash = operands.size();
        for (std::size_t i = 1; i < operands.size(); i += 2) {
            inputs_.push_back(factors(operands, i).second);
            hash = (hash ^ index_of(inputs_.back())) * 0x9E3779B97F4A7C15U;
        }
        const auto [first, last] = by_inputs_.equal_range(hash);
        const auto found = std::find_if(first, last, [this](const auto& entry) {
            return groups_[entry.second].inputs == inputs_;
        });
        if (found == last) {
            by_inputs_.emplace(hash, groups_.size());
            groups_.push_back({inputs_, {dot}});
        } else {
            groups_[found->second].dots.push_back(dot);
        }
    }

    void append(const Group& group, Rewriter& rewriter) const {
        std::vector<ValueId> operands;
        operands.reserve((group.inputs.size() + 1) * (group.dots.size() + 1));
        for (const ValueId input : group.inputs) {
            operands.push_back(rewriter(input));
        }
        for (const std::uint32_t dot : group.dots) {
            const auto of_dot = program_.operands_of(program_.instructions[dot]);
            for (std::size_t i = 1; i < of_dot.size(); i += 2) {
                operands.push_back(rewriter(factors(of_dot, i).first));
            }
        }
        for (const std::uint32_t dot : group.dots) {
            const auto of_dot = program_.operands_of(program_.instructions[dot]);
            operands.push_back(rewriter(of_dot.front()));
        }
        Instruction affine;
        affine.kind = Kind::Affine;
        affine.results = static_cast<std::uint32_t>(group.dots.size());
        const auto result = static_cast<std::uint32_t>(rewriter.program().append(affine, operands));
        for (std::uint32_t row = 0; row < affine.results; ++row) {
            rewriter.rename(program_.instructions[group.dots[row]].first_result,
                            ValueId{result + row});
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
