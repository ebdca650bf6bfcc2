// Value numbering: an instruction that does what an earlier one did is replaced by that one.

#include <bit>

#include "program/passes.hpp"

namespace mgx {

namespace {

// A hash table of instructions by what they compute.
class Known {
public:
    explicit Known(const Program& program)
        : program_(program),
          same_(program.first_computed(), program.values, ValueId{0}),
          slots_(std::bit_ceil(2 * program.instructions.size() + 2), none) {
        for (auto i = static_cast<std::uint32_t>(program.first_computed()); i < program.values;
             ++i) {
            same_[ValueId{i}] = ValueId{i};
        }
    }

    // The first instruction that computes the same, by its number; the instruction itself if it is
    // that one.
    [[nodiscard]] std::uint32_t first_same(std::uint32_t number) {
        const Instruction& wanted = program_.instructions[number];
        std::size_t place = hash(wanted) & (slots_.size() - 1);
        while (slots_[place] != none) {
            const Instruction& candidate = program_.instructions[slots_[place]];
            if (are_same(candidate, wanted)) {
                for (std::uint32_t row = 0; row < wanted.results; ++row) {
                    same_[ValueId{static_cast<std::uint32_t>(wanted.first_result) + row}] =
                        ValueId{static_cast<std::uint32_t>(candidate.first_result) + row};
                }
                return slots_[place];
            }
            place = (place + 1) & (slots_.size() - 1);
        }
        slots_[place] = number;
        return number;
    }

    // The first value that is the same.
    [[nodiscard]] ValueId first_same(ValueId value) const noexcept {
        return same_.has(value) ? same_[value] : value;
    }

private:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    [[nodiscard]] std::size_t hash(const Instruction& it) const noexcept {
        std::uint64_t mixed =
            static_cast<std::uint64_t>(it.kind) << 8 | static_cast<std::uint64_t>(it.op);
        const auto mix = [&mixed](std::uint64_t more) {
            mixed = (mixed ^ more) * 0x9E3779B97F4A7C15U;
            mixed ^= mixed >> 29;
        };
        mix(std::bit_cast<std::uint64_t>(it.number));
        if (it.kind == Instruction::Kind::Affine) {
            mix(index_of(program_.parameters_of(it).weights.ranges().front().first));
        }
        for (const ValueId operand : program_.operands_of(it)) {
            mix(index_of(first_same(operand)));
        }
        return static_cast<std::size_t>(mixed);
    }

    [[nodiscard]] bool are_same(const Instruction& one, const Instruction& other) const noexcept {
        if (one.kind != other.kind || one.op != other.op || one.results != other.results ||
            one.operand_count != other.operand_count ||
            std::bit_cast<std::uint64_t>(one.number) !=
                std::bit_cast<std::uint64_t>(other.number)) {
            return false;
        }
        if (one.kind == Instruction::Kind::Affine && one.parameters != other.parameters &&
            program_.parameters_of(one) != program_.parameters_of(other)) {
            return false;
        }
        const auto operands = program_.operands_of(one);
        const auto others = program_.operands_of(other);
        for (std::size_t i = 0; i < operands.size(); ++i) {
            if (first_same(operands[i]) != first_same(others[i])) {
                return false;
            }
        }
        return true;
    }

    const Program& program_;
    ComputedNotes<ValueId> same_;
    std::vector<std::uint32_t> slots_;
};

}  // namespace

Program merge_common_subexpressions(Program program) {
    Known known(program);
    std::vector<std::uint32_t> repetitions;
    for (std::uint32_t i = 0; i < program.instructions.size(); ++i) {
        if (known.first_same(i) != i) {
            repetitions.push_back(i);
        }
    }
    if (repetitions.empty()) {
        return program;
    }
    Rewriter rewriter(program);
    auto repetition = repetitions.begin();
    for (std::uint32_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        if (repetition == repetitions.end() || *repetition != i) {
            rewriter.copy(instruction);
            continue;
        }
        ++repetition;
        for (std::uint32_t row = 0; row < instruction.results; ++row) {
            const ValueId result{static_cast<std::uint32_t>(instruction.first_result) + row};
            rewriter.rename(result, rewriter(known.first_same(result)));
        }
    }
    return rewriter.finish();
}

}  // namespace mgx
