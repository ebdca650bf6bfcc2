// Value numbering: an instruction that does what an earlier one did is replaced by that one.

#include <bit>

#include "program/passes.hpp"

namespace mgx {

namespace {

// A hash table of instructions of the new program, by what they compute.
class Known {
public:
    Known(const Program& program, std::size_t most) : program_(program) {
        slots_.assign(std::bit_ceil(2 * most + 2), none);
    }

    // An instruction that is the same but for its results; if there is none, the last one of the
    // program, which is entered.
    [[nodiscard]] const Instruction& find_or_enter_last() {
        const auto last = static_cast<std::uint32_t>(program_.instructions.size() - 1);
        const Instruction& wanted = program_.instructions[last];
        std::size_t place = hash(wanted) & (slots_.size() - 1);
        while (slots_[place] != none) {
            const Instruction& candidate = program_.instructions[slots_[place]];
            if (are_same(candidate, wanted)) {
                return candidate;
            }
            place = (place + 1) & (slots_.size() - 1);
        }
        slots_[place] = last;
        return wanted;
    }

private:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    [[nodiscard]] std::size_t hash(const Instruction& it) const noexcept {
        std::uint64_t mixed = static_cast<std::uint64_t>(it.kind) << 8 | static_cast<std::uint64_t>(it.op);
        const auto mix = [&mixed](std::uint64_t more) {
            mixed = (mixed ^ more) * 0x9E3779B97F4A7C15U;
            mixed ^= mixed >> 29;
        };
        mix(std::bit_cast<std::uint64_t>(it.number));
        for (const ValueId operand : program_.operands_of(it)) {
            mix(index_of(operand));
        }
        return static_cast<std::size_t>(mixed);
    }

    [[nodiscard]] bool are_same(const Instruction& one, const Instruction& other) const noexcept {
        const auto operands = program_.operands_of(one);
        const auto others = program_.operands_of(other);
        return one.kind == other.kind && one.op == other.op && one.results == other.results &&
               std::bit_cast<std::uint64_t>(one.number) ==
                   std::bit_cast<std::uint64_t>(other.number) &&
               std::equal(operands.begin(), operands.end(), others.begin(), others.end());
    }

    const Program& program_;
    std::vector<std::uint32_t> slots_;
};

}  // namespace

Program merge_common_subexpressions(const Program& program) {
    Rewriter rewriter(program);
    Program& merged = rewriter.program();
    Known known(merged, program.instructions.size());
    for (const Instruction& instruction : program.instructions) {
        rewriter.copy(instruction);
        const Instruction& copy = merged.instructions.back();
        const Instruction& first = known.find_or_enter_last();
        if (&first == &copy) {
            continue;
        }
        for (std::uint32_t row = 0; row < instruction.results; ++row) {
            rewriter.rename(ValueId{static_cast<std::uint32_t>(instruction.first_result) + row},
                            ValueId{static_cast<std::uint32_t>(first.first_result) + row});
        }
        merged.operands.resize(copy.first_operand);
        merged.values -= copy.results;
        merged.instructions.pop_back();
    }
    return rewriter.finish();
}

}  // namespace mgx
